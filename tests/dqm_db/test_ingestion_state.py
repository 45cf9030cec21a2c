"""What the puller remembers beside the runs, and that it changes with the runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import a_run
from ZODB.Connection import Connection
from ZODB.POSException import StorageError

from dqm_db.errors import RunNotFound, WriteFailed
from dqm_db.ingestion import Failure, Pull
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import open_database
from dqm_db.writer import Writer, open_writer

CAMERA = "NectarCAMQM"
FAILURE = Failure(
    camera=CAMERA,
    run=6001,
    source="root://grid//dqm/NectarCAMQM_DQM_Run6001.tar.gz",
    kind="ResultsFileError",
    error="truncated gzip: the file ends too early",
    attempts=2,
    first_at=1.79e9,
    last_at=1.79e9 + 300,
    next_at=None,
    size=900_000,
    adler32=0xFFEE0011,
    modified=1.78e9,
    parser_version=1,
)


def failures(writer: Writer) -> tuple[Failure, ...]:
    with writer.database.snapshot() as snapshot:
        return snapshot.failures()


def test_failures_come_back_by_camera_and_run(file_settings: DatabaseSettings) -> None:
    other = dataclasses.replace(FAILURE, camera="NectarCAM2", next_at=1.8e9, adler32=None)
    newer = dataclasses.replace(FAILURE, attempts=3)
    with open_writer(file_settings) as writer:
        assert failures(writer) == ()
        for failure in (FAILURE, other, newer):
            writer.note_failure(failure)
        assert failures(writer) == (other, newer)
        assert [failure.is_quarantined for failure in failures(writer)] == [False, True]
        assert writer.forget_failure("NectarCAM2", 6001)
        assert not writer.forget_failure("NectarCAM2", 6001)
        assert failures(writer) == (newer,)


def test_a_failure_goes_with_the_transaction_that_stores_the_run(
    file_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_writer(file_settings) as writer:
        writer.note_failure(FAILURE)
        with monkeypatch.context() as full:

            def vote(*_: object) -> None:
                raise StorageError("no space left")

            full.setattr(Connection, "tpc_vote", vote)
            with pytest.raises(WriteFailed):
                writer.store_run(a_run(6001), None)
        assert failures(writer) == (FAILURE,)
        writer.store_run(a_run(6002), None)
        assert failures(writer) == (FAILURE,)
        before = writer.database.last_transaction()
        writer.store_run(a_run(6001), None)
        assert failures(writer) == ()
        records = [
            transaction.tid
            for transaction in writer.database._storage.iterator()
            if transaction.tid > before
        ]
        assert len(records) == 1


def test_a_deleted_run_leaves_what_keeps_it_away(file_settings: DatabaseSettings) -> None:
    removed = dataclasses.replace(FAILURE, kind="removed", attempts=0)
    with open_writer(file_settings) as writer:
        writer.store_run(a_run(6001), None)
        writer.delete_run(CAMERA, 6001, instead=removed)
        assert writer.stored(CAMERA, 6001) is None
        assert failures(writer) == (removed,)
        with pytest.raises(RunNotFound):
            writer.delete_run(CAMERA, 6001, instead=FAILURE)
        assert failures(writer) == (removed,)


def test_the_last_pull_is_kept(file_settings: DatabaseSettings) -> None:
    first = Pull(1.79e9, 1.79e9 + 3, ("dirac:/ctao/dqm",), {"stored": 3, "failed": 1}, 1, "", "vm")
    second = dataclasses.replace(first, finished=1.79e9 + 9, exit_code=69, error="no answer")
    with open_writer(file_settings) as writer:
        with writer.database.snapshot() as snapshot:
            assert snapshot.last_pull() is None
        for pull in (first, second):
            writer.note_pull(pull)
            with writer.database.snapshot() as snapshot:
                assert snapshot.last_pull() == pull


def test_a_pull_adds_little(file_settings: DatabaseSettings) -> None:
    """It comes every few minutes, for years."""
    pull = Pull(1.79e9, 1.79e9 + 3, ("dirac:/ctao/dqm",), {"already stored": 5000}, 0, "", "vm")
    path = Path(file_settings.db_url.removeprefix("file://"))
    with open_writer(file_settings) as writer:
        writer.note_pull(pull)
        before = path.stat().st_size
        writer.note_pull(dataclasses.replace(pull, finished=1.79e9 + 4))
        assert path.stat().st_size - before < 500


def test_the_source_of_a_run_is_confirmed(file_settings: DatabaseSettings) -> None:
    content = a_run(6001)
    now = dataclasses.replace(
        content.header.provenance, source_size=5, source_adler32=6, source_modified=1.79e9
    )
    with open_writer(file_settings) as writer:
        writer.store_run(content, None)
        writer.confirm_source(CAMERA, 6001, now)
        with pytest.raises(RunNotFound):
            writer.confirm_source(CAMERA, 6002, now)
        with writer.database.snapshot() as snapshot:
            assert snapshot.header(CAMERA, 6001).provenance == now
            columns = snapshot.catalogue(CAMERA).columns
            assert snapshot.statistics(CAMERA, 6001) == content.statistics
    found = {name: columns[name].tolist() for name in ("run", "size", "adler32", "modified")}
    assert found == {"run": [6001], "size": [5], "adler32": [6], "modified": [1.79e9]}


def test_databases_from_before_the_puller(tmp_path: Path, samples: Path) -> None:
    stored = tmp_path / "Data.fs"
    stored.write_bytes((samples / "schema-1.fs").read_bytes())
    settings = load(DatabaseSettings, db_url=f"file://{stored}", lock_dir=tmp_path)
    with open_database(settings) as database, database.snapshot() as snapshot:
        assert (snapshot.failures(), snapshot.last_pull()) == ((), None)
        provenance = snapshot.header(CAMERA, 6001).provenance
        assert (provenance.source_modified, provenance.attempts) == (None, 1)
        assert np.isnan(snapshot.catalogue(CAMERA).columns["modified"]).all()
    with open_writer(settings) as writer:
        writer.note_failure(FAILURE)
        writer.note_pull(Pull(1.0, 2.0))
    with open_database(settings) as database, database.snapshot() as snapshot:
        assert snapshot.failures() == (FAILURE,)
        assert snapshot.last_pull() == Pull(1.0, 2.0)
