"""The page that says whether the system is healthy: a primary, two replicas, and a dashboard that
reads one of them, seen in a browser.
"""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from browsing import DashboardPage
from processes import LOOPBACK, DatabaseServer, ServerProcess, free_port
from synthetic_runs import a_run

from dqm_db.ingestion import Pull
from dqm_db.operations import Operation, OperationName
from dqm_db.settings import DatabaseSettings, load
from dqm_db.writer import open_writer

pytestmark = [pytest.mark.system, pytest.mark.browser]

CAMERA, RUN = "NectarCAMQM", 6001
HEAD = 'document.querySelector(".system .head")?.dataset.status'
ALARM = 'document.getElementById("alarm")'
ALARM_ID = "#alarm"
DASHBOARD = 'document.querySelector(".system [aria-label=\\"This dashboard\\"]")'
NEWS = 'document.getElementById("news").textContent'
STATUS = 'Bokeh.documents.at(-1).get_model_by_name("system-status")'
ROWS = """
(rows) => rows.map((row) => [row.cells[0].innerText, row.cells[1].innerText])
"""
BOXES = """
(boxes) => boxes.map((box) => [
  box.querySelector(".address").innerText.split(":")[0], box.style.marginInlineStart])
"""
BROKEN = """
(side) => getComputedStyle(
  document.querySelector('.system .arrow[data-status="bad"] .line'), "::before")[side]
"""
IN_SIGHT = """
() => {
  const row = document.querySelector(".tabs nav").getBoundingClientRect();
  const tab = document.querySelector(".tabs nav [aria-current]").getBoundingClientRect();
  return tab.left >= row.left - 1 && tab.right <= row.right + 1;
}
"""
SHIFTS = """
() => {
  globalThis.shifts = [];
  new PerformanceObserver((list) => shifts.push(...list.getEntries().map(({ value }) => value)))
    .observe({ type: "layout-shift" });
}
"""
CHANGES = """
() => {
  globalThis.changed = [];
  new MutationObserver((changes) => changed.push(...changes.map(({ type }) => type)))
    .observe(document.querySelector(".system"), { subtree: true, childList: true });
}
"""


