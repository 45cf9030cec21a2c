"""The dashboard behind nginx in a browser: nothing is refused, and nothing foreign runs."""

from __future__ import annotations

import base64
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from plots_page import Plots, read_geometry
from processes import LOOPBACK, DatabaseServer, eventually, free_port
from website import CAMERA, OTHER, RUN, Dashboard, Website, store_samples

from dqm_app.page import SCRIPTS_OF_VIEWS
from dqm_app.views import VIEWS

LIST = "#toolbar-{} .export-list"
FREE = ("/assets/", "/static/")
THEME = "document.documentElement.dataset.theme"
BINARY = 2  # RFC 6455, 5.2
PIXEL = 928  # somewhere in the camera

pytestmark = [pytest.mark.system, pytest.mark.browser]

REPORT = """
addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI, sample }) =>
  console.error(`policy: ${effectiveDirective} ${blockedURI} ${sample}`));
"""


class Setting:
    """A database, two dashboards, and nginx."""

    def __init__(
        self,
        folder: Path,
        database: DatabaseServer,
        stack: ExitStack,
        prefix: str = "",
        **options: Any,
    ) -> None:
        port = free_port()
        origin = f"localhost:{port}"
        self.dashboards = [
            stack.enter_context(Dashboard(folder, database.url, origin, prefix=prefix))
            for _ in range(2)
        ]
        ports = [dashboard.port for dashboard in self.dashboards]
        web = Website(folder, ports, prefix=prefix, port=port, **options)
        self.web = stack.enter_context(web)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    with DatabaseServer(tmp_path_factory.mktemp("database"), "primary") as primary:
        store_samples(primary)
        yield primary


