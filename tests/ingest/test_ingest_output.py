"""What ``-o`` names: files, links, pipes and devices."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ingest.errors import OutputExists, OutputFailed, OutputUnwritable
from ingest.output import write_output

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("umask", "expected"), [(0o027, 0o640), (0o077, 0o600), (0o002, 0o664)])
def test_new_files_have_the_permissions_of_the_umask(
    tmp_path: Path, umask: int, expected: int
) -> None:
    previous = os.umask(umask)
    try:
        write_output(b"abc", tmp_path / "x", overwrite=False)
    finally:
        os.umask(previous)
    assert permissions(tmp_path / "x") == expected


def test_replaced_files_keep_their_permissions(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"before")
    path.chmod(0o604)
    with pytest.raises(OutputExists, match="--overwrite"):
        write_output(b"abc", path, overwrite=False)
    assert path.read_bytes() == b"before"
    write_output(b"abc", path, overwrite=True)
    assert path.read_bytes() == b"abc" and permissions(path) == 0o604
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("exists", [False, True])
def test_links_are_followed(tmp_path: Path, exists: bool) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    target, link = elsewhere / "target", tmp_path / "link"
    if exists:
        target.write_bytes(b"before")
    link.symlink_to(target)
    write_output(b"abc", link, overwrite=exists)
    assert link.is_symlink() and target.read_bytes() == b"abc"
    assert list(elsewhere.iterdir()) == [target]


@pytest.mark.parametrize("overwrite", [False, True])
def test_pipes_and_devices_are_written_to(tmp_path: Path, overwrite: bool) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_output(bytes(100_000), pipe, overwrite=overwrite)
    reader.join()
    assert read == [bytes(100_000)]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    write_output(b"abc", Path("/dev/null"), overwrite=overwrite)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_standard_output_by_its_name(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from ingest.output import write_output\n"
        "write_output(b'abc', Path('/dev/stdout'), overwrite=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"abc"


@needs_full
def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutputFailed, match=r"/dev/full could not be written: No space left"):
        write_output(b"abc", FULL, overwrite=True)

    # a regular file on a full disk is as it was
    path = tmp_path / "x"
    path.write_bytes(b"before")
    real = os.open

    def open_on_full_disk(name: str | Path, flags: int, mode: int = 0o777) -> int:
        os.close(real(name, flags, mode))
        return real(FULL, os.O_WRONLY)

    monkeypatch.setattr("os.open", open_on_full_disk)
    monkeypatch.setattr("os.fchmod", lambda *_: None)
    with pytest.raises(OutputFailed, match=r"x could not be written: No space left") as caught:
        write_output(b"abc", path, overwrite=True)
    assert caught.value.exit_code == 74
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


@needs_full
def test_standard_output_on_a_full_disk() -> None:
    code = (
        "from pathlib import Path; from ingest.output import write_output\n"
        "from ingest.errors import OutputFailed\n"
        "try:\n    write_output(b'abc', Path('-'), overwrite=False)\n"
        "except OutputFailed as error:\n    import sys; print(error, file=sys.stderr); sys.exit(7)"
    )
    with FULL.open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 7 and b"standard output could not be written: No space" in done.stderr


def test_where_nothing_can_be_made(tmp_path: Path) -> None:
    for path in (tmp_path / "no" / "folder", tmp_path):
        with pytest.raises(OutputUnwritable, match="cannot be written") as caught:
            write_output(b"abc", path, overwrite=True)
        assert caught.value.exit_code == 73
