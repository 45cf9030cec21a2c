"""Collecting how the system is, again and again, in a dashboard process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from fake_database import SETTINGS, until

from dqm_app import short_silence, system_watch
from dqm_app.system_watch import SystemWatch
from dqm_db.errors import DatabaseUnavailable, NoDataYet
from dqm_db.operations import OperationName
from dqm_db.server_answers import NO_TRANSACTION, ServerAnswer
from dqm_db.status.collecting import NO_SERVERS, Servers
from dqm_db.status.model import DatabaseFacts, Level, OwnCertificate, ServerStatus

FACTS = DatabaseFacts(quarantined=3)


def watching(
    scenario: Callable[[SystemWatch], Awaitable[None]],
    facts: DatabaseFacts | Exception = FACTS,
    started: asyncio.Event | None = None,
    servers: Servers = NO_SERVERS,
) -> None:
    """Run *scenario* with a watch that reads *facts*, or fails to."""

    async def read(_loader: object) -> DatabaseFacts:
        if isinstance(facts, Exception):
            raise facts
        return facts

    async def has_started() -> None:
        if started is not None:
            await started.wait()

    async def run() -> None:
        watch = SystemWatch(SETTINGS, servers, read, has_started)
        watch.start()
        try:
            await scenario(watch)
        finally:
            watch.close()

    asyncio.run(run())


def test_it_is_collected_again_and_again_and_listeners_are_told(monkeypatch):
    monkeypatch.setattr(system_watch, "COLLECT_SECONDS", 0.01)
    told = []

    async def scenario(watch: SystemWatch) -> None:
        stop = watch.listen(lambda: told.append(watch.status))
        await until(lambda: len(told) >= 3)
        stop()
        stop()
        before, status = len(told), watch.status
        await until(lambda: watch.status is not status)
        assert len(told) == before

    watching(scenario)
    assert all(status.database == FACTS for status in told)
    assert len({status.at for status in told}) == len(told)


def test_the_primary_that_was_found_last_is_remembered(monkeypatch):
    monkeypatch.setattr(system_watch, "COLLECT_SECONDS", 0.01)
    names = iter(["a", None, "b"])
    told: list[str | None] = []

    async def ask(_servers: Servers) -> tuple[ServerStatus, ...]:
        name = next(names, None)
        if name is None:
            return (ServerStatus("a:1", error="silent"),)
        answer = ServerAnswer(NO_TRANSACTION, role="primary")
        return (ServerStatus(f"{name}:1", answer, role="primary"),)

    monkeypatch.setattr(system_watch, "ask_servers", ask)

    async def scenario(watch: SystemWatch) -> None:
        watch.listen(lambda: told.append(str(watch.primary)))
        await until(lambda: len(told) >= 4)

    watching(scenario)
    assert told[:4] == ["a:1", "a:1", "b:1", "b:1"]


def test_a_server_that_falls_silent_is_asked_again_soon_and_is_critical_if_it_stays_so(monkeypatch):
    monkeypatch.setattr(system_watch, "COLLECT_SECONDS", 600.0)
    monkeypatch.setattr(system_watch, "LOOKED_AT_SECONDS", 0.01)
    monkeypatch.setattr(short_silence, "GRACE_SECONDS", 600.0)
    answers: list[ServerAnswer | None] = [ServerAnswer(NO_TRANSACTION, role="primary")]
    levels: list[Level] = []

    async def ask(_servers: Servers) -> tuple[ServerStatus, ...]:
        answer = answers.pop() if answers else None
        role = None if answer is None else answer.role
        return (ServerStatus("a:1", answer, "" if answer else "It is silent", role),)

    monkeypatch.setattr(system_watch, "ask_servers", ask)

    async def scenario(watch: SystemWatch) -> None:
        watch.listen(lambda: levels.append(watch.status.level_of("a:1")))
        await until(lambda: len(levels) == 1)
        watch.hasten()
        await until(lambda: len(levels) >= 3)  # it was asked again, without a word
        assert levels[0] is Level.OK
        assert set(levels[1:]) == {Level.WARNING}
        monkeypatch.setattr(short_silence, "GRACE_SECONDS", 0.0)
        await until(lambda: levels[-1] is Level.CRITICAL)

    watching(scenario)


def test_the_certificate_of_the_dashboard_is_judged():
    now = time.time()
    own = OwnCertificate("cta2", "/etc/dqm/cert.pem", now - 60, "/etc/dqm/ca.pem", now + 1e8)

    async def scenario(watch: SystemWatch) -> None:
        status = await watch.collect()
        [item] = [item for item in status.items if item.key == "own-certificate"]
        assert item.level is Level.CRITICAL and "/etc/dqm/cert.pem of cta2" in item.text

    watching(scenario, servers=replace(NO_SERVERS, certificate=own))


def test_nothing_is_said_before_the_database_had_time_to_answer():
    started = asyncio.Event()

    async def scenario(watch: SystemWatch) -> None:
        await asyncio.sleep(0.05)
        assert watch.status is None
        started.set()
        await until(lambda: watch.status is not None)

    watching(scenario, started=started)


@pytest.mark.parametrize(
    ("facts", "level", "error"),
    [
        (DatabaseUnavailable("it is down"), Level.CRITICAL, "it is down"),
        (NoDataYet("nothing"), Level.WARNING, ""),
    ],
)
def test_a_database_that_cannot_be_read_is_part_of_the_status(facts, level, error):
    async def scenario(watch: SystemWatch) -> None:
        await until(lambda: watch.status is not None)
        assert watch.status is not None
        assert (watch.status.level, watch.status.database_error) == (level, error)
        keys = {item.key for item in watch.status.items if item.level is level}
        assert keys == ({"database"} if error else {str(OperationName.BACKUP)})

    watching(scenario, facts)


def test_a_collection_that_fails_is_not_the_last_one(monkeypatch, caplog):
    monkeypatch.setattr(system_watch, "COLLECT_SECONDS", 0.01)
    calls = []

    async def ask(_servers: Servers) -> tuple[ServerStatus, ...]:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("a bug")
        return ()

    monkeypatch.setattr(system_watch, "ask_servers", ask)

    async def scenario(watch: SystemWatch) -> None:
        await until(lambda: watch.status is not None)

    watching(scenario)
    assert "a bug" in caplog.text and len(calls) >= 2
