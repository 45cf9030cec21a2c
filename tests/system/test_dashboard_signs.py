"""A sign of life at once: whatever is clicked, something changes on the page before the server has
had its say. The server is stopped meanwhile, so that nothing of what is seen can come from it.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from plots_page import CAMERA, Plots, opened
from processes import LOOPBACK, ServerProcess, free_port

from dqm_app.views import VIEWS
from dqm_db.settings import DatabaseSettings, load
from dqm_db.writer import open_writer
from ingest.reading import ReadJob, read_run

pytestmark = [pytest.mark.system, pytest.mark.browser, pytest.mark.timeout(240)]

SAMPLES = Path(__file__).parent.parent / "data"
OTHER = "NectarCAM2"
FRAMES = 2
"""Frames that may be painted before something changes: 33 ms on a screen of 60 Hz."""
MOST = 10
"""Controls tried per view; those that look alike, such as the rows of a list, count once."""
EVERY = 100

CONTROLS = """
const controls = (root) => {
  const found = new Map();
  const all = "button, summary, a[href], select";
  for (const node of document.querySelector(root).querySelectorAll(all)) {
    const { visibility } = getComputedStyle(node);
    const seen = node.getClientRects().length > 0 && visibility === "visible";
    const chosen = node.matches('[aria-pressed="true"], [aria-current]');
    const options = node.querySelectorAll("option:enabled").length;
    const choice = node.tagName === "SELECT" && options < 2;
    if (!seen || node.disabled || chosen || choice) continue;
    const said = node.title || node.getAttribute("aria-label") || node.innerText;
    const words = said.replace(/\\d+/g, "0");
    const row = node.closest("[role=row], tr, li, .row") !== null;
    const name = `${node.tagName} ${node.id || node.className} ${row ? "in a row" : words}`;
    if (!found.has(name)) found.set(name, node);
  }
  return found;
};
"""
TRY = """
const [root, name, most] = given;
const node = controls(root).get(name);
if (node === undefined) return null;
let frames = 0;
let sign = null;
const look = (records) => {
  for (const { type, target, attributeName } of records) {
    const element = target instanceof Element ? target : target.parentElement;
    const hidden = element === null || element.getClientRects().length === 0;
    // keeping the focus or the address is no sign
    if (sign === null && !hidden && attributeName !== "href" && element.tagName !== "HEAD") {
      sign = { frames, type, where: element.id || element.className || element.tagName };
    }
  }
};
const observer = new MutationObserver(look);
observer.observe(document, {
  subtree: true, childList: true, attributes: true, characterData: true,
});
const leaving = (event) => {
  if (!event.defaultPrevented && event.target.closest?.("a[href]")) {
    event.preventDefault(); // the browser itself says that it goes there
    sign ??= { frames, type: "navigation" };
  }
};
addEventListener("click", leaving);
node.focus();
look(observer.takeRecords());
sign = null; // of the focus
if (node.tagName === "SELECT") {
  const other = [...node.options].find((option) => !option.disabled && !option.selected);
  node.value = other.value;
  node.dispatchEvent(new Event("input", { bubbles: true }));
  node.dispatchEvent(new Event("change", { bubbles: true }));
} else {
  node.click();
}
return (async () => {
  while (sign === null && frames < most) {
    await new Promise((resolve) => requestAnimationFrame(resolve));
    look(observer.takeRecords());
    frames += 1;
  }
  observer.disconnect();
  removeEventListener("click", leaving);
  return sign ?? { frames, type: "nothing" };
})();
"""


class Dashboard(ServerProcess):
    """`dqm serve`, which can be stopped for a while."""

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let no process of it run."""
        server = psutil.Process(self.pid)
        processes = [server, *server.children(recursive=True)]
        try:
            for process in processes:
                process.send_signal(signal.SIGSTOP)
            yield
        finally:
            for process in processes:
                process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """A dashboard of the runs 6001 to 6003 of one camera and of 6001 of another."""
    directory = tmp_path_factory.mktemp("signs")
    url = f"file://{directory}/Data.fs"
    settings = load(DatabaseSettings, db_url=url, lock_dir=directory / "locks")
    content = read_run(ReadJob(SAMPLES / f"{CAMERA}_DQM_Run6001.tar.gz")).content
    assert content is not None
    with open_writer(settings) as writer:
        for camera, run in (*((CAMERA, n) for n in (6001, 6002, 6003)), (OTHER, 6001)):
            header = replace(content.header, camera=camera, run=run)
            writer.store_run(replace(content, header=header), None)
    port = free_port()
    command = ["dqm", "serve", "--port", str(port), "--num-procs", "1"]
    with Dashboard(command, port, directory / "dashboard.log", {"DQM_DB_URL": url}) as server:
        yield server


