"""The frame of the dashboard in a browser: addresses, keys, the list of runs, and how a page comes
through outages of the database and of its own server.
"""

from __future__ import annotations

import functools
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from browsing import DashboardPage
from processes import LOOPBACK, DatabaseServer, ServerProcess, eventually, free_port

import dqm_app
from dqm_db.content import RunContent
from dqm_db.settings import DatabaseSettings, load
from dqm_db.writer import open_writer
from ingest.reading import ReadJob, read_run

pytestmark = [pytest.mark.system, pytest.mark.browser]

CAMERA = "NectarCAMQM"
BACKGROUND = "getComputedStyle(document.documentElement).backgroundColor"
RUNS = (999, 6001, 6002, 7001)


SAMPLES = Path(__file__).parent.parent / "data"


@functools.cache
def sample() -> RunContent:
    """The sample run 6001, parsed once."""
    content = read_run(ReadJob(SAMPLES / f"{CAMERA}_DQM_Run6001.tar.gz")).content
    assert content is not None
    return content


def store(primary: DatabaseServer, *runs: tuple[str, int]) -> None:
    """Store the sample run as these runs."""
    settings = load(
        DatabaseSettings,
        db_url=primary.url,
        db_wait=20,
        lock_dir=primary.data_dir.parent / "locks",
        lock_wait=20,
    )
    with open_writer(settings) as writer:
        for camera, run in runs:
            header = replace(sample().header, camera=camera, run=run)
            writer.store_run(replace(sample(), header=header), None)


class Dashboard(ServerProcess):
    """`dqm serve` on a database."""

    def __init__(self, directory: Path, database: DatabaseServer, processes: int = 2) -> None:
        port = free_port()
        command = ["dqm", "serve", "--port", str(port), "--num-procs", str(processes)]
        settings = {"DQM_DB_URL": database.url}
        super().__init__(command, port, directory / "dashboard.log", settings)

    def url(self, query: str = "") -> str:
        return f"http://{LOOPBACK}:{self.port}/?{query}"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """A database for the tests that leave it as it is: four runs of one camera, one of another."""
    with DatabaseServer(tmp_path_factory.mktemp("database"), "primary") as primary:
        store(primary, *((CAMERA, run) for run in RUNS), ("NectarCAM2", 12))
        yield primary


@pytest.fixture(scope="module")
def dashboard(
    database: DatabaseServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Dashboard]:
    """A dashboard for the tests that leave it as it is."""
    with Dashboard(tmp_path_factory.mktemp("dashboard"), database) as dashboard:
        yield dashboard


@pytest.fixture
def primary(database_server: Callable[..., DatabaseServer]) -> DatabaseServer:
    """A primary of one test's own with three runs, running."""
    primary = database_server("primary").start()
    store(primary, (CAMERA, 999), (CAMERA, 6001), (CAMERA, 6002))
    return primary


# ---- addresses ----------------------------------------------------------------------------------


def test_the_address_bar_follows_and_back_and_forward_work(browser, dashboard):
    with DashboardPage(browser, dashboard.url(f"camera={CAMERA}&run=6001&view=maps")) as page:
        first = page.address
        assert (first["camera"], first["run"], first["view"]) == (CAMERA, "6001", "maps")
        assert first["quantity"] == page.page.input_value("#quantity")
        page["#newer"].click()
        page.wait_for_run(6002)
        page.press(".")
        assert page.address["quantity"] != first["quantity"]
        page["#camera"].select_option("NectarCAM2")
        page.wait_for_run(12)
        assert page.address["follow"] == "1", "another camera is followed"

        page.page.go_back()
        page.wait_for_run(6002)
        assert page.page.input_value("#camera") == CAMERA
        page.page.go_back()
        page.settled()
        page.page.go_back()
        page.wait_for_run(6001)
        assert page.address == first
        page.page.go_forward()
        page.wait_for_run(6002)
        assert page.errors == []


def test_an_address_shows_the_same_page_to_others(browser, dashboard):
    with DashboardPage(browser, dashboard.url(f"camera={CAMERA}&run=999&view=maps")) as page:
        page.press(".")
        shown = (page.state["camera"], page.state["run"], page.address)
        with DashboardPage(browser, page.page.url) as other:
            assert (other.state["camera"], other.state["run"], other.address) == shown


