"""The volume of another server as a source: what it lists, what it fetches, and what it refuses."""

from __future__ import annotations

import gc
import gzip
import json
import pickle
import shutil
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import transaction
import ZODB
from calling import Call
from hypothesis import given, settings
from hypothesis import strategies as st
from lost_records import lose_run
from persistent.mapping import PersistentMapping
from results_files import run_fits, write_run
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.utils import z64

from dqm_db.errors import DatabaseUnavailable, ForeignDatabase
from dqm_db.records import pack_header, unpack_header
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import Database, checked_root, open_database
from dqm_db.volume_database import open_volume
from dqm_db.writer import open_writer
from ingest.pipeline import ingest_files
from ingest.sources import open_url
from ingest.sources.base import RemoteFile
from ingest.sources.errors import Corrupt, NotFound, SourceError
from ingest.sources.volume import ServerVolume

CAMERA = "NectarCAMQM"
left_open = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""`FileStorage` leaves its file to the garbage collector when it cannot make sense of it."""


def settings_of(volume: Path) -> DatabaseSettings:
    data = volume / "filestorage" / "Data.fs"
    return load(DatabaseSettings, db_url=f"file://{data}", lock_dir=volume.parent / "locks")


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """Runs 1 and 2 of tarballs, 3 of a FITS file, 4 of a gzipped one, 5 without original."""
    files = tmp_path / "files"
    files.mkdir()
    tarballs = [write_run(files, run, seed=run) for run in (1, 2)]
    (files / "NectarCAM_Run3_Results.fits").write_bytes(run_fits(3))
    (files / "NectarCAM_Run4_Results.fits.gz").write_bytes(gzip.compress(run_fits(4)))
    (files / "NectarCAM_Run5_Results.fits").write_bytes(run_fits(5))
    bare = sorted(files.glob("NectarCAM_Run*"))
    root = tmp_path / "aside"
    with open_writer(settings_of(root)) as writer:
        assert all(one.status.is_good for one in ingest_files(writer, tarballs))
        assert all(one.status.is_good for one in ingest_files(writer, bare, camera=CAMERA))
        manager = transaction.TransactionManager(explicit=True)
        with writer.database.connection(manager) as connection:
            checked_root(connection, "").cameras[CAMERA].runs[5].original = None
            manager.commit()
    return root


@pytest.fixture
def source(volume: Path) -> ServerVolume:
    opened = open_url(f"volume:{volume}")
    assert isinstance(opened, ServerVolume)
    return opened


def test_files_are_listed_as_they_came(source: ServerVolume, volume: Path, tmp_path: Path) -> None:
    listing = source.list(source.root)
    files = {file.name: file for file in listing.files}
    names = [f"{CAMERA}_DQM_Run{run}" for run in range(1, 5)]
    assert list(files) == [
        f"{names[0]}.tar.gz",
        f"{names[1]}.tar.gz",
        f"{names[2]}.fits",
        f"{names[3]}.fits",
    ]
    first = files[f"{names[0]}.tar.gz"]
    path = tmp_path / "files" / first.name
    came = path.stat()
    assert first.path == f"volume:{volume}/{first.name}"
    assert (first.size, first.adler32) == (
        came.st_size,
        zlib.adler32((tmp_path / "files" / first.name).read_bytes()),
    )
    assert first.modified == pytest.approx(came.st_mtime)
    bare = files[f"{names[2]}.fits"]
    assert (bare.size, bare.adler32) == (len(run_fits(3)), zlib.adler32(run_fits(3)))
    unpacked = files[f"{names[3]}.fits"]  # what is kept is another file than what came
    assert (unpacked.size, unpacked.adler32) == (None, None)
    assert listing.lacking == (f"{CAMERA} 5",)
    source.close()


def test_files_are_fetched_as_they_came(source: ServerVolume, tmp_path: Path) -> None:
    target = tmp_path / "target"
    fetched = {}
    for file in source.list(source.root).files:
        assert source.fetch(file, target) == target
        fetched[file.name] = target.read_bytes()
    came = tmp_path / "files" / f"{CAMERA}_DQM_Run1.tar.gz"
    assert fetched[came.name] == came.read_bytes()
    assert fetched[f"{CAMERA}_DQM_Run3.fits"] == run_fits(3)
    assert fetched[f"{CAMERA}_DQM_Run4.fits"] == run_fits(4)
    with pytest.raises(NotFound, match="without its original"):
        source.fetch(RemoteFile("x", f"{CAMERA}_DQM_Run5.fits"), target)
    with pytest.raises(NotFound, match="no run 99"):
        source.fetch(RemoteFile("x", f"{CAMERA}_DQM_Run99.fits"), target)
    source.close()


def test_nothing_is_written_or_locked(volume: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in volume.rglob("*") if path.is_file()}
    opened = open_url(f"volume:{volume}")
    with open_database(settings_of(volume), read_only=False):
        assert len(opened.list(opened.root).files) == 4
    opened.close()
    again = open_url(f"volume:{volume}")
    again.list(again.root)
    again.close()
    after = {path: path.stat().st_mtime_ns for path in volume.rglob("*") if path.is_file()}
    assert set(after) - set(before) <= {volume / "filestorage" / "Data.fs.lock"}
    assert {path: after[path] for path in before if path.suffix in (".fs", ".blob")} == {
        path: time for path, time in before.items() if path.suffix in (".fs", ".blob")
    }


@pytest.mark.parametrize("part", ["filestorage", "filestorage/Data.fs"])
def test_the_file_or_its_folder_will_do(volume: Path, tmp_path: Path, part: str) -> None:
    opened = open_url(f"volume:{volume / part}")
    file = opened.list(opened.root).files[0]
    assert opened.fetch(file, tmp_path / "target").stat().st_size == file.size
    opened.close()


def test_what_was_cut_off_at_the_end_is_left_out(volume: Path) -> None:
    data = volume / "filestorage" / "Data.fs"
    (volume / "filestorage" / "Data.fs.index").unlink()
    with data.open("r+b") as file:
        file.truncate(data.stat().st_size - 50)
    opened = open_url(f"volume:{volume}")
    # the last transaction took the original of run 5 away
    assert len(opened.list(opened.root).files) == 5
    opened.close()


@left_open
def test_what_cannot_be_opened(volume: Path) -> None:
    (volume / "filestorage" / "Data.fs.index").unlink()
    with (volume / "filestorage" / "Data.fs").open("ab") as file:
        file.write(b"\0" * 8 + b"\xff" * 30)
    opened = open_url(f"volume:{volume}")
    with pytest.raises(Corrupt, match="use another copy"):
        opened.list(opened.root)
    gc.collect()


@left_open
def test_what_is_no_volume(tmp_path: Path) -> None:
    missing = open_url(f"volume:{tmp_path / 'none'}")
    with pytest.raises(NotFound, match="holds no filestorage/Data"):
        missing.list(missing.root)
    (tmp_path / "Data.fs").write_bytes(b"no storage at all")
    damaged = open_url(f"volume:{tmp_path}")
    with pytest.raises(Corrupt, match="is not a ZODB file"):
        damaged.list(damaged.root)
    (tmp_path / "Data.fs").unlink()
    FileStorage(str(tmp_path / "Data.fs")).close()
    empty = open_url(f"volume:{tmp_path}")
    assert empty.list(empty.root).files == ()
    empty.close()
    with pytest.raises(DatabaseUnavailable):
        open_volume(tmp_path / "none")
    gc.collect()


def test_a_run_whose_record_is_lost_keeps_no_other_from_coming(
    volume: Path, tmp_path: Path
) -> None:
    with open_writer(settings_of(volume)) as writer:
        lose_run(writer, CAMERA, 2)
    opened = open_url(f"volume:{volume}")
    files = opened.list(opened.root).files
    assert len(files) == 4
    with pytest.raises(Corrupt, match=r"lacks the object|cannot be read"):
        opened.fetch(files[1], tmp_path / "target")
    assert opened.fetch(files[0], tmp_path / "target").exists()
    opened.close()


def test_a_blob_that_is_missing(volume: Path, tmp_path: Path) -> None:
    shutil.rmtree(volume / "blobstorage")
    (volume / "blobstorage").mkdir()
    opened = open_url(f"volume:{volume}")
    with pytest.raises(NotFound, match="blob storage is incomplete"):
        opened.fetch(opened.list(opened.root).files[0], tmp_path / "target")
    opened.close()


def test_a_provenance_that_is_none(volume: Path) -> None:
    with open_writer(settings_of(volume)) as writer:
        manager = transaction.TransactionManager(explicit=True)
        with writer.database.connection(manager) as connection:
            run = checked_root(connection, "").cameras[CAMERA].runs[1]
            header = unpack_header(run.header)
            wrong: Any = {"source_size": "many", "source_adler32": None}
            provenance = replace(header.provenance, **wrong)
            run.header = pack_header(replace(header, provenance=provenance))
            manager.commit()
    opened = open_url(f"volume:{volume}")
    first = opened.list(opened.root).files[0]
    assert (first.size, first.adler32, first.modified) == (None, None, None)
    opened.close()


class Hostile:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return eval, ("__import__('pathlib').Path('executed').touch()",)


def plant(database: Database, oid: bytes, record: bytes) -> None:
    """Put *record* into the file as it is, as a server does that was sent it."""
    storage = database._storage
    serial = storage.load(oid, "")[1]
    metadata = TransactionMetaData()
    storage.tpc_begin(metadata)
    storage.store(oid, serial, record, "", metadata)
    storage.tpc_vote(metadata)
    storage.tpc_finish(metadata)


@pytest.mark.parametrize("where", ["root", "run"])
def test_nothing_in_it_is_executed(
    volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_database(settings_of(volume), read_only=False) as database:
        oid = z64
        if where == "run":
            with database.connection() as connection:
                run = checked_root(connection, "").cameras[CAMERA].runs[1]
                run._p_activate()
                oid = run._p_oid
        record = pickle.dumps(Hostile(), 3) + pickle.dumps(Hostile(), 3)
        plant(database, oid, record)
    opened = open_url(f"volume:{volume}")
    if where == "root":
        with pytest.raises(Corrupt, match="never stores"):
            opened.list(opened.root)
    else:
        file = opened.list(opened.root).files[0]
        with pytest.raises(Corrupt, match="never stores"):
            opened.fetch(file, tmp_path / "target")
    opened.close()
    assert not (tmp_path / "executed").exists()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume with one run."""
    root = tmp_path_factory.mktemp("small") / "aside"
    with open_writer(settings_of(root)) as writer:
        for outcome in ingest_files(writer, [write_run(root, 1)]):
            assert outcome.status.is_good
    return root


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=12)),
        min_size=1,
        max_size=4,
    ),
    st.just(1.0) | st.floats(0, 1),
)
@left_open
def test_whatever_its_bytes_are(
    small: Path, changes: list[tuple[float, bytes]], kept: float
) -> None:
    data = small / "filestorage" / "Data.fs"
    whole = bytearray(data.read_bytes())
    for part, others in changes:
        at = int(part * len(whole))
        whole[at : at + len(others)] = others
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "filestorage"
        place.mkdir()
        (place / "Data.fs").write_bytes(whole[: int(kept * len(whole))] or b"?")
        (Path(folder) / "blobstorage").symlink_to(small / "blobstorage")
        opened = open_url(f"volume:{folder}")
        try:
            for file in opened.list(opened.root).files:
                opened.fetch(file, Path(folder) / "target")
        except SourceError:
            pass  # in words: nothing else may be raised
        finally:
            opened.close()


