"""From a source into the database: what is stored, remembered, left alone, and given up."""

from __future__ import annotations

import errno
import gzip
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from memory_source import MemorySource
from results_files import build_run_archive, run_fits

from dqm_db.errors import DatabaseUnavailable, WriteFailed
from dqm_db.ingestion import Failure
from dqm_db.settings import load
from dqm_db.writer import Writer
from ingest.finding import RunRanges, Wanted, find
from ingest.outcomes import FileOutcome, Status
from ingest.pull import Plan, Puller
from ingest.settings import IngestSettings
from ingest.sources import open_url
from ingest.sources.base import RemoteFile
from ingest.sources.errors import AccessDenied, AuthExpired, NotFound, SourceError, Unavailable

CAMERA = "NectarCAMQM"


def name_of(run: int) -> str:
    return f"{CAMERA}_DQM_Run{run}.tar.gz"


def archive(run: int, seed: int = 0) -> bytes:
    return build_run_archive(CAMERA, run, run_fits(seed=seed))


@pytest.fixture
def source() -> MemorySource:
    return MemorySource({name_of(run): archive(run) for run in (1, 2, 3)})


@pytest.fixture
def options(tmp_path: Path) -> IngestSettings:
    return load(IngestSettings, ingest_tmp=tmp_path / "tmp", ingest_stall=60.0)


class Pulled:
    """What one pull did."""

    def __init__(
        self,
        writer: Writer,
        source: MemorySource,
        options: IngestSettings,
        wanted: Wanted | None = None,
        *,
        update: bool = False,
        workers: int = 0,
    ) -> None:
        source.fetched.clear()
        wanted = wanted or Wanted()
        puller = Puller(writer, options, wanted, update, workers)
        self.outcomes: list[FileOutcome] = list(puller.run([Plan(source, find(source, wanted))]))
        self.errors = puller.errors
        self.fetched = sorted(source.fetched)
        self.counts = Counter(outcome.status for outcome in self.outcomes)
        self.failed = {o.run: o for o in self.outcomes if not o.status.is_good}


def stored_runs(writer: Writer) -> list[int]:
    with writer.database.snapshot() as snapshot:
        return snapshot.runs(CAMERA) if CAMERA in snapshot.cameras() else []


def failures(writer: Writer) -> dict[int, Failure]:
    with writer.database.snapshot() as snapshot:
        return {failure.run: failure for failure in snapshot.failures()}


def raising(error: Exception) -> object:
    def behaviour(_file: RemoteFile, _target: Path) -> None:
        raise error

    return behaviour


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_new_is_stored_once(
    writer: Writer, source: MemorySource, options: IngestSettings, workers: int
) -> None:
    pulled = Pulled(writer, source, options, workers=workers)
    assert pulled.counts == {Status.STORED: 3} and not pulled.errors
    with writer.database.snapshot() as snapshot:
        provenance = snapshot.header(CAMERA, 2).provenance
        assert provenance.source == f"memory://dqm/{name_of(2)}"
        assert (provenance.source_modified, provenance.attempts) == (1.7e9, 1)
        assert snapshot.original(CAMERA, 2).data == source.files[name_of(2)]
    before = writer.database.last_transaction()
    again = Pulled(writer, source, options, workers=workers)
    assert again.counts == {Status.SKIPPED: 3} and again.fetched == []
    assert writer.database.last_transaction() == before
    assert list((options.ingest_tmp or Path()).iterdir()) == []


def test_only_what_is_wanted(writer: Writer, source: MemorySource, options: IngestSettings) -> None:
    Pulled(writer, source, options, Wanted(runs=RunRanges.parse("2")))
    assert stored_runs(writer) == [2]


def test_a_spoiled_file_blocks_nothing_and_ends_in_quarantine(
    writer: Writer, source: MemorySource, options: IngestSettings
) -> None:
    good = source.files[name_of(2)]
    source.files[name_of(2)] = good[:-20]
    first = Pulled(writer, source, options)
    assert first.counts == {Status.STORED: 2, Status.FAILED: 1}
    assert "truncated gzip" in first.failed[2].message
    assert failures(writer)[2].attempts == 1
    second = Pulled(writer, source, options)
    assert second.fetched == [name_of(2)]
    assert second.failed[2].message.endswith("; in quarantine after 2 attempts")
    third = Pulled(writer, source, options)
    assert third.counts == {Status.SKIPPED: 2, Status.QUARANTINED: 1} and third.fetched == []
    # released: once more, and into quarantine again after the second attempt
    writer.forget_failure(CAMERA, 2)
    assert Pulled(writer, source, options).fetched == [name_of(2)]
    # the file is put right: stored, and forgotten
    source.files[name_of(2)] = good
    assert Pulled(writer, source, options).counts == {Status.STORED: 1, Status.SKIPPED: 2}
    assert failures(writer) == {}


