"""The volume of another server, as a folder of the original files of its runs.

``volume:/srv/dqm/aside-20260501T120000.250000Z``: what ``dqm resync`` has set aside, a restored
backup, or any other volume, read from its files; no server is needed. So the runs that only a
former primary had come back as they first came: from their original files.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from dqm_db.content import Provenance
from dqm_db.errors import DatabaseUnavailable, DQMError, NoDataYet, RunNotFound
from ingest.archive import ARCHIVE_NAME, open_original
from ingest.errors import ResultsFileError
from ingest.sources.base import Listing, RemoteFile, Source
from ingest.sources.errors import Corrupt, NotFound, SourceError

if TYPE_CHECKING:
    from dqm_db.volume_database import StoredRun, VolumeDatabase

SCHEME = "volume:"


class ServerVolume(Source):
    """Files are listed with what the volume knows of the files that its runs came from."""

    streams = 2
    watches_itself = True  # it is a disk of this machine

    def __init__(self, root: str) -> None:
        self._path = Path(unquote(root[len(SCHEME) :]))
        self.root = f"{SCHEME}{self._path}"
        self._opening = threading.Lock()
        self._resources = contextlib.ExitStack()
        self._database: VolumeDatabase | None = None

    def list(self, folder: str) -> Listing:  # noqa: ARG002 (there are none but the root)
        """All runs; those that were stored without a file are named."""
        files, lacking = [], []
        with _translated():
            try:
                for run in self._opened().runs():
                    if run.media is None:
                        lacking.append(f"{run.camera} {run.run}")
                    else:
                        files.append(self._described(run))
            except NoDataYet:
                return Listing()
        return Listing(tuple(files), lacking=tuple(lacking))

    def fetch(self, file: RemoteFile, target: Path) -> Path:
        """The tarball as it was; of a run that came from a bare FITS file, that."""
        claim = ARCHIVE_NAME.match(file.name)
        if claim is None:
            raise NotFound(f"{file.path} is no run of a volume")
        with _translated():
            original, provenance = self._opened().original(claim["camera"], int(claim["run"]))
        if original.media == "tar":
            target.write_bytes(original.data)
            return target
        try:
            target.write_bytes(open_original(original, provenance))
        except ResultsFileError as error:
            raise Corrupt(f"{file.path}: {error}") from error
        return target

    def close(self) -> None:
        """Close the files."""
        self._resources.close()

    def _opened(self) -> VolumeDatabase:
        from dqm_db.volume_database import open_volume

        with self._opening:
            if self._database is None:
                self._database = self._resources.enter_context(open_volume(self._path))
            return self._database

    def _described(self, run: StoredRun) -> RemoteFile:
        name = f"{run.camera}_DQM_Run{run.run}.{_ending(run)}"
        path = f"{self.root.rstrip('/')}/{name}"
        source = run.provenance
        if source is None:
            return RemoteFile(path, name)
        if not _has_file_as_it_came(run, source):
            return RemoteFile(path, name, modified=source.source_modified)
        return RemoteFile(
            path, name, source.source_size, source.source_modified, source.source_adler32
        )


def _ending(run: StoredRun) -> str:
    return "tar.gz" if run.media == "tar" else "fits"


def _has_file_as_it_came(run: StoredRun, source: Provenance) -> bool:
    """Whether what is fetched is what was fetched then; of a gzipped FITS file the FITS is kept."""
    return run.media == "tar" or source.source_size == source.results_size


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Errors of the database as those of a source."""
    try:
        yield
    except SourceError:
        raise
    except (DatabaseUnavailable, RunNotFound) as error:
        raise NotFound(str(error)) from error
    except DQMError as error:
        raise Corrupt(str(error)) from error
