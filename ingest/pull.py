"""Everything that is new at a source, into the database; made to be called from cron for years.

What is new is decided by names, sizes, checksums and times alone (`ingest.attempts`), so a call
that finds nothing opens no file. Files are fetched several at once (`ingest.transfer`), parsed in
worker processes and stored by one writer; each failure is remembered. A source that goes silent
ends its pull early, without blaming its files.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path

from dqm_db.errors import DatabaseUnavailable, DQMError, ReadOnlyDatabase
from dqm_db.writer import Writer
from ingest.archive import Limits, claimed
from ingest.attempts import Decision, Ledger, Named, after_failure
from ingest.errors import one_line, printable
from ingest.finding import Found, Wanted
from ingest.outcomes import FileOutcome, Status, failed
from ingest.pipeline import store_run
from ingest.reading import ReadJob, ReadRun, read_run
from ingest.settings import IngestSettings
from ingest.sources.base import RemoteFile, Source
from ingest.sources.errors import AuthExpired, SourceError, Unavailable
from ingest.transfer import Transfers, private_folder
from ingest.workers import run_jobs

SILENT_FILES = 3
"""After so many fetches in a row without an answer, or as many as run at once, the source is asked
whether it is there: if it still lists, the files are to blame."""
PROBES = 3
"""Times that this is done before a source that lists but gives no file at all counts as down."""

_LEFT_ALONE = {
    Decision.KNOWN: Status.SKIPPED,
    Decision.CHANGED: Status.CHANGED,
    Decision.WAIT: Status.WAITING,
    Decision.QUARANTINE: Status.QUARANTINED,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """A source and what was found there."""

    source: Source
    found: Found


@dataclass(slots=True)
class Puller:
    """Carries out plans.

    Attributes
    ----------
    writer : Writer
    settings : IngestSettings
    wanted : Wanted
    update : bool
        Replace stored runs whose file has changed at its source.
    workers : int
        Processes that parse, at most.
    stop : callable
        Once it returns true nothing further is begun.
    errors : list of DQMError
        Why sources were left before all was done.
    """

    writer: Writer
    settings: IngestSettings
    wanted: Wanted = field(default_factory=Wanted)
    update: bool = False
    workers: int = 0
    stop: Callable[[], bool] = lambda: False
    errors: list[DQMError] = field(default_factory=list)

    def run(self, plans: Sequence[Plan]) -> Iterator[FileOutcome]:
        """Pull from one source after the other, yielding what became of each file.

        Raises
        ------
        DatabaseUnavailable, ReadOnlyDatabase
            Nothing more can be stored; what was yielded before is.
        """
        for plan in plans:
            if self.stop():
                return
            with self.writer.database.snapshot() as snapshot:
                ledger = Ledger.read(snapshot)
            new: list[Named] = []
            yield from decide(plan.found, ledger, self.wanted, new, update=self.update)
            if new:
                yield from self._fetch_all(plan.source, ledger, new)
            self._forget_gone(plan, ledger)

    def _forget_gone(self, plan: Plan, ledger: Ledger) -> None:
        """Forget files that were only to be tried later, and that their source has no more."""
        if self.wanted != Wanted() or plan.found.unread or self.errors or self.stop():
            return  # not all of the source was looked through
        listed = {printable(file.path) for file in plan.found.files}
        below = printable(plan.source.root).rstrip("/") + "/"
        for failure in ledger.healing():
            if failure.source.startswith(below) and failure.source not in listed:
                self.writer.forget_failure(failure.camera, failure.run)

    def _fetch_all(
        self, source: Source, ledger: Ledger, new: Sequence[Named]
    ) -> Iterator[FileOutcome]:
        settings = self.settings
        limits = Limits(settings.ingest_source_bytes, settings.ingest_unpacked_bytes)
        state = _SourceState(source, ledger)
        with contextlib.ExitStack() as resources:
            transfers = Transfers(
                source,
                resources.enter_context(private_folder(settings.ingest_tmp)),
                stall=settings.ingest_stall,
                largest=settings.ingest_source_bytes,
                disk=settings.ingest_disk_bytes,
            )

            def jobs() -> Iterator[ReadJob]:
                for found in new:
                    if state.error is not None:
                        return
                    yield ReadJob(
                        Path(found.file.name),
                        found.camera,
                        found.run,
                        self.writer.stored(found.camera, found.run) if self.update else None,
                        self.update,
                        limits,
                        modified=found.file.modified,
                        attempts=ledger.attempts(found) + 1,
                        file=found.file,
                    )

            outcomes = run_jobs(
                read_run,
                jobs(),
                workers=min(self.workers, len(new)),
                fetch=lambda job: _fetched(transfers, job, state),
                streams=source.streams,
                stop=self.stop,
            )
            for job, result in outcomes:
                yield from self._settled(state, job, result)
                transfers.discard(job.path)
            yield from self._given_up(state)
        if state.error is not None:
            self.errors.append(state.error)

    def _settled(
        self, state: _SourceState, job: ReadJob, result: ReadRun | Exception
    ) -> Iterator[FileOutcome]:
        """What became of a file, and of those before it whose fate hung on it."""
        found = _named(job)
        shown = printable(found.file.path)
        if isinstance(result, AuthExpired) and not self._lists(state):
            yield failed(shown, result, found.camera, found.run)
        elif isinstance(result, Unavailable):
            state.silent.append((found, result))
            if len(state.unanswered()) >= max(SILENT_FILES, state.source.streams):
                self._probe(state)
                yield from self._blamed(state)
        else:
            yield from self._blamed(state)
            if isinstance(result, Exception):
                outcome = failed(shown, result, found.camera, found.run)
            else:
                outcome = self._stored(shown, result)
            yield self._remembered(state.ledger, found, outcome)

    def _stored(self, shown: str, read: ReadRun) -> FileOutcome:
        outcome = store_run(self.writer, shown, read, force=self.update)
        stored = None
        if outcome.status is Status.SKIPPED:
            stored = self.writer.stored(read.camera, read.run)
        if stored is not None:
            # from now on its source says nothing new of it
            told = read.provenance
            self.writer.confirm_source(
                read.camera,
                read.run,
                replace(
                    stored.provenance,
                    source_size=told.source_size,
                    source_adler32=told.source_adler32,
                    source_modified=told.source_modified,
                ),
            )
        return outcome

    def _blamed(self, state: _SourceState) -> Iterator[FileOutcome]:
        """The source has answered since, so it was a matter of the files that did not arrive."""
        unanswered = state.unanswered()
        for found, error in state.silent:
            if (found, error) not in unanswered:
                shown = printable(found.file.path)
                outcome = failed(shown, error, found.camera, found.run)
                yield self._remembered(state.ledger, found, outcome)
        state.silent = unanswered

    def _given_up(self, state: _SourceState) -> Iterator[FileOutcome]:
        """At the end: what did not arrive is the source's fault, unless it still answers."""
        if state.unanswered():
            self._probe(state)
        yield from self._blamed(state)
        for found, error in state.silent:
            state.error = state.error or error
            yield failed(printable(found.file.path), error, found.camera, found.run)

    def _probe(self, state: _SourceState) -> None:
        """Find out whether the files that did not arrive are to blame, or their source."""
        state.probes += 1
        if state.probes > PROBES:
            state.error = state.error or state.silent[-1][1]
        elif self._lists(state):
            state.answered = time.monotonic()

    def _lists(self, state: _SourceState) -> bool:
        """Whether the source can still be listed; if not, that is the end of its pull."""
        if state.error is not None or self.stop():
            return False
        try:
            state.source.list(state.source.root)
        except SourceError as reason:
            state.error = reason
        return state.error is None

    def _remembered(self, ledger: Ledger, found: Named, outcome: FileOutcome) -> FileOutcome:
        """Remember a failure in the database; its outcome says what follows from it."""
        if outcome.status is not Status.FAILED:
            return outcome
        failure = after_failure(ledger, found, outcome, time.time())
        try:
            self.writer.note_failure(failure)
        except (DatabaseUnavailable, ReadOnlyDatabase):
            raise
        except (DQMError, ValueError, TypeError) as error:
            return replace(outcome, message=f"{outcome.message}; not remembered: {one_line(error)}")
        if not failure.is_quarantined:
            return outcome
        words = f"in quarantine after {failure.attempts} attempts"
        return replace(outcome, message=f"{outcome.message}; {words}")


