"""The overview in a browser: what it says, what it draws, where it leads, and its tabs and keys."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browsing import DashboardPage
from judged_runs import (
    CHARGE,
    FINE,
    NOT_JUDGED,
    TOO_MANY_BAD,
    WIDE,
    forget_verdict,
    store_verdict,
)
from PIL import Image
from plots_page import read_geometry, rgb
from processes import LOOPBACK, DatabaseServer, ServerProcess, free_port

from dqm_app.theme import themes
from dqm_db.settings import DatabaseSettings, load
from dqm_db.writer import open_writer
from ingest.reading import ReadJob, read_run

pytestmark = [pytest.mark.system, pytest.mark.browser]

CAMERA = "NectarCAMQM"
SAMPLES = Path(__file__).parent.parent / "data"
SIZES = [(1600, 1000), (1280, 720), (1024, 768)]


class Site:
    """A dashboard on a database with judged runs."""

    def __init__(self, folder: Path, primary: DatabaseServer) -> None:
        self.port = free_port()
        self.settings = load(
            DatabaseSettings,
            db_url=primary.url,
            db_wait=20,
            lock_dir=folder / "locks",
            lock_wait=20,
        )
        command = ["dqm", "serve", "--port", str(self.port), "--num-procs", "1"]
        self.server = ServerProcess(
            command, self.port, folder / "serve.log", {"DQM_DB_URL": primary.url}
        )

    def url(self, run: int, query: str = "") -> str:
        return f"http://{LOOPBACK}:{self.port}/?camera={CAMERA}&run={run}{query}"

    def judge(self, run: int, *results, checked_at: float = 1.9e9) -> None:
        with open_writer(self.settings) as writer:
            store_verdict(writer, CAMERA, run, *results, checked_at=checked_at)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """6001 good, 6002 the same and never judged; 8001 (12 modules absent) bad; 8003 (no pedestals)
    unknown; 7001, for tests that judge it."""
    folder = tmp_path_factory.mktemp("overview")
    with DatabaseServer(folder, "primary") as primary:
        site = Site(folder, primary)
        contents = {
            run: read_run(ReadJob(SAMPLES / f"{CAMERA}_DQM_Run{run}.tar.gz")).content
            for run in (6001, 8001, 8003)
        }
        for run in (6002, 7001):
            contents[run] = replace(contents[6001], header=replace(contents[6001].header, run=run))
        with open_writer(site.settings) as writer:
            for run in sorted(contents):
                writer.store_run(contents[run], None)
            forget_verdict(writer, CAMERA, 6002)
            store_verdict(writer, CAMERA, 6001, FINE)
            store_verdict(writer, CAMERA, 7001, WIDE)
            store_verdict(writer, CAMERA, 8001, FINE, WIDE, TOO_MANY_BAD)
            store_verdict(writer, CAMERA, 8003, NOT_JUDGED)
        with site.server:
            yield site


def opened(browser, site: Site, run: int, query: str = "", **options) -> DashboardPage:
    return DashboardPage(browser, site.url(run, query), **options)


def picture(page: DashboardPage, quantity: str) -> np.ndarray:
    """What is drawn of a quantity, (rows, columns, RGBA)."""
    data = page[f'.map[href*="quantity={quantity}&"], .map[href$="quantity={quantity}"]'].evaluate(
        "link => link.querySelector('canvas').toDataURL().slice(22)"
    )
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"))


def at_pixels(drawn: np.ndarray) -> np.ndarray:
    """The colours at the centres of the camera's pixels, (1855, 4)."""
    places = read_geometry()
    scale = drawn.shape[1] / 2 / (np.abs(places[:, 0]).max() + 0.0288669)
    columns = drawn.shape[1] / 2 + places[:, 0] * scale
    rows = drawn.shape[0] / 2 - places[:, 1] * scale
    return drawn[rows.astype(int), columns.astype(int)]


# ---- what it says -------------------------------------------------------------------------------