class System:
    """Primary, a replica that the dashboard reads, another one, and the dashboard."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.primary = stack.enter_context(DatabaseServer(directory, "primary"))
        self.read = stack.enter_context(DatabaseServer(directory, "read", source=self.primary))
        self.other = stack.enter_context(DatabaseServer(directory, "other", source=self.primary))
        self._settings = load(
            DatabaseSettings, db_url=self.primary.url, lock_dir=directory / "locks", db_wait=20
        )
        now = time.time()
        with open_writer(self._settings) as writer:
            writer.store_run(a_run(RUN), None)
            for name in OperationName:
                writer.note_operation(Operation(name, now - 70, now - 60, True, str(name), "cta1"))
            counts = {"stored": 1, "unchanged": 41}
            writer.note_pull(Pull(now - 130, now - 120, host="cta2", counts=counts))
        for replica in (self.read, self.other):
            replica.wait_for(self.primary)
        port = free_port()
        environment = {
            "DQM_DB_URL": self.read.url,
            "DQM_SERVERS": ",".join(map(self.address, (self.primary, self.read, self.other))),
        }
        serve = ["dqm", "serve", "--port", str(port), "--num-procs", "1"]
        log = directory / "dashboard.log"
        self.dashboard = stack.enter_context(ServerProcess(serve, port, log, environment))
        self.url = f"http://{LOOPBACK}:{port}/?camera={CAMERA}&run={RUN}"

    @contextmanager
    def held(self) -> Iterator[None]:
        """The dashboard does nothing meanwhile."""
        self.dashboard.send(signal.SIGSTOP)
        try:
            yield
        finally:
            self.dashboard.send(signal.SIGCONT)

    @staticmethod
    def address(server: DatabaseServer) -> str:
        return f"{LOOPBACK}:{server.port}"


class SystemView(DashboardPage):
    """A page of the dashboard, with what the page about the system says."""

    def box(self, server: DatabaseServer) -> str:
        """Selector of the box of *server*."""
        return f'.system section.server[aria-label$=" {System.address(server)}"]'

    def wait_for_box(self, server: DatabaseServer, status: str) -> None:
        self.page.wait_for_selector(f'{self.box(server)}[data-status="{status}"]')

    def rows(self, selector: str) -> dict[str, str]:
        """The table in *selector*: names of its rows, and what stands behind them."""
        return dict(self.page.eval_on_selector_all(f"{selector} tr:not([hidden])", ROWS))

    def arrows(self) -> list[str]:
        words = self.page.locator(".system .arrow").all_inner_texts()
        return [" ".join(text.split()) for text in words]

    def servers(self) -> list[tuple[str, str]]:
        """Host of each server, and how far it is further in than others, as a link of a chain."""
        return [tuple(found) for found in self.page.eval_on_selector_all(".system .server", BOXES)]

    @property
    def attention(self) -> list[str]:
        return self.page.locator(".system .attention li").all_inner_texts()


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with ExitStack() as stack:
        yield System(tmp_path_factory.mktemp("system"), stack)


@pytest.fixture
def page(browser, system) -> Iterator[SystemView]:
    """The page about the system, when all is well."""
    with SystemView(browser, f"{system.url}&view=system") as page:
        page.wait_for(f'{HEAD} === "ok"')
        yield page
        assert page.errors == []


def test_a_system_in_order_is_shown_from_end_to_end(system, page):
    assert page.text(".system h2").split("\n") == ["✓", "OK", "Everything is as it should be."]
    boxes = page.page.locator(".system .box h3").all_inner_texts()
    names = [name.split("\n")[-1] for name in boxes]
    assert names == ["Pull", "Primary", "Replica", "This dashboard", "Replica"]
    assert page.arrows() == ["stores", "follows in step", "is read", "follows in step"]
    for server in (system.primary, system.read, system.other):
        rows = page.rows(page.box(server))
        assert re.fullmatch(r"just now|\d+ min ago", rows["Last change"])
        assert "free" in rows["Disk"]
        assert rows["Certificate"] == "none: no TLS"
        assert ("Follows" in rows) == (server is not system.primary)
    assert page.rows(page.box(system.primary))["Clients"].endswith("+ 2 replicas")
    assert "1 stored" in page.text('.system [aria-label="Pull from grid storage"]')
    assert f"reads {system.address(system.read)}" in page.text(
        '.system [aria-label="This dashboard"]'
    )
    care = page.page.locator(".system .care tbody tr").all_inner_texts()
    assert len(care) == 6
    assert "min ago" in care[0]
    assert page.attention == []
    assert page[ALARM_ID].is_hidden()


def test_news_change_words_and_move_nothing(page):
    page.page.evaluate(SHIFTS)
    page.page.evaluate(CHANGES)
    told = f"JSON.parse({STATUS}.tags[0]).at"
    first = page.page.evaluate(told)
    page.wait_for(f"{told} > {first}")
    page.page.evaluate("() => new Promise(requestAnimationFrame)")
    assert page.page.evaluate("shifts") == []
    assert page.page.evaluate("changed.length") < 10, "nothing is built again"


def test_a_replica_that_is_killed_is_said_everywhere_until_it_is_back(browser, system, page):
    with SystemView(browser, f"{system.url}&view=runs") as other:
        assert other[ALARM_ID].is_hidden()
        system.other.kill()
        page.wait_for_box(system.other, "bad")
        assert page.page.evaluate(HEAD) == "bad"
        (first, *_) = page.attention
        assert system.address(system.other) in first
        assert "see whether its host and its service run" in first
        assert "no answer" in page.arrows()
        silent = page.text(page.box(system.other))
        assert "does not answer" in silent
        assert "As it was when it answered last, less than a minute ago" in silent
        assert "free" in page.rows(page.box(system.other))["Disk"], "what it said before"
        assert page.page.evaluate(HEAD) == "bad"
        assert "CRITICAL" in page[".system .head [role=status]"].text_content()
        other.wait_for(f"{ALARM}.checkVisibility()")
        assert system.address(system.other) in other[ALARM_ID].get_attribute("title")
        assert system.address(system.other) in other.page.evaluate(NEWS)
        other.page.focus(ALARM_ID)
        other.page.keyboard.press("Enter")
        other.settled()
        assert other.address["view"] == "system"
        other.wait_for_box(system.other, "bad")
        other.page.go_back()
        other.settled()
        assert other.address["view"] == "runs"
        system.other.start()
        page.wait_for_box(system.other, "ok")
        page.wait_for(f'{HEAD} === "ok"')
        assert page.attention == []
        other.wait_for(f"!{ALARM}.checkVisibility()")
        assert other.errors == []


def test_it_is_there_when_the_database_is_not(browser, system, page):
    system.read.kill()
    try:
        page.wait_for_box(system.read, "bad")
        page.wait_for('document.querySelector(".system").innerText.includes("cannot be read")')
        # Another part of the dashboard finds that out, which may take longer.
        page.wait_for(f'{DASHBOARD}.innerText.includes("Database down")')
        assert page.state["header"]["run"] == RUN, "the facts of the run stay"
        with SystemView(browser, f"{system.url}&view=system") as fresh:
            fresh.wait_for_box(system.read, "bad")
            fresh.wait_for_box(system.primary, "ok")
            assert fresh.state["message"] is None
            assert fresh.errors == []
    finally:
        system.read.start()
    page.wait_for(f'{HEAD} === "ok"')


def test_what_is_wrong_and_what_is_not_known_is_said(system, page):
    """A state as it is never met in one system, given to the page as if the server had sent it."""
    told = json.loads(page.page.evaluate(f"{STATUS}.tags[0]"))
    primary, read, other = told["servers"]
    primary |= {"disk_free_bytes": 10**9, "disk_total_bytes": 10**12, "level": "critical"}
    read |= {"following": "refused", "reason": "diverged", "level": "critical"}
    read |= {"lag_seconds": 7300.0, "lag_bytes": 1_234_567_890}
    for key in other:
        if key not in {"address", "answers", "last_transaction_time", "level", "role"}:
            other[key] = None
    other |= {"versions": {}, "replicas": [], "error": "", "level": "ok"}

    def item(level: str, key: str, subject: str, text: str) -> dict:
        return {"level": level, "key": key, "title": key, "text": text, "subject": subject}

    told["level"] = "critical"
    told["items"] = [
        item("critical", "disk", primary["address"], "<b>0.1 %</b> is free."),
        item("critical", "following", read["address"], "It is refused: run dqm resync."),
        item("warning", "backup", "", "None is known."),
    ]
    told["database"] |= {"readable": False, "error": "it is down", "last_pull": None}
    told["database"] |= {"operations": {}}
    show = f"doc => {STATUS}.setv({{tags: [doc]}}, {{sync: false}})"
    with system.held():
        page.page.evaluate(show, json.dumps(told))
        assert page.text(".system .counts") == "2 critical · 1 warning"
        row = page[f'.system section[aria-label="Primary {primary["address"]}"] [data-row="disk"]']
        assert row.get_attribute("data-status") == "bad"
        assert row.locator("[role=img]").get_attribute("aria-label") == "CRITICAL"
        assert row.locator("[role=meter]").get_attribute("aria-valuetext") == "100 % used"
        assert "✕" in row.inner_text()
        assert "refused 2 h behind lacks 1.23 GB" in page.arrows()
        assert "dashed" in page.page.evaluate(BROKEN, "borderTopStyle")
        waits = {**told["items"][1], "level": "warning", "value": "waiting"}
        waiting = {**told, "items": [told["items"][0], waits, told["items"][2]]}
        page.page.evaluate(show, json.dumps(waiting))
        assert "demoted, waits 2 h behind lacks 1.23 GB" in page.arrows()
        page.page.evaluate(show, json.dumps(told))
        wide = page.page.viewport_size
        page.page.set_viewport_size({"width": 768, "height": 900})
        page.wait_for(f'({BROKEN})("borderLeftStyle") === "dashed"')
        page.wait_for(f"({IN_SIGHT})()")
        page.page.set_viewport_size(wide)
        assert "stock ZEO" in page.text(f'.system section[aria-label$="{other["address"]}"]')
        assert page.page.inner_text(".system .care tr:nth-child(3)").endswith("cannot be read.")
        assert "<b>0.1 %</b>" in page.attention[0]
        for number, server in enumerate((primary, read, other), 1):
            server |= {"address": f"10.0.0.{number}:8100", "before": None}
            server["source"] = f"10.0.0.{number - 1}:5000" if number > 1 else None
        told["servers"] = [other, read, primary]
        page.page.evaluate(show, json.dumps(told))
        assert page.servers() == [("10.0.0.1", "0px"), ("10.0.0.2", "0px"), ("10.0.0.3", "16px")]
        told["servers"], told["dashboard"]["reads"] = [], []
        page.page.evaluate(show, json.dumps(told))
        assert "The database is read without a server." in page.text(".system .flow")
