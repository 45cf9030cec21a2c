"""Files into a database: what is stored, skipped, refused, and that bad ones block nothing."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from results_files import build_run_archive, run_fits, sample_path, write_run

import ingest.reparse
from dqm_db.errors import DatabaseUnavailable, WriteFailed
from dqm_db.writer import Writer
from ingest.archive import open_original
from ingest.outcomes import FileOutcome, Status
from ingest.pipeline import ingest_files
from ingest.reparse import reparse_runs


def run_all(writer: Writer, files: list[Path], **options: object) -> dict[str, FileOutcome]:
    outcomes = ingest_files(writer, files, **options)  # type: ignore[arg-type]
    return {Path(outcome.source).name: outcome for outcome in outcomes}


def test_stored_runs_hold_what_was_parsed(writer: Writer, samples: Path) -> None:
    path = sample_path(samples, 8001)
    (outcome,) = ingest_files(writer, [path])
    assert outcome == FileOutcome(str(path), Status.STORED, "NectarCAMQM", 8001)
    with writer.database.snapshot() as snapshot:
        header = snapshot.header("NectarCAMQM", 8001)
        assert len(header.absent_pixels) == 84
        assert header.provenance.source == str(path)
        assert header.provenance.ingested_at > 1.7e9
        original = snapshot.original("NectarCAMQM", 8001)
        assert original.data == path.read_bytes()
        assert open_original(original, header.provenance)[:6] == b"SIMPLE"
        assert snapshot.statistics("NectarCAMQM", 8001)["WF-PHY-HIGH-GAIN"]["baseline"] > 200


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_files_block_nothing(writer: Writer, tmp_path: Path, workers: int) -> None:
    good = [write_run(tmp_path, run, seed=run) for run in (1, 2, 3)]
    data = good[0].read_bytes()

    def bad(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    files = [
        bad("NectarCAMQM_DQM_Run10.tar.gz", data[:-20]),
        good[0],
        bad("NectarCAMQM_DQM_Run1.tgz", bytes(flipped)),
        bad("NectarCAMQM_DQM_Run11.tar.gz", b""),
        bad("NectarCAMQM_DQM_Run12.tar.gz", data),
        good[1],
        bad("NectarCAMQM_DQM_Run13.tar.gz", build_run_archive("NectarCAMQM", 13, b"SIMPLE  =")),
        bad("NectarCAMQM_DQM_Run14.tar.gz", gzip.compress(bytes(100_000_000), 9)),
        tmp_path / "NectarCAMQM_DQM_Run15.tar.gz",
        tmp_path,
        good[2],
    ]
    outcomes = run_all(writer, files, workers=workers)
    messages = {name: o.message for name, o in outcomes.items() if o.status is Status.FAILED}
    assert {name: o.run for name, o in outcomes.items() if o.status is Status.STORED} == {
        path.name: run for run, path in enumerate(good, start=1)
    }
    expected = {
        "NectarCAMQM_DQM_Run10.tar.gz": "truncated gzip",
        "NectarCAMQM_DQM_Run1.tgz": "gzip",
        "NectarCAMQM_DQM_Run11.tar.gz": "is empty",
        "NectarCAMQM_DQM_Run12.tar.gz": "run 12 according to",
        "NectarCAMQM_DQM_Run13.tar.gz": "damaged FITS",
        "NectarCAMQM_DQM_Run14.tar.gz": "unpack to more than",
        "NectarCAMQM_DQM_Run15.tar.gz": "No such file",
        tmp_path.name: "is a folder",
    }
    assert set(messages) == set(expected)
    for name, words in expected.items():
        assert words in messages[name] and "\n" not in messages[name]
    with writer.database.snapshot() as snapshot:
        assert snapshot.runs("NectarCAMQM") == [1, 2, 3]


def test_again(writer: Writer, tmp_path: Path) -> None:
    """The same is skipped, however it is packed; something else is refused, or forced."""
    path = write_run(tmp_path, 5)
    assert [o.status for o in ingest_files(writer, [path, path])] == [Status.STORED, Status.SKIPPED]
    before = writer.database.last_transaction()
    assert [o.status for o in ingest_files(writer, [path])] == [Status.SKIPPED]
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 9))
    for force in (False, True):
        assert [o.status for o in ingest_files(writer, [path], force=force)] == [Status.SKIPPED]
    assert writer.database.last_transaction() == before

    write_run(tmp_path, 5, seed=1)
    (refused,) = ingest_files(writer, [path])
    assert refused.status is Status.REFUSED
    assert "stored with other contents" in refused.message and "--force" in refused.message
    assert writer.database.last_transaction() == before
    (replaced,) = ingest_files(writer, [path], force=True)
    assert replaced.status is Status.REPLACED
    stored = writer.stored("NectarCAMQM", 5)
    assert stored is not None
    assert [o.status for o in ingest_files(writer, [path])] == [Status.SKIPPED]


def test_two_files_of_one_run_in_one_call(writer: Writer, tmp_path: Path) -> None:
    first = write_run(tmp_path, 5)
    second = tmp_path / "NectarCAMQM_DQM_Run5.tgz"
    second.write_bytes(build_run_archive("NectarCAMQM", 5, run_fits(seed=1)))
    statuses = [o.status for o in ingest_files(writer, [first, second], workers=2)]
    assert sorted(statuses) == sorted([Status.STORED, Status.REFUSED])


def test_bare_fits(writer: Writer, tmp_path: Path) -> None:
    path = tmp_path / "NectarCAM_Run9_Results.fits"
    path.write_bytes(run_fits())
    (failed,) = ingest_files(writer, [path])
    assert failed.status is Status.FAILED and "give --camera" in failed.message
    (stored,) = ingest_files(writer, [path], camera="NectarCAM3")
    assert (stored.camera, stored.run, stored.status) == ("NectarCAM3", 9, Status.STORED)
    (skipped,) = ingest_files(writer, [path], camera="NectarCAM3")
    assert skipped.status is Status.SKIPPED
    with writer.database.snapshot() as snapshot:
        original = snapshot.original("NectarCAM3", 9)
        provenance = snapshot.header("NectarCAM3", 9).provenance
        assert open_original(original, provenance) == path.read_bytes()


def test_a_database_that_goes_away_ends_it(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [write_run(tmp_path, run) for run in (1, 2)]

    def gone(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("gone")

    monkeypatch.setattr(writer, "store_run", gone)
    with pytest.raises(DatabaseUnavailable):
        list(ingest_files(writer, files))


def test_a_run_is_stored_when_only_its_trends_cannot_be_folded(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise WriteFailed("could not fold: no space left")

    monkeypatch.setattr("dqm_db.trends.needs_folding", lambda *_: True)
    monkeypatch.setattr(writer, "fold", full)
    (outcome,) = ingest_files(writer, [write_run(tmp_path, 1)])
    assert outcome.status is Status.STORED
    assert writer.stored("NectarCAMQM", 1) is not None


@pytest.mark.parametrize("workers", [0, 1])
def test_reparse(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    files = [write_run(tmp_path, run, seed=run) for run in (1, 2)]
    with monkeypatch.context() as older:
        older.setattr("ingest.parse.PARSER_VERSION", 0)
        list(ingest_files(writer, files[:1]))
    list(ingest_files(writer, files[1:]))
    old = writer.stored("NectarCAMQM", 1)
    assert old is not None and old.provenance.parser_version == 0
    runs = [("NectarCAMQM", 1), ("NectarCAMQM", 2), ("NectarCAMQM", 3)]
    outcomes = {o.run: o for o in reparse_runs(writer, runs, workers=workers)}
    assert [outcomes[run].status for run in (1, 2, 3)] == [
        Status.REPLACED,
        Status.SKIPPED,
        Status.FAILED,
    ]
    new = writer.stored("NectarCAMQM", 1)
    assert new is not None
    assert new.provenance.parser_version == ingest.PARSER_VERSION
    assert new.provenance.ingested_at == old.provenance.ingested_at
    with writer.database.snapshot() as snapshot:
        assert snapshot.original("NectarCAMQM", 1).data == files[0].read_bytes()
    assert [o.status for o in reparse_runs(writer, runs[:1])] == [Status.SKIPPED]
    assert [o.status for o in reparse_runs(writer, runs[:1], force=True)] == [Status.REPLACED]
