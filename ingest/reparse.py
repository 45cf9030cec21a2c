"""Stored runs parsed again from their originals, after the parser has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from dqm_db.errors import DatabaseUnavailable, DQMError, ReadOnlyDatabase
from dqm_db.writer import Writer
from ingest import PARSER_VERSION
from ingest.outcomes import FileOutcome, Status, failed
from ingest.reading import StoredRun, read_again
from ingest.workers import run_jobs


def reparse_runs(
    writer: Writer,
    runs: Iterable[tuple[str, int]],
    *,
    force: bool = False,
    every: bool = False,
    workers: int = 0,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[FileOutcome]:
    """Parse the runs (camera, run) again and replace each in one transaction.

    Runs that the present parser read are skipped unless *force*, and those without an original if
    *every* run is meant; ``Status.SKIPPED`` then.

    Raises
    ------
    DatabaseUnavailable, ReadOnlyDatabase
    """
    settled: list[FileOutcome] = []

    def jobs() -> Iterator[StoredRun]:
        for camera, run in runs:
            try:
                with writer.database.snapshot() as snapshot:
                    provenance = snapshot.header(camera, run).provenance
                    is_read = provenance.parser_version == PARSER_VERSION and not force
                    if is_read or (every and not provenance.has_original):
                        settled.append(FileOutcome(_name(camera, run), Status.SKIPPED, camera, run))
                        continue
                    original = snapshot.original(camera, run)
            except DatabaseUnavailable:
                raise
            except DQMError as error:
                settled.append(failed(_name(camera, run), error, camera, run))
                continue
            yield StoredRun(camera, run, provenance, original)

    for job, result in run_jobs(read_again, jobs(), workers=workers, stop=stop):
        name = _name(job.camera, job.run)
        yield from _taken(settled)
        if isinstance(result, Exception):
            yield failed(name, result, job.camera, job.run)
            continue
        try:
            writer.store_run(result, job.original, replace=True)
        except (DatabaseUnavailable, ReadOnlyDatabase):
            raise
        except (DQMError, ValueError, TypeError) as error:
            yield failed(name, error, job.camera, job.run)
        else:
            yield FileOutcome(name, Status.REPLACED, job.camera, job.run)
    yield from _taken(settled)


def _taken(outcomes: list[FileOutcome]) -> Iterator[FileOutcome]:
    while outcomes:
        yield outcomes.pop(0)


def _name(camera: str, run: int) -> str:
    return f"{camera} run {run}"
