"""What became of a file, and the outcome that an error makes."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from dqm_db.errors import DQMError, WriteFailed
from ingest.errors import one_line


class Status(enum.StrEnum):
    """What became of a file."""

    STORED = "stored"
    REPLACED = "replaced"
    SKIPPED = "already stored"
    CHANGED = "changed at the source"  # and left alone, since nobody asked for --update
    WAITING = "to be tried later"
    QUARANTINED = "in quarantine"
    PASSED_OVER = "passed over"  # there is a newer file of the same run
    TO_DO = "to do"  # of a dry run
    REFUSED = "refused"
    FAILED = "failed"
    NOT_WRITTEN = "not written"  # the file is good, but the database or a disk could not take it

    @property
    def is_good(self) -> bool:
        """Whether nothing went wrong with the file this time."""
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
    kind : str
        Class of the error, where there was one.
    """

    source: str
    status: Status
    camera: str | None = None
    run: int | None = None
    message: str = ""
    kind: str = ""


def failed(
    source: str, error: Exception, camera: str | None = None, run: int | None = None
) -> FileOutcome:
    """The outcome of a file or run on which *error* was raised."""
    kind = type(error).__name__
    if isinstance(error, WriteFailed):
        return FileOutcome(source, Status.NOT_WRITTEN, camera, run, one_line(error), kind)
    text = one_line(error)
    if isinstance(error, MemoryError):
        text = "there is not enough memory to read it"
    elif not isinstance(error, DQMError | ValueError):
        text = f"{kind}: {text}"
    return FileOutcome(source, Status.FAILED, camera, run, text, kind)
