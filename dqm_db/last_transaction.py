"""Asks a ZEO server for its last transaction, without logging in.

ZEO answers the message ``ruok`` in the place of a protocol with its status as JSON, and hangs up:
one small exchange that opens no storage and takes no place among the clients. A message is its
length (4 bytes, big-endian) and its bytes.
"""

from __future__ import annotations

import asyncio
import json
import re
import struct

from ZODB.TimeStamp import TimeStamp

from dqm_db.errors import DatabaseUnavailable

TID_BYTES = 8
NO_TRANSACTION = bytes(TID_BYTES)
"""The last tid of a database into which nothing was written."""

_STORAGE = "1"  # what ZEO calls the only storage of a server
_ARE_YOU_OK = struct.pack(">I", 4) + b"ruok"
_GREETING = re.compile(rb"[A-Z][0-9]{1,4}")
_LONGEST_STATUS = 65_536


async def ask_last_transaction(host: str, port: int, patience: float) -> bytes:
    """The tid (8 bytes) of the last transaction that the ZEO server at *host*, *port* has.

    Parameters
    ----------
    host, port
        Where its clients connect.
    patience : float
        Seconds within which it must have answered.

    Raises
    ------
    DatabaseUnavailable
        It does not answer in time, or it is no ZEO server.
    """
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(_ARE_YOU_OK)
                return await _answer(reader)
            finally:
                writer.transport.abort()  # nothing is left to say, and closing could wait
    except TimeoutError:
        raise DatabaseUnavailable(f"{host}:{port} does not answer within {patience:g} s") from None
    except asyncio.IncompleteReadError:
        raise DatabaseUnavailable(f"{host}:{port} hung up without an answer") from None
    except (OSError, UnicodeError) as error:  # UnicodeError: a host that can be no name
        raise DatabaseUnavailable(f"{host}:{port} does not answer: {error}") from error
    except ValueError as error:
        raise DatabaseUnavailable(
            f"what answers at {host}:{port} is no ZEO server ({error}); give the address where "
            "clients of the database connect"
        ) from None


async def _answer(reader: asyncio.StreamReader) -> bytes:
    """The tid that a server sends; raises `ValueError` for what no ZEO server says."""
    if not _GREETING.fullmatch(await _message(reader, 5)):
        raise ValueError("it greets otherwise")
    return read_status(await _message(reader, _LONGEST_STATUS))


async def _message(reader: asyncio.StreamReader, longest: int) -> bytes:
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    if length > longest:
        raise ValueError(f"a message of {length} bytes")
    return await reader.readexactly(length)


def read_status(message: bytes) -> bytes:
    """The tid (8 bytes) in the status of a ZEO server.

    Raises
    ------
    ValueError
        *message* is no such status.
    """
    try:
        text = json.loads(message)[_STORAGE]["last-transaction"]
        tid = bytes.fromhex(text)
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        tid = b""
    if len(tid) != TID_BYTES:
        raise ValueError("its status names no transaction")
    return tid


def transaction_time(tid: bytes) -> float | None:
    """When the transaction *tid* (8 bytes) was made, in Unix seconds by the clock of its server.

    None for that of a database into which nothing was written.
    """
    return None if tid == NO_TRANSACTION else float(TimeStamp(tid).timeTime())
