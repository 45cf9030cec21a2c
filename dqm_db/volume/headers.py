"""Headers of transactions and records in a ``Data.fs``: those of ``ZODB.FileStorage.format``."""

from __future__ import annotations

import struct
from typing import NamedTuple, Self

from ZODB.FileStorage.format import DATA_HDR, DATA_HDR_LEN, TRANS_HDR, TRANS_HDR_LEN

LENGTH = 8
"""Bytes of a length or a position, big-endian."""
LONGEST_BLOB_RECORD = 4096
"""Bytes; the record of a blob holds its class and no state."""

_TRANSACTION = struct.Struct(TRANS_HDR)
_RECORD = struct.Struct(DATA_HDR)


class TransactionHeader(NamedTuple):
    """As it stands in the file; the last three are lengths of texts that follow it."""

    tid: bytes
    length: int
    status: bytes
    user: int
    description: int
    extension: int

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Of the ``TRANS_HDR_LEN`` bytes *data*."""
        return cls._make(_TRANSACTION.unpack(data))

    @property
    def size(self) -> int:
        """Bytes before the first record."""
        return TRANS_HDR_LEN + self.user + self.description + self.extension

    def told(self) -> bytes:
        """What of it means something: all but its place in the file and whether it was packed."""
        return _TRANSACTION.pack(self.tid, 0, b" ", *self[3:])


class RecordHeader(NamedTuple):
    """As it stands in the file; positions are those of bytes."""

    oid: bytes
    tid: bytes
    previous: int
    transaction: int
    version: int
    length: int

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Of the ``DATA_HDR_LEN`` bytes *data*."""
        return cls._make(_RECORD.unpack(data))

    @property
    def size(self) -> int:
        """Bytes that the record takes; without data it has a pointer to another one."""
        return DATA_HDR_LEN + (self.length or LENGTH)
