"""How fresh a page is, and the verdict of its run: a primary, a replica that can lose it, and the
dashboard that reads the replica, seen in a browser.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from browsing import DashboardPage
from processes import LOOPBACK, ServerProcess, free_port
from relayed_pair import CAMERA, RelayedPair
from verdicts import judge

from dqm_db.writer import Writer, open_writer

pytestmark = [pytest.mark.system, pytest.mark.browser]

OK, WARNING, BAD = 0, 2, 3
FRESH = "document.documentElement.dataset.fresh"
REPLICA = 'document.getElementById("replica").innerText.replace(/\\s+/g, " ")'
LAST = 'document.getElementById("last-run").innerText.replace(/\\s+/g, " ")'
NEWS = 'document.getElementById("news").textContent'
WATCH = """
() => {
  globalThis.levels = [];
  const root = document.documentElement;
  new MutationObserver(() => levels.push(root.dataset.fresh)).observe(
    root, { attributes: true, attributeFilter: ["data-fresh"] });
}
"""


class System(RelayedPair):
    """Primary, a replica behind a relay, and a dashboard on the replica that asks the primary."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        super().__init__(directory, stack)
        port = free_port()
        environment = {
            "DQM_DB_URL": self.replica.url,
            "DQM_PRIMARY_ZEO": f"{LOOPBACK}:{self.primary.port}",
            "DQM_LAG_WARN": "1",
            "DQM_LAG_ALERT": "6",
        }
        serve = ["dqm", "serve", "--port", str(port), "--num-procs", "1"]
        log = directory / "dashboard.log"
        self.dashboard = stack.enter_context(ServerProcess(serve, port, log, environment))
        self._port = port

    def url(self, query: str = "") -> str:
        return f"http://{LOOPBACK}:{self._port}/?camera={CAMERA}{query}"

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        with open_writer(self.settings) as writer:
            yield writer

    def store(self, verdict: int = OK, ended: float | None = None) -> int:
        """Store the next run, judge it, and return its number."""
        run = self.next_run()
        if ended is not None:
            times = replace(run.header.times, run_start=ended - 60, last_event=ended)
            run = replace(run, header=replace(run.header, times=times))
        with self.writing() as writer:
            writer.store_run(run, None)
            judge(writer, CAMERA, run.header.run, verdict)
        return run.header.run


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with ExitStack() as stack:
        yield System(tmp_path_factory.mktemp("freshness"), stack)


def background(page: DashboardPage) -> str:
    return page[".bar"].evaluate("bar => getComputedStyle(bar).backgroundColor")


def mark(page: DashboardPage) -> str:
    """What stands before the words about the replica, beside their colour."""
    return page["#replica"].evaluate("part => getComputedStyle(part, '::before').content")


def test_a_replica_that_loses_its_primary_turns_the_bar_amber_then_red(browser, system):
    with DashboardPage(browser, system.url("&follow=1")) as page:
        page.wait_for(f'{REPLICA} === "Replica in step"')
        before = background(page)
        assert (page.page.evaluate(FRESH), mark(page)) == ("ok", "none")
        page.page.evaluate(WATCH)
        system.relay.cut()
        try:
            run = system.store()
            page.wait_for(f'{FRESH} === "late"')
            page.wait_for(f'{REPLICA} === "Replica behind"')
            assert "▲" in mark(page)
            amber = background(page)
            page.wait_for(f'{FRESH} === "stale"')
            assert "✕" in mark(page)
            assert len({before, amber, background(page)}) == 3
            assert page.text("#replica").split() == ["Replica", "behind"]
            assert "the primary has what is missing here" in page.page.evaluate(NEWS)
            for width in (1600, 1280):
                page.page.set_viewport_size({"width": width, "height": 720})
                page.wait_for(f"innerWidth === {width}")
                assert page[".bar"].bounding_box()["height"] < 50, "one row"
                assert page.page.evaluate("document.querySelector('.bar').scrollWidth") <= width
            with DashboardPage(browser, system.url(), dark=True, size=(1024, 768)) as other:
                other.wait_for(f'{FRESH} === "stale"')
                assert other.page.evaluate("document.documentElement.scrollWidth") <= 1024
                assert other["#replica"].bounding_box()["width"] > 100, "it gives way to nothing"
            assert page.state["run"] != run
        finally:
            system.relay.mend()
        page.wait_for_run(run)
        page.wait_for(f'{REPLICA} === "Replica in step"')
        assert page.page.evaluate(FRESH) == "ok"
        assert background(page) == before
        assert page.page.evaluate("levels") == ["late", "stale", "ok"]
        assert page.errors == []