def test_a_database_of_another_system(tmp_path: Path) -> None:
    database = ZODB.DB(FileStorage(str(tmp_path / "Data.fs")))
    with database.transaction() as connection:
        connection.root()["nectarcam-dqm"] = PersistentMapping()
    database.close()
    with open_volume(tmp_path) as opened, pytest.raises(ForeignDatabase):
        list(opened.runs())


def test_runs_that_only_it_has(call: Call, volume: Path, tmp_path: Path) -> None:
    files = tmp_path / "files"
    other = write_run(tmp_path, 2, seed=77)
    assert call("ingest", files / f"{CAMERA}_DQM_Run1.tar.gz", other).code == 0
    assert call("ingest", files / "NectarCAM_Run3_Results.fits", "--camera", CAMERA).code == 0
    assert call("rm", 3, "--yes").code == 0
    rows = [json.loads(row) for row in call("runs", "--only-in", volume, "--json").out.splitlines()]
    assert [(row["run"], row["here"], row["original"]) for row in rows] == [
        (2, "other contents", True),
        (3, "deleted", True),
        (4, "missing", True),
        (5, "missing", False),
    ]
    table = call("runs", "--only-in", f"volume:{volume}").out
    assert "no: it has no original file" in table
    assert "NectarCAM2" not in call("runs", "--only-in", volume, "--camera", "NectarCAM2").out
    assert call("runs", "--only-in", volume, "--limit", 1).code == 2
    assert call("runs", "--only-in", tmp_path / "none").code == 69


