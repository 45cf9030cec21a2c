"""Asks a ZEO server how it is, without logging in.

ZEO answers the message ``ruok`` in the place of a protocol with its status as JSON, and hangs up:
one small exchange that opens no storage and takes no place among the clients. A message is its
length (4 bytes, big-endian) and its bytes.

The status of a storage is a dict; ours has a further key ``dqm`` with what only our servers know
(`dqm_db.replication`). Whatever a server leaves out, or tells in another form, is None here: it may
be stock ZEO, or of another release.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import ssl
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ZODB.TimeStamp import TimeStamp

from dqm_db.errors import DatabaseUnavailable
from dqm_db.replication.addresses import Address
from dqm_db.tls import HUNG_UP, VARIABLES, explained

TID_BYTES = 8
NO_TRANSACTION = bytes(TID_BYTES)
"""The last tid of a database into which nothing was written."""
LONGEST_TEXT = 600
"""Characters of a text of a server that are kept."""
LISTED = 256
"""Replicas of one server, and names of releases, that are kept."""

_STORAGE = "1"  # what ZEO calls the only storage of a server
_OURS = "dqm"
ARE_YOU_OK = struct.pack(">I", 4) + b"ruok"
_GREETING = re.compile(rb"[A-Z][0-9]{1,4}")
_LONGEST_STATUS = 262_144
_HIGHEST_EPOCH = 2**31 - 2  # so that the next one is one that `dqm_db.volume.fence` reads


@dataclass(frozen=True, slots=True)
class FedReplica:
    """A replica that follows the server.

    Attributes
    ----------
    peer : str
        Its address, as the server sees it.
    sent : bytes or None
        The tid (8 bytes) of the last transaction that was sent to it.
    connected_since : float or None
        Unix seconds.
    """

    peer: str
    sent: bytes | None = None
    connected_since: float | None = None


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """What one server says of itself. None: it does not say.

    Attributes
    ----------
    last_transaction : bytes
        Its tid (8 bytes); `NO_TRANSACTION` when there is none.
    clients : int or None
        Connections of clients.
    role : str or None
        ``primary`` or ``replica``.
    epoch : int or None
        How often the role of the primary has changed hands, as of its last transaction.
    fence_state : str or None
        ``serving`` or ``demoted``.
    fence_at : float or None
        When that was decided, unix seconds; 0 when there never was another epoch.
    asks : int or None
        How many servers a primary asks for their epoch; 0: it would not hear of another primary.
    source : str or None
        Whom a replica follows, HOST:PORT.
    following : str or None
        How that goes: ``connected``, ``unreachable`` or ``refused``.
    reason : str or None
        Why it does not.
    heard : float or None
        Last word of its source, unix seconds.
    replicas : tuple of FedReplica
        Who follows the server itself.
    file_bytes, blob_bytes : int or None
        Size of ``Data.fs``, and of all blobs.
    disk_free, disk_total : int or None
        Of the file system of its volume, in bytes.
    aside_bytes : int or None
        Taken by files that were set aside.
    packed, started : float or None
        When it was packed and started last, unix seconds.
    host : str or None
        Name of its machine.
    versions : mapping of str to str
        Distribution -> release.
    certificate_expires : float or None
        When its certificate ends to be valid, unix seconds.
    authority_expires : float or None
        When that of the CA ends, as its host has it.
    now : float or None
        Its clock, unix seconds.
    is_ours : bool
        Whether the key ``dqm`` was there; stock ZEO has none.
    """

    last_transaction: bytes
    clients: int | None = None
    role: str | None = None
    epoch: int | None = None
    fence_state: str | None = None
    fence_at: float | None = None
    asks: int | None = None
    source: str | None = None
    following: str | None = None
    reason: str | None = None
    heard: float | None = None
    replicas: tuple[FedReplica, ...] = ()
    file_bytes: int | None = None
    blob_bytes: int | None = None
    disk_free: int | None = None
    disk_total: int | None = None
    aside_bytes: int | None = None
    packed: float | None = None
    started: float | None = None
    host: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    certificate_expires: float | None = None
    authority_expires: float | None = None
    now: float | None = None
    is_ours: bool = False


async def ask_status(
    host: str, port: int, patience: float, tls: ssl.SSLContext | None = None
) -> ServerAnswer:
    """What the ZEO server at *host*, *port* says of itself.

    Parameters
    ----------
    host, port
        Where its clients connect; the path of a UNIX socket, and 0.
    patience : float
        Seconds within which it must have answered.
    tls : ssl.SSLContext or None
        How to connect by TCP; None: without TLS.

    Raises
    ------
    DatabaseUnavailable
        It does not answer in time, or it is no ZEO server.
    """
    where = Address(host, port)
    if where.path is not None:
        tls = None
    try:
        async with asyncio.timeout(patience):
            if where.path is not None:
                reader, writer = await asyncio.open_unix_connection(where.path)
            else:
                reader, writer = await asyncio.open_connection(host, port, ssl=tls)
            try:
                if tls is None:
                    writer.write(ARE_YOU_OK)
                await _greeting(reader)
                if tls is not None:  # in TLS 1.3, a server that refuses us says so only now
                    writer.write(ARE_YOU_OK)
                return read_answer(await _message(reader, _LONGEST_STATUS))
            finally:
                writer.transport.abort()  # nothing is left to say, and closing could wait
    except TimeoutError:
        raise DatabaseUnavailable(f"{where} does not answer within {patience:g} s") from None
    except (asyncio.IncompleteReadError, ConnectionResetError):
        hint = f"set {VARIABLES}, if it wants TLS" if tls is None else HUNG_UP
        raise DatabaseUnavailable(f"{where} hung up without an answer: {hint}") from None
    except ssl.SSLError as error:
        raise DatabaseUnavailable(f"{where}: TLS failed: {explained(error)}") from error
    except (OSError, UnicodeError) as error:  # UnicodeError: a host that can be no name
        why: object = error
        if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
            why = os.strerror(error.errno)  # asyncio's own words name the address once more
        raise DatabaseUnavailable(f"{where} does not answer: {why}") from error
    except ValueError as error:
        raise DatabaseUnavailable(
            f"what answers at {where} is no ZEO server ({error}); give the address where "
            "clients of the database connect"
        ) from None


async def ask_last_transaction(
    host: str, port: int, patience: float, tls: ssl.SSLContext | None = None
) -> bytes:
    """The tid (8 bytes) of the last transaction that a server has; as `ask_status`."""
    return (await ask_status(host, port, patience, tls)).last_transaction


async def _greeting(reader: asyncio.StreamReader) -> None:
    """Read what a server says first; raises `ValueError` for what no ZEO server says."""
    if not _GREETING.fullmatch(await _message(reader, 5)):
        raise ValueError("it greets otherwise")


async def _message(reader: asyncio.StreamReader, longest: int) -> bytes:
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    if length > longest:
        raise ValueError(f"a message of {length} bytes")
    return await reader.readexactly(length)


def read_answer(message: bytes) -> ServerAnswer:
    """The status of a ZEO server, from its JSON.

    Raises
    ------
    ValueError
        *message* is no such status: it names no transaction.
    """
    try:
        status = json.loads(message)[_STORAGE]
        tid = _tid(status["last-transaction"])
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        tid = None
    if tid is None:
        raise ValueError("its status names no transaction")
    own = status.get(_OURS)
    told: Mapping[str, Any] = own if isinstance(own, dict) else {}
    clients = _count(told.get("clients"))
    return ServerAnswer(
        last_transaction=tid,
        clients=_count(status.get("connections")) if clients is None else clients,
        role=_text(told.get("role")),
        epoch=_epoch(told.get("epoch")),
        fence_state=_text(told.get("fence_state")),
        fence_at=_number(told.get("fence_at")),
        asks=_count(told.get("asks")),
        source=_text(told.get("source")),
        following=_text(told.get("following")),
        reason=_text(told.get("reason")),
        heard=_number(told.get("heard")),
        replicas=_replicas(told.get("replicas")),
        file_bytes=_count(told.get("file_bytes")),
        blob_bytes=_count(told.get("blob_bytes")),
        disk_free=_count(told.get("disk_free")),
        disk_total=_count(told.get("disk_total")),
        aside_bytes=_count(told.get("aside_bytes")),
        packed=_number(told.get("packed")),
        started=_number(told.get("started")),
        host=_text(told.get("host")),
        versions=_versions(told.get("versions")),
        certificate_expires=_number(told.get("certificate_expires")),
        authority_expires=_number(told.get("authority_expires")),
        now=_number(told.get("now")),
        is_ours=isinstance(own, dict),
    )


def transaction_time(tid: bytes) -> float | None:
    """When the transaction *tid* (8 bytes) was made, in Unix seconds by the clock of its server.

    None for that of a database into which nothing was written.
    """
    return None if tid == NO_TRANSACTION else float(TimeStamp(tid).timeTime())


# What a stranger may have sent: of another type, without end, or with the controls of a terminal.


def _tid(value: object) -> bytes | None:
    try:
        tid = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:  # as good as none
        return None
    return tid if len(tid) == TID_BYTES else None


def _text(value: object) -> str | None:
    if not isinstance(value, str) or not value:
        return None
    return "".join(letter if letter.isprintable() else " " for letter in value[:LONGEST_TEXT])


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of 400 digits
        return None
    return number if math.isfinite(number) else None


def _count(value: object) -> int | None:
    number = _number(value)
    return None if number is None or number < 0 else int(number)


def _epoch(value: object) -> int | None:
    count = _count(value)
    return None if count is None or count > _HIGHEST_EPOCH else count


def _replicas(value: object) -> tuple[FedReplica, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(
        FedReplica(
            _text(entry.get("peer")) or "?",
            _tid(entry.get("sent")),
            _number(entry.get("connected_since")),
        )
        for entry in value[:LISTED]
        if isinstance(entry, dict)
    )


def _versions(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict):
        return {}
    told = ((_text(name), _text(release)) for name, release in list(value.items())[:LISTED])
    return {name: release for name, release in told if name and release}
