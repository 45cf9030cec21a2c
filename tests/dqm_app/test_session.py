"""One page's session, without a browser: requests in, page and views out."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import pytest
from bokeh.models import Div
from fake_database import FIRST_READS, SETTINGS, FakeDatabase, until
from session_page import Page
from synthetic_runs import a_run
from verdicts import judge

import dqm_app.page_state
import dqm_app.pages
import dqm_app.service
import dqm_app.session
from dqm_app.database_health import State
from dqm_app.service import Service
from dqm_app.views.base import NothingToShow, QuantityChoice, View
from dqm_db.errors import DatabaseUnavailable
from dqm_db.ingestion import Failure, Pull
from dqm_db.writer import Writer, open_writer


@dataclass(frozen=True)
class Data:
    run: int
    quantity: str


class FirstView(View):
    name = "first"
    title = "First"
    loads: list[tuple[int, str | None]]
    gate: threading.Event

    def __init__(self, context) -> None:
        self.context = context
        self.root = Div()
        self.updates: list[Data] = []
        self.themes = [context.theme.name]

    @classmethod
    def quantities(cls, entries):
        return [QuantityChoice(e.name, e.name, "all", e.unavailable is None, None) for e in entries]

    @classmethod
    def load(cls, snapshot, header, ask):
        quantity = ask.quantity
        cls.gate.wait(10)
        cls.loads.append((header.run, quantity))
        if quantity == "NONE":
            raise NothingToShow("There is nothing here.")
        if quantity == "BUG":
            raise ZeroDivisionError("bug")
        return Data(header.run, quantity if quantity not in (None, "FOO") else "DEFAULT")

    def update(self, data) -> None:
        self.updates.append(data)
        self.root.text = f"{data.run} {data.quantity}"
        if data.quantity == "CANNOT-DRAW":
            raise ZeroDivisionError("bug")

    def restyle(self, theme) -> None:
        self.themes.append(theme.name)


class SecondView(FirstView):
    name = "second"
    title = "Second"


def freshness(page: Page) -> dict:
    return json.loads(page.page.freshness)


@pytest.fixture
def writer(file_settings) -> Iterator[Writer]:
    with open_writer(file_settings) as writer:
        for run in (6001, 6002, 7001):
            writer.store_run(a_run(run), None)
        yield writer


@pytest.fixture
def browse(monkeypatch, writer) -> Callable:
    """Runs a scenario with a service on three runs and two made-up views."""
    gate = threading.Event()
    gate.set()
    views = {view.name: view for view in (FirstView, SecondView)}
    for view in views.values():
        view.loads, view.gate = [], gate
    for module in (dqm_app.session, dqm_app.pages, dqm_app.page_state):
        monkeypatch.setattr(module, "VIEWS", views)

    def run(scenario: Callable[..., Awaitable[None]]) -> None:
        database = FakeDatabase(writer)

        async def body() -> None:
            service = Service(SETTINGS, lambda: database)
            service.start()
            try:
                await until(lambda: service.health.state in (State.OK, State.EMPTY))
                await until(lambda: database.snapshots == FIRST_READS)
                await scenario(service, database, gate)
            finally:
                gate.set()
                service.close()

        asyncio.run(body())

    return run


def test_an_answer_says_all_that_the_frame_needs(browse):
    async def scenario(service, _database, _gate):
        page = Page(service)
        state = await page.show(camera="NectarCAMQM", run=6002)
        assert state["address"] == {
            "camera": "NectarCAMQM",
            "run": "6002",
            "view": "first",
            "quantity": "DEFAULT",
        }
        assert (state["older"], state["newer"], state["newest"]) == ([6001], [7001], 7001)
        assert state["header"]["run"] == 6002
        assert state["header"]["absent_modules"] == a_run(6002).header.absent_modules.tolist()
        assert state["message"] is None
        names = [choice["name"] for choice in json.loads(page.page.quantities)]
        assert "WF-PHY-HIGH-GAIN" in names
        assert json.loads(page.page.health)["state"] == "ok"
        assert page.view("first").updates == [Data(6002, "DEFAULT")]

    browse(scenario)


def test_views_are_built_once_and_only_when_looked_at(browse):
    async def scenario(service, _database, _gate):
        page = Page(service)
        assert all(root.children == [] for root in page.document.roots if root.name[:4] == "cont")
        await page.show(run=6001)
        first = page.view("first")
        assert "second" not in page.session._views
        await page.show(run=6002, view="second")
        await page.show(run=6002, view="first")
        assert page.view("first") is first
        assert [data.run for data in first.updates] == [6001, 6002]
        await page.show(run=6002, view="second")
        await page.show(run=6002, view="first")
        assert len(first.updates) == 2, "nothing changed, nothing is sent again"

    browse(scenario)


def test_of_a_burst_only_the_newest_is_shown(browse):
    async def scenario(service, _database, gate):
        page = Page(service)
        await page.show(run=7001)
        gate.clear()
        for run in (6001, 6002, 7001, 6001, 6002):
            page.ask(run=run, quantity="Q")
            await asyncio.sleep(0.01)
        gate.set()
        state = await page.answer()
        assert state["run"] == 6002
        assert FirstView.loads == [(7001, None), (6001, "Q"), (6002, "Q")]
        assert page.view("first").updates == [Data(7001, "DEFAULT"), Data(6002, "Q")]

    browse(scenario)


def test_what_two_pages_look_at_is_read_once(browse):
    async def scenario(service, database, _gate):
        pages = [Page(service) for _ in range(5)]
        before = database.snapshots
        await asyncio.gather(*(page.show(run=6001) for page in pages))
        assert FirstView.loads == [(6001, None)]
        assert database.snapshots == before + 1, "header and data come from one state"

    browse(scenario)


def test_an_unavailable_quantity_is_explained_and_keeps_the_figures(browse):
    async def scenario(service, _database, _gate):
        page = Page(service)
        await page.show(run=6001)
        state = await page.show(run=6002, quantity="NONE")
        assert state["unavailable"] == "There is nothing here."
        assert state["run"] == 6002
        assert page.view("first").updates == [Data(6001, "DEFAULT")]
        state = await page.show(run=6002, quantity="Q")
        assert state["unavailable"] is None
        assert state["message"] is None

    browse(scenario)


def test_an_unknown_quantity_is_said(browse):
    async def scenario(service, _database, _gate):
        page = Page(service)
        state = await page.show(run=6001, quantity="FOO")
        assert "no quantity “FOO” in “First”; “DEFAULT” is shown" in state["message"]["text"]
        assert state["address"]["quantity"] == "DEFAULT"
        state = await page.show(**state["address"])
        assert state["message"] is None

    browse(scenario)


@pytest.mark.parametrize("quantity", ["BUG", "CANNOT-DRAW"])
def test_a_bug_in_a_view_is_said_and_the_rest_goes_on(browse, quantity, caplog):
    async def scenario(service, _database, _gate):
        page = Page(service)
        state = await page.show(run=6001, quantity=quantity)
        assert state["message"]["level"] == "error"
        assert "ZeroDivisionError" in caplog.text
        state = await page.show(run=6001, view="second")
        assert state["message"] is None

    browse(scenario)


def test_database_down_shows_what_is_kept_and_catches_up(browse):
    async def scenario(service, database, _gate):
        page = Page(service)
        await page.show(run=6001)
        database.up, database.error = False, DatabaseUnavailable("down")
        await until(lambda: json.loads(page.page.health)["state"] == "down")
        state = await page.show(run=6002)
        assert "does not answer" in state["message"]["text"]
        assert state["run"] == 6001, "what was shown stays"
        assert state["address"]["run"] == "6002", "a reload tries the run that was asked for"
        state = await page.show(run=6001)
        assert state["message"] is None, "runs in memory can still be shown"
        state = await page.show(**state["address"])
        assert state["message"] is None, "also by the name of their quantity"
        await page.show(**{**page.state["address"], "run": 6002})
        database.up, database.error = True, None
        await until(lambda: page.state["run"] == 6002)
        assert page.state["message"] is None

    browse(scenario)


def test_a_page_on_latest_follows(browse, writer):
    async def scenario(service, _database, _gate):
        following, staying = Page(service), Page(service)
        await following.show()
        await staying.show(run=7001)
        writer.store_run(a_run(7002), None)
        await until(lambda: following.state["run"] == 7002)
        await until(lambda: staying.state["newest"] == 7002)
        assert staying.state["run"] == 7001
        assert staying.state["newer"] == [7002]
        address = following.state["address"]
        assert (address["run"], address["follow"]) == ("7002", "1")
        assert "follow" not in staying.state["address"]
        assert len(staying.view("first").updates) == 1

    browse(scenario)


def test_a_replaced_run_is_shown_anew(browse, writer):
    async def scenario(service, _database, _gate):
        page = Page(service)
        await page.show(run=6001)
        writer.store_run(a_run(6001, seed=1), None, replace=True)
        await until(lambda: len(page.view("first").updates) == 2)

    browse(scenario)


def test_a_deleted_run_stays_shown_and_is_said_to_be_deleted(browse, writer):
    async def scenario(service, _database, _gate):
        page, following = Page(service), Page(service)
        await page.show(camera="NectarCAMQM", run=7001)
        await following.show()
        writer.delete_run("NectarCAMQM", 7001)
        await until(lambda: page.state["message"] is not None)
        assert "Run 7001 of NectarCAMQM has been deleted" in page.state["message"]["text"]
        assert page.state["run"] == 7001
        assert page.state["address"]["run"] == "7001"
        assert (page.state["older"], page.state["newest"]) == ([6002, 6001], 6002)
        await until(lambda: following.state["run"] == 6002)
        writer.store_run(a_run(7001), None)
        await until(lambda: page.state["message"] is None)
        writer.delete_run("NectarCAMQM", 7001)
        await until(lambda: page.state["message"] is not None)
        state = await page.show(**state_address(page), view="second")
        assert "could not be read" in state["message"]["text"], "it was never looked at"
        assert state["run"] == 7001
        state = await page.show(camera="NectarCAMQM", run=6001)
        assert state["message"] is None

    def state_address(page):
        return {key: page.state["address"][key] for key in ("camera", "run")}

    browse(scenario)


def test_a_database_that_hangs_is_said_while_it_does(browse, monkeypatch):
    monkeypatch.setattr(dqm_app.service, "SLOW_SECONDS", 0.05)

    async def scenario(service, database, gate):
        page = Page(service)
        await page.show(run=6001)
        gate.clear()
        page.ask(run=6002)
        await until(lambda: json.loads(page.page.health)["state"] == "waiting")
        search = {"seq": 1, "camera": "NectarCAMQM", "text": "600"}
        page.request.search = json.dumps(search)
        await until(lambda: page.page.runs != "")
        page.ask(run=7001)
        database.up = False
        state = await page.answer()
        assert "of run 7001 could not be read" in state["message"]["text"]
        assert state["run"] == 6001
        assert json.loads(page.page.health)["state"] == "down"
        gate.set()
        database.up = True
        await until(lambda: page.state["run"] == 7001)

    browse(scenario)


def test_a_run_that_does_not_exist_is_not_chased(browse, writer):
    async def scenario(service, _database, _gate):
        page = Page(service)
        state = await page.show(run=9000)
        assert state["run"] == 7001
        assert "9000" in state["message"]["text"]
        writer.store_run(a_run(9000), None)
        await until(lambda: page.state["newest"] == 9000)
        assert page.state["run"] == 7001

    browse(scenario)


def test_search(browse):
    async def scenario(service, _database, _gate):
        page = Page(service)
        ask = {"seq": 1, "camera": "NectarCAMQM", "text": "600"}
        page.request.search = json.dumps(ask)
        await until(lambda: page.page.runs != "")
        answer = json.loads(page.page.runs)
        assert [row[0] for row in answer["rows"]] == [6002, 6001]
        assert (answer["seq"], answer["matching"], answer["total"]) == (1, 2, 3)
        page.request.search = json.dumps({**ask, "seq": 2, "camera": "unknown"})
        await until(lambda: json.loads(page.page.runs)["seq"] == 2)
        assert json.loads(page.page.runs)["rows"] == []

    browse(scenario)


def test_a_heartbeat_of_cron_changes_the_sign_of_the_pull_and_nothing_else(browse, writer):
    async def scenario(service, database, _gate):
        page, other = Page(service), Page(service)
        await page.show(run=6001)
        await other.show()
        assert freshness(page)["pull"]["at"] is None, "there was no pull"
        sent = []
        for name in ("state", "quantities", "health", "freshness", "failures"):
            page.page.on_change(name, lambda name, _old, _new: sent.append(name))
        loads, snapshots = len(FirstView.loads), database.snapshots
        for number in range(1, 4):
            writer.note_pull(Pull(number, number + 1.0, exit_code=1))
            await until(lambda: len(sent) == number)  # noqa: B023
        await asyncio.sleep(0.05)
        assert sent == ["freshness"] * 3
        assert len(FirstView.loads) == loads
        assert database.snapshots <= snapshots + 6, "two a transaction, for all pages together"
        for sign in (freshness(page)["pull"], freshness(other)["pull"]):
            assert (sign["at"], sign["outcome"], sign["quarantined"]) == (4.0, "partly", 0)
            assert sign["stale"] == SETTINGS.pull_stale
        later = Page(service)
        await later.show(run=6001)
        assert freshness(later)["pull"]["at"] == 4.0

    browse(scenario)


def test_a_new_verdict_reaches_the_page_and_nothing_is_drawn_again(browse, writer):
    for run in (6001, 7001):
        judge(writer, "NectarCAMQM", run, -1)

    async def scenario(service, _database, _gate):
        page = Page(service)
        state = await page.show(run=6001)
        assert (state["verdict"], state["newest_verdict"]) == (None, None)
        assert state["newest_at"] == 1.7e9 + 7001 + 9.5
        updates, loads = len(page.view("first").updates), len(FirstView.loads)
        judge(writer, "NectarCAMQM", 6001, 3)
        await until(lambda: page.state["verdict"] == 3)
        judge(writer, "NectarCAMQM", 7001, 2)
        await until(lambda: page.state["newest_verdict"] == 2)
        assert (len(page.view("first").updates), len(FirstView.loads)) == (updates, loads)

    browse(scenario)


def test_failures_are_sent_when_they_are_asked_for(browse, writer):
    writer.note_failure(Failure("NectarCAMQM", 8001, "a", "Corrupt", "bad", 2, 1.0, 2.0, None))
    writer.note_failure(Failure("Other", 8001, "a", "Corrupt", "bad", 2, 1.0, 2.0, None))

    async def scenario(service, database, _gate):
        page = Page(service)
        await page.show(run=6001)
        await until(lambda: freshness(page)["pull"]["quarantined"] == 2)
        assert page.page.failures == ""

        async def ask(seq: int, camera: str) -> dict:
            page.request.failures = json.dumps({"seq": seq, "camera": camera})
            await until(lambda: json.loads(page.page.failures or '{"seq": 0}')["seq"] == seq)
            return json.loads(page.page.failures)

        answer = await ask(1, "Other")
        assert [row["camera"] for row in answer["rows"]] == ["Other"]
        assert answer["cameras"] == {"NectarCAMQM": 1, "Other": 1}
        database.error = DatabaseUnavailable("it is down")
        unread = "This could not be read: the database does not answer."
        assert (await ask(2, ""))["error"] == unread
        database.error = None
        assert len((await ask(3, ""))["rows"]) == 2

    browse(scenario)


def test_the_theme_reaches_old_and_new_views(browse):
    async def scenario(service, _database, _gate):
        page = Page(service)
        await page.show("light", run=6001)
        await page.show("dark", run=6001)
        await page.show("dark", run=6001, view="second")
        assert page.view("first").themes == ["light", "dark"]
        assert page.view("second").themes == ["dark"]

    browse(scenario)


def test_a_view_fetches_more_for_what_is_still_shown(browse):
    async def scenario(service, _database, gate):
        page = Page(service)
        await page.show(run=6001)
        fetch = page.view("first").context.fetch
        got = []
        fetch(lambda snapshot: snapshot.runs("NectarCAMQM"), got.append, "key")
        await until(lambda: got)
        assert got == [[6001, 6002, 7001]]
        stop = threading.Event()
        fetch(lambda _snapshot: stop.wait(10), got.append, "key")
        await asyncio.sleep(0.02)
        await page.show(run=6002)
        stop.set()
        fetch(lambda _snapshot: "new", got.append, "key")
        await until(lambda: got[-1] == "new")
        assert len(got) == 2, "what was fetched for run 6001 is not shown in run 6002"

    browse(scenario)


def test_a_fetch_that_fails_is_said(browse):
    async def scenario(service, database, _gate):
        page = Page(service)
        await page.show(run=6001)
        database.error = DatabaseUnavailable("The database is down.")
        got = []
        page.view("first").context.fetch(lambda snapshot: snapshot.cameras(), got.append, "key")
        await until(lambda: page.state["message"] is not None)
        assert page.state["message"]["text"] == (
            "More data for this view could not be read: the database does not answer."
        )
        assert (page.state["run"], got) == (6001, [])
        database.error = None
        state = await page.show(run=6002)
        assert state["message"] is None

    browse(scenario)


def test_heartbeats_are_echoed(browse):
    async def scenario(service, _database, _gate):
        page = Page(service)
        page.request.heartbeat = 7
        assert page.page.heartbeat == 7

    browse(scenario)


def test_a_closed_page_is_forgotten(browse, writer):
    async def scenario(service, _database, gate):
        page = Page(service)
        await page.show(run=6001)
        gate.clear()
        page.ask(run=6002)
        await asyncio.sleep(0.02)
        page.close()
        gate.set()
        assert service.sessions == 0
        writer.store_run(a_run(7002), None)
        await until(lambda: 7002 in service.catalogues["NectarCAMQM"])
        await asyncio.sleep(0.05)
        assert page.state["run"] == 6001

    browse(scenario)


def test_an_empty_database(browse, writer):
    for run in (6001, 6002, 7001):
        writer.delete_run("NectarCAMQM", run)

    async def scenario(service, _database, _gate):
        page = Page(service)
        state = await page.show(camera="NectarCAMQM", run=6001)
        assert (state["run"], state["header"]) == (None, None)
        assert state["address"]["run"] == "6001"
        assert json.loads(page.page.health)["state"] == "empty"
        writer.store_run(a_run(6001), None)
        await until(lambda: page.state["run"] == 6001)

    browse(scenario)