def test_a_bad_run_says_why_and_each_reason_leads_to_where_it_is_seen(browser, site):
    with opened(browser, site, 8001) as page:
        assert page.address["view"] == "overview", "the page opens on it"
        assert "BAD" in page.text(".overview .judged h2")
        assert page["#facts .alert"].count() == 0, "what is wrong is for the verdict to say"
        assert page["#quantity"].is_hidden()
        reasons = page[".reasons li"].all_inner_texts()
        first, second = (text.splitlines()[1] for text in reasons)
        assert first == "30 pixels are bad. Since when?"
        assert second == "The mean charge is low. Allowed: 4500 to 5000. Since when?"
        assert page.text(".checks summary") == "1 check passed"
        assert page[".checks table"].is_hidden()
        page[".checks summary"].click()
        assert page[".checks tbody tr"].count() == 3
        page[".reasons a"].filter(has_text="mean charge").click()
        page.settled()
        assert (page.address["view"], page.address["quantity"]) == ("maps", CHARGE)
        page.page.go_back()
        page.settled()
        assert page["#view-overview"].is_visible()
        page[".reasons a"].filter(has_text="Since when").first.click()
        page.settled()
        assert (page.address["view"], page.address["statistic"]) == ("trends", "bad")
        assert page.errors == []


def test_runs_that_were_not_judged_or_could_not_be_say_so(browser, site):
    with opened(browser, site, 6002) as page:
        assert "Not judged" in page.text(".overview .judged")
        assert "dqm recheck" in page.text(".overview .judged")
        assert "Bad pixels" in page.text("#facts .alert"), "nobody else says that there are any"
        page.press("]", "]", "]")
        page.wait_for_run(8003)
        assert "UNKNOWN" in page.text(".overview .judged h2")
        assert page.text(".checks summary") == (
            "0 checks passed, 1 could not be judged (no pedestal events)"
        )
        assert page[".map.missing"].count() == 16
        assert page[".map.missing .reason"].first.inner_text() == "no pedestal events"
        assert "no pedestal events" in page.text(".numbers")
        assert page.errors == []


def test_a_run_that_is_judged_again_says_so_by_itself(browser, site):
    with opened(browser, site, 7001) as page:
        assert "WARNING" in page.text(".overview .judged h2")
        entry = page['.overview input[aria-label="Compare with another run"]']
        entry.focus()
        page.page.keyboard.type("60")
        site.judge(7001, TOO_MANY_BAD, checked_at=2e9)
        page.wait_for('document.querySelector(".overview .judged h2").innerText.includes("BAD")')
        page.page.keyboard.type("01")
        assert entry.input_value() == "6001", "who types is not disturbed"
        page[".numbers a"].first.focus()
        site.judge(7001, WIDE, checked_at=2.1e9)
        page.wait_for(
            'document.querySelector(".overview .judged h2").innerText.includes("WARNING")'
        )
        page.wait_for('document.activeElement.textContent === "Events"')
        page[".checks summary"].focus()
        site.judge(7001, TOO_MANY_BAD, checked_at=2.2e9)
        page.wait_for('document.querySelector(".overview .judged h2").innerText.includes("BAD")')
        page.wait_for('document.activeElement.matches(".checks summary")')
        assert page.errors == []


def test_one_comes_back_from_a_plot_to_where_one_was(browser, site):
    with opened(browser, site, 8001) as page:
        scrolled = page["#views"]
        low = page['.map[href*="BADPIX"]'].first
        low.evaluate("link => link.scrollIntoView({block: 'end'})")
        place = scrolled.evaluate("main => main.scrollTop")
        assert place > 0
        low.click()
        page.settled()
        assert page.address["view"] == "maps"
        assert scrolled.evaluate("main => main.scrollTop") == 0
        page.page.go_back()
        page.settled()
        assert page["#view-overview"].is_visible()
        assert scrolled.evaluate("main => main.scrollTop") == place
        link = page[".reasons a"].filter(has_text="mean charge")
        link.focus()
        page.press("Enter")
        assert page.address["view"] == "maps"
        page.page.go_back()
        page.settled()
        page.wait_for('document.activeElement.textContent.includes("mean charge")')
        assert page.errors == []


