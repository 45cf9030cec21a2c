"""What workers do: from one file, or one stored original, to a parsed run. Knows no database.

The parser is imported by those who parse: a call from cron that finds nothing new never loads it.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path

from dqm_db.content import Original, Provenance, RunContent, RunHeader
from ingest.archive import Limits, open_original, open_source, read_source
from ingest.sources.base import RemoteFile


@dataclass(frozen=True, slots=True)
class ReadJob:
    """One file to read.

    Attributes
    ----------
    path : Path
    camera, run
        As the user said, or None.
    stored : RunHeader or None
        What is stored of the run that the file's name tells.
    force : bool
        Parse also when a run with other contents is stored.
    limits : Limits
    source : str or None
        Where the file came from, when that is not the path.
    modified : float or None
        When the source says it was last changed, unix s; the path's own time when None.
    attempts : int
        How often the file was tried, this time included.
    file : RemoteFile or None
        What its source said of it; None for a file that the user named.
    """

    path: Path
    camera: str | None = None
    run: int | None = None
    stored: RunHeader | None = None
    force: bool = False
    limits: Limits = field(default_factory=Limits)
    source: str | None = None
    modified: float | None = None
    attempts: int = 1
    file: RemoteFile | None = None


@dataclass(frozen=True, slots=True)
class ReadRun:
    """What a file holds; ``content`` and ``original`` are None when it need not be stored."""

    camera: str
    run: int
    provenance: Provenance
    content: RunContent | None = None
    original: Original | None = None


@dataclass(frozen=True, slots=True)
class StoredRun:
    """One stored run to parse again from its original."""

    camera: str
    run: int
    provenance: Provenance
    original: Original


def read_run(job: ReadJob) -> ReadRun:
    """Read and parse one file, as far as necessary.

    Raises
    ------
    ResultsFileError
    """
    from ingest.parse import parse_results

    data = read_source(job.path, job.limits)
    modified = job.path.stat().st_mtime if job.source is None else job.modified
    stored = job.stored
    known = None if stored is None else stored.provenance
    if (
        stored is not None
        and known is not None
        and (known.source_size, known.source_adler32) == (len(data), zlib.adler32(data))
    ):
        return ReadRun(stored.camera, stored.run, replace(known, source_modified=modified))
    file = open_source(
        data, job.path, source=job.source, camera=job.camera, run=job.run, limits=job.limits
    )
    provenance = replace(
        file.provenance,
        ingested_at=time.time(),
        source_modified=modified,
        attempts=job.attempts,
    )
    if known is not None and (known.results_sha256 == provenance.results_sha256 or not job.force):
        return ReadRun(file.camera, file.run, provenance)
    content = parse_results(file.fits, camera=file.camera, run=file.run, provenance=provenance)
    return ReadRun(file.camera, file.run, content.header.provenance, content, file.original)


def read_again(stored: StoredRun) -> RunContent:
    """Parse a stored run from its original.

    Raises
    ------
    ResultsFileError
    """
    from ingest.parse import parse_results

    return parse_results(
        open_original(stored.original, stored.provenance),
        camera=stored.camera,
        run=stored.run,
        provenance=stored.provenance,
    )
