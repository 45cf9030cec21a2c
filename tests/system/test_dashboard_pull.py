"""The last pull and the quarantine in a browser: written into the primary, seen on the pages of a
dashboard that reads the replica.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from browsing import DashboardPage
from processes import LOOPBACK, DatabaseServer, ServerProcess, free_port
from synthetic_runs import a_run

from dqm_db.ingestion import Failure, Pull
from dqm_db.settings import DatabaseSettings, load
from dqm_db.writer import Writer, open_writer

pytestmark = [pytest.mark.system, pytest.mark.browser]

CAMERA, OTHER = "NectarCAMQM", "NectarCAM2"
STALE = 3600.0
FOLDER = "root://storage.example.org:1094//ctao/user/n/nectarcam/" + "a-rather-long-folder/" * 12
BARS = """
() => Object.fromEntries([...document.querySelectorAll(".bar > :not(.grow), #facts, main")]
  .filter((part) => part.id !== "fresh" && part.offsetWidth > 0)
  .map((part) => [part.id || part.className, JSON.stringify(part.getBoundingClientRect())]))
"""
WATCH = """
() => {
  const sign = document.getElementById("fresh");
  globalThis.seen = { models: [], nodes: [] };
  Bokeh.documents.at(-1).on_change(({ model, attr }) => {
    if (attr !== "heartbeat") seen.models.push(`${model?.name}.${attr}`);
  });
  new MutationObserver((records) => {
    for (const { target } of records) if (!sign.contains(target)) seen.nodes.push(target.nodeName);
  }).observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
}
"""


class System:
    """Primary, replica, and a dashboard on the replica, with runs of two cameras."""

    def __init__(self, directory: Path, primary: DatabaseServer, replica: DatabaseServer) -> None:
        self.primary = primary
        self.replica = replica
        self._settings = load(
            DatabaseSettings,
            db_url=primary.url,
            db_wait=20,
            lock_dir=directory / "locks",
            lock_wait=20,
        )
        port = free_port()
        self.dashboard = ServerProcess(
            ["dqm", "serve", "--port", str(port), "--num-procs", "1"],
            port,
            directory / "dashboard.log",
            {"DQM_DB_URL": replica.url, "DQM_PULL_STALE": str(STALE)},
        )
        self.url = f"http://{LOOPBACK}:{port}/?camera={CAMERA}&run=6002"

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        with open_writer(self._settings) as writer:
            yield writer

    def pull(self, *, ago: float = 0.0, **other: Any) -> None:
        """Note a pull that ended *ago* seconds ago."""
        finished = time.time() - ago
        with self.writing() as writer:
            writer.note_pull(Pull(finished - 42.0, finished, **other))

    def fail(self, *failures: Failure) -> None:
        with self.writing() as writer:
            for failure in failures:
                writer.note_failure(failure)


@pytest.fixture
def system(database_server: Callable[..., DatabaseServer], tmp_path: Path) -> Iterator[System]:
    primary = database_server("primary").start()
    replica = database_server("replica", source=primary).start()
    system = System(tmp_path, primary, replica)
    with system.writing() as writer:
        for camera, run in ((CAMERA, 6001), (CAMERA, 6002), (OTHER, 12)):
            writer.store_run(a_run(run, camera), None)
    replica.wait_for(primary)
    with system.dashboard:
        yield system


def failure(run: int, camera: str = CAMERA, **other: Any) -> Failure:
    """A failure whose texts are as long as they get; the higher its run, the older it is."""
    last = time.time() - 60 * (run - 8000)
    values: dict[str, Any] = {
        "source": f"{FOLDER}{camera}_DQM_Run{run}.tar.gz",
        "kind": "Corrupt",
        "error": f"run {run} is no good: " + "because-of-a-very-long-word" * 8,
        "attempts": 2,
        "first_at": last - 3600,
        "last_at": last,
        "next_at": None,
    }
    return Failure(camera=camera, run=run, **(values | other))


def words(page: DashboardPage) -> str:
    """What the sign says."""
    return page.page.evaluate(WORDS)


def is_alarming(page: DashboardPage, part: str) -> bool:
    """Whether a part of the sign is marked, by more than its colour."""
    mark = page[part].evaluate("part => getComputedStyle(part, '::before').content")
    assert ("▲" in mark) == ("alert" in (page[part].get_attribute("class") or "").split())
    return "▲" in mark


WORDS = 'document.getElementById("pull").innerText.replace(/\\s+/g, " ")'
MODEL = "Bokeh.documents.at(-1).get_model_by_name"
ECHOED = f'{MODEL}("request").heartbeat === {MODEL}("page").heartbeat'
STORED, AGE = "#pull > :first-child", "#pull > :last-child"


def test_pulls_and_failures_reach_the_open_page_and_change_nothing_else(browser, system):
    with DashboardPage(browser, system.url) as page:
        assert page["#pull"].is_hidden(), "nothing was ever pulled, nothing is wrong"
        page.page.evaluate(WATCH)
        system.pull()
        page["#pull"].wait_for()
        assert words(page) == "Pulled just now"
        assert not is_alarming(page, AGE)
        for minutes in (3, 4, 5):
            system.pull(ago=60 * minutes + 2)
            page.wait_for(f'{WORDS}.includes("{minutes} min")')
        assert page.page.evaluate("seen") == {"models": ["page.freshness"] * 4, "nodes": []}

        system.fail(failure(8001), failure(12, OTHER), failure(8003, next_at=time.time() + 900))
        page[STORED].wait_for()
        page.wait_for(f'{WORDS}.includes("2 in")')
        assert words(page) == "2 in quarantine Pulled 5 min ago"
        assert is_alarming(page, STORED)
        assert not is_alarming(page, AGE)
        with DashboardPage(browser, system.url) as later:
            assert words(later) == words(page)
            assert later.errors == []
        with system.writing() as writer:
            assert writer.forget_failure(CAMERA, 8001)
            assert writer.forget_failure(OTHER, 12)
        page[STORED].wait_for(state="hidden")
        assert set(page.page.evaluate("seen.models")) == {"page.freshness"}
        assert page.errors == []


def test_an_old_or_failed_pull_is_marked_and_nothing_in_the_bar_moves(browser, system):
    system.pull(ago=100)
    with DashboardPage(browser, system.url) as page:
        before = page.page.evaluate(BARS)
        width = page["#pull"].bounding_box()["width"]
        assert not is_alarming(page, AGE)
        shown = {
            "Pulled 59 min ago": (False, {"ago": 59 * 60 + 2}),
            "Pulled 1 h ago": (True, {"ago": STALE + 5}),
            "Pulled 3 days ago": (True, {"ago": 3.5 * 86400}),
            "Pulled in part just now": (True, {"exit_code": 1}),
            "Pull failed just now": (True, {"exit_code": 69, "error": "the source is down"}),
            "Pull stopped 2 min ago": (True, {"exit_code": 143, "ago": 122}),
        }
        for text, (alarming, pull) in shown.items():
            system.pull(**pull)
            page.wait_for(f'{WORDS} === "{text}"')
            assert is_alarming(page, AGE) == alarming
            assert page.page.evaluate(BARS) == before
            if not alarming:
                assert page["#pull"].bounding_box()["width"] == width
        system.fail(failure(8001))
        page[STORED].wait_for()
        assert page.page.evaluate(BARS) == before
        height = page[".bar"].bounding_box()["height"]
        system.fail(*(failure(run) for run in range(8001, 8201)))
        with system.writing() as writer:
            writer.store_run(a_run(6003, CAMERA), None)
        page["#new-run"].wait_for()
        page.wait_for(f'{WORDS}.includes("200")')
        for size in (1280, 1024, 800):
            page.page.set_viewport_size({"width": size, "height": 720})
            page.wait_for(f"innerWidth === {size}")
            for part in ("#pull", "#help"):
                box = page[part].bounding_box()
                assert 0 <= box["x"] < box["x"] + box["width"] <= size
            assert size < 1024 or page[".bar"].bounding_box()["height"] == height, "one row"
        assert page.errors == []


def test_the_age_goes_on_by_itself(browser, system):
    system.pull(ago=3600 - 50)
    page = DashboardPage(browser, system.url)
    page.page.clock.install()
    with page:
        assert words(page) == "Pulled 59 min ago"
        page.page.evaluate(WATCH)
        page.page.evaluate(
            """() => {
              globalThis.changes = 0;
              new MutationObserver((records) => { changes += records.length; }).observe(
                document.getElementById("pull"),
                { subtree: true, childList: true, characterData: true, attributes: true });
            }"""
        )
        page.page.clock.fast_forward(55_000)
        page.wait_for(ECHOED)  # or the page would believe that its server is gone
        page.wait_for(f'{WORDS} === "Pulled 1 h ago"')
        assert is_alarming(page, AGE)
        changes = page.page.evaluate("changes")
        for _ in range(5):  # five minutes in which the text stays what it is
            page.page.clock.fast_forward(60_000)
            page.wait_for(ECHOED)
        assert words(page) == "Pulled 1 h ago"
        assert page.page.evaluate("changes") == changes
        assert page.page.evaluate("seen.models") == []


def test_a_run_deleted_by_hand_alarms_nobody(browser, system):
    system.fail(failure(8001, kind="removed"))
    with DashboardPage(browser, system.url) as page:
        page["#pull"].wait_for()
        assert words(page) == "1 not stored"
        assert not is_alarming(page, STORED)
        page["#pull"].click()
        page["#failures td"].first.wait_for()
        assert page["#failures td"].nth(2).inner_text() == "Deleted by hand"
        assert "There was none" in page.text("#failures .last-pull")


def test_the_dialog_with_the_mouse(browser, system):
    again, day_before = time.time() + 900, time.time() - 1e5
    system.fail(
        failure(8001),
        failure(8002, kind="NothingToShow", next_at=again, error="the <b>server</b> broke off"),
        failure(12, OTHER, source="/data/\u202e\n.tar.gz", last_at=day_before),
    )
    system.pull(
        ago=122,
        sources=(f"{FOLDER}{CAMERA}", "/data"),
        counts={"stored": 12, "already stored": 4988},
        exit_code=77,
        error="the proxy has expired",
        host="dqm1",
    )
    page = DashboardPage(browser, system.url)
    scripts: list[str] = []
    page.page.on("request", lambda request: scripts.append(request.url.split("/")[-1]))
    with page:
        page["#pull"].wait_for()
        assert not any(name.startswith("failures.js") for name in scripts)
        page["#pull"].click()
        page["#failures td"].first.wait_for()
        assert sum(name.startswith("failures.js") for name in scripts) == 1
        pull = page.text("#failures .last-pull")
        for text in (
            " UTC, 2 min ago; it took 42.0 s on dqm1",
            "The source refused the credentials, or they have expired (exit code 77)",
            "the proxy has expired",
            "12 stored, 4,988 already stored",
            f"{FOLDER}{CAMERA}",
        ):
            assert text in pull
        assert "dqm release RUN --camera CAMERA" in page.text("#failures .help code")
        cells = page["#failures tbody tr"].evaluate_all(
            "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))"
        )
        assert [row[:2] for row in cells] == [[CAMERA, "8001"], [CAMERA, "8002"], [OTHER, "12"]]
        at = time.strftime("%H:%M UTC", time.gmtime(again))
        assert cells[0][2] == cells[2][2] == "In quarantine"
        assert cells[1][2].startswith("Tried again at ")
        assert cells[1][2].endswith(at)
        assert "the <b>server</b> broke off" in cells[1][3], "text is never markup"
        assert r"/data/\u202e\n.tar.gz" in cells[2][3]
        assert cells[1][4] == "2"
        assert cells[2][6] == time.strftime("%Y-%m-%d %H:%M", time.gmtime(day_before))

        page["#failures select"].select_option(OTHER)
        page.wait_for('document.querySelectorAll("#failures tbody tr").length === 1')
        assert page["#failures td"].nth(1).inner_text() == "12"
        assert page.text("#failures .total") == "1 file, the newest first"
        with system.writing() as writer:  # somebody releases it while it is looked at
            writer.forget_failure(OTHER, 12)
        page.wait_for('document.querySelectorAll("#failures tbody tr").length === 0')
        page["#failures select"].select_option("")
        page.wait_for('document.querySelectorAll("#failures tbody tr").length === 2')
        page["#failures h2"].first.click()
        page.page.keyboard.press("[")
        page["#failures button"].click()
        assert page["#failures"].is_hidden()
        page.settled()
        assert page.state["run"] == 6002, "keys mean the dialog while it is open"
        assert page.errors == []


def test_the_dialog_with_the_keyboard(browser, system):
    system.pull()
    system.fail(failure(8001), failure(12, OTHER))
    with DashboardPage(browser, system.url) as page:
        page["#pull"].wait_for()
        page["#theme"].focus()
        before = []
        while "pull" not in before and len(before) < 4:
            page.page.keyboard.press("Shift+Tab")
            before.append(page.page.evaluate("document.activeElement.id"))
        assert before[-1] == "pull"
        for key in ("Enter", "Space"):
            page.page.keyboard.press(key)
            page["#failures td"].first.wait_for()
            focused = []
            for _ in range(3):
                page.page.keyboard.press("Tab")
                focused.append(page.page.evaluate("document.activeElement.localName"))
                if focused[-1] == "select":
                    page.page.keyboard.type(OTHER)
                    page.wait_for('document.querySelectorAll("#failures tbody tr").length === 1')
                    page.page.keyboard.press("Home")
                    page.wait_for('document.querySelectorAll("#failures tbody tr").length === 2')
            assert {"select", "div"} <= set(focused), "the filter, and the rows to scroll them"
            page.page.keyboard.press("Escape")
            assert page["#failures"].is_hidden()
            assert page.page.evaluate("document.activeElement.id") == "pull"
        assert page.errors == []


@pytest.mark.parametrize("size", [(1600, 1000), (1280, 720), (700, 600)])
def test_hundreds_of_failures_are_counted_and_wrap(browser, system, size):
    system.fail(*(failure(8000 + run, (CAMERA, OTHER)[run % 2]) for run in range(1, 501)))
    system.pull(sources=tuple(f"{FOLDER}{number}" for number in range(40)), exit_code=1)
    with DashboardPage(browser, system.url, size=size) as page:
        page.wait_for(f'{WORDS}.includes("500")')
        page["#pull"].click()
        page["#failures td"].first.wait_for()
        assert page["#failures tbody tr"].count() == 200
        assert page.text("#failures .total") == "The newest 200 of 500 files"
        assert len(page.page.evaluate(f'{MODEL}("page").failures')) < 250_000
        box = page["#failures"].bounding_box()
        assert 0 <= box["x"] < box["x"] + box["width"] <= size[0]
        assert 0 <= box["y"] < box["y"] + box["height"] <= size[1]
        button = page["#failures button"].bounding_box()
        assert button["y"] + button["height"] < box["y"] + box["height"], "Close is in sight"
        assert page["#failures .rows"].bounding_box()["height"] >= 100
        for part in ("#failures .last-pull", "#failures td"):
            wide = page[part].evaluate_all(
                "parts => parts.filter(part => part.scrollWidth > part.clientWidth).length"
            )
            assert wide == 0, part
        page["#failures .rows"].evaluate("rows => { rows.scrollTop = 700; }")
        system.pull(exit_code=1)  # what somebody reads does not jump away
        page.wait_for('document.querySelector("#failures .last-pull").innerText.includes("None")')
        assert page["#failures .rows"].evaluate("rows => rows.scrollTop") == 700


def test_the_dialog_while_the_database_is_down(browser, system):
    system.fail(failure(8001))
    with DashboardPage(browser, system.url) as page:
        page["#pull"].wait_for()
        system.replica.kill()
        page.wait_for('document.getElementById("health").dataset.state === "down"')
        page["#pull"].click()
        page["#failures .problem"].wait_for()
        assert "could not be read" in page.text("#failures .problem")
        system.replica.start()
        page["#failures td"].first.wait_for()
        assert page["#failures .problem"].is_hidden()
        assert page.errors == []
