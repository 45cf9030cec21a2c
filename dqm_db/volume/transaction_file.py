"""Finds transactions in a ``Data.fs``, by their headers alone."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Self

from ZODB.FileStorage.format import TRANS_HDR_LEN
from ZODB.utils import p64, u64

from dqm_db.volume.errors import DamagedData
from dqm_db.volume.headers import LENGTH, TransactionHeader
from dqm_db.volume.transactions import NO_TRANSACTION, START
from dqm_db.volume.windows import FileEnds, Window


class TransactionFile:
    """An open ``Data.fs``.

    Parameters
    ----------
    path
        Where it is.
    end
        Position after the last finished transaction, which the FileStorage of a running server
        knows. When None, the size of the file: an unfinished transaction at the end is left out.

    Raises
    ------
    OSError
        The file cannot be opened.
    """

    def __init__(self, path: Path, end: int | None = None) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        status = os.fstat(self.descriptor)
        self.inode = status.st_ino
        self.is_live = end is not None
        self.end = status.st_size if end is None else end
        self.window = Window(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor = -1

    def position_after(self, tid: bytes) -> int:
        """Where the first transaction later than *tid* begins, or `end`.

        Raises
        ------
        DamagedData
            No way leads there.
        """
        ways = [self._from_end, self._from_start]
        if self.end > START and self._number_of(START) + self._number_of_last() > 2 * u64(tid):
            ways.reverse()
        for way in ways:
            with contextlib.suppress(OSError):  # then the other way, or the error below
                return way(tid)
        raise DamagedData(
            f"{self.path} is too damaged to find transaction {tid.hex()}: restore it from a "
            "backup, or `dqm resync` when it is a replica's"
        )

    def _number_of(self, position: int) -> int:
        with contextlib.suppress(OSError):  # only a guess depends on it
            return u64(self.get(position, LENGTH))
        return 0

    def _number_of_last(self) -> int:
        return self._number_of(self.end - LENGTH - self._number_of(self.end - LENGTH))

    def _from_end(self, tid: bytes) -> int:
        position = self.end
        while position > START:
            begin = self._begin_of_last(position)
            if self.get(begin, LENGTH) <= tid:
                return position
            position = begin
        return START

    def _from_start(self, tid: bytes) -> int:
        position = START
        while position < self.end:
            header = self.header(position)
            if header.tid > tid:
                return position
            if header.length < TRANS_HDR_LEN:
                raise FileEnds(f"byte {position}: no length of a transaction")
            position += header.length + LENGTH
        return self.end

    def last(self) -> bytes:
        """The id of the last finished transaction; `NO_TRANSACTION` when there is none.

        Raises
        ------
        DamagedData
            The file ends in something else.
        """
        position = self.end
        try:
            while position > START:
                begin = self._begin_of_last(position)
                header = self.header(begin)
                if begin + header.length + LENGTH != position:
                    raise FileEnds(f"no transaction ends at byte {position}")
                if self.is_live or header.status != b"c":
                    return header.tid
                position = begin
        except OSError as error:
            raise DamagedData(f"{self.path}: its last transaction is damaged ({error})") from error
        return NO_TRANSACTION

    def packed_until(self, after: bytes = NO_TRANSACTION) -> bytes:
        """The highest id of which a pack may have removed the transaction, or some records of it.

        A pack marks those of which it has kept something, from the first one on. To find the last
        one takes a look at each; but none when it is not later than *after*: `NO_TRANSACTION`, as
        when nothing was packed.
        """
        with contextlib.suppress(OSError, DamagedData):  # reading in order will tell it
            position = self.position_after(after)
            if position > START and not self._is_packed(self._begin_of_last(position)):
                return NO_TRANSACTION
        last, position = NO_TRANSACTION, START
        with contextlib.suppress(OSError):  # likewise
            while position < self.end:
                header = self.header(position)
                if header.status != b"p" or header.length < TRANS_HDR_LEN:
                    return p64(u64(header.tid) - 1) if last > NO_TRANSACTION else last
                last = header.tid
                position += header.length + LENGTH
        return last

    def _is_packed(self, begin: int) -> bool:
        return self.header(begin).status == b"p"

    def _begin_of_last(self, end: int) -> int:
        """Where the transaction begins that ends at *end*; raises `FileEnds`."""
        length = u64(self.get(end - LENGTH, LENGTH))
        begin = end - LENGTH - length
        if length < TRANS_HDR_LEN or begin < START:
            raise FileEnds(f"byte {end - LENGTH}: no length of a transaction")
        return begin

    def get(self, position: int, length: int) -> bytes:
        """A few bytes; raises `FileEnds`, or OSError when the disk cannot read them."""
        return self.window.peek(position, length, self.end)

    def header(self, position: int) -> TransactionHeader:
        """The header of the transaction that begins at *position*; raises as `get`."""
        return TransactionHeader.of(self.get(position, TRANS_HDR_LEN))

    def is_framed(self, begin: int) -> bool:
        """Whether a transaction begins at *begin* whose two lengths agree."""
        try:
            header = self.header(begin)
            last = begin + header.length
            return header.length >= header.size and u64(self.get(last, LENGTH)) == header.length
        except FileEnds:
            return False