def test_a_wrong_address_is_explained_and_leads_somewhere(browser, dashboard):
    query = "camera=Foo&run=5&view=nothing&quantity=NOTHING"
    with DashboardPage(browser, dashboard.url(query)) as page:
        assert "Foo" in page.text("#message")
        assert "nothing" in page.text("#message")
        assert page.address["camera"] in page.text("#message")
        assert page.address["view"] == "overview"
        page["#camera"].select_option(CAMERA)
        page.wait_for_run(7001)
        assert not page["#message"].is_visible()


def test_text_in_the_address_is_never_markup(browser, dashboard):
    query = "camera=<img src=x onerror=alert(1)>&run=<b>&view='\"><script>alert(1)</script>"
    with DashboardPage(browser, dashboard.url(query)) as page:
        assert "<img src=x" in page.text("#message")
        assert page["#message img, #message script, #message b"].count() == 0
        assert page.errors == []


# ---- runs ---------------------------------------------------------------------------------------


def test_keys_step_through_runs_in_the_order_of_their_numbers(browser, dashboard):
    with DashboardPage(browser, dashboard.url(f"camera={CAMERA}&view=maps")) as page:
        page.wait_for_run(7001)
        assert page["#follow"].get_attribute("aria-pressed") == "true"
        assert page["#newer"].is_disabled()
        page.press("[", "[", "[")
        page.wait_for_run(999)
        assert page.address["run"] == "999"
        assert page["#older"].is_disabled()
        assert page["#follow"].get_attribute("aria-pressed") == "false"
        page.press("]")
        page.wait_for_run(6001)
        assert "follow" not in page.address
        page.press("l")
        page.wait_for_run(7001)
        assert (page.address["run"], page.address["follow"]) == ("7001", "1")
        page.page.reload()
        page.settled()
        assert page["#follow"].get_attribute("aria-pressed") == "true", "still followed"
        page.press("?")
        assert page["#keys"].is_visible()
        page.page.keyboard.press("Escape")

        entry = page["#view-maps input.entry"]
        entry.fill("m300")
        entry.press("Enter")
        assert entry.get_attribute("aria-invalid") == "true"
        assert "0–1854, modules m0–m264" in entry.evaluate("entry => entry.validationMessage")
        entry.press("Escape")
        assert entry.get_attribute("aria-invalid") == "false"

        # chosen with the mouse: the keyboard is for shortcuts again; by typing: it is not
        page["#quantity"].evaluate("select => select.focus()")
        page["#quantity"].select_option(index=1)
        page.settled()
        page.press("[")
        page.wait_for_run(6002)
        page["#quantity"].focus()
        page.page.keyboard.press("ArrowDown")
        page.settled()
        assert page.page.evaluate("document.activeElement.id") == "quantity"
        page.page.keyboard.press("Escape")
        page.press("[")
        page.wait_for_run(6001)


def test_a_link_to_a_page_that_follows_shows_the_run_it_names(browser, dashboard):
    url = dashboard.url(f"camera={CAMERA}&run=6002&follow=1")
    with DashboardPage(browser, url) as page:
        assert (page.state["run"], page.address["run"]) == (6002, "6002")
        assert "follow" not in page.address


def test_runs_are_found_by_number_and_date_with_the_keyboard_alone(browser, dashboard):
    with DashboardPage(browser, dashboard.url(f"camera={CAMERA}")) as page:
        page.page.keyboard.press("/")
        page.wait_for('document.querySelectorAll("#run-list > *").length === 4')
        listed = page["#run-list > *"].evaluate_all("rows => rows.map(row => +row.dataset.run)")
        assert listed == sorted(RUNS, reverse=True)
        page.page.keyboard.type("600")
        page.wait_for('document.querySelectorAll("#run-list > *").length === 2')
        assert page.text("#run-count") == "2 of 4 runs"
        page.page.keyboard.press("ArrowDown")
        active = page["#search"].get_attribute("aria-activedescendant")
        assert page[f"#{active}"].get_attribute("data-run") == "6001"
        page.page.keyboard.press("Enter")
        page.wait_for_run(6001)
        assert page["#picker"].is_hidden()
        assert page.page.evaluate("document.activeElement.id") == "run"

        page.page.keyboard.press("/")
        date = re.match(r"[\d-]+", page.text(".fact .value")).group()
        page.page.keyboard.type(f"{date} 999")
        page.wait_for('document.querySelectorAll("#run-list > *").length === 1')
        assert page["#run-list > *"].get_attribute("data-run") == "999"
        page.page.keyboard.type("99")
        page.wait_for('document.querySelectorAll("#run-list > *").length === 0')
        page.page.keyboard.press("Enter")
        assert page["#search"].is_visible(), "there is something to correct"
        page.page.keyboard.press("Escape")
        assert page["#picker"].is_hidden()
        assert page.state["run"] == 6001
        assert page.errors == []


