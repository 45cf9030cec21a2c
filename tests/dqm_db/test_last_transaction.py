"""Asking a server for its last transaction: what it may answer, and what it must not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import time
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ZODB.utils import newTid

from dqm_db.errors import DatabaseUnavailable
from dqm_db.last_transaction import (
    NO_TRANSACTION,
    ask_last_transaction,
    read_status,
    transaction_time,
)

TID = bytes.fromhex("0403a1b2c3d4e5f6")
HOST = "127.0.0.1"


def framed(message: bytes) -> bytes:
    return struct.pack(">I", len(message)) + message


def status(**storages: object) -> bytes:
    return json.dumps(storages or {"1": {"last-transaction": TID.hex()}}).encode()


@contextlib.asynccontextmanager
async def answering(*parts: bytes, hang: bool = False) -> AsyncIterator[int]:
    """The port of a server that sends *parts* to whoever connects, and hangs up or hangs."""
    released = asyncio.Event()
    served: list[asyncio.Task | None] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())
        writer.write(b"".join(parts))
        await reader.readexactly(8)  # or hanging up would be a reset
        if hang:
            await released.wait()
        writer.close()
        with contextlib.suppress(ConnectionError):  # who asked may be gone
            await writer.wait_closed()

    server = await asyncio.start_server(answer, HOST, 0)
    async with server:
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            released.set()
            await asyncio.gather(*filter(None, served))


def asked(*parts: bytes, hang: bool = False, patience: float = 20.0) -> bytes:
    async def ask() -> bytes:
        async with answering(*parts, hang=hang) as port:
            return await ask_last_transaction(HOST, port, patience)

    return asyncio.run(ask())


@pytest.mark.parametrize("greeting", [b"M5", b"Z5", b"Z3101"])
def test_the_last_transaction_is_what_the_status_names(greeting):
    assert asked(framed(greeting), framed(status()), hang=True) == TID


@pytest.mark.parametrize(
    "parts",
    [
        [b"HTTP/1.1 400 Bad Request\r\n\r\n"],
        [b"SSH-2.0-OpenSSH_9.2\r\n"],
        [framed(b"zrs2.0"), framed(status())],
        [framed(b"M5"), framed(b"[]")],
        [framed(b"M5"), struct.pack(">I", 2**31) + b"x"],
    ],
)
def test_what_is_no_zeo_server_is_said_to_be_none(parts):
    with pytest.raises(DatabaseUnavailable, match=r"no ZEO server .*where clients"):
        asked(*parts, hang=True)


@pytest.mark.parametrize("parts", [[], [framed(b"M5")], [framed(b"M5"), framed(status())[:20]]])
def test_a_server_that_hangs_up_has_not_answered(parts):
    with pytest.raises(DatabaseUnavailable, match="hung up without an answer"):
        asked(*parts)


@pytest.mark.parametrize("parts", [[], [framed(b"M5"), framed(status())[:20]]])
def test_a_server_that_hangs_is_given_up(parts):
    with pytest.raises(DatabaseUnavailable, match=r"does not answer within 0\.05 s"):
        asked(*parts, hang=True, patience=0.05)


def test_nobody_listens():
    async def ask() -> None:
        async with answering() as port:
            pass
        await ask_last_transaction(HOST, port, 20)

    with pytest.raises(DatabaseUnavailable, match="does not answer"):
        asyncio.run(ask())


@pytest.mark.parametrize("host", ["a" * 70 + ".example", "..", "\udcff"])
def test_a_host_that_can_be_none(host):
    with pytest.raises(DatabaseUnavailable):
        asyncio.run(ask_last_transaction(host, 8100, 20))


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reading_of_a_status(message):
    with pytest.raises(ValueError, match="names no transaction"):
        read_status(message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda parts: (
        st.lists(parts) | st.dictionaries(st.sampled_from(["1", "last-transaction"]), parts)
    ),
    max_leaves=6,
)


@given(JSON)
def test_no_json_breaks_it_either(document):
    try:
        tid = read_status(json.dumps(document).encode())
    except ValueError as error:
        assert "names no transaction" in str(error)
    else:
        assert len(tid) == 8


def test_a_status_nested_without_end_is_refused():
    with pytest.raises(ValueError, match="names no transaction"):
        read_status(b"[" * 60_000)


@given(st.binary(min_size=8, max_size=8))
def test_every_tid_that_is_sent_is_read_and_has_a_time(tid):
    assert read_status(status(**{"1": {"last-transaction": tid.hex()}})) == tid
    moment = transaction_time(tid)
    assert moment is None if tid == NO_TRANSACTION else isinstance(moment, float)


def test_the_time_of_a_transaction_is_that_of_its_commit():
    before = time.time()
    moment = transaction_time(newTid(None))
    assert moment is not None
    assert before - 0.01 <= moment <= time.time() + 0.01
