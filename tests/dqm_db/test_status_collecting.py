"""Asking all servers how they are, with servers that only answer that question."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tls_hosts
from ZODB.TimeStamp import TimeStamp

from dqm_db.certificates import certificate_expiry
from dqm_db.errors import ConfigurationError
from dqm_db.replication.addresses import Address
from dqm_db.server_answers import NO_TRANSACTION, ServerAnswer
from dqm_db.settings import DatabaseSettings, WatchSettings
from dqm_db.status import collecting
from dqm_db.status.collecting import (
    Servers,
    ask_servers,
    primary_of,
    said_of_it,
    with_lag,
    with_roles,
)
from dqm_db.status.limits import DAY
from dqm_db.status.missing import bytes_after
from dqm_db.status.model import ServerStatus

HOST = "127.0.0.1"
NOW = 1_800_000_000.0
OLD, NEW = TimeStamp(2027, 1, 15, 7, 0, 0).raw(), TimeStamp(2027, 1, 15, 8, 0, 0).raw()


@contextlib.asynccontextmanager
async def answering(
    *answers: Callable[[], dict[str, Any]] | None,
) -> AsyncIterator[tuple[Address, ...]]:
    """The addresses of servers that answer `ruok`; None: one that never does."""

    async def answer(
        told: Callable[[], dict[str, Any]] | None,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readexactly(8)
            for part in [] if told is None else [b"M5", json.dumps({"1": told()}).encode()]:
                writer.write(struct.pack(">I", len(part)) + part)
            await reader.read()  # until the other side has gone
        writer.close()

    async with contextlib.AsyncExitStack() as stack:
        addresses = []
        for told in answers:
            server = await asyncio.start_server(
                lambda reader, writer, told=told: answer(told, reader, writer), HOST, 0
            )
            await stack.enter_async_context(server)
            addresses.append(Address(*server.sockets[0].getsockname()[:2]))
        yield tuple(addresses)


def telling(tid: bytes, **dqm: Any) -> Callable[[], dict[str, Any]]:
    return lambda: {"last-transaction": tid.hex(), **({"dqm": dqm} if dqm else {})}


def asked(*answers: Any, patience: float = 20.0, primary: int | None = None) -> list[ServerStatus]:
    async def ask() -> tuple[ServerStatus, ...]:
        async with answering(*answers) as addresses:
            named = None if primary is None else addresses[primary]
            return await ask_servers(Servers(addresses, named, patience))

    return list(asyncio.run(ask()))


def test_servers_in_step():
    primary, replica = asked(telling(NEW, role="primary"), telling(NEW, role="replica"))
    assert (primary.role, replica.role) == ("primary", "replica")
    assert (replica.lag_seconds, replica.lag_bytes, replica.error) == (0.0, 0, "")
    assert replica.transaction_time == pytest.approx(NOW)


def test_a_server_of_two_names_is_one():
    told = {"host": "cta1", "started": NOW + 0.123456}
    one = telling(NEW, role="primary", **told)
    other = telling(NEW, role="replica", host="cta1", started=NOW + 0.123457)
    assert [server.role for server in asked(one, one, other)] == ["primary", "replica"]
    untold = telling(NEW)
    assert len(asked(untold, untold, primary=0)) == 2, "of stock ZEO it cannot be known"


def test_one_that_is_silent_does_not_keep_the_others_from_being_known():
    primary, silent = asked(telling(NEW, role="primary"), None, patience=0.2)
    assert primary.answer is not None and primary.lag_seconds == 0
    assert silent.answer is None and silent.error == "It does not answer within 0.2 s"


def test_what_is_on_its_way_is_waited_for(monkeypatch):
    monkeypatch.setattr(collecting, "AGAIN", 0.01)
    tids = iter([OLD, OLD])
    replica = lambda: telling(next(tids, NEW), role="replica")()  # noqa: E731
    _, found = asked(telling(NEW, role="primary"), replica)
    assert (found.lag_seconds, found.lag_bytes) == (0.0, 0)


def test_what_does_not_come_is_said_with_its_age_and_size(monkeypatch):
    monkeypatch.setattr(collecting, "ON_ITS_WAY", 0.05)
    monkeypatch.setattr(collecting, "AGAIN", 0.01)
    questions = []

    def bytes_after(primary: Address, tids: set[bytes], *_: object) -> dict[bytes, int]:
        questions.append((str(primary), tids))
        return {OLD: 4321}

    monkeypatch.setattr(collecting, "bytes_after", bytes_after)
    primary, found = asked(
        telling(NEW, role="primary", now=NOW + 10), telling(OLD, role="replica", packed=1.0)
    )
    assert (found.lag_seconds, found.lag_bytes) == (pytest.approx(3610, abs=60), 4321)
    assert found.lag_seconds > 3610, "the time of waiting counts"
    assert questions == [(primary.address, {OLD})]


def test_a_primary_of_stock_zeo_is_not_asked_what_follows(monkeypatch):
    monkeypatch.setattr(collecting, "ON_ITS_WAY", 0.05)
    monkeypatch.setattr(collecting, "AGAIN", 0.01)
    monkeypatch.setattr(collecting, "bytes_after", None)
    _, found = asked(telling(NEW), telling(OLD), primary=0)
    assert (found.role, found.lag_bytes) == ("replica", None)
    assert found.lag_seconds is not None


def test_a_replica_that_dies_while_it_is_waited_for(monkeypatch):
    monkeypatch.setattr(collecting, "AGAIN", 0.01)
    alive = [OLD]

    def replica() -> dict[str, Any]:
        return {"last-transaction": alive.pop().hex()} if alive else {}

    _, found = asked(telling(NEW, role="primary"), replica)
    assert found.answer is None
    assert found.error.startswith("What answers there is no ZEO server (")


BEHIND = ServerStatus("b:1", ServerAnswer(OLD, file_bytes=700), "", "replica", NOW - 3600)
PRIMARY = ServerAnswer(NEW, file_bytes=1000, now=NOW + 5)


@pytest.mark.parametrize(
    ("server", "primary", "missing", "lag"),
    [
        (BEHIND, PRIMARY, {}, (3605.0, 300)),
        (BEHIND, PRIMARY, {OLD: 250}, (3605.0, 250)),
        (BEHIND, replace(PRIMARY, packed=1.0), {}, (3605.0, None)),
        (BEHIND, replace(PRIMARY, packed=1.0), {OLD: 250}, (3605.0, 250)),
        (BEHIND, replace(PRIMARY, now=NOW - 9999), {}, (0.0, 300)),
        (replace(BEHIND, answer=None), PRIMARY, {}, (None, None)),
        (replace(BEHIND, answer=replace(PRIMARY, packed=1.0)), PRIMARY, {}, (0.0, 0)),
        (
            replace(BEHIND, answer=ServerAnswer(NO_TRANSACTION), transaction_time=None),
            PRIMARY,
            {},
            (pytest.approx(5.0), None),
        ),
    ],
)
def test_how_far_a_server_is_behind(server, primary, missing, lag):
    found = with_lag(server, primary, primary.now, missing)
    assert (found.lag_seconds, found.lag_bytes) == lag


def test_the_settings_name_the_primary_of_servers_that_do_not_tell():
    untold = [ServerStatus(f"{name}:1", ServerAnswer(NEW)) for name in "ab"]
    silent = ServerStatus("c:1", error="silent")
    named = with_roles([*untold, silent], Address("a", 1))
    assert [server.role for server in named] == ["primary", "replica", None]
    assert [server.role for server in with_roles(untold, None)] == [None, None]
    elsewhere = with_roles(untold, Address("10.8.0.1", 1))
    assert [server.role for server in elsewhere] == [None, None], "perhaps one of them"
    told = [replace(untold[0], role="replica"), replace(untold[1], role="primary")]
    assert with_roles(told, Address("a", 1)) == told, "what servers say counts more"


def test_of_two_primaries_the_one_of_the_newer_epoch_counts():
    old, new = (
        ServerStatus(f"{epoch}:1", ServerAnswer(tid, role="primary", epoch=epoch), role="primary")
        for epoch, tid in ((1, NEW), (2, OLD))
    )
    assert primary_of([old, new]) is new
    assert primary_of([ServerStatus("c:1", error="silent", role="primary")]) is None


@pytest.mark.parametrize(
    ("servers", "url", "primary", "addresses"),
    [
        ("", "zeo://a:1,b:2", None, ["a:1", "b:2"]),
        ("", "zeo://a:1,b:2", "p:3", ["a:1", "b:2", "p:3"]),
        ("c:1, d:2", "zeo://a:1", "d:2", ["c:1", "d:2"]),
        ("c:1, d:2", "zeo://a:1", "10.8.0.4:2", ["c:1", "d:2"]),
        ("", "file:///data/Data.fs", None, []),
        ("c:1", "file:///data/Data.fs", None, ["c:1"]),
    ],
)
def test_whom_to_ask(monkeypatch, servers, url, primary, addresses):
    monkeypatch.setenv("DQM_SERVERS", servers)
    found = Servers.of(DatabaseSettings(db_url=url), WatchSettings(primary_zeo=primary))
    assert [str(address) for address in found.addresses] == addresses


def test_with_which_certificate_this_host_asks(monkeypatch, tmp_path: Path):
    authority = tls_hosts.new_authority(tmp_path / "ca")
    folder = tls_hosts.host(authority, "one", days=20)
    for name, path in tls_hosts.variables(folder).items():
        monkeypatch.setenv(name, path)
    own = Servers.of(DatabaseSettings(db_url="zeo://a:1"), WatchSettings()).certificate
    assert own is not None
    assert (own.host, own.path) == (socket.gethostname(), str(folder / "cert.pem"))
    assert 19 * DAY < own.expires - time.time() < 21 * DAY
    assert own.authority_path == str(folder / "ca.pem")
    assert own.authority_expires == certificate_expiry(authority.certificate_file)
    of_file = Servers.of(DatabaseSettings(db_url="file:///data/Data.fs"), WatchSettings())
    assert of_file.certificate is None, "nobody is asked"


@pytest.mark.parametrize(
    ("address", "error", "said"),
    [
        ("a:1", "a:1 does not answer: no route", "It does not answer: no route"),
        ("[::1]:81", "::1:81 does not answer: no route", "It does not answer: no route"),
        ("a:1", "a:1: TLS failed: it wants TLS", "TLS failed: it wants TLS"),
        ("a:1", "what answers at a:1 is no ZEO server", "What answers there is no ZEO server"),
        ("a:1", "a:11 does not answer", "a:11 does not answer"),
    ],
)
def test_the_address_is_not_said_twice(address, error, said):
    assert said_of_it(Address.parse(address, "it"), error) == said


def test_a_server_that_is_none_is_named(monkeypatch):
    monkeypatch.setenv("DQM_SERVERS", "a:1,b")
    with pytest.raises(ConfigurationError, match="DQM_SERVERS: 'b'"):
        Servers.of(DatabaseSettings(), WatchSettings())


def test_a_primary_that_does_not_say_what_follows_is_no_error(free_port):
    assert bytes_after(Address(HOST, free_port), {OLD}, 0.1, None) == {}