def test_what_arrives_otherwise_than_told_is_not_stored(
    writer: Writer, source: MemorySource, options: IngestSettings
) -> None:
    flipped = bytearray(source.files[name_of(1)])
    flipped[-9] ^= 1  # in the gzip trailer, which tarfile never reads
    source.behaviours[name_of(1)] = lambda _file, target: target.write_bytes(flipped) and None
    pulled = Pulled(writer, source, options)
    assert "checksum" in pulled.failed[1].message
    del source.behaviours[name_of(1)]
    again = Pulled(writer, source, options)
    assert again.counts == {Status.STORED: 1, Status.SKIPPED: 2}
    with writer.database.snapshot() as snapshot:
        assert snapshot.header(CAMERA, 1).provenance.attempts == 2
    assert failures(writer) == {}


def test_a_changed_file_is_noticed_and_replaced_on_request(
    writer: Writer, source: MemorySource, options: IngestSettings
) -> None:
    Pulled(writer, source, options)
    source.files[name_of(1)] = archive(1, seed=9)
    before = writer.database.last_transaction()
    noticed = Pulled(writer, source, options)
    assert noticed.counts == {Status.SKIPPED: 2, Status.CHANGED: 1} and noticed.fetched == []
    assert writer.database.last_transaction() == before
    updated = Pulled(writer, source, options, update=True)
    assert updated.counts == {Status.SKIPPED: 2, Status.REPLACED: 1}
    with writer.database.snapshot() as snapshot:
        assert snapshot.original(CAMERA, 1).data == source.files[name_of(1)]
    assert Pulled(writer, source, options, update=True).counts == {Status.SKIPPED: 3}


def test_the_same_results_packed_anew_are_confirmed_once(
    writer: Writer, source: MemorySource, options: IngestSettings
) -> None:
    Pulled(writer, source, options)
    stored = writer.stored(CAMERA, 1)
    source.files[name_of(1)] = gzip.compress(gzip.decompress(source.files[name_of(1)]), 1)
    first = Pulled(writer, source, options, update=True)
    assert first.counts == {Status.SKIPPED: 3} and first.fetched == [name_of(1)]
    assert Pulled(writer, source, options, update=True).fetched == []
    now = writer.stored(CAMERA, 1)
    assert stored is not None and now is not None
    assert now.provenance.results_sha256 == stored.provenance.results_sha256
    assert now.provenance.ingested_at == stored.provenance.ingested_at
    assert now.provenance.source_size == len(source.files[name_of(1)])


@pytest.mark.parametrize("error", [NotFound("gone"), AccessDenied("403")])
def test_a_file_that_is_refused_is_tried_later(
    writer: Writer, source: MemorySource, options: IngestSettings, error: SourceError
) -> None:
    source.behaviours[name_of(2)] = raising(error)  # type: ignore[assignment]
    pulled = Pulled(writer, source, options)
    assert pulled.counts == {Status.STORED: 2, Status.FAILED: 1} and not pulled.errors
    failure = failures(writer)[2]
    assert failure.next_at is not None and failure.next_at > time.time()
    waiting = Pulled(writer, source, options)
    assert waiting.counts == {Status.SKIPPED: 2, Status.WAITING: 1} and waiting.fetched == []


def test_one_file_without_an_answer_among_others(
    writer: Writer, source: MemorySource, options: IngestSettings
) -> None:
    source.behaviours[name_of(2)] = raising(Unavailable("reset"))  # type: ignore[assignment]
    pulled = Pulled(writer, source, options)
    assert pulled.counts == {Status.STORED: 2, Status.FAILED: 1} and not pulled.errors
    assert failures(writer)[2].kind == "Unavailable"


