"""Names of files that are not text: they are stored, shown and exported printable."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from results_files import build_run_archive, build_tar, run_fits

from dqm_db.content import Kind, RunHeader
from dqm_db.settings import DatabaseSettings
from dqm_db.writer import open_writer
from ingest.archive import open_source
from ingest.errors import one_line, printable
from ingest.export import quantity_table
from ingest.outcomes import Status
from ingest.pipeline import ingest_files


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("/a/plain – ü ∑.fits", "/a/plain – ü ∑.fits"),
        (os.fsdecode(b"/a/\xff\xfe.fits"), r"/a/\xff\xfe.fits"),
        ("a\nb\tc\x1b[31m", r"a\nb\tc\x1b[31m"),
        ("left\u202eright\u2028", r"left\u202eright\u2028"),
    ],
)
def test_printable(name: str, expected: str) -> None:
    assert printable(name) == printable(Path(name)) == expected


@settings(max_examples=60, deadline=None)
@given(name=st.binary(max_size=40))
def test_any_name_becomes_one_line_of_utf8(name: bytes) -> None:
    text = printable(os.fsdecode(name))
    text.encode()
    assert text.isprintable()
    assert printable(text) == text
    assert one_line(os.fsdecode(name)).isprintable()


@pytest.mark.parametrize("folder", [b"of \xff bytes", b"of two\nlines \x1b[2J"])
def test_runs_of_such_files_are_stored_and_exported(
    tmp_path: Path, file_settings: DatabaseSettings, folder: bytes
) -> None:
    inside = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + folder))
    inside.mkdir()
    good = inside / "NectarCAMQM_DQM_Run5.tar.gz"
    good.write_bytes(build_run_archive("NectarCAMQM", 5, run_fits()))
    bad = inside / "NectarCAMQM_DQM_Run6.tar.gz"
    bad.write_bytes(b"")
    with open_writer(file_settings) as writer:
        stored, failed = ingest_files(writer, [good, bad])
        assert (stored.status, failed.status) == (Status.STORED, Status.FAILED), stored.message
        assert (stored.source, failed.source) == (printable(good), printable(bad))
        header = writer.stored("NectarCAMQM", 5)
    assert isinstance(header, RunHeader)
    assert header.provenance.source == printable(good)
    table = quantity_table(header, "X", Kind.GENERIC, {"v": np.arange(3)})
    lines = table.to_csv().splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["v", "0", "1", "2"]
    assert f"# source: {printable(good)}" in lines
    assert table.to_fits().startswith(b"SIMPLE")


def test_such_members_of_an_archive() -> None:
    member = tarfile.TarInfo(os.fsdecode(b"out\xff\nput/NectarCAM_Run5_Results.fits"))
    data = run_fits()
    member.size = len(data)
    file = open_source(build_tar([(member, data)]), Path("NectarCAMQM_DQM_Run5.tar.gz"))
    assert file.provenance.results_name == r"out\xff\nput/NectarCAM_Run5_Results.fits"
