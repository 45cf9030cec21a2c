"""What the puller remembers beside the runs: files that could not be stored, and the last pull.

What is stored well needs nothing here: size, checksum and time of its file are in the catalogue. A
failure goes away in the transaction that stores its run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from BTrees.IOBTree import IOBTree

from dqm_db.codec import pack_record, unpack_record
from dqm_db.model import Ingestion, Root, SmallRecord

REMOVED = "removed"
"""Kind of the "failure" of a run that was deleted and must not come back by itself."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be stored as the run that its name tells.

    Attributes
    ----------
    camera, run
        From the file's name.
    source : str
        Path or URL of the file.
    kind : str
        What went wrong, as the class of the error; `REMOVED` for a run that `dqm rm` deleted.
    error : str
        The same in words, one line.
    attempts : int
    first_at, last_at : float
        First and last attempt, unix seconds, UTC.
    next_at : float or None
        Not to be tried again before; None: not at all, the file is in quarantine.
    size, adler32 : int or None
        What the source said of the file that was tried: another one is tried at once.
    modified : float or None
        Likewise; unix seconds, UTC.
    parser_version : int
        ``ingest.PARSER_VERSION`` that tried it.
    """

    camera: str
    run: int
    source: str
    kind: str
    error: str
    attempts: int
    first_at: float
    last_at: float
    next_at: float | None
    size: int | None = None
    adler32: int | None = None
    modified: float | None = None
    parser_version: int = 0

    @property
    def is_quarantined(self) -> bool:
        """Whether it waits for a person."""
        return self.next_at is None

    @property
    def is_removed(self) -> bool:
        """Whether nothing is wrong with the file: somebody has deleted its run."""
        return self.kind == REMOVED


@dataclass(frozen=True, slots=True)
class Pull:
    """One call of the puller.

    Attributes
    ----------
    started, finished : float
        Unix seconds, UTC.
    sources : tuple of str
        Directories that were looked into.
    counts : mapping of str to int
        Files by what became of them (the values of ``ingest.outcomes.Status``).
    exit_code : int
        With which the command ended.
    error : str
        What kept it from doing everything, in one line; empty otherwise.
    host : str
        Where it ran.
    """

    started: float
    finished: float
    sources: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    exit_code: int = 0
    error: str = ""
    host: str = ""


def put_failure(root: Root, failure: Failure) -> None:
    """Remember *failure*, instead of an earlier one of the same run."""
    failures = _ingestion(root).failures
    of_camera = failures.get(failure.camera)
    if of_camera is None:
        of_camera = failures[failure.camera] = IOBTree()
    of_camera[failure.run] = SmallRecord(pack_record(asdict(failure)))


def drop_failure(root: Root, camera: str, run: int) -> bool:
    """Forget the failure of a run; whether there was one."""
    of_camera = {} if root.ingestion is None else root.ingestion.failures.get(camera, {})
    if run not in of_camera:
        return False
    del of_camera[run]
    return True


def read_failures(root: Root) -> Iterator[Failure]:
    """All failures, by camera and run."""
    if root.ingestion is not None:
        for of_camera in root.ingestion.failures.values():
            for record in of_camera.values():
                yield _failure(record)


def put_pull(root: Root, pull: Pull) -> None:
    """Remember the last pull; a few hundred bytes, since cron does it every few minutes."""
    ingestion = _ingestion(root)
    data = pack_record({**asdict(pull), "sources": list(pull.sources)})
    if ingestion.pull is None:
        ingestion.pull = SmallRecord(data)
    else:
        ingestion.pull.data = data


def read_pull(root: Root) -> Pull | None:
    """The last pull, if there was one."""
    if root.ingestion is None or root.ingestion.pull is None:
        return None
    document: dict[str, Any] = unpack_record(root.ingestion.pull.data)
    return Pull(**{**document, "sources": tuple(document["sources"])})


def _ingestion(root: Root) -> Ingestion:
    if root.ingestion is None:
        root.ingestion = Ingestion()
    return root.ingestion


def _failure(record: SmallRecord) -> Failure:
    document: dict[str, Any] = unpack_record(record.data)
    return Failure(**document)