def test_keys_for_views_theme_and_help(browser, dashboard):
    with DashboardPage(browser, dashboard.url(f"camera={CAMERA}&run=6001")) as page:
        views = page["#view-list a"].evaluate_all("links => links.map(link => link.dataset.view)")
        for number, view in list(enumerate(views, 1))[:9][::-1]:
            page.press(str(number))
            assert page.address["view"] == view
            assert page[f"#view-{view}"].is_visible()
            assert page['[aria-current="page"]'].get_attribute("data-view") == view
        assert page.page.evaluate("document.documentElement.dataset.theme") == "light"
        background = page.page.evaluate(
            "getComputedStyle(document.documentElement).backgroundColor"
        )
        page.press("t")
        assert page.page.evaluate("document.documentElement.dataset.theme") == "dark"
        assert (
            page.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
            != background
        )
        page.page.reload()
        page.settled()
        assert page.page.evaluate("document.documentElement.dataset.theme") == "dark", "kept"
        page.press("?")
        assert page["#keys"].is_visible()
        page.page.keyboard.press("Escape")
        assert page["#keys"].is_hidden()
        assert page.errors == []


def test_the_header_says_what_the_run_is(browser, dashboard):
    with DashboardPage(browser, dashboard.url(f"camera={CAMERA}&run=6001")) as page:
        header = sample().header
        text = page.text("#facts")
        assert time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(header.times.start)) in text
        first, last = header.times.first_event, header.times.last_event
        assert time.strftime("first event %H:%M:%S UTC", time.gmtime(first)) in text
        assert re.search(time.strftime(r"Last event\s+%H:%M:%S UTC", time.gmtime(last)), text)
        assert f"{last - first:.2f} s of events" in text
        assert re.search(rf"Events\s+{header.events.total}\s", text)
        assert f"{header.events.pedestal} pedestal" in text
        assert re.search(rf"Bad pixels\s+{header.bad_pixels}\s", text)
        assert Path(header.provenance.source).name in text
        assert header.provenance.results_sha256 not in text
        source = page["#facts summary"].filter(has_text="Source")
        for width in (1280, 1024):
            page.page.set_viewport_size({"width": width, "height": 720})
            page.wait_for(f"innerWidth === {width}")
            source.click()
            page["#facts details[open].placed"].wait_for()
            assert header.provenance.results_sha256 in page.text("#facts")
            box = page["#facts details[open] .body"].bounding_box()
            assert 0 <= box["x"] < box["x"] + box["width"] <= width
            assert page["#facts"].bounding_box()["height"] < 80, "one row"
            assert page[".tabs"].bounding_box()["height"] < 50, "one row"
            page.page.keyboard.press("Escape")
            assert page["#facts details[open]"].count() == 0
            assert source.evaluate("summary => document.activeElement === summary")


def test_plain_bokeh_serve_shows_the_same(browser, database, tmp_path):
    port = free_port()
    command = ["bokeh", "serve", "--port", str(port), "--address", LOOPBACK, "--num-procs", "2"]
    origin = f"--allow-websocket-origin={LOOPBACK}:{port}"
    query = f"camera={CAMERA}"
    server = ServerProcess(
        [*command, origin, Path(dqm_app.__file__).parent],
        port,
        tmp_path / "bokeh.log",
        {"DQM_DB_URL": database.url},
    )
    with (
        server,
        DashboardPage(browser, f"http://{LOOPBACK}:{port}/bokeh_app?{query}&run=6001") as page,
        DashboardPage(browser, f"http://{LOOPBACK}:{port}/?{query}") as other,
    ):
        assert (page.state["run"], other.state["run"]) == (6001, 7001)
        page.press("]")
        assert page.state["run"] == 6002
        assert page.errors == []