@dataclass(slots=True)
class _SourceState:
    """How it goes with one source.

    ``silent`` are the fetches that had no answer and have not been judged yet; ``ended`` says when
    each fetch ended, and ``answered`` when the last one did that had an answer, which is long
    before its file is stored; ``probes`` counts the doubts since a file has arrived; ``error`` ends
    the pull.
    """

    source: Source
    ledger: Ledger
    silent: list[tuple[Named, Unavailable]] = field(default_factory=list)
    ended: dict[str, float] = field(default_factory=dict)
    answered: float = -math.inf
    probes: int = 0
    error: SourceError | None = None

    def note_end(self, file: RemoteFile, error: BaseException | None) -> None:
        """A fetch has ended; called in its thread."""
        now = self.ended[file.path] = time.monotonic()
        if not isinstance(error, Unavailable):
            self.answered = now
        if error is None:
            self.probes = 0

    def unanswered(self) -> list[tuple[Named, Unavailable]]:
        """The silent ones since the last answer."""
        return [one for one in self.silent if self.ended[one[0].file.path] > self.answered]


def decide(
    found: Found, ledger: Ledger, wanted: Wanted, new: list[Named], *, update: bool
) -> Iterator[FileOutcome]:
    """Yield what is left alone, and what could not be looked at; append what is new to *new*."""
    yield from found.unread
    now = time.time()
    named: list[Named] = []
    for file in found.files:
        claim = claimed(Path(file.name), wanted.camera)
        if claim.camera is None or claim.run is None:
            message = "the name does not tell the camera: give --camera"
            shown = printable(file.path)
            yield FileOutcome(shown, Status.FAILED, run=claim.run, message=message)
        else:
            named.append(Named(claim.camera, claim.run, file))
    newest = _newest_per_run(named)
    for one in named:
        status = Status.PASSED_OVER
        if newest[one.camera, one.run] is one:
            decision = ledger.decide(one, now, update=update)
            if decision is Decision.FETCH:
                new.append(one)
                continue
            status = _LEFT_ALONE[decision]
        yield FileOutcome(printable(one.file.path), status, one.camera, one.run)


def _newest_per_run(named: Sequence[Named]) -> dict[tuple[str, int], Named]:
    """Of several files of a run the newest, as far as that is known; else they would take turns."""

    def age(one: Named) -> tuple[float, str]:
        modified = one.file.modified
        return (-math.inf if modified is None else modified, one.file.path)

    # the last one of a run is the one that stays
    return {(one.camera, one.run): one for one in sorted(named, key=age)}


def _named(job: ReadJob) -> Named:
    if job.camera is None or job.run is None or job.file is None:
        raise ValueError(f"{job.path} was not found at a source")
    return Named(job.camera, job.run, job.file)


def _fetched(transfers: Transfers, job: ReadJob, state: _SourceState) -> Future[ReadJob]:
    """The job with the path at which its file can be read, when it has arrived."""
    file: RemoteFile = _named(job).file
    future: Future[ReadJob] = Future()

    def arrived(transfer: Future[Path]) -> None:
        error = transfer.exception()
        state.note_end(file, error)
        if error is not None:
            future.set_exception(error)
            return
        path = transfer.result()
        is_here = str(path) == file.path
        future.set_result(replace(job, path=path, source=None if is_here else file.path))

    transfers.start(file).add_done_callback(arrived)
    return future
