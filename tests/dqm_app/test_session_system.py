"""The page about the system in a session: there without a run and without a database."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable

import pytest
from fake_database import SETTINGS, FakeDatabase, until
from session_page import Page
from synthetic_runs import a_run

import dqm_app.pages
from dqm_app.database_health import State
from dqm_app.service import Service
from dqm_db.replication.addresses import Address
from dqm_db.settings import DatabaseSettings, load
from dqm_db.status.collecting import Servers
from dqm_db.writer import Writer, open_writer

NOBODY = Servers((Address("127.0.0.1", 1),), None, 1.0)


@pytest.fixture
def writer(tmp_path):
    settings = load(DatabaseSettings, db_url=f"file://{tmp_path}/Data.fs", lock_dir=tmp_path)
    with open_writer(settings) as opened:
        yield opened


def serving(
    writer: Writer,
    scenario: Callable[[Service, FakeDatabase], Awaitable[None]],
    servers: Servers = NOBODY,
    *,
    up: bool = True,
) -> None:
    async def run() -> None:
        database = FakeDatabase(writer)
        database.up = up
        service = Service(SETTINGS, lambda: database, servers)
        service.start()
        try:
            await scenario(service, database)
        finally:
            service.close()

    asyncio.run(run())


def document(page: Page) -> dict | None:
    return json.loads(page.view("system").status.tags[0])


def alarm(page: Page) -> dict | None:
    return json.loads(page.page.freshness)["alarm"]


def test_it_is_shown_although_there_is_no_run(writer):
    async def scenario(service, _database):
        await until(lambda: service.health.state is State.EMPTY)
        page = Page(service)
        state = await page.show(view="system")
        assert (state["view"], state["run"], state["header"]) == ("system", None, None)
        await until(lambda: document(page) is not None)
        assert document(page)["servers"][0]["answers"] is False
        state = await page.show(view="overview")
        assert state["view"] is None, "which needs a run"
        await page.show(view="system")
        writer.store_run(a_run(6001), None)
        await until(lambda: page.state["run"] == 6001)
        assert page.state["view"] == "system"

    serving(writer, scenario)


def test_it_is_shown_although_the_database_is_down_from_the_start(writer, monkeypatch):
    monkeypatch.setattr("dqm_app.service.STARTING_SECONDS", 0.01)
    writer.store_run(a_run(6001), None)

    async def scenario(service, database):
        page = Page(service)
        state = await page.show(view="system")
        assert (state["view"], state["run"]) == ("system", None)
        await until(lambda: document(page) is not None)
        assert document(page)["database"]["readable"] is False
        database.up = True
        await until(lambda: page.state["run"] == 6001)
        await until(lambda: document(page)["database"]["readable"])
        assert page.state["header"]["run"] == 6001

    serving(writer, scenario, up=False)


def test_the_facts_of_the_run_stay_when_the_database_goes_down(writer):
    writer.store_run(a_run(6001), None)

    async def scenario(service, database):
        await until(lambda: service.health.state is State.OK)
        page, other = Page(service), Page(service)
        await page.show(view="contents", run=6001)
        database.up = False
        await until(lambda: service.health.state is State.DOWN)
        state = await page.show(view="system", run=6001)
        assert state["message"] is None
        assert (state["view"], state["header"]["run"]) == ("system", 6001)
        state = await other.show(view="system", run=6001)
        assert (state["view"], state["header"]) == ("system", None), "it never had them"

    serving(writer, scenario)


def test_it_does_not_wait_for_a_database_that_hangs(writer, monkeypatch):
    writer.store_run(a_run(6001), None)
    answers = threading.Event()
    read_facts = dqm_app.pages._read_facts

    def hanging(*arguments):
        answers.wait(10)
        return read_facts(*arguments)

    monkeypatch.setattr("dqm_app.pages._read_facts", hanging)
    monkeypatch.setattr("dqm_app.pages.FACTS_SECONDS", 0.01)

    async def scenario(service, _database):
        await until(lambda: service.health.state is State.OK)
        page = Page(service)
        try:
            state = await page.show(view="system", run=6001)
            assert (state["view"], state["run"], state["header"]) == ("system", 6001, None)
        finally:
            answers.set()
        await until(lambda: service.health.state is State.OK)
        state = await page.show(view="contents", run=6001)
        assert state["header"]["run"] == 6001

    serving(writer, scenario)


def test_news_of_the_system_reach_only_the_page_that_shows_it(writer):
    writer.store_run(a_run(6001), None)

    async def scenario(service, _database):
        page, other = Page(service), Page(service)
        await page.show(view="system", run=6001)
        await other.show(view="system", run=6001)
        await other.show(view="contents", run=6001)
        await until(lambda: alarm(page) is not None and alarm(other) is not None)
        assert alarm(page)["title"] == "Primary"
        await service.system.collect()
        heard = {one: [] for one in (page, other)}
        for one, changes in heard.items():
            one.document.on_change(lambda change, changes=changes: changes.append(change))
        before = document(page)["at"]
        await service.system.collect()
        await until(lambda: document(page)["at"] > before)
        await asyncio.sleep(0.05)
        assert {change.model.name for change in heard[page]} == {"system-status"}
        assert heard[other] == []
        assert service.system.looked_at
        await page.show(view="contents", run=6001)
        await service.system.collect()
        assert not service.system.looked_at

    serving(writer, scenario)
