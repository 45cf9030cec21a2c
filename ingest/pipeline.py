"""Files that the user names, into the database: parsed in workers, stored one transaction each.

A file that cannot be stored is reported and never keeps the others from being stored. Whole
folders and remote sources are the business of `ingest.pull`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from dqm_db.errors import DatabaseUnavailable, DQMError, ReadOnlyDatabase
from dqm_db.writer import Writer
from ingest.archive import Limits, claimed
from ingest.errors import printable
from ingest.outcomes import FileOutcome, Status, failed
from ingest.reading import ReadJob, ReadRun, read_run
from ingest.workers import run_jobs


def ingest_files(
    writer: Writer,
    files: Iterable[Path],
    *,
    camera: str | None = None,
    run: int | None = None,
    force: bool = False,
    workers: int = 0,
    limits: Limits | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[FileOutcome]:
    """Store the runs of *files*, yielding what became of each.

    Raises
    ------
    DatabaseUnavailable, ReadOnlyDatabase
        Nothing more can be stored; what was yielded before is.
    """

    def jobs() -> Iterator[ReadJob]:
        for path in files:
            claim = claimed(path, camera, run)
            stored = None
            if claim.camera is not None and claim.run is not None:
                stored = writer.stored(claim.camera, claim.run)
            replaces = force or (stored is not None and not stored.provenance.has_original)
            yield ReadJob(path, camera, run, stored, replaces, limits or Limits())

    for job, result in run_jobs(read_run, jobs(), workers=workers, stop=stop):
        if isinstance(result, Exception):
            yield failed(printable(job.path), result)
        else:
            yield store_run(writer, printable(job.path), result, force=force)


def store_run(writer: Writer, source: str, read: ReadRun, *, force: bool) -> FileOutcome:
    """Store what a worker read, unless the same is stored already, or another without *force*.

    A run that has no original file gets it without *force*.

    Raises
    ------
    DatabaseUnavailable, ReadOnlyDatabase
    """
    stored = writer.stored(read.camera, read.run)
    sha256 = read.provenance.results_sha256
    if stored is not None and stored.provenance.results_sha256 == sha256:
        return FileOutcome(source, Status.SKIPPED, read.camera, read.run)
    if stored is not None and stored.provenance.has_original and not force:
        return FileOutcome(
            source,
            Status.REFUSED,
            read.camera,
            read.run,
            f"{read.camera} run {read.run} is stored with other contents "
            f"(from {stored.provenance.source}); --force replaces it",
        )
    if read.content is None:
        raise ValueError(f"{source} was not parsed although it is to be stored")
    try:
        writer.store_run(read.content, read.original, replace=stored is not None)
    except (DatabaseUnavailable, ReadOnlyDatabase):
        raise
    except (DQMError, ValueError, TypeError) as error:
        return failed(source, error, read.camera, read.run)
    status = Status.STORED if stored is None else Status.REPLACED
    return FileOutcome(source, status, read.camera, read.run)
