"""The last transaction of a ``Data.fs``, read from the file itself.

Layout of a FileStorage (``ZODB.FileStorage.format``): four bytes that tell the format, then
transactions. Each begins with its tid (8 bytes), its length without the last field (8, big-endian)
and a status letter, and ends with the same length once more, which lets us find its beginning from
its end.
"""

from __future__ import annotations

from typing import BinaryIO

from dqm_db.volume.errors import DamagedData

NO_TRANSACTION = bytes(8)
"""What ZODB calls the last tid of an empty storage."""

START = 4
"""Position of the first transaction."""

SHORTEST = 23
"""Length of a transaction header without user, description and extension."""


def last_transaction(file: BinaryIO, end: int) -> bytes:
    """The tid (8 bytes) of the transaction that ends at *end*.

    Parameters
    ----------
    file
        A ``Data.fs`` opened for reading; its position is moved.
    end
        Position just after a transaction, such as ``FileStorage._pos``: not the size of the file,
        which may end with a transaction that was voted for but not finished.

    Returns
    -------
    bytes
        :data:`NO_TRANSACTION` when *end* is the beginning of the file.

    Raises
    ------
    DamagedData
        No complete transaction ends there.
    """
    if end <= START:
        return NO_TRANSACTION
    length = _number(file, end - 8)
    begin = end - 8 - length
    if length < SHORTEST or begin < START or _number(file, begin + 8) != length:
        raise DamagedData(
            f"{getattr(file, 'name', 'Data.fs')}: no complete transaction ends at byte {end}; "
            "restore the file, or `dqm resync` when it is a replica's"
        )
    file.seek(begin)
    return file.read(8)


def _number(file: BinaryIO, position: int) -> int:
    if position < 0:
        return -1
    file.seek(position)
    raw = file.read(8)
    return int.from_bytes(raw, "big") if len(raw) == 8 else -1