def address(dashboard: Dashboard) -> str:
    return f"http://{LOOPBACK}:{dashboard.port}/"


def try_all(
    page: Plots, dashboard: Dashboard, root: str, most: int = EVERY
) -> dict[str, dict[str, Any]]:
    """What the first sign was after each of the first *most* controls inside *root* was used."""
    url, signs = page.page.url, {}
    names = page.run(f"{CONTROLS} return [...controls(given[0]).keys()]", root)
    for name in names[:most]:
        with dashboard.stopped():
            sign = page.run(CONTROLS + TRY, root, name, FRAMES)
        if sign is not None:  # it is not there any more after another one was used
            signs[name] = sign
        page.settled()
        page.page.keyboard.press("Escape")
        if page.page.url != url:
            page.page.go_back()  # a fraction of the time in which the page is loaded again
            if page.page.url != url:
                page.page.goto(url)
            page.settled()
    return signs


def test_every_control_of_the_page_answers_at_once(browser, dashboard):
    with opened(browser, address(dashboard), "maps", 6002) as page:
        tabs = try_all(page, dashboard, ".tabs")
        assert sum(name.startswith("A ") for name in tabs) == len(VIEWS) - 1, "all other views"
        signs = tabs | try_all(page, dashboard, "header.bar") | try_all(page, dashboard, "#facts")
        silent = [name for name, sign in signs.items() if sign["type"] == "nothing"]
        assert silent == []
        for control in ("older", "run", "follow", "copy", "theme", "help", "camera", "quantity"):
            assert any(f" {control} " in name for name in signs), control


@pytest.mark.parametrize("most", [MOST, pytest.param(EVERY, marks=pytest.mark.soak)])
@pytest.mark.parametrize("view", VIEWS)
def test_every_control_of_a_view_answers_at_once(browser, dashboard, view, most):
    url = f"{address(dashboard)}?camera={CAMERA}&run=6001&view={view}&pixels=3,m4"
    with Plots(browser, url) as page:
        signs = try_all(page, dashboard, f"#view-{view}", most)
        assert signs
        assert [name for name, sign in signs.items() if sign["type"] == "nothing"] == []


def test_keys_and_picks_answer_at_once(browser, dashboard):
    views = [str(list(VIEWS).index(view) + 1) for view in ("waveforms", "maps")]
    with opened(browser, address(dashboard), "maps", 6001) as page:
        for key in ("]", "[", ".", ",", "l", "t", *views):
            with dashboard.stopped():
                page.page.keyboard.press(key)
                page.wait_for("document.body.getAttribute('aria-busy') === 'true'")
                assert page["#busy.on"].is_visible()
            page.settled()
        with dashboard.stopped():
            entry = page["#toolbar-maps input.entry"]
            entry.fill("7")
            entry.press("Enter")
            page.wait_for_words("#toolbar-maps", "1 pixel picked: 7")
            page.page.keyboard.press("Escape")
            page.wait_for_words("#toolbar-maps", "No pixels picked")
            (at,) = page.on_screen("maps-map", [0.0], [0.0])
            page.page.mouse.click(*at)
            page.wait_for_words("#toolbar-maps", "1 pixel picked")
        page.settled()
        assert page.errors == []