def test_they_come_back(call: Call, volume: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path, 9, camera="NectarCAM2")
    assert call("ingest", other).code == 0
    asked = call("ingest", "--dry-run", f"volume:{volume}")
    assert asked.code == 0
    assert asked.out.startswith("dry run: 4 to do of 4")
    assert f"runs without original, which cannot come back this way: 1 ({CAMERA} 5)" in asked.out
    done = call("ingest", f"volume:{volume}")
    assert done.code == 0, done.err
    assert done.out.startswith("ingest: 4 stored of 4")
    again = call("ingest", f"volume:{volume}")
    assert again.out.startswith("ingest: 4 already stored of 4")
    settings = load(DatabaseSettings, db_url=f"file://{tmp_path}/Data.fs")
    with (
        open_volume(volume) as opened,
        open_database(settings) as database,
        database.snapshot() as snapshot,
    ):
        for run in range(1, 5):
            original, provenance = opened.original(CAMERA, run)
            assert snapshot.original(CAMERA, run) == original
            now = snapshot.header(CAMERA, run).provenance
            assert now.results_sha256 == provenance.results_sha256
        assert snapshot.failures() == ()
    rows = call("runs", "--only-in", volume, "--json").out.splitlines()
    assert [json.loads(row)["run"] for row in rows] == [5]
    # its source has nothing new of a tarball that has come back
    files = tmp_path / "files"
    pulled = call("ingest", files)
    assert "2 already stored" in pulled.out, pulled.out + pulled.err