def test_a_primary_that_does_not_answer_is_said_so(browser, system):
    with DashboardPage(browser, system.url("&follow=1")) as page:
        page.wait_for(f'{REPLICA} === "Replica in step"')
        system.primary.send(signal.SIGSTOP)
        try:
            page.wait_for(f'{FRESH} === "late"')
            page.wait_for(f"/^Primary silent since [0-2][0-9]:[0-5][0-9]$/.test({REPLICA})")
            title = page["#replica"].get_attribute("title")
            assert time.strftime("does not answer since %Y-%m-%d ", time.gmtime()) in title
            assert "▲" in mark(page)
            assert page.text("#health") == "Live", "the replica answers"
        finally:
            system.primary.send(signal.SIGCONT)
        page.wait_for(f'{REPLICA} === "Replica in step"')
        assert page.page.evaluate(FRESH) == "ok"
        run = system.store()
        page.wait_for_run(run)
        log = system.primary.text()
        assert "received handshake" in log
        assert "ZEO.asyncio.base Connected" not in log, "a line at every question fills the disk"
        assert page.errors == []


def test_the_age_of_the_last_run_goes_on_by_itself(browser, system):
    system.store(ended=time.time() - 3600 + 50)
    page = DashboardPage(browser, system.url("&run=6001"))
    page.page.clock.install()
    with page:
        page.wait_for(f'{LAST} === "Last run 59 min ago"')
        page.page.clock.fast_forward(55_000)
        page.wait_for(f'{LAST} === "Last run 1 h ago"')
        system.store(ended=time.time() + 1e5)  # by a clock that is ahead
        page.wait_for(f'{LAST} === "Last run just now"')
        assert page.errors == []


def test_two_browsers_see_the_same_new_run_and_hear_when_it_is_bad(browser, system):
    good = system.store()
    query = "&follow=1"
    with (
        DashboardPage(browser, system.url(query)) as one,
        DashboardPage(browser, system.url(query), dark=True) as two,
        DashboardPage(browser, system.url(f"&run={good}")) as kept,
    ):
        for page in (one, two, kept):
            page.wait_for_run(good)
            page.wait_for('document.querySelector("#verdict").innerText.includes("OK")')
            assert page.page.title().startswith("Run ")
            assert page.page.evaluate(NEWS) == ""
        for verdict, word, sign in ((BAD, "BAD", "✕"), (WARNING, "WARNING", "▲")):
            run = system.store(verdict)
            for page in (one, two):
                page.wait_for(f'document.title.startsWith("{sign} Run {run} ")')
                page.wait_for(f'{NEWS} === "Run {run}: {word}"')
                assert page.text("#verdict").split() == [sign, word]
                assert page.settled().state["verdict"] == verdict
            kept["#new-run .verdict"].wait_for()
            kept.wait_for(f'document.getElementById("new-run").innerText.includes("{run}")')
            assert sign in kept.text("#new-run")
            assert kept.page.title().startswith(f"Run {good} ")
            assert kept.page.evaluate(NEWS) == "", "nobody waits for it here"
        with system.writing() as writer:
            judge(writer, CAMERA, run, OK)  # somebody has looked
        for page in (one, two):
            page.wait_for(f'document.title.startsWith("Run {run} ")')
            assert page.text("#verdict").split() == ["✓", "OK"]
        for page in (one, two, kept):
            assert page.errors == []


def test_verdicts_stand_in_the_list_of_runs_and_lead_to_their_reasons(browser, system):
    bad, good = system.store(BAD), system.store(OK)
    with DashboardPage(browser, system.url(f"&run={bad}")) as page:
        page.press("/")
        row = page["#run-list [role=option]"]
        row.first.wait_for()
        rows = {number: text for text in row.all_inner_texts() for number in text.split()[:1]}
        assert rows[str(bad)].split()[-2:] == ["✕", "BAD"]
        assert rows[str(good)].split()[-2:] == ["✓", "OK"]
        page.page.keyboard.press("Escape")
        assert "view=overview" in page["#verdict"].get_attribute("href")
        page["#verdict"].focus()
        page.press("Enter")
        assert page.address["run"] == str(bad)
        assert page.errors == []
