"""Archives of baskets, byte for byte, and what happens when they cannot be written."""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import math
import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dqm_app.downloads import building
from dqm_app.downloads.basket import Basket, Progress, State
from dqm_app.downloads.building import Archive, BuildingStopped, file_name
from dqm_app.downloads.settings import DownloadSettings
from dqm_app.downloads.shelf import Shelf
from dqm_db.errors import DatabaseUnavailable
from dqm_db.reader import Snapshot
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import Database, open_database
from dqm_db.writer import open_writer
from ingest.reading import ReadJob, read_run

CAMERA = "NectarCAMQM"
SAMPLES = Path(__file__).parent.parent / "data"
RUNS = (6001, 8001, 8003)
WITHOUT_FILE = 9999


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """The sample runs with the files that they were read from."""
    directory = tmp_path_factory.mktemp("originals")
    opened = load(
        DatabaseSettings, db_url=f"file://{directory}/Data.fs", lock_dir=directory / "locks"
    )
    with open_writer(opened) as writer:
        for run in RUNS:
            found = read_run(ReadJob(SAMPLES / f"{CAMERA}_DQM_Run{run}.tar.gz"))
            assert found.content is not None
            writer.store_run(found.content, found.original)
        header = replace(found.content.header, run=WITHOUT_FILE)
        writer.store_run(replace(found.content, header=header), None)
    with open_database(opened) as database:
        yield database


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(DownloadSettings(downloads_dir=tmp_path / "downloads"))


@pytest.fixture
def basket(shelf: Shelf) -> Basket:
    return shelf.make("ada", CAMERA, RUNS, 10_000)


def left(basket: Basket) -> set[str]:
    return {path.name for path in basket.folder.iterdir()}


def test_the_originals_are_in_it_byte_for_byte(originals, basket):
    Archive(basket, originals).build()
    progress = basket.progress()
    assert (progress.state, progress.runs, progress.text) == (State.DONE, 3, "")
    assert progress.bytes == progress.of_bytes == basket.archive.stat().st_size
    assert left(basket) == {"basket.json", "progress.json", "basket.tar"}
    names = [f"{run}/{CAMERA}_DQM_Run{run}.tar.gz" for run in RUNS]
    with tarfile.open(basket.archive) as tar:
        assert tar.getnames() == [*names, "runs.csv", "SHA256SUMS"]
        found = {entry.name: tar.extractfile(entry).read() for entry in tar}
    for name in names:
        assert found[name] == (SAMPLES / Path(name).name).read_bytes()
    sums = {name: hashlib.sha256(found[name]).hexdigest() for name in names}
    assert found["SHA256SUMS"].decode() == "".join(f"{sums[name]}  {name}\n" for name in names)
    table = list(csv.DictReader(io.StringIO(found["runs.csv"].decode())))
    assert [(row["run"], row["file"], row["sha256"]) for row in table] == [
        (str(run), name, sums[name]) for run, name in zip(RUNS, names, strict=True)
    ]
    assert [int(row["bytes"]) for row in table] == [len(found[name]) for name in names]


def test_a_run_that_is_gone_is_said_to_be_missing(originals, shelf):
    basket = shelf.make("ada", CAMERA, [6001, 6002, WITHOUT_FILE], 10_000)
    Archive(basket, originals).build()
    progress = basket.progress()
    assert progress.state is State.DONE
    assert progress.text == "runs that are missing: 2 of 3; runs.csv says why"
    with tarfile.open(basket.archive) as tar:
        table = list(csv.DictReader(io.TextIOWrapper(tar.extractfile("runs.csv"))))
    assert not table[0]["why it is missing"] and "6002" in table[1]["why it is missing"]
    assert table[2]["why it is missing"].endswith("was stored without its original file")


def test_a_basket_that_is_removed_is_built_no_further(originals, shelf, basket, monkeypatch):
    monkeypatch.setattr(building, "NOTE_SECONDS", 0.0)
    seen = []

    def table(self: Archive) -> bytes:
        seen.append(self)
        return b""

    monkeypatch.setattr(Archive, "_table", table)
    add = Archive._add

    def remove_then_add(self, tar, run):
        if run == 8001:
            shelf.remove(basket)
        add(self, tar, run)

    monkeypatch.setattr(Archive, "_add", remove_then_add)
    Archive(basket, originals).build()
    assert not seen and not basket.folder.exists()
    assert {path.name for path in shelf.folder.iterdir()} == {"lock"}


