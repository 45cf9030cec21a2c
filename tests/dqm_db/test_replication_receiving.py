"""Blocks of blobs on a disk that takes a part of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from dqm_db.replication.receiving import write_all


def test_a_block_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    """Up to its limit, a file takes a part of what is written, as a full disk does."""
    code = f"""
import os, resource
from dqm_db.replication.receiving import write_all
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
file = os.open({str(tmp_path / "blob")!r}, os.O_WRONLY | os.O_CREAT)
assert write_all(file, bytes(60)) == 60
try:
    write_all(file, bytes(60))
except OSError:
    print("an error")
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.stderr) == ("an error\n", "")
    assert (tmp_path / "blob").stat().st_size == 100


def test_pieces_are_written_whole(tmp_path: Path) -> None:
    reading, writing = os.pipe()  # takes a part only, once it is nearly full
    with (tmp_path / "copy").open("wb") as copy:
        child = subprocess.Popen(["cat"], stdin=reading, stdout=copy)
        os.close(reading)
        data = bytes(range(256)) * 4000
        assert write_all(writing, data) == len(data)
        os.close(writing)
        assert child.wait(60) == 0
    assert (tmp_path / "copy").read_bytes() == data