@pytest.fixture(scope="module")
def site(database: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    """For the tests that leave it as it is."""
    with ExitStack() as stack:
        yield Setting(tmp_path_factory.mktemp("site"), database, stack)


class Watched(Plots):
    """A page whose `errors` tell what its policy has refused, too."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        super().__init__(browser, url, trusting=True, **options)
        self.page.context.add_init_script(REPORT)


def opened(browser: Browser, web: Website, view: str = "maps", **options: Any) -> Watched:
    return Watched(browser, f"{web.url}?camera={CAMERA}&run={RUN}&view={view}", **options)


@pytest.mark.timeout(300)
def test_a_tour_of_the_whole_dashboard_breaks_no_rule(browser, site):
    """With each view in both themes."""
    first = f"{next(iter(VIEWS))}&pixels={PIXEL}&pixel={PIXEL}"
    with opened(browser, site.web, first, size=(1500, 950)) as page:
        protocols = "performance.getEntriesByType('navigation').map(entry => entry.nextHopProtocol)"
        assert page.page.evaluate(protocols) == ["h2"]
        saved: list[str] = []
        for view in VIEWS:
            page[f'#view-list a[data-view="{view}"]'].click()
            page.wait_for(f'!document.getElementById("view-{view}").hidden')
            page.settled()
            theme = page.page.evaluate(THEME)
            point_at_figures(page, view)  # words appear under the pointer, in their style
            saved += [view for label in ("PNG", "CSV") if save(page, view, label)]
            page.press("t")  # the other theme
            assert page.page.evaluate(THEME) != theme
            point_at_figures(page, view)
        assert set(VIEWS) - set(saved) <= {*SCRIPTS_OF_VIEWS, "contents"}, "the rest has figures"
        page["#run"].click()
        page["#search"].fill(str(OTHER))
        page.wait_for("document.querySelectorAll('#run-list [role=option]').length === 1")
        page.page.keyboard.press("Enter")
        page.wait_for_run(OTHER)
        page["#copy"].click()
        page["#copied"].wait_for()
        assert "Link copied" in page.text("#copied")
        page.page.keyboard.press("?")
        page["#keys"].wait_for()
        page.page.keyboard.press("Escape")
        assert page.errors == []


def point_at_figures(page: Watched, view: str) -> None:
    """Move the pointer into the middle of each figure that is to be seen."""
    for canvas in page.page.locator(f"#figures-{view} .bk-events").all():
        box = canvas.bounding_box()
        if box is not None:
            page.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=3)


def save(page: Watched, view: str, label: str) -> bool:
    """Save something as *label* by the menu of the view; False when it offers nothing like that."""
    menu = page[f"#toolbar-{view} .export"]
    if not menu.count():
        return False
    menu.locator("summary").click()
    page.wait_for(f"!['', '…'].includes(document.querySelector('{LIST.format(view)}').innerText)")
    offered = menu.locator(".export-row button").filter(has_text=label)
    if not offered.count():
        page.page.keyboard.press("Escape")
        return False
    with page.page.expect_download() as download:
        offered.first.click()
    return Path(download.value.path()).stat().st_size > 100


def test_the_words_under_the_pointer_keep_their_look(browser, site):
    """They come as HTML with styles, into a style sheet that Bokeh makes."""
    with opened(browser, site.web) as page:
        page.page.mouse.move(*page.on_screen("maps-map", *read_geometry()[[PIXEL]].T)[0])
        tip = page.page.locator(".bk-tooltip-content b").first
        tip.wait_for()
        assert tip.evaluate("node => getComputedStyle(node).fontWeight") == "600"
        assert page.errors == []


FOREIGN = {
    "an inline script": """
        const script = document.createElement("script");
        script.textContent = "window.ran = true";
        document.body.append(script);
    """,
    "a handler in an attribute": """
        const image = '<img src="data:," onerror="window.ran=true">';
        document.body.insertAdjacentHTML("beforeend", image);
    """,
    "text that becomes code": """
        setTimeout("window.ran = true", 0);
    """,
    "CustomJS": """
        const CustomJS = Bokeh.Models.get("CustomJS");
        setTimeout(() => new CustomJS({ code: "window.ran = true" }).execute(null).catch(() => {}));
    """,
    "a script of another server": """
        const script = document.createElement("script");
        script.src = "https://127.0.0.2/x.js";
        document.body.append(script);
    """,
    "an image of another server": """
        new Image().src = "https://127.0.0.2/x.png";
    """,
    "a request to another server": """
        fetch("https://127.0.0.2/x").catch(() => {});
    """,
    "another server in a frame": """
        const frame = document.createElement("iframe");
        frame.src = "https://127.0.0.2/";
        document.body.append(frame);
    """,
}


@pytest.mark.parametrize("what", FOREIGN)
def test_nothing_foreign_runs_or_is_loaded(browser, site, what):
    with opened(browser, site.web) as page:
        page.page.evaluate(f"() => {{ {FOREIGN[what]} }}")
        eventually(
            lambda: page.page.evaluate("1") and any("policy: " in error for error in page.errors),
            "the browser reports it",
        )
        assert page.page.evaluate("window.ran") is None


def test_it_is_shown_in_no_frame(browser, site):
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(f"{site.web.url}alive")
    # of the same server, and without a policy that would be what forbids it
    page.route(
        "**/outer",
        lambda route: route.fulfill(
            body=f'<iframe src="{site.web.url}dqm_app"></iframe>', content_type="text/html"
        ),
    )
    page.goto(f"{site.web.url}outer")
    eventually(
        lambda: page.evaluate("1") and any("frame-ancestors" in text for text in said), str(said)
    )
    context.close()


def test_a_killed_dashboard_is_not_missed(browser, database, tmp_path):
    with ExitStack() as stack:
        site = Setting(tmp_path, database, stack, aside=1)
        page = stack.enter_context(opened(browser, site.web))
        page.press(".")
        for dashboard in site.dashboards:
            before = (page.address, page.state["run"])
            others = [other for other in site.dashboards if other is not dashboard]
            page.page.evaluate("window.before = true")
            live = "WebSocket connection opened"
            opened_there = dashboard.text().count(live)
            dashboard.kill()
            if opened_there:
                page.wait_for("window.before === undefined")
            page.settled()
            assert (page.address, page.state["run"]) == before
            assert page["#lost"].is_hidden()
            assert any(live in other.text() for other in others)
            dashboard.start()


def test_a_dashboard_that_hangs_is_left(browser, database, tmp_path):
    with ExitStack() as stack:
        site = Setting(tmp_path, database, stack, changed={"proxy_read_timeout": "4s"})
        page = stack.enter_context(opened(browser, site.web))
        before = (page.address, page.state["run"])
        (hangs,) = (one for one in site.dashboards if "WebSocket connection opened" in one.text())
        page.page.evaluate("window.before = true")
        hangs.send(signal.SIGSTOP)
        stack.callback(hangs.send, signal.SIGCONT)
        page.page.wait_for_function("() => window.before === undefined", timeout=90_000)
        page.settled()
        assert (page.address, page.state["run"]) == before
        assert page["#lost"].is_hidden()


def test_below_a_prefix(browser, database, tmp_path):
    with ExitStack() as stack:
        site = Setting(tmp_path, database, stack, prefix="/dqm")
        with opened(browser, site.web) as page:
            assert page.page.url.startswith(f"https://{site.web.origin}/dqm/dqm_app?")
            for view in ("overview", "runs", "system", "trends"):
                page[f'#view-list a[data-view="{view}"]'].click()
                page.wait_for(f'!document.getElementById("view-{view}").hidden')
                page.settled()
            assert page.errors == []


def test_the_page_about_the_trouble_gives_way_to_the_dashboard(browser, database, tmp_path):
    with ExitStack() as stack:
        site = Setting(tmp_path, database, stack, aside=1)
        for dashboard in site.dashboards:
            dashboard.kill()
        context = browser.new_context(ignore_https_errors=True)
        stack.callback(context.close)
        page = context.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        address = f"{site.web.url}dqm_app?camera={CAMERA}&run={RUN}&view=maps"
        page.goto(address)
        assert page.inner_text("h1") == "The dashboard does not answer"
        look = "getComputedStyle(document.documentElement).backgroundColor"
        page.emulate_media(color_scheme="light")
        assert page.evaluate(look) == "rgb(243, 245, 247)"
        page.emulate_media(color_scheme="dark")
        assert page.evaluate(look) == "rgb(14, 18, 22)"
        site.dashboards[0].start()
        page.wait_for_function(f'() => document.title.includes("Run {RUN} ")', timeout=60_000)
        assert page.url.startswith(address)
        assert not [text for text in said if "policy" in text.lower()]


def test_what_a_page_costs(browser, database, tmp_path):
    """What limits count, and bytes on the wire beside those of the dashboard itself."""
    with ExitStack() as stack:
        site = Setting(tmp_path, database, stack)
        direct = f"http://{LOOPBACK}:{site.dashboards[0].port}/"
        (through, shown), (plain, _) = (loaded(browser, url) for url in (site.web.url, direct))
        eventually(lambda: "/dqm_app/ws" in logged(site.web), "the websocket is logged at its end")
        (sent,) = re.findall(
            r"/dqm_app/ws HTTP/1.1\" 101 (\d+) bytes", site.web.access_log.read_text()
        )
        assert int(sent) < 0.5 * shown, f"{sent} bytes for messages of {shown}"
        counted = [path for path in logged(site.web) if not path.startswith(FREE)]
        assert sorted(counted) == ["/", "/dqm_app", "/dqm_app/ws"]
        assert through < 0.4 * plain, f"{through} bytes through nginx, {plain} without"


def logged(web: Website) -> list[str]:
    """Paths in the access log."""
    return re.findall(r'"GET (\S+) HTTP', web.access_log.read_text())


def loaded(browser: Browser, url: str) -> tuple[int, int]:
    """Bytes that a browser with an empty cache gets for a page of maps.

    Those of headers and bodies as they come, and those of the messages of the websocket, unpacked.
    """
    sizes: list[float] = []
    messages: list[dict[str, Any]] = []
    with browser.new_context(ignore_https_errors=True) as context:
        page = context.new_page()
        network = context.new_cdp_session(page)
        network.on(
            "Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"])
        )
        network.on(
            "Network.webSocketFrameReceived", lambda event: messages.append(event["response"])
        )
        network.send("Network.enable")
        page.goto(f"{url}?camera={CAMERA}&run={RUN}&view=maps")
        page.wait_for_function("() => document.documentElement.dataset.shown !== undefined")
    shown = sum(
        len(base64.b64decode(data) if opcode == BINARY else data.encode())
        for opcode, data in ((message["opcode"], message["payloadData"]) for message in messages)
    )
    return int(sum(sizes)), shown
