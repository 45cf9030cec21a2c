"""Digests of what a server has, for ``dqm verify``: read from its own file, in threads.

One reader belongs to each connection of a client, who asks for one piece after the other. It has
an open file of its own, so commits wait for nothing but the processor.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ZODB.POSException import POSKeyError

from dqm_db.volume.digest_wire import to_plain
from dqm_db.volume.digests import DigestReader, TransactionDigest
from dqm_db.volume.errors import DamagedData
from dqm_db.volume.reachable import reachable_among
from dqm_db.volume.record_digests import FileReplaced

LONGEST_SECONDS = 2.0
"""After which an answer ends with the transaction that is being read."""

MOST_BYTES = 1 << 26
MOST_RECORDS = 20_000
"""Limits of one answer, whatever the client asks for; a transaction is never cut."""


class ServedDigests:
    """Answers one client.

    Parameters
    ----------
    files
        The open FileStorage.
    """

    def __init__(self, files: Any) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._reader: DigestReader | None = None
        self._closed = False

    def digests(self, after: bytes, limit_bytes: int, detailed_until: bytes) -> dict[str, Any]:
        """The transactions later than *after*: one, and more until *limit_bytes* were read.

        Returns
        -------
        dict
            ``transactions``: as `dqm_db.volume.digest_wire` writes them; those up to
            *detailed_until* with details. ``complete``: whether no more follow now. ``broken``:
            why none can be read any more, or None.
        """
        with self._lock:
            try:
                return self._digests(after, min(limit_bytes, MOST_BYTES), detailed_until)
            finally:
                if self._closed:
                    self._drop()

    def _digests(self, after: bytes, limit: int, detailed_until: bytes) -> dict[str, Any]:
        found: list[TransactionDigest] = []
        complete, broken = False, None
        until = time.monotonic() + LONGEST_SECONDS
        records, last = 0, after
        try:
            reader = self._opened()
            while not found or (limit > 0 and records < MOST_RECORDS and time.monotonic() < until):
                try:
                    reader.seek(last)
                    one = reader.read(detailed_until=detailed_until)
                except FileReplaced:  # the new file has what comes next
                    reader = self._opened()
                    continue
                if one is None:
                    complete = True
                    break
                found.append(one)
                last = one.tid
                limit -= one.bytes
                records += one.records
        except DamagedData as error:
            broken = str(error)
        except OSError as error:
            broken = f"{self._files.getName()} cannot be read ({error.strerror})"
        return {
            "transactions": [to_plain(one) for one in found],
            "complete": complete,
            "broken": broken,
        }

    def reachable(self, oids: Sequence[bytes]) -> list[bytes]:
        """Those of *oids* that can be reached from the root; takes as long as a pack."""
        return sorted(reachable_among(self._files, oids))

    def _opened(self) -> DigestReader:
        """The reader, of the file as it is now and up to its last finished transaction."""
        files = self._files
        with files._lock:  # a pack changes all of this while it holds it
            end, inode = files._pos, os.fstat(files._file.fileno()).st_ino
            if self._reader is not None and self._reader.inode == inode:
                self._reader.move_end(end)
                return self._reader
            self._drop()
            self._reader = self._open(end)
        return self._reader

    def _open(self, end: int) -> DigestReader:
        return DigestReader(Path(self._files.getName()), Path(self._files.blob_dir), end)

    def packed_until(self, after: bytes) -> bytes:
        """Id up to which a pack may have removed transactions; see `DigestReader.packed_until`.

        Raises
        ------
        OSError
        """
        with self._files._lock:
            reader = self._open(self._files._pos)
        with reader:
            return reader.packed_until(after)

    def bytes_after(self, tid: bytes) -> int:
        """Bytes of ``Data.fs`` that the transactions later than *tid* take.

        Raises
        ------
        DamagedData, OSError
        """
        with self._files._lock:
            reader = self._open(self._files._pos)
        with reader:
            return reader.end - reader.position_after(tid)

    def current(self, oids: Sequence[bytes]) -> list[bytes]:
        """The last transaction that wrote each object; empty for those that are not there."""
        return [self._current(oid) for oid in oids]

    def _current(self, oid: bytes) -> bytes:
        try:
            return self._files.getTid(oid)
        except POSKeyError:
            return b""

    def close(self) -> None:
        """Close the file, as soon as nobody reads it; never waits."""
        self._closed = True
        if self._lock.acquire(blocking=False):
            try:
                self._drop()
            finally:
                self._lock.release()

    def _drop(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader = None
