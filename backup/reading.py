"""Transactions and records of a ``Data.fs``, in order, without loading anything.

The format is that of ``ZODB.FileStorage.format``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from ZODB.blob import is_blob_record
from ZODB.FileStorage.FileStorage import packed_version
from ZODB.FileStorage.format import DATA_HDR_LEN, TRANS_HDR_LEN
from ZODB.utils import u64

from dqm_db.volume.errors import DamagedData
from dqm_db.volume.headers import LENGTH, LONGEST_BLOB_RECORD, RecordHeader, TransactionHeader
from dqm_db.volume.transactions import NO_TRANSACTION, START
from dqm_db.volume.windows import FileEnds, Window


class Record(NamedTuple):
    """What a transaction wrote of one object, at *position*; without data it points to others'."""

    oid: bytes
    position: int
    length: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction, from *begin* to *end* in the file."""

    tid: bytes
    begin: int
    end: int
    description: str
    records: tuple[Record, ...]


class DataFile:
    """An open ``Data.fs``; close it, or use it in a ``with``.

    Parameters
    ----------
    path
        The file; only what stands before the end of what is read is ever looked at, so that a
        server may go on appending to it.

    Raises
    ------
    OSError
        It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._window = Window(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    @property
    def size(self) -> int:
        """Bytes in the file, unfinished transactions included."""
        return os.fstat(self._descriptor).st_size

    def is_data_file(self) -> bool:
        """Whether it begins as the file of a FileStorage does, as far as it goes."""
        return packed_version.startswith(self._peek(0, min(START, self.size)))

    def is_replaced(self) -> bool:
        """Whether another file is there now, as after a pack."""
        try:
            return self.path.stat().st_ino != os.fstat(self._descriptor).st_ino
        except FileNotFoundError:
            return True

    def transactions(
        self, begin: int = START, end: int | None = None, after: bytes = NO_TRANSACTION
    ) -> Iterator[Transaction]:
        """The finished transactions from *begin* to *end*, all of which are later than *after*.

        Without *end*: to the first one that is not complete.

        Raises
        ------
        DamagedData
            What follows is no transaction, or none that ends before *end*.
        """
        limit = self.size if end is None else end
        if begin == START and not self.is_data_file():
            raise DamagedData(f"{self.path} is not the file of a ZODB FileStorage")
        while begin < limit:
            if end is None and self._is_unfinished(begin, limit):
                return
            transaction = self._transaction(begin, limit)
            if transaction.tid <= after:
                raise DamagedData(f"{self.path}: the transaction at byte {begin} is out of order")
            yield transaction
            begin, after = transaction.end, transaction.tid

    def data_of(self, record: Record) -> bytes | None:
        """The data of *record*; None when the creation of its object was undone.

        Raises
        ------
        DamagedData
        """
        position, length = record.position, record.length
        while not length:
            pointer = u64(self._peek(position + DATA_HDR_LEN, LENGTH))
            if not pointer:
                return None
            if pointer >= position:
                raise self._damaged(record.position)
            target = RecordHeader.of(self._peek(pointer, DATA_HDR_LEN))
            if target.oid != record.oid:
                raise self._damaged(record.position)
            position, length = pointer, target.length
        if position == record.position:
            return self._get(position + DATA_HDR_LEN, length, self.size)
        return self._peek(position + DATA_HDR_LEN, length)

    def is_blob(self, record: Record) -> bool:
        """Whether a file belongs to *record*."""
        if record.length > LONGEST_BLOB_RECORD:
            return False
        data = self.data_of(record)
        return data is not None and len(data) <= LONGEST_BLOB_RECORD and is_blob_record(data)

    def _is_unfinished(self, begin: int, limit: int) -> bool:
        if begin + TRANS_HDR_LEN > limit:
            return True
        header = TransactionHeader.of(self._get(begin, TRANS_HDR_LEN, limit))
        return header.status == b"c" or begin + header.length + LENGTH > limit

    def _transaction(self, begin: int, limit: int) -> Transaction:
        header = TransactionHeader.of(self._get(begin, TRANS_HDR_LEN, limit))
        position, last = begin + header.size, begin + header.length
        if header.status not in (b" ", b"p") or position > last or last + LENGTH > limit:
            raise self._damaged(begin)
        text = self._get(begin + TRANS_HDR_LEN + header.user, header.description, limit)
        records = []
        while position < last:
            record = RecordHeader.of(self._get(position, DATA_HDR_LEN, limit))
            following = position + record.size
            whose = record.tid, record.transaction, record.version
            if whose != (header.tid, begin, 0) or following > last:
                raise self._damaged(position)
            records.append(Record(record.oid, position, record.length))
            position = following
        if u64(self._get(last, LENGTH, limit)) != header.length:
            raise self._damaged(last)
        return Transaction(
            header.tid, begin, last + LENGTH, text.decode(errors="replace"), tuple(records)
        )

    def _get(self, position: int, length: int, end: int) -> bytes:
        try:
            return self._window.get(position, length, end)
        except FileEnds as error:
            raise self._damaged(position) from error

    def _peek(self, position: int, length: int) -> bytes:
        """A few bytes elsewhere, without moving the window."""
        try:
            return self._window.peek(position, length, self.size)
        except FileEnds as error:
            raise self._damaged(position) from error

    def _damaged(self, position: int) -> DamagedData:
        return DamagedData(f"{self.path} is damaged at byte {position}")
