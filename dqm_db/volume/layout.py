"""Where everything is in the volume of a server."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import zc.lockfile

from dqm_db.volume.errors import DataInUse, DataUnwritable
from dqm_db.volume.syncing import sync_folder

logger = logging.getLogger(__name__)

LOOKED_AT_FOR = 5.0
"""Seconds for which a server that starts waits for the lock: a command may just look at it.

Whether a server has the lock can only be told by taking it, for an instant, or for as long as
reading the last transaction takes.
"""

_TRIED_EVERY = 0.05

Taken = TypeVar("Taken")


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
    def locked(self, wait: float = 0.0) -> Iterator[None]:
        """Hold the lock that the FileStorage of a running server holds.

        Parameters
        ----------
        wait
            Seconds to wait for whoever holds it.

        Raises
        ------
        DataInUse
            A server runs on the volume.
        DataUnwritable
            The lock cannot be made.
        """
        with self._writing():
            try:
                lock = when_unlocked(
                    lambda: zc.lockfile.LockFile(f"{self.data_file}.lock"), wait=wait
                )
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


def when_unlocked(take: Callable[[], Taken], *, wait: float) -> Taken:
    """What *take* gives, once it can have the lock of a FileStorage.

    Parameters
    ----------
    take
        Takes the lock; raises `zc.lockfile.LockError` while somebody else holds it.
    wait
        Seconds to wait for whoever holds it; a server that starts waits for `LOOKED_AT_FOR`.

    Raises
    ------
    zc.lockfile.LockError
        Somebody holds it for longer.
    """
    began = time.monotonic()
    said = wait == 0
    while True:
        try:
            return take()
        except zc.lockfile.LockError as error:
            if time.monotonic() >= began + wait:
                raise
            if not said:
                logger.warning("waiting up to %g s for whoever has the lock (%s)", wait, error)
                said = True
            time.sleep(_TRIED_EVERY)


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