def test_a_basket_that_is_removed_at_the_very_end(originals, shelf, basket, monkeypatch):
    table = Archive._digests

    def remove_then_digests(self):
        shelf.remove(basket)
        return table(self)

    monkeypatch.setattr(Archive, "_digests", remove_then_digests)
    Archive(basket, originals).build()
    assert {path.name for path in shelf.folder.iterdir()} == {"lock"}


class Lost:
    """A database that does not answer some times."""

    def __init__(self, database: Database, times: float) -> None:
        self._database = database
        self.times = times

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        if self.times > 0:
            self.times -= 1
            raise DatabaseUnavailable("the database at zeo://x does not answer")
        with self._database.snapshot() as snapshot:
            yield snapshot


def test_a_database_that_goes_is_waited_for(originals, basket, monkeypatch):
    monkeypatch.setattr(building, "RETRY_SECONDS", 0.0)
    said: list[str] = []
    note = Basket.note

    def hear(self: Basket, progress: Progress) -> None:
        said.append(progress.text)
        note(self, progress)

    monkeypatch.setattr(Basket, "note", hear)
    Archive(basket, Lost(originals, 3)).build()
    assert basket.progress().state is State.DONE and basket.progress().text == ""
    assert said.count("the database does not answer; it goes on when it does") == 3
    with tarfile.open(basket.archive) as tar:
        assert len(tar.getnames()) == 5


def test_a_database_is_not_waited_for_without_end(originals, basket, monkeypatch):
    monkeypatch.setattr(building, "DATABASE_SECONDS", 0.0)
    monkeypatch.setattr(building, "RETRY_SECONDS", 0.0)
    Archive(basket, Lost(originals, math.inf)).build()
    progress = basket.progress()
    assert progress.state is State.FAILED and "zeo://x does not answer" in progress.text
    assert left(basket) == {"basket.json", "progress.json"}


def test_a_basket_that_is_removed_while_the_database_is_away(originals, shelf, basket, monkeypatch):
    monkeypatch.setattr(building, "RETRY_SECONDS", 0.0)

    class Removing(Lost):
        def snapshot(self):
            if self.times == 2:
                shelf.remove(basket)
            return super().snapshot()

    Archive(basket, Removing(originals, 5)).build()
    assert {path.name for path in shelf.folder.iterdir()} == {"lock"}


def test_a_worker_that_ends_leaves_the_basket_to_the_next(originals, basket):
    asked: list[bool] = []

    def at_the_second_run() -> bool:
        asked.append(True)
        return len(asked) > 1

    with pytest.raises(BuildingStopped):
        Archive(basket, originals, at_the_second_run).build()
    progress = basket.progress()
    assert (progress.state, progress.runs, progress.bytes) == (State.WAITING, 0, 0)
    assert left(basket) == {"basket.json", "progress.json"}
    Archive(basket, originals).build()
    assert basket.progress().state is State.DONE


def test_a_full_disk_leaves_nothing(originals, basket, monkeypatch):
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    Archive(basket, originals).build()
    progress = basket.progress()
    assert progress.state is State.FAILED
    assert progress.text == (
        "the archive could not be written: No space left on device; tell the admin"
    )
    assert left(basket) == {"basket.json", "progress.json"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_disk_that_fills_while_it_is_written(originals, basket):
    basket.part.symlink_to("/dev/full")
    Archive(basket, originals).build()
    assert basket.progress().state is State.FAILED
    assert left(basket) == {"basket.json", "progress.json"}


@given(
    source=st.text(max_size=30),
    results=st.text(max_size=30),
    media=st.sampled_from(["tar", "fits+zstd"]),
)
@settings(deadline=None)
def test_no_file_leaves_the_folder_of_its_run(sample_header, source, results, media):
    origin = replace(sample_header.provenance, source=source, results_name=results)
    name = file_name(replace(sample_header, provenance=origin), media)
    assert name and "/" not in name and name not in (".", "..")


@pytest.mark.parametrize("name", ["", ".", "..", "a/..", "a/.", "/", "..?x"])
def test_names_that_are_none(sample_header, name):
    origin = replace(sample_header.provenance, source=name, results_name=name)
    header = replace(sample_header, provenance=origin)
    assert file_name(header, "tar") == f"{CAMERA}-6001"
    if "?" not in name:
        assert file_name(header, "fits+zstd") == f"{CAMERA}-6001.zst"


@pytest.fixture(scope="module")
def sample_header(originals):
    with originals.snapshot() as snapshot:
        return snapshot.header(CAMERA, 6001)
