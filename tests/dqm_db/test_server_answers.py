"""Asking a server how it is: what it may answer, and what it must not."""

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
from dqm_db.server_answers import (
    LONGEST_TEXT,
    NO_TRANSACTION,
    FedReplica,
    ServerAnswer,
    ask_last_transaction,
    ask_status,
    read_answer,
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
        read_answer(message)


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
        tid = read_answer(json.dumps(document).encode()).last_transaction
    except ValueError as error:
        assert "names no transaction" in str(error)
    else:
        assert len(tid) == 8


def test_a_status_nested_without_end_is_refused():
    with pytest.raises(ValueError, match="names no transaction"):
        read_answer(b"[" * 60_000)


@given(st.binary(min_size=8, max_size=8))
def test_every_tid_that_is_sent_is_read_and_has_a_time(tid):
    assert read_answer(status(**{"1": {"last-transaction": tid.hex()}})).last_transaction == tid
    moment = transaction_time(tid)
    assert moment is None if tid == NO_TRANSACTION else isinstance(moment, float)


def test_the_time_of_a_transaction_is_that_of_its_commit():
    before = time.time()
    moment = transaction_time(newTid(None))
    assert moment is not None
    assert before - 0.01 <= moment <= time.time() + 0.01


TOLD = {
    "role": "replica",
    "epoch": 3,
    "fence_state": "serving",
    "source": "10.8.0.1:5000",
    "following": "refused",
    "reason": "it has no transaction 0403a1b2c3d4e5f6",
    "heard": 1_800_000_000.5,
    "replicas": [{"peer": "10.8.0.3:41234", "sent": TID.hex(), "connected_since": 1.8e9}],
    "clients": 4,
    "file_bytes": 5_000_000_000,
    "blob_bytes": 7_000_000_000,
    "disk_free": 10**11,
    "disk_total": 10**12,
    "aside_bytes": 0,
    "packed": None,
    "started": 1_799_990_000.0,
    "host": "cta-dqm2",
    "versions": {"nectarcam-dqm": "0.1.0", "ZEO": "6.2.0"},
    "certificate_expires": None,
    "authority_expires": 1_900_000_000.0,
    "now": 1_800_000_001.0,
}


def answered(dqm: object, **more: object) -> ServerAnswer:
    return read_answer(status(**{"1": {"last-transaction": TID.hex(), "dqm": dqm, **more}}))


def test_all_that_our_servers_tell_is_read():
    answer = answered(TOLD, connections=9)
    assert (answer.role, answer.epoch, answer.fence_state) == ("replica", 3, "serving")
    assert (answer.source, answer.following) == ("10.8.0.1:5000", "refused")
    assert answer.reason == "it has no transaction 0403a1b2c3d4e5f6"
    assert answer.replicas == (FedReplica("10.8.0.3:41234", TID, 1.8e9),)
    assert (answer.clients, answer.aside_bytes, answer.packed) == (4, 0, None)
    assert (answer.file_bytes, answer.blob_bytes) == (5_000_000_000, 7_000_000_000)
    assert (answer.disk_free, answer.disk_total) == (10**11, 10**12)
    assert (answer.heard, answer.started, answer.now) == (1.8e9 + 0.5, 1_799_990_000.0, 1.8e9 + 1)
    assert answer.versions == {"nectarcam-dqm": "0.1.0", "ZEO": "6.2.0"}
    assert (answer.host, answer.certificate_expires, answer.is_ours) == ("cta-dqm2", None, True)
    assert answer.authority_expires == 1.9e9


def test_stock_zeo_tells_its_transaction_and_its_clients():
    answer = read_answer(status(**{"1": {"last-transaction": TID.hex(), "connections": 2}}))
    assert answer == ServerAnswer(TID, clients=2)


def test_the_whole_status_comes_over_the_wire():
    async def ask() -> ServerAnswer:
        message = status(**{"1": {"last-transaction": TID.hex(), "dqm": TOLD}})
        async with answering(framed(b"M5"), framed(message), hang=True) as port:
            return await ask_status(HOST, port, 20)

    assert asyncio.run(ask()) == answered(TOLD)


def test_a_plain_question_to_what_may_want_tls_says_so():
    with pytest.raises(DatabaseUnavailable, match="DQM_TLS_CA"):
        asked(framed(b"M5"))


@given(st.dictionaries(st.sampled_from([*TOLD, "other"]), JSON) | JSON)
def test_whatever_is_told_otherwise_is_not_known(dqm):
    answer = answered(dqm)
    assert answer.last_transaction == TID
    for text in (answer.role, answer.reason, answer.host, *answer.versions.values()):
        assert text is None or (text.isprintable() and len(text) <= LONGEST_TEXT)
    for count in (answer.epoch, answer.clients, answer.disk_free, answer.file_bytes):
        assert count is None or (isinstance(count, int) and count >= 0)
    for number in (answer.heard, answer.now, answer.certificate_expires, answer.authority_expires):
        assert number is None or abs(number) < float("inf")


def test_texts_cannot_drive_a_terminal_and_numbers_are_finite():
    answer = answered(
        {"reason": "\x1b[2J" + "x" * 10_000, "epoch": True, "clients": -1, "disk_free": 10**400}
        | {"now": 1e999, "replicas": [1, {}, {"peer": 3, "sent": "zz"}], "versions": {"a": 1}}
    )
    assert answer.reason is not None
    assert answer.reason.startswith(" [2Jx") and len(answer.reason) == LONGEST_TEXT
    assert (answer.epoch, answer.clients, answer.disk_free, answer.now) == (None,) * 4
    assert answer.replicas == (FedReplica("?"), FedReplica("?"))
    assert answer.versions == {}


@pytest.mark.parametrize("epoch", [2**31 - 1, 2**31, 1e308, 10**400])
def test_an_epoch_after_which_no_other_can_come_is_none(epoch):
    # A promotion or restore would begin the one after it, which no server reads.
    assert answered({"epoch": epoch}).epoch is None
    assert answered({"epoch": 2**31 - 2}).epoch == 2**31 - 2
