"""Digests of the records of one transaction, and of their blobs; checks what they point to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from ZODB.blob import FilesystemHelper, is_blob_record
from ZODB.FileStorage.format import DATA_HDR_LEN
from ZODB.fsIndex import fsIndex
from ZODB.utils import u64

from dqm_db.volume.headers import LENGTH, LONGEST_BLOB_RECORD, RecordHeader
from dqm_db.volume.windows import PIECE, Window

DIGEST_BYTES = 16


class RecordDigest(NamedTuple):
    """What one transaction wrote for one object (id of 8 bytes)."""

    oid: bytes
    digest: bytes


class FileReplaced(Exception):
    """A pack has replaced the file that was being read: open it again."""


class RecordReader:
    """Reads records and their blobs.

    Parameters
    ----------
    descriptor
        Of the open ``Data.fs``.
    window
        Through which it is read.
    path
        Where it was opened.
    blobs
        Knows where blobs are.
    """

    def __init__(
        self, descriptor: int, window: Window, path: Path, blobs: FilesystemHelper
    ) -> None:
        self.window = window
        self.end = 0
        self.blob_bytes = 0
        self._last_blob: tuple[bytes, bytes, bytes] | None = None  # of which record, digest
        self.tid = b""
        """What the last record of the transaction took for the transaction's id."""
        self._descriptor = descriptor
        self._path = path
        self._blobs = blobs
        self._buffer = memoryview(bytearray(PIECE))
        self._index: fsIndex | None = None

    def restart(self, *, whole: bool) -> None:
        """Begin elsewhere; *whole* says that it is where the file begins.

        It is then known where the last record of each object stands, and so whether the pointers
        to earlier revisions are right. That takes some 20 bytes per object.
        """
        self._index = fsIndex() if whole else None

    def forget(self) -> None:
        """Some record could not be read: of what follows less is known, but it is not damaged."""
        self._index = None

    def header(self, position: int) -> RecordHeader:
        """The header of the record at *position*; raises `FileEnds`."""
        return RecordHeader.of(self.window.get(position, DATA_HDR_LEN, self.end))

    def peek(self, position: int) -> RecordHeader:
        """The same, without moving the window."""
        return RecordHeader.of(self.window.peek(position, DATA_HDR_LEN, self.end))

    def read(
        self, begin: int, position: int, last: int, tid: bytes, packed: bool, faults: list[str]
    ) -> Iterator[RecordDigest]:
        """The records of the transaction *tid* at *begin*, which stand from *position* to *last*.

        What is wrong is added to *faults*.

        Raises
        ------
        OSError
            The disk cannot read them.
        FileReplaced
        """
        self.blob_bytes = 0
        self._last_blob = None
        self.tid = tid
        written: dict[bytes, int] = {}
        while position < last:
            if position + DATA_HDR_LEN + LENGTH > last:
                faults.append(f"byte {position}: no record fits in here")
                self.forget()
                break
            record = self.header(position)
            if record.transaction != begin or record.version or position + record.size > last:
                faults.append(f"byte {position}: no record of its transaction")
                self.forget()
                break
            self.tid = record.tid
            if record.tid != tid:
                faults.append(f"{_named(record, position)} is of transaction {record.tid.hex()}")
            if not self._is_previous(record, position, packed):
                faults.append(
                    f"{_named(record, position)} has a wrong pointer to its earlier revision"
                )
            yield RecordDigest(record.oid, self._digest(record, position, faults))
            written[record.oid] = position
            position += record.size
        if self._index is not None:
            self._index.update(written)

    def _is_previous(self, record: RecordHeader, position: int, packed: bool) -> bool:
        previous = record.previous
        if packed and not previous:
            return True  # a pack forgets what was before it
        if self._index is not None:
            return previous == self._index.get(record.oid, 0)
        if not previous or previous >= position:
            return not previous
        try:
            return self.peek(previous).oid == record.oid
        except OSError:
            return True  # that one cannot be read, which is found there

    def _digest(self, record: RecordHeader, position: int, faults: list[str]) -> bytes:
        digest = blake2b(record.oid + record.tid, digest_size=DIGEST_BYTES)
        where, length = position + DATA_HDR_LEN, record.length
        if not length:
            target = self._resolve(record, position, faults)
            if target is None:  # the creation of the object was undone
                digest.update(b"\0")
                return digest.digest()
            where, length = target
        digest.update(b"\1%d " % length)
        if length <= LONGEST_BLOB_RECORD:
            data = self.window.get(where, length, self.end)
            digest.update(data)
            if is_blob_record(data):
                digest.update(self._blob(record, faults))
        else:
            for view in self.window.views(where, length, self.end):
                digest.update(view)
        return digest.digest()

    def _resolve(
        self, record: RecordHeader, position: int, faults: list[str]
    ) -> tuple[int, int] | None:
        """Where the data are that an undone record points to, and their length."""
        below = position
        pointer = u64(self.window.get(position + DATA_HDR_LEN, LENGTH, self.end))
        while pointer:
            target = self.peek(pointer) if pointer < below else None
            if target is None or target.oid != record.oid or target.version:
                faults.append(f"{_named(record, position)} points to data that are not its own")
                return None
            if target.length:
                return pointer + DATA_HDR_LEN, target.length
            below = pointer
            pointer = u64(self.window.peek(pointer + DATA_HDR_LEN, LENGTH, self.end))
        return None

    def _blob(self, record: RecordHeader, faults: list[str]) -> bytes:
        """The digest of the file that belongs to *record*, or why there is none."""
        if self._last_blob is not None and self._last_blob[:2] == record[:2]:
            return self._last_blob[2]  # ZEO writes records of blobs twice
        path = Path(self._blobs.getBlobFilename(record.oid, record.tid))
        digest = blake2b(digest_size=DIGEST_BYTES)
        try:
            with path.open("rb", buffering=0) as file:
                while count := file.readinto(self._buffer):
                    digest.update(self._buffer[:count])
                    self.blob_bytes += count
        except OSError as error:
            if self.is_replaced():
                raise FileReplaced from error
            fault = "is missing" if isinstance(error, FileNotFoundError) else f"({error.strerror})"
            faults.append(f"the blob {path} {fault}")
            return b"no blob"
        self._last_blob = (record.oid, record.tid, digest.digest())
        return digest.digest()

    def is_replaced(self) -> bool:
        """Whether there is another file now where ours was."""
        try:
            return self._path.stat().st_ino != os.fstat(self._descriptor).st_ino
        except FileNotFoundError:
            return False  # no pack leaves no file


def _named(record: RecordHeader, position: int) -> str:
    return f"byte {position}: the record of object {record.oid.hex()}"