# ---- new data -----------------------------------------------------------------------------------


def test_a_new_run_appears_by_itself(browser, primary, database_server, tmp_path):
    replica = database_server("replica", source=primary).start()
    replica.wait_for(primary)
    with (
        Dashboard(tmp_path, replica) as dashboard,
        DashboardPage(browser, dashboard.url()) as following,
        DashboardPage(browser, dashboard.url(f"camera={CAMERA}&run=6002")) as staying,
    ):
        assert staying["#new-run"].is_hidden()
        store(primary, (CAMERA, 7001))
        following.wait_for_run(7001)
        staying.wait_for('!document.getElementById("new-run").hidden')
        assert staying.text("#new-run").endswith("Run 7001 is new"), "after the sign of its verdict"
        assert staying.state["run"] == 6002
        staying["#new-run"].click()
        staying.wait_for_run(7001)
        assert staying["#new-run"].is_hidden()


def test_a_database_that_starts_late_and_empty(browser, database_server, tmp_path):
    primary = database_server("primary")
    with (
        Dashboard(tmp_path, primary, processes=1) as dashboard,
        DashboardPage(browser, dashboard.url("run=5")) as page,
    ):
        page.wait_for('!document.getElementById("database").hidden')
        primary.start()
        page.wait_for('document.getElementById("health").dataset.state === "empty"')
        assert "no data yet" in page.text("#health").lower()
        assert page["#nothing"].is_visible()
        assert page.address == {"run": "5"}
        store(primary, (CAMERA, 6001))
        page.wait_for_run(6001)
        assert page["#nothing"].is_hidden()
        assert page.errors == []


# ---- outages ------------------------------------------------------------------------------------


def test_database_down_and_back(browser, primary, tmp_path):
    with (
        Dashboard(tmp_path, primary, processes=1) as dashboard,
        DashboardPage(browser, dashboard.url(f"camera={CAMERA}&run=6001&view=maps")) as page,
    ):
        page.press("]")
        primary.kill()
        page.wait_for('!document.getElementById("database").hidden')
        assert re.search(r"does not answer\. Since \d\d:\d\d:\d\d UTC", page.text("#database"))
        page.press("[")
        assert page.state["run"] == 6001, "what was loaded can still be shown"
        page.press("[")
        assert "of run 999 could not be read" in page.text("#message")
        assert page.page.input_value("#quantity") == page.state["quantity"] is not None
        assert page.state["run"] == 6001
        assert page.address["run"] == "999"
        with DashboardPage(browser, dashboard.url()) as late:
            assert late["#database"].is_visible(), "a page opened meanwhile says so too"
            primary.start()
            page.wait_for_run(999)
            page.wait_for('document.getElementById("database").hidden')
            assert page["#message"].is_hidden()
            late.wait_for_run(6002)
        assert page.errors == []


def test_a_database_that_hangs(browser, primary, tmp_path):
    dashboard = Dashboard(tmp_path, primary, processes=1)
    dashboard.environment["DQM_DB_PATIENCE"] = "2"
    with dashboard, DashboardPage(browser, dashboard.url(f"camera={CAMERA}&run=6002")) as page:
        primary.send(signal.SIGSTOP)
        try:
            for key in ("[", "[", "3"):
                page.page.keyboard.press(key)
            page.wait_for('document.body.classList.contains("stale")')
            page.wait_for('document.getElementById("health").dataset.state === "waiting"')
            assert page["#loading"].is_visible()
            assert page.text("#loading") == "Waiting for the database…"
            page.wait_for('document.getElementById("health").dataset.state === "down"')
            page.settled()
            assert "of run 999 could not be read" in page.text("#message")
            assert page.text("#run").startswith("Run 6002"), "number and facts belong together"
            page.press("1")
            assert page.text("#run").startswith("Run 6002")
            assert page["#loading"].is_hidden()
        finally:
            primary.send(signal.SIGCONT)
        page.wait_for_run(999)
        page.wait_for('document.getElementById("health").dataset.state === "ok"')
        assert page.errors == []


