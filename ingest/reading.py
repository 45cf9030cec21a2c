"""What workers do: from one file, or one stored original, to a parsed run. Knows no database."""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path

from dqm_db.content import Original, Provenance, RunContent, RunHeader
from ingest.archive import Limits, open_original, open_source, read_source
from ingest.parse import parse_results


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
    """

    path: Path
    camera: str | None = None
    run: int | None = None
    stored: RunHeader | None = None
    force: bool = False
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class ReadRun:
    """What a file holds; ``content`` and ``original`` are None when it need not be stored."""

    camera: str
    run: int
    results_sha256: str
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
    data = read_source(job.path, job.limits)
    stored = job.stored
    known = None if stored is None else stored.provenance
    if (
        stored is not None
        and known is not None
        and (known.source_size, known.source_adler32) == (len(data), zlib.adler32(data))
    ):
        return ReadRun(stored.camera, stored.run, known.results_sha256)
    file = open_source(data, job.path, camera=job.camera, run=job.run, limits=job.limits)
    sha256 = file.provenance.results_sha256
    if known is not None and (known.results_sha256 == sha256 or not job.force):
        return ReadRun(file.camera, file.run, sha256)
    provenance = replace(file.provenance, ingested_at=time.time())
    content = parse_results(file.fits, camera=file.camera, run=file.run, provenance=provenance)
    return ReadRun(file.camera, file.run, sha256, content, file.original)


def read_again(stored: StoredRun) -> RunContent:
    """Parse a stored run from its original.

    Raises
    ------
    ResultsFileError
    """
    return parse_results(
        open_original(stored.original, stored.provenance),
        camera=stored.camera,
        run=stored.run,
        provenance=stored.provenance,
    )
