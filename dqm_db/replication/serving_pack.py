"""Packing in a server, whoever asks for it: ``dqm pack``, ``zeopack`` or another client."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ZODB.FileStorage.FileStorage import FileStorageError
from ZODB.FileStorage.fspack import FileStoragePacker

from dqm_db.volume.layout import Volume, bytes_below
from dqm_db.volume.maintenance import maintaining
from dqm_db.volume.syncing import sync_file

logger = logging.getLogger(__name__)

STOPS_WITHIN = 10.0
"""Seconds that closing waits for a pack to stop: it may wait for a client that has voted."""


def pack_served(files: Any, pack: Callable[[], object]) -> dict[str, float]:
    """Call *pack* when no backup copies the volume, and say what it has gained.

    Parameters
    ----------
    files
        The open FileStorage.
    pack
        Packs it.

    Returns
    -------
    dict
        ``file_before``, ``file_after``, ``blobs_before``, ``blobs_after`` in bytes, ``seconds``.

    Raises
    ------
    MaintenanceUnderWay
        A backup, or another pack, is under way.
    """
    data_file = Path(files.getName()).absolute()
    volume = Volume(data_file.parent.parent)
    with maintaining(volume, "a pack"):
        started = time.monotonic()
        found = {"file_before": files.getSize(), "blobs_before": _blobs(files)}
        pack()
        volume.packed.touch()
        return found | {
            "file_after": files.getSize(),
            "blobs_after": _blobs(files),
            "seconds": time.monotonic() - started,
        }


class ServedPacks:
    """Lets all packs of a FileStorage end before it is closed, and be on the disk when they end.

    FileStorage renames what it has just written, and then removes the old file and blobs. If power
    failed in the seconds after a pack, neither the new nor the old one might be there. And closing
    releases the lock of the file at once: a pack that goes on would replace the file when another
    server may have it open already.

    Parameters
    ----------
    files
        The open FileStorage, whose methods ``pack``, ``packer`` and ``close`` are replaced.
    """

    def __init__(self, files: Any) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._ended.set()
        self._closing = False
        self._replacing = False  # the file, from which on a pack cannot be stopped
        self._stock_pack, self._stock_close = files.pack, files.close
        files.pack, files.packer, files.close = self._pack, self._packer, self._close

    def _pack(self, *args: Any, **options: Any) -> None:
        """Pack; raises OSError (ECANCELED) when the server is closed meanwhile."""
        with self._lock:
            self._unless_closing()
            if not self._ended.is_set():
                raise FileStorageError("Already packing")
            self._ended.clear()
        try:
            self._stock_pack(*args, **options)
        finally:
            with self._lock:
                self._replacing = False
                self._ended.set()

    def _packer(self, storage: Any, referencesf: Any, stop: bytes, gc: bool) -> Any:
        """Write ``Data.fs.pack``, as FileStorage's own does; returns with the commit lock.

        All that takes long there calls one of the functions that can be stopped here.
        """
        packer = FileStoragePacker(storage, self._stoppable(referencesf), stop, gc)
        for reader in (packer, packer.gc):
            reader._read_txn_header = self._stoppable(reader._read_txn_header)
        try:
            end = packer.pack()
        finally:
            packer.close()
        if end is None:  # nothing to remove, thus no new file
            return None
        path = Path(f"{storage._file_name}.pack")
        try:
            sync_file(path)
            with self._lock:
                self._unless_closing()
                self._replacing = True
        except BaseException:
            storage._commit_lock.release()  # which the packer has left to its caller
            path.unlink(missing_ok=True)
            raise
        return end, packer.index

    def _stoppable(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any) -> Any:
            self._unless_closing()
            return function(*args)

        return called

    def _unless_closing(self) -> None:
        if self._closing:
            raise OSError(errno.ECANCELED, "not packed, the server ends", self._files.getName())

    def _close(self) -> None:
        """Close the storage, once the pack that is under way has stopped, or has ended."""
        with self._lock:
            self._closing = True
            patience = None if self._replacing else STOPS_WITHIN
        # FileStorage also closes itself, when it cannot finish a transaction. Whoever commits has
        # locks for which a pack waits; and while it has them, no pack replaces the file.
        if not self._files._lock._is_owned() and not self._ended.wait(patience):
            logger.warning("a pack does not stop; it will replace nothing any more")
        self._stock_close()


def _blobs(files: Any) -> int:
    return bytes_below(Path(files.blob_dir)) if files.blob_dir else 0