@pytest.mark.parametrize("outage", [1.0, pytest.param(60.0, marks=pytest.mark.soak)])
@pytest.mark.timeout(240)
def test_the_page_comes_back_after_its_server_was_killed(browser, database, tmp_path, outage):
    with (
        Dashboard(tmp_path, database, processes=1) as dashboard,
        DashboardPage(browser, dashboard.url(f"camera={CAMERA}&run=6001&view=maps")) as page,
    ):
        page.press(".")
        before = (page.address, page.state["run"])
        page.page.evaluate("window.before = true")
        dashboard.kill()
        page.wait_for('!document.getElementById("lost").hidden')
        assert "comes back by itself" in page.text("#lost")
        assert page["#view-maps canvas, #view-maps .figures"].first.is_visible(), "it stays shown"
        time.sleep(outage)
        dashboard.start()
        page.wait_for("window.before === undefined")
        page.settled()
        assert (page.address, page.state["run"]) == before
        assert page["#lost"].is_hidden()
        page.press("]")
        assert page.state["run"] == 6002, "it is alive again"


def test_its_process_of_several_killed(browser, dashboard):
    with DashboardPage(browser, dashboard.url(f"camera={CAMERA}&run=6001")) as page:
        page.page.evaluate("window.before = true")
        for child in psutil.Process(dashboard.process.pid).children():
            os.kill(child.pid, signal.SIGKILL)
        page.wait_for("window.before === undefined")
        page.settled()
        assert page.state["run"] == 6001


SPOIL_FIRST_TOKEN = """
if (sessionStorage.getItem("spoiled") === null) {
  sessionStorage.setItem("spoiled", "yes");
  window.WebSocket = class extends WebSocket {
    constructor(url, [name, token]) { super(url, [name, `${token.slice(0, -8)}AAAAAAAA`]); }
  };
}
"""


def test_a_page_with_a_refused_token_loads_itself_again(browser, dashboard):
    """As after a computer's sleep: the page's token has expired, its address still works."""
    with DashboardPage(browser, dashboard.url(f"camera={CAMERA}&run=6001")) as page:
        before = page.address
        page.page.add_init_script(SPOIL_FIRST_TOKEN)
        loads: list[str] = []
        page.page.on("load", lambda _page: loads.append("load"))
        page.page.reload()
        page.settled()
        assert len(loads) == 2
        assert page.address == before
        assert page["#lost"].is_hidden()


def test_a_server_that_refuses_the_connection_is_not_stormed(browser, dashboard):
    with DashboardPage(browser, dashboard.url()) as page:
        loads: list[float] = []
        page.page.on("framenavigated", lambda _frame: loads.append(time.monotonic()))
        url = f"http://localhost:{dashboard.port}/dqm_app"
        page.page.route("**/dqm_app", lambda route: route.continue_())
        page.page.route_web_socket("**/ws*", lambda socket: socket.close())
        page.page.goto(url)
        eventually(lambda: pump(page, lambda: len(loads) >= 4), "a few attempts")
        seen = len(loads)
        pump(page, lambda: False, 1500)
        assert len(loads) <= seen + 2
        assert "comes back by itself" in page.text("#lost")


def pump(page: DashboardPage, condition: Callable[[], bool], milliseconds: int = 200) -> bool:
    """Let playwright deliver events for a while."""
    page.page.wait_for_timeout(milliseconds)
    return condition()


@pytest.mark.parametrize("event", ["offline", "silent"])
def test_a_lost_network_is_noticed(browser, dashboard, event):
    with DashboardPage(browser, dashboard.url(f"camera={CAMERA}&run=6001")) as page:
        page.page.evaluate("window.before = true")
        if event == "offline":
            page.page.context.set_offline(True)
            page.wait_for('!document.getElementById("lost").hidden')
            page.page.context.set_offline(False)
        else:  # the connection is there but nothing comes back, as behind a dead router
            page.page.evaluate("WebSocket.prototype.send = () => {}")
            page.page.evaluate("window.dispatchEvent(new Event('focus'))")
            page.page.evaluate("{ const now = Date.now; Date.now = () => now() + 6000; }")
        page.wait_for("window.before === undefined")
        page.settled()
        assert page.state["run"] == 6001
