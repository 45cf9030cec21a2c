"""Where everything is in the volume of a server."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zc.lockfile

from dqm_db.volume.errors import DataInUse, DataUnwritable
from dqm_db.volume.syncing import sync_folder


@dataclass(frozen=True, slots=True)
class Volume:
    """The data directory of one server.

    Attributes
    ----------
    root : Path
        Absolute, such as ``/data``.
    """

    root: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", self.root.absolute())

    @property
    def data_file(self) -> Path:
        """The FileStorage."""
        return self.root / "filestorage" / "Data.fs"

    @property
    def blob_dir(self) -> Path:
        """The blobs, in ZODB's layout ``bushy``; its folder ``tmp`` has unfinished ones."""
        return self.root / "blobstorage"

    @property
    def configuration(self) -> Path:
        """What the server was told at its last start."""
        return self.root / "zeo.conf"

    @property
    def state(self) -> Path:
        """What promotion, demotion, restoring and resynchronising leave for the next start."""
        return self.root / "volume.json"

    @property
    def maintenance(self) -> Path:
        """The file that packing and backups lock, so that they never happen at the same time."""
        return self.root / "maintenance.lock"

    @property
    def packed(self) -> Path:
        """An empty file that was touched when the volume was packed last."""
        return self.root / "packed"

    def create(self) -> None:
        """Make the folders.

        Raises
        ------
        DataUnwritable
            They cannot be made, or are not ours to write.
        """
        with self._writing():
            for directory in (self.root, self.data_file.parent):  # ZODB makes the blobs', mode 700
                new = [path for path in (directory, *directory.parents) if not path.exists()]
                directory.mkdir(parents=True, exist_ok=True)
                for path in new:
                    sync_folder(path.parent)
                if not os.access(directory, os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(directory))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock that the FileStorage of a running server holds.

        Raises
        ------
        DataInUse
            A server runs on the volume.
        DataUnwritable
            The lock cannot be made.
        """
        with self._writing():
            try:
                lock = zc.lockfile.LockFile(f"{self.data_file}.lock")
            except zc.lockfile.LockError as error:
                raise DataInUse.of(error) from error
        with contextlib.closing(lock):
            yield

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataUnwritable(
                f"cannot use {error.filename or self.root} ({error.strerror}): "
                "choose another --data-dir (DQM_DATA_DIR), or make it writable for this user"
            ) from error


def bytes_below(directory: Path) -> int:
    """The sum of the sizes of all files below *directory*, 0 when there is none."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                total += Path(folder, name).lstat().st_size
            except FileNotFoundError:
                continue  # a temporary blob that has got its name meanwhile
    return total
