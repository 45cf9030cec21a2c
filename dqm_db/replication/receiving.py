"""What a server does with the objects and blobs that a client sends before it votes."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ZEO.StorageServer

logger = logging.getLogger(__name__)


class Receiver(ZEO.StorageServer.ZEOStorage):  # type: ignore[misc, unused-ignore]
    """Tells the client when something cannot be kept, e.g. because the disk is full.

    The client sends objects and blobs without waiting for an answer. When one of them cannot be
    written, stock ZEO hangs up, so that the client knows of a lost connection only. And it does
    not look at how much was written: of the last block of a blob, a full disk may take a part.

    Here the transaction fails, at its vote, with the error of the operating system.
    """

    _failure: OSError | None = None
    blob_tempfile: Any  # file descriptor and path, or None

    def storea(self, *args: Any) -> None:
        """Take an object."""
        self._unless_failed(super().storea, *args)

    def storeBlobStart(self) -> None:  # noqa: N802 (ZEO's name)
        """A blob follows."""
        self._unless_failed(super().storeBlobStart)

    def storeBlobChunk(self, chunk: bytes) -> None:  # noqa: N802 (ZEO's name)
        """Take a block of it."""
        self._unless_failed(self._write, chunk)

    def storeBlobEnd(self, *args: Any) -> None:  # noqa: N802 (ZEO's name)
        """That was all of it."""
        self._unless_failed(super().storeBlobEnd, *args)

    def vote(self, tid: Any) -> Any:
        """Prepare to commit; raises OSError when something could not be kept."""
        if self._failure is not None:
            raise self._failure
        return super().vote(tid)

    def _store(self, oid: bytes, serial: bytes, data: bytes, blobfile: str | None = None) -> None:
        """Store an object, or a blob, in the order of the client; ZEO calls this at the vote.

        ZEO's client sends the object of a blob twice, alone and with the blob. Both records would
        be stored, and zc.zrs would send the blob to each replica with either.
        """
        if blobfile is None and any(oid == blob[0] for blob in self.blob_log):
            return  # it comes with its blob, after the objects
        super()._store(oid, serial, data, blobfile)

    def notify_disconnected(self) -> None:
        """The client has gone; stock ZEO keeps the blob that it was sending."""
        self._forget_blob()
        super().notify_disconnected()

    def _clear_transaction(self) -> None:
        self._failure = None
        self._forget_blob()
        super()._clear_transaction()

    def _unless_failed(self, function: Callable[..., None], *args: Any) -> None:
        if self._failure is not None:
            return  # what follows belongs to a transaction that cannot be committed any more
        try:
            function(*args)
        except OSError as error:
            self._failure = error
            self._forget_blob()  # what is there of it may be what fills the disk
            logger.error("cannot take what a client sends: %s", error)

    def _write(self, chunk: bytes) -> None:
        write_all(self.blob_tempfile[0], chunk)

    def _forget_blob(self) -> None:
        if self.blob_tempfile is not None:
            file, name = self.blob_tempfile
            self.blob_tempfile = None
            os.close(file)
            Path(name).unlink(missing_ok=True)


def write_all(file: int, data: bytes) -> int:
    """Write all of *data*, in place of ``os.write``; raises OSError when the disk is full.

    ``os.write`` first writes what still fits and only says how much that was, at which neither ZEO
    nor zc.zrs looks: a blob that ended there would be cut short without a word.
    """
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]
    return len(data)
