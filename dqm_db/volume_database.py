"""The database in the volume of a server that does not run, read from its files.

Such as what ``dqm resync`` has set aside, or a backup that was restored beside. Nothing is written
or locked. Whatever such a volume has been through, reading it runs no code: of the classes that a
record names none is loaded but those that this system stores.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ZODB
from BTrees.IOBTree import IOBTree
from ZODB.Connection import Connection
from ZODB.FileStorage import FileStorage
from ZODB.FileStorage.FileStorage import FileStorageError
from ZODB.interfaces import IStorage
from ZODB.POSException import StateLoadError

from dqm_db.catalogue import read_catalogue
from dqm_db.content import Original, Provenance
from dqm_db.errors import DamagedDatabase, DatabaseUnavailable, DQMError, ForeignDatabase
from dqm_db.records import unpack_header
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import Database, checked_root
from dqm_db.stored_classes import stored_class
from dqm_db.volume.layout import Volume

SCHEME = "volume:"


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run in the volume.

    Attributes
    ----------
    camera, run
    sha256 : str
        Of its results file, in hex; empty when it is not known.
    provenance : Provenance or None
        Where it came from; None when its record is damaged.
    media : str or None
        How its original is stored, as in `dqm_db.content.Original`; None: it has none.
    """

    camera: str
    run: int
    sha256: str
    provenance: Provenance | None
    media: str | None


def open_volume(path: Path) -> VolumeDatabase:
    """Open the volume at *path* for reading; the folder of a ``Data.fs``, or that, will do as well.

    Raises
    ------
    DatabaseUnavailable
        There is no ``Data.fs``, or it may not be read.
    DamagedDatabase
        It is no FileStorage.
    """
    settings = load(DatabaseSettings, db_url=f"{SCHEME}{path.absolute()}")
    return VolumeDatabase(settings, read_only=True, must_answer=True)


class VolumeDatabase(Database):
    """The state of a volume when it was opened; see `open_volume`."""

    def __enter__(self) -> VolumeDatabase:
        return self

    def runs(self) -> Iterator[StoredRun]:
        """All runs, by camera and number; damaged ones as far as they can be told.

        Raises
        ------
        NoDataYet, ForeignDatabase, NewerDatabase, OlderDatabase, DamagedDatabase
        """
        url = self.settings.db_url
        with self.connection() as connection, _reading(url):
            for camera, stored in checked_root(connection, url).cameras.items():
                columns = read_catalogue(stored.catalogue).columns
                known = dict(zip(columns["run"].tolist(), columns["sha256"].tolist(), strict=True))
                for run in stored.runs:
                    yield _stored(camera, run, known.get(run, b"").decode("ascii"), stored.runs)
                    connection.cacheGC()

    def original(self, camera: str, run: int) -> tuple[Original, Provenance]:
        """The original of a run, and where it came from.

        Raises
        ------
        RunNotFound
            There is no such run, or it has no original, or that is missing.
        DamagedDatabase
        """
        with self.snapshot() as snapshot, _reading(f"{camera} run {run}"):
            return snapshot.original(camera, run), snapshot.header(camera, run).provenance

    def _open_storage(self, must_answer: bool) -> IStorage:  # noqa: ARG002
        path = Path(self.settings.db_url.removeprefix(SCHEME))
        data, blobs = _files(path)
        if data is None:
            raise DatabaseUnavailable(
                f"{path} is no volume of a server: it holds no filestorage/Data.fs"
            )
        with _reading(str(data)):
            try:
                blob_dir = str(blobs) if blobs.is_dir() else None
                return FileStorage(str(data), read_only=True, blob_dir=blob_dir)
            except OSError as error:
                raise DatabaseUnavailable(f"{data} cannot be opened: {error.strerror}") from error

    def _opened(self) -> ZODB.DB:
        with self._opening:
            if self._db is None:
                self._require_root()
                self._db = ZODB.DB(
                    self._storage,
                    pool_size=self.settings.db_pool,
                    cache_size_bytes=self.settings.db_cache_bytes,
                    class_factory=self._class_of,
                )
            return self._db

    def _class_of(self, _connection: Connection, module: str, name: str) -> type:
        found = stored_class(module, name)
        if found is None:
            raise ForeignDatabase(
                f"{self.settings.db_url} holds a {module}.{name}, which this system never stores: "
                "nothing of that is loaded"
            )
        return found


def _files(path: Path) -> tuple[Path | None, Path]:
    """``Data.fs`` and the folder of its blobs."""
    if path.is_file():
        return path, path.parent.parent / "blobstorage"
    volume = Volume(path)
    places = [(volume.data_file, volume.blob_dir)]
    places.append((path / "Data.fs", path.parent / "blobstorage"))
    for data, blobs in places:
        if data.is_file():
            return data, blobs
    return None, path


def _stored(camera: str, run: int, sha256: str, runs: IOBTree) -> StoredRun:
    try:
        with _reading(f"{camera} run {run}"):
            record = runs[run]
            provenance = _checked(unpack_header(record.header).provenance)
            media = None if record.original is None else str(record.original.media)
    except DQMError:  # said of this run when it is fetched; the others can be read
        return StoredRun(camera, run, sha256, None, "tar")
    return StoredRun(camera, run, sha256 or provenance.results_sha256, provenance, media)


def _checked(provenance: Provenance) -> Provenance:
    """*provenance* when its numbers are some, since they decide what is fetched."""
    numbers = (provenance.source_size, provenance.source_adler32, provenance.results_size)
    modified = provenance.source_modified
    if not all(isinstance(number, int) for number in numbers) or not (
        modified is None or isinstance(modified, int | float)
    ):
        raise DamagedDatabase("its provenance is none of this system's")
    return provenance


@contextlib.contextmanager
def _reading(what: str) -> Iterator[None]:
    try:
        yield
    except (DQMError, FileStorageError):
        raise
    except Exception as error:
        # there is no telling what a damaged or hostile pickle raises
        reason = _reason(error)
        if isinstance(reason, DQMError):  # what `_class_of` has refused
            raise reason from error
        raise DamagedDatabase(
            f"{what} cannot be read ({type(reason).__name__}: {reason}): use another copy"
        ) from error


def _reason(error: BaseException) -> BaseException:
    """What ZODB has packed into an error of its own."""
    while isinstance(error, StateLoadError) and error.__context__ is not None:
        error = error.__context__
    return error