def test_a_source_that_goes_down_is_left_and_its_files_are_not_blamed(
    writer: Writer, options: IngestSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = MemorySource({name_of(run): archive(run) for run in range(1, 21)})
    source.streams = 2
    plan = [Plan(source, find(source, Wanted()))]
    for run in range(3, 21):
        source.behaviours[name_of(run)] = raising(Unavailable("refused"))  # type: ignore[assignment]
    with monkeypatch.context() as down:

        def refuse(_folder: str) -> None:
            raise Unavailable("down")

        down.setattr(source, "list", refuse)
        puller = Puller(writer, options, workers=1)
        list(puller.run(plan))
    assert [str(error) for error in puller.errors] == ["down"]
    assert stored_runs(writer) == [1, 2]
    assert failures(writer) == {}
    assert len(source.fetched) < 12, "it was not asked for the rest"
    source.behaviours.clear()
    assert Pulled(writer, source, options).counts == {Status.SKIPPED: 2, Status.STORED: 18}


def test_files_without_an_answer_do_not_keep_the_others(
    writer: Writer, options: IngestSettings
) -> None:
    """They come first, and the source lists all the same."""
    source = MemorySource({name_of(run): archive(run) for run in range(1, 10)})
    source.streams = 1
    for run in range(1, 6):
        source.behaviours[name_of(run)] = raising(Unavailable("disk server"))  # type: ignore[assignment]
    pulled = Pulled(writer, source, options)
    assert pulled.counts == {Status.FAILED: 5, Status.STORED: 4} and not pulled.errors
    assert stored_runs(writer) == [6, 7, 8, 9]
    assert sorted(failures(writer)) == [1, 2, 3, 4, 5]


def test_a_source_that_lists_and_gives_nothing_is_left_in_the_end(
    writer: Writer, options: IngestSettings
) -> None:
    source = MemorySource({name_of(run): b"" for run in range(1, 40)})
    source.streams = 1
    dead = raising(Unavailable("storage is down"))
    source.behaviours = dict.fromkeys(source.files, dead)  # type: ignore[arg-type]
    pulled = Pulled(writer, source, options)
    assert [str(error) for error in pulled.errors] == ["storage is down"]
    assert len(pulled.fetched) < 20
    # some wait now, and the next call begins with those that this one has not blamed
    blamed = {name_of(run) for run in failures(writer)}
    assert len(blamed) > 3
    assert not set(Pulled(writer, source, options).fetched) & blamed


def test_files_that_are_gone_are_forgotten(
    writer: Writer, source: MemorySource, options: IngestSettings
) -> None:
    source.behaviours[name_of(2)] = raising(NotFound("gone"))  # type: ignore[assignment]
    Pulled(writer, source, options)
    source.files[name_of(3)] = b"spoiled"
    Pulled(writer, source, options, update=True)
    assert sorted(failures(writer)) == [2, 3]
    for run in (2, 3):
        del source.files[name_of(run)]
    Pulled(writer, source, options, Wanted(camera=CAMERA))
    assert sorted(failures(writer)) == [2, 3], "not all of the source was looked at"
    Pulled(writer, source, options)
    assert sorted(failures(writer)) == [3], "a spoiled one is for a person to see"


def test_a_run_that_there_cannot_be(writer: Writer, options: IngestSettings) -> None:
    source = MemorySource({name_of(9_999_999_999): b"", name_of(0): b"", name_of(1): archive(1)})
    assert find(source, Wanted()).others == 2
    assert Pulled(writer, source, options).counts == {Status.STORED: 1}


@pytest.mark.parametrize("workers", [0, 2])
def test_local_files_that_cannot_be_read_are_tried_later(
    writer: Writer, tmp_path: Path, options: IngestSettings, workers: int
) -> None:
    """Also when they are more than downloads may take of the disk, where they take nothing."""
    place = tmp_path / "dqm"
    place.mkdir()
    for run in (1, 2, 3, 4):
        (place / name_of(run)).write_bytes(archive(run))
    (place / name_of(5)).symlink_to(place / "nowhere")
    source = open_url(str(place))
    small = options.model_copy(update={"ingest_disk_bytes": 1})
    for expected in ({Status.STORED: 4, Status.FAILED: 1}, {Status.SKIPPED: 4, Status.WAITING: 1}):
        puller = Puller(writer, small, workers=workers)
        outcomes = puller.run([Plan(source, find(source, Wanted()))])
        assert Counter(outcome.status for outcome in outcomes) == expected
    assert failures(writer)[5].kind == "Unreadable"


def test_the_only_new_file_has_no_answer(
    writer: Writer,
    source: MemorySource,
    options: IngestSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether the source is down, or has something against that file, its listing tells."""
    source.behaviours[name_of(2)] = raising(Unavailable("refused"))  # type: ignore[assignment]
    wanted = Wanted(runs=RunRanges.parse("2"))
    plan = [Plan(source, find(source, wanted))]
    with monkeypatch.context() as down:

        def refuse(_folder: str) -> None:
            raise Unavailable("down")

        down.setattr(source, "list", refuse)
        puller = Puller(writer, options, wanted)
        assert [outcome.status for outcome in puller.run(plan)] == [Status.FAILED]
        assert [str(error) for error in puller.errors] == ["down"]
        assert failures(writer) == {}
    puller = Puller(writer, options, wanted)
    assert [outcome.status for outcome in puller.run(plan)] == [Status.FAILED]
    assert puller.errors == []
    assert failures(writer)[2].kind == "Unavailable"


def test_expired_credentials_end_the_pull(
    writer: Writer, options: IngestSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = MemorySource({name_of(run): archive(run) for run in range(1, 6)})
    source.streams = 1
    source.behaviours[name_of(3)] = raising(AuthExpired("renew"))  # type: ignore[assignment]
    plan = [Plan(source, find(source, Wanted()))]
    with monkeypatch.context() as expired:

        def refuse(_folder: str) -> None:
            raise AuthExpired("renew")

        expired.setattr(source, "list", refuse)
        puller = Puller(writer, options)
        list(puller.run(plan))
    assert [type(error) for error in puller.errors] == [AuthExpired]
    assert stored_runs(writer) == [1, 2]
    assert failures(writer) == {}
    # where the source still lists, it is a matter of that file
    pulled = Pulled(writer, source, options)
    assert stored_runs(writer) == [1, 2, 4, 5] and not pulled.errors
    assert failures(writer)[3].next_at is not None


def test_a_full_disk_blames_no_file(
    writer: Writer, source: MemorySource, options: IngestSettings
) -> None:
    full = raising(OSError(errno.ENOSPC, "No space left on device"))
    source.behaviours[name_of(2)] = full  # type: ignore[assignment]
    pulled = Pulled(writer, source, options)
    assert pulled.counts == {Status.STORED: 2, Status.NOT_WRITTEN: 1}
    assert failures(writer) == {}


def test_a_failure_that_cannot_be_remembered_is_said(
    writer: Writer,
    source: MemorySource,
    options: IngestSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source.files[name_of(1)] = b"junk"

    def full(*_: object) -> None:
        raise WriteFailed("could not note it: no space left")

    monkeypatch.setattr(writer, "note_failure", full)
    pulled = Pulled(writer, source, options)
    assert "not remembered: could not note it" in pulled.failed[1].message
    assert stored_runs(writer) == [2, 3]


def test_a_database_that_goes_away_ends_it(
    writer: Writer,
    source: MemorySource,
    options: IngestSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("gone")

    monkeypatch.setattr(writer, "store_run", gone)
    with pytest.raises(DatabaseUnavailable):
        Pulled(writer, source, options)


def test_downloads_overlap_and_are_bounded(writer: Writer, options: IngestSettings) -> None:
    data = archive(1)
    source = MemorySource({name_of(run): data for run in range(1, 13)})
    source.streams = 3
    together = threading.Barrier(3, timeout=60)

    def meet(file: RemoteFile, target: Path) -> None:
        if int(file.name.split("Run")[1].split(".")[0]) <= 3:
            together.wait()  # none of the first three ends before all have begun
        target.write_bytes(source.files[file.name])

    source.behaviours = dict.fromkeys(source.files, meet)
    pulled = Pulled(writer, source, options, workers=1)
    # all but the first hold another run than their name says
    assert pulled.counts == {Status.STORED: 1, Status.FAILED: 11}
    assert source.most_at_once == 3


def test_names_without_a_camera_need_one(writer: Writer, options: IngestSettings) -> None:
    source = MemorySource({"NectarCAM_Run9_Results.fits": run_fits()})
    pulled = Pulled(writer, source, options)
    assert "give --camera" in pulled.failed[9].message
    assert failures(writer) == {}
    assert Pulled(writer, source, options, Wanted(camera=CAMERA)).counts == {Status.STORED: 1}


def test_of_two_files_of_one_run_the_newer_counts(writer: Writer, options: IngestSettings) -> None:
    other = f"{CAMERA}_DQM_Run1.tgz"
    source = MemorySource({name_of(1): archive(1), other: archive(1, seed=4)})
    source.modified[name_of(1)] = 1.75e9
    first = Pulled(writer, source, options)
    assert first.counts == {Status.STORED: 1, Status.PASSED_OVER: 1}
    before = writer.database.last_transaction()
    for update in (False, True):
        again = Pulled(writer, source, options, update=update)
        assert again.counts == {Status.SKIPPED: 1, Status.PASSED_OVER: 1}
    assert writer.database.last_transaction() == before
    source.modified[other] = 1.76e9
    assert Pulled(writer, source, options, update=True).counts[Status.REPLACED] == 1
    assert Pulled(writer, source, options, update=True).fetched == []