LOOKS = """view => {
  const seen = new Set();
  const kind = (part) => part === view ? ""
    : `${kind(part.parentElement)} ${part.tagName}.${part.className}`;
  const one = (part) => !seen.has(kind(part)) && seen.add(kind(part));
  return [view, ...view.querySelectorAll("*")].filter(one).flatMap((part) =>
    [null, "::before", "::after"].map((pseudo) => {
      const look = getComputedStyle(part, pseudo);
      const none = pseudo !== null && look.content === "none";
      return [kind(part) + (pseudo ?? ""), ...(none ? ["content"] : [...look])
        .filter((key) => !key.startsWith("--"))
        .map((key) => `${key}: ${look.getPropertyValue(key)}`)];
    }));
}"""
"""Of one element of each kind, e.g. of one map of many."""


@pytest.mark.parametrize("view", ["overview", "runs"])
def test_a_view_looks_the_same_after_the_style_sheets_of_others_have_come(browser, site, view):
    with opened(browser, site, 8001, f"&view={view}") as page:
        page[f"#toolbar-{view} input"].first.wait_for()
        page.page.mouse.move(0, 0)
        before = page[f"#toolbar-{view}"].evaluate(LOOKS)
        sheets = page["link[rel=stylesheet]"].count()
        for other in ("maps", "runs", "overview", view):
            page[f'[data-view="{other}"]'].click()
            page.settled()
        assert page["link[rel=stylesheet]"].count() > sheets
        page.page.mouse.move(0, 0)
        after = page[f"#toolbar-{view}"].evaluate(LOOKS)
        assert len(before) == len(after)
        for one, other in zip(before, after, strict=True):
            assert set(one) == set(other), one[0]
        assert page.errors == []


# ---- what changed -------------------------------------------------------------------------------


def test_what_changed_since_the_last_good_run_and_since_another_one(browser, site):
    with opened(browser, site, 8001) as page:
        assert "since run 6001" in page.text('[aria-label="What changed"]')
        assert "became absent: 12 modules" in page.text(".states")
        entry = page['.overview input[aria-label="Compare with another run"]']
        entry.fill("8003")
        entry.press("Enter")
        page.settled()
        assert page.address["reference"] == "8003"
        assert "since run 8003" in page.text('[aria-label="What changed"]')
        assert page.text('[aria-label="Key numbers"]').count("not in run 8003") == 4
        page.press("[")
        page.wait_for_run(7001)
        assert page.address["reference"] == "8003", "it stays chosen"
        page["button"].filter(has_text="Last good run").click()
        page.settled()
        assert "reference" not in page.address
        assert "since run 6001" in page.text('[aria-label="What changed"]')
        page.page.goto(site.url(6001, "&reference=77"))
        page.settled()
        assert "There is no run “77” of NectarCAMQM." in page.text(".overview .problem")
        assert "no good run before this one" in page.text('[aria-label="Key numbers"]')
        entry.fill("x")
        entry.press("Enter")
        assert entry.get_attribute("aria-invalid") == "true"
        assert page.errors == []


def test_what_changed_leads_to_its_pixels_and_modules(browser, site):
    with opened(browser, site, 8001) as page:
        module = page[".states .absent a"].nth(1)
        number = int(module.inner_text())
        module.click()
        page.settled()
        assert page.address["view"] == "maps"
        picked = page.page.evaluate(
            'Bokeh.documents.at(-1).get_model_by_name("picked-pixels").indices'
        )
        assert sorted(picked) == list(range(7 * number, 7 * number + 7))
        page.press("1")
        page[".quantities a"].first.click()
        page.settled()
        assert page.address["view"] in ("compare", "maps")
        assert page.address["quantity"].startswith(("CHARGE", "CAMERA"))
        assert page.errors == []


