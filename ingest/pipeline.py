"""Many files into the database: found, parsed in workers, stored one transaction each.

A file that cannot be stored is reported and never keeps the others from being stored.
"""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dqm_db.errors import DatabaseUnavailable, DQMError, ReadOnlyDatabase, WriteFailed
from dqm_db.writer import Writer
from ingest.archive import ARCHIVE_NAME, RESULTS_NAME, Limits, claimed
from ingest.errors import one_line, printable
from ingest.reading import ReadJob, ReadRun, read_run
from ingest.workers import run_jobs

_ARCHIVE = re.compile(ARCHIVE_NAME.pattern + r"\.(tar|tar\.gz|tgz)")
_RESULTS = re.compile(RESULTS_NAME.pattern + r"(\.gz)?")


class Status(enum.StrEnum):
    """What became of a file."""

    STORED = "stored"
    REPLACED = "replaced"
    SKIPPED = "already stored"
    REFUSED = "refused"
    FAILED = "failed"
    NOT_WRITTEN = "not written"  # the file is good, but the database could not take it

    @property
    def is_good(self) -> bool:
        """Whether the database now holds what the file holds."""
        return self not in (Status.REFUSED, Status.FAILED, Status.NOT_WRITTEN)


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What became of one file.

    Attributes
    ----------
    source : str
        The file, printable.
    status : Status
    camera, run
        None when the file was not understood.
    message : str
        Why it was not stored; empty otherwise.
    """

    source: str
    status: Status
    camera: str | None = None
    run: int | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """What there is to read.

    Attributes
    ----------
    files : tuple of Path
        Given by name, or found in a folder.
    unread : tuple of FileOutcome
        Folders that were not looked into.
    others : int
        Files in folders that are not named like results files.
    """

    files: tuple[Path, ...]
    unread: tuple[FileOutcome, ...] = ()
    others: int = 0


def find_files(paths: Iterable[Path]) -> FoundFiles:
    """The given files, and in the given folders all that are named like results files.

    Files of a folder come in the order of their run numbers. Links to folders are not followed.
    """
    files: list[Path] = []
    unread: list[FileOutcome] = []
    others = 0

    def note(error: OSError) -> None:
        unread.append(_not_read(error.filename, error.strerror or one_line(error)))

    for path in paths:
        if not os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises when it may not look)
            files.append(path)
            continue
        inside: list[Path] = []
        for folder, folders, names in os.walk(path, onerror=note):
            named = [n for n in names if _ARCHIVE.fullmatch(n) or _RESULTS.fullmatch(n)]
            inside += [Path(folder, name) for name in named]
            others += len(names) - len(named)
            links = [link for name in folders if (link := Path(folder, name)).is_symlink()]
            unread += [_not_read(link, "it is a link: give it by its name") for link in links]
        files += sorted(inside, key=lambda file: (claimed(file).run or 0, str(file)))
    return FoundFiles(tuple(dict.fromkeys(files)), tuple(dict.fromkeys(unread)), others)


def _not_read(folder: str | Path, reason: str) -> FileOutcome:
    message = f"the folder was not looked into: {reason}"
    return FileOutcome(printable(folder), Status.FAILED, message=message)


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
            yield ReadJob(path, camera, run, stored, force, limits or Limits())

    for job, result in run_jobs(read_run, jobs(), workers=workers, stop=stop):
        if isinstance(result, Exception):
            yield failed(printable(job.path), result)
        else:
            yield store_run(writer, printable(job.path), result, force=force)


def store_run(writer: Writer, source: str, read: ReadRun, *, force: bool) -> FileOutcome:
    """Store what a worker read, unless the same is stored already, or another without *force*.

    Raises
    ------
    DatabaseUnavailable, ReadOnlyDatabase
    """
    stored = writer.stored(read.camera, read.run)
    if stored is not None and stored.provenance.results_sha256 == read.results_sha256:
        return FileOutcome(source, Status.SKIPPED, read.camera, read.run)
    if stored is not None and not force:
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


def failed(
    source: str, error: Exception, camera: str | None = None, run: int | None = None
) -> FileOutcome:
    """The outcome of a file or run on which *error* was raised."""
    if isinstance(error, WriteFailed):
        return FileOutcome(source, Status.NOT_WRITTEN, camera, run, one_line(error))
    text = one_line(error)
    if isinstance(error, MemoryError):
        text = "there is not enough memory to read it"
    elif not isinstance(error, DQMError | ValueError):
        text = f"{type(error).__name__}: {text}"
    return FileOutcome(source, Status.FAILED, camera, run, text)
