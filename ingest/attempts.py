"""Whether a file at its source is worth an attempt, and what follows from one that failed.

What can heal by itself (a source that breaks off, a file that is refused or gone) is tried again
later and later. What cannot (a file that arrived whole and is no good) is tried once more, since it
may still have been on its way to the source; then it is in quarantine until a person releases it.
Another file under the same name is always worth an attempt.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from dqm_db.catalogue import Catalogue
from dqm_db.content import Provenance
from dqm_db.ingestion import REMOVED, Failure
from dqm_db.reader import Snapshot
from ingest import PARSER_VERSION
from ingest.errors import printable
from ingest.outcomes import FileOutcome
from ingest.sources.base import RemoteFile

HEALING = frozenset(
    {"Unavailable", "NotFound", "AccessDenied", "AuthExpired", "Unreadable", "MemoryError"}
)
"""Errors that say nothing about the file."""
FIRST_DELAY = 60.0
"""Seconds until the second attempt; each further one takes twice as long, up to…"""
LONGEST_DELAY = 3600.0
JITTER = (0.5, 1.5)
"""So that what failed together is not tried together."""


class Decision(enum.Enum):
    """What to do with a file that was found."""

    FETCH = enum.auto()
    KNOWN = enum.auto()
    CHANGED = enum.auto()
    WAIT = enum.auto()
    QUARANTINE = enum.auto()


@dataclass(frozen=True, slots=True)
class Named:
    """A file with the camera and run that its name tells."""

    camera: str
    run: int
    file: RemoteFile


class Ledger:
    """What the database knows of files, read once per pull."""

    def __init__(self, catalogues: Mapping[str, Catalogue], failures: Iterable[Failure]) -> None:
        self._catalogues = catalogues
        self._failures = {(failure.camera, failure.run): failure for failure in failures}

    @classmethod
    def read(cls, snapshot: Snapshot) -> Ledger:
        """All catalogues and failures."""
        catalogues = {camera: snapshot.catalogue(camera) for camera in snapshot.cameras()}
        return cls(catalogues, snapshot.failures())

    def decide(self, found: Named, now: float, *, update: bool) -> Decision:
        """What to do with a file at the time *now* (unix s); *update*: also when it has changed."""
        catalogue = self._catalogues.get(found.camera)
        row = None if catalogue is None else catalogue.position(found.run)
        if catalogue is not None and row is not None:
            names = ("size", "adler32", "modified")
            size, adler32, modified = (catalogue.columns[name][row].item() for name in names)
            if size:  # else it was imported from a database that keeps no files: this is the file
                if not _differs(found.file, size, adler32, modified):
                    return Decision.KNOWN
                if not update:
                    return Decision.CHANGED
        failure = self.failure(found)
        if failure is None or not is_same_file(failure, found.file):
            return Decision.FETCH
        if failure.next_at is None:
            return Decision.QUARANTINE
        return Decision.WAIT if now < failure.next_at else Decision.FETCH

    def failure(self, found: Named) -> Failure | None:
        """The earlier failure of the run, whichever file it was."""
        return self._failures.get((found.camera, found.run))

    def healing(self) -> list[Failure]:
        """Failures of files that are to be tried later, whatever is in them."""
        return [failure for failure in self._failures.values() if failure.kind in HEALING]

    def attempts(self, found: Named) -> int:
        """How often this very file was tried before."""
        failure = self.failure(found)
        return failure.attempts if failure and is_same_file(failure, found.file) else 0


def after_failure(ledger: Ledger, found: Named, outcome: FileOutcome, now: float) -> Failure:
    """What to remember of an attempt that ended with *outcome* at the time *now* (unix s)."""
    before = ledger.failure(found)
    attempts = ledger.attempts(found) + 1
    if outcome.kind in HEALING:
        delay = min(FIRST_DELAY * 2 ** min(attempts - 1, 30), LONGEST_DELAY)
        next_at: float | None = now + delay * random.uniform(*JITTER)  # noqa: S311
    else:
        was_spoiled = before is not None and attempts > 1 and before.kind not in HEALING
        next_at = None if was_spoiled else now
    return Failure(
        camera=found.camera,
        run=found.run,
        source=printable(found.file.path),
        kind=outcome.kind,
        error=outcome.message,
        attempts=attempts,
        first_at=before.first_at if before is not None and attempts > 1 else now,
        last_at=now,
        next_at=next_at,
        size=found.file.size,
        adler32=found.file.adler32,
        modified=found.file.modified,
        parser_version=PARSER_VERSION,
    )


def removed(camera: str, run: int, provenance: Provenance, now: float) -> Failure:
    """What keeps a run away that a person has deleted at the time *now* (unix s)."""
    return Failure(
        camera=camera,
        run=run,
        source=provenance.source,
        kind=REMOVED,
        error="deleted by hand",
        attempts=0,
        first_at=now,
        last_at=now,
        next_at=None,
        size=provenance.source_size,
        adler32=provenance.source_adler32,
        modified=provenance.source_modified,
        parser_version=PARSER_VERSION,
    )


def is_same_file(failure: Failure, file: RemoteFile) -> bool:
    """Whether *file* is what failed, as far as its source tells, and would be read alike."""
    if not failure.is_removed and failure.parser_version != PARSER_VERSION:
        return False
    return not _differs(file, failure.size, failure.adler32, failure.modified)


def _differs(
    file: RemoteFile, size: int | None, adler32: int | None, modified: float | None
) -> bool:
    """Whether what the source says of *file* contradicts what is known; None: nothing is known.

    Times are compared only where nothing better is told, and by the second, as most sources do.
    """
    if file.size is not None and size is not None and file.size != size:
        return True
    if file.adler32 is not None and adler32 is not None:
        return file.adler32 != adler32
    if file.modified is None or modified is None or np.isnan(modified):
        return False
    return abs(file.modified - modified) >= 1.0