# ---- small maps ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dark", [False, True])
def test_small_maps_draw_each_pixel_at_its_place_in_the_colours_of_the_theme(browser, site, dark):
    theme = themes()["dark" if dark else "light"]
    with opened(browser, site, 8001, dark=dark) as page:
        drawn = picture(page, CHARGE)
        content = read_run(ReadJob(SAMPLES / f"{CAMERA}_DQM_Run8001.tar.gz")).content
        assert content is not None
        absent = np.zeros(1855, np.bool_)
        absent[content.header.absent_pixels] = True
        found = at_pixels(drawn)
        assert (found[absent, :3] == rgb(theme["outline"])).all()
        bad = (found[:, :3] == rgb(theme["bad_fill"])).all(axis=1)
        assert bad.sum() == content.header.bad_pixels
        (values,) = next(q for q in content.quantities if q.name == CHARGE).columns.values()
        good = ~absent & ~bad
        light = found[good, :3] @ (0.2126, 0.7152, 0.0722)
        order = np.corrcoef(np.argsort(np.argsort(values[good])), np.argsort(np.argsort(light)))
        assert order[0, 1] > 0.98, "the higher the lighter, as in the palette"
        assert drawn[0, 0, 3] == 0, "nothing beside the camera"
        page.press("t")
        other = themes()["light" if dark else "dark"]
        page.wait_for(f'document.documentElement.dataset.theme === "{other.name}"')
        assert (at_pixels(picture(page, CHARGE))[absent, :3] == rgb(other["outline"])).all()
        assert page.errors == []


def test_every_map_is_a_link_that_the_keyboard_reaches_and_says_what_it_is(browser, site):
    with opened(browser, site, 6001) as page:
        maps = page[".map"]
        assert maps.count() == 35
        assert page[".map canvas"].evaluate_all(
            "all => all.every(one => one.getAttribute('aria-label').startsWith('Camera map: '))"
        )
        titles = maps.evaluate_all("all => all.map(one => one.title)")
        assert any(CHARGE in title and "Median 44" in title for title in titles)
        first = maps.first
        first.focus()
        page.page.keyboard.press("Enter")
        page.settled()
        assert page.address["view"] == "maps"
        page.press("1")
        assert page["#view-overview"].is_visible()
        assert page.errors == []


# ---- room ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_verdict_and_maps_are_in_sight_and_nothing_is_wider_than_the_page(browser, site, size):
    with opened(browser, site, 8001, size=size) as page:
        for selector in (".overview .judged", ".reasons li:last-child", ".map:first-child canvas"):
            box = page[selector].first.bounding_box()
            assert box["y"] + box["height"] < size[1]
            assert box["x"] + box["width"] <= size[0]
        left = page[".overview .words section"].evaluate_all(
            "cards => Math.max(...cards.map(card => card.getBoundingClientRect().right))"
        )
        assert left <= page[".all-maps"].bounding_box()["x"]
        over = page.page.evaluate("document.getElementById('views').scrollWidth - innerWidth")
        assert over <= 0
        if size == SIZES[0]:
            room = "main => main.scrollHeight <= main.clientHeight"
            assert page["#views"].evaluate(room), "one screen"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("view", ["maps", "contents"])
def test_all_tabs_and_the_quantity_fit_in_one_row(browser, site, size, view):
    with opened(browser, site, 6001, f"&view={view}", size=size) as page:
        assert page[".tabs"].bounding_box()["height"] < 50
        chooser = page["#quantity"].bounding_box()
        assert chooser["x"] + chooser["width"] <= size[0]
        tab = page["#view-list [aria-current]"].bounding_box()
        assert tab["x"] >= 0
        assert tab["x"] + tab["width"] <= chooser["x"], "the one in front is seen"


def test_keys_of_the_tabs(browser, site):
    with opened(browser, site, 6001) as page:
        views = page["#view-list a"].evaluate_all("links => links.map(link => link.dataset.view)")
        for key, view in [("r", "runs"), ("a", "contents"), ("0", views[9]), ("1", views[0])]:
            page.press(key)
            assert page.address["view"] == view
        titles = page["#view-list a"].evaluate_all("links => links.map(link => link.title)")
        assert all(titles), "each says its key"
