"""The address says exactly what the page shows: picks, colours and zoom go with the link."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from plot_runs import TIMELINE, TRIGGER, long_timeline, long_trigger, with_quantities
from plots_page import CAMERA, Plots, opened
from processes import LOOPBACK, ServerProcess, free_port

from dqm_db.settings import DatabaseSettings, load
from dqm_db.writer import open_writer
from ingest.reading import ReadJob, read_run

pytestmark = [pytest.mark.system, pytest.mark.browser]

SAMPLES = Path(__file__).parent.parent / "data"
CHARGE = "CHARGE-INTEGRATION-IMAGE-ALL-AVERAGE-HIGH-GAIN"
MODEL = "Bokeh.documents.at(-1).get_model_by_name"
PICKED = f'{MODEL}("picked-pixels").indices'
COLOURS = 'const { low, high } = model("maps-mapper"); return [low, high]'
SOURCES = ("maps", "waveforms", "temperature", "pingpong")
"""Views with pixels to pick from; the prefix of their source."""


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a dashboard with the runs 6001, 6002 and 6003, the last with 20,000 events."""
    directory = tmp_path_factory.mktemp("addresses")
    url = f"file://{directory}/Data.fs"
    settings = load(DatabaseSettings, db_url=url, lock_dir=directory / "locks")
    content = read_run(ReadJob(SAMPLES / f"{CAMERA}_DQM_Run6001.tar.gz")).content
    assert content is not None
    with open_writer(settings) as writer:
        writer.store_run(content, None)
        writer.store_run(replace(content, header=replace(content.header, run=6002)), None)
        long = with_quantities(content, long_timeline(), long_trigger(), run=6003)
        writer.store_run(long, None)
    port = free_port()
    command = ["dqm", "serve", "--port", str(port), "--num-procs", "1"]
    with ServerProcess(command, port, directory / "dashboard.log", {"DQM_DB_URL": url}):
        yield f"http://{LOOPBACK}:{port}/"


def pick(page: Plots, view: str, words: str) -> None:
    entry = page[f"#toolbar-{view} input.entry"]
    entry.fill(words)
    entry.press("Enter")


def numbers(page: Plots) -> dict[str, str]:
    """The key that opens each view."""
    names = page["#view-list a"].evaluate_all("links => links.map(link => link.dataset.view)")
    return {name: str(number) for number, name in enumerate(names[:9], 1)}


def show(page: Plots, view: str) -> None:
    page[f'#view-list a[data-view="{view}"]'].click()
    page.settled()


def test_a_link_shows_the_same_picks_and_colours_elsewhere(browser, dashboard):
    with opened(browser, dashboard, "maps", quantity=CHARGE) as page:
        assert {"pixels", "range", "zoom"}.isdisjoint(page.address), "nothing without need"
        pick(page, "maps", "3, 20-22 12 13, m5, 44")
        limits = page["#toolbar-maps input.limit"]
        limits.nth(0).fill("4400.5")
        limits.nth(1).fill("4500")
        limits.nth(1).press("Enter")
        assert page.address["pixels"] == "3,12-13,20-22,44,m5"
        assert page.address["range"] == "4400.5..4500"
        assert "pixels=3,12-13,20-22,44,m5" in page.page.url, "a list stays readable"
        with Plots(browser, page.page.url) as other:
            other.wait_for(f"{PICKED}.length === 14")
            assert other.picked == page.picked == [3, 12, 13, 20, 21, 22, *range(35, 42), 44]
            assert other.run(COLOURS) == [4400.5, 4500]
            assert other.address == page.address
            assert other.errors == []
        assert page.errors == []


def test_picks_stay_and_colours_go_with_their_quantity(browser, dashboard):
    with opened(browser, dashboard, "maps", quantity=CHARGE) as page:
        pick(page, "maps", "m1-2")
        page.page.get_by_role("button", name="min–max").click()
        assert (page.address["pixels"], page.address["range"]) == ("m1-2", "min..max")
        page.press("]")
        assert (page.address["pixels"], page.address["range"]) == ("m1-2", "min..max")
        page.press(".")
        assert page.address["pixels"] == "m1-2"
        assert "range" not in page.address
        page.press(",")
        assert page.address["range"] == "min..max", "each quantity keeps its own"
        show(page, "waveforms")
        assert page.address["pixels"] == "m1-2"
        assert "range" not in page.address
        show(page, "maps")
        assert page.address["range"] == "min..max"
        page.page.keyboard.press("Escape")
        assert "pixels" not in page.address
        assert page.errors == []


def test_back_and_forward_bring_picks_and_colours_back(browser, dashboard):
    with opened(browser, dashboard, "maps", quantity=CHARGE) as page:
        usual = page.run(COLOURS)
        page.press("]")
        pick(page, "maps", "7")
        page.page.get_by_role("button", name="min–max").click()
        widest = page.run(COLOURS)
        assert widest != usual
        page.page.go_back()
        page.wait_for_run(6001)
        assert page.picked == []
        assert page.run(COLOURS) == usual
        page.page.go_forward()
        page.wait_for_run(6002)
        assert page.picked == [7]
        assert page.run(COLOURS) == widest
        assert page.errors == []


def test_an_address_without_a_range_shows_the_usual_colours(browser, dashboard):
    with opened(browser, dashboard, "maps", quantity=CHARGE) as page:
        usual, plain = page.run(COLOURS), page.page.url
        page.page.get_by_role("button", name="min–max").click()
        page.page.goto(plain)  # in the same tab, which remembers the other range
        page.settled()
        assert page.run(COLOURS) == usual
        assert "range" not in page.address


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("pixels", "12,x"),
        ("pixels", "1855"),
        ("pixels", "<b>"),
        ("range", "5"),
        ("range", "9..1"),
        ("range", "1..Infinity"),
        ("zoom", "a..b"),
    ],
)
def test_what_is_no_value_is_said_and_left_out(browser, dashboard, key, value):
    url = f"{dashboard}?camera={CAMERA}&run=6001&view=maps&{key}={value}"
    with Plots(browser, url) as page:
        assert f"“{value}” is not a" in page.text("#message")
        assert page["#message b"].count() == 0
        assert key not in page.address
        assert page.picked == []
        page.press("]")
        assert page["#message"].is_hidden()
        assert page.errors == []


def test_the_zoom_of_a_run_is_in_the_address_and_goes_with_it(browser, dashboard):
    ends = f"(({{ x_range: {{ start, end }} }}) => [start, end])({MODEL}('timelines-plot'))"
    with opened(browser, dashboard, "timelines", 6003, quantity=TIMELINE) as page:
        whole = page.run(f"return {ends}")
        page.run('model("timelines-plot").x_range.setv({ start: 12000, end: 13000 })')
        page.wait_for('location.search.includes("zoom=12000..13000")')
        with Plots(browser, page.page.url) as other:
            other.wait_for(f"{ends}[0] === 12000")
            assert other.run(f"return {ends}") == [12000, 13000]
            other.wait_for_words("#toolbar-timelines", "every event is a point")
            assert other.address == page.address
        show(page, "maps")
        assert "zoom" not in page.address
        show(page, "timelines")
        page.wait_for('location.search.includes("zoom=12000..13000")')
        page.press("[")
        assert "zoom" not in page.address
        page.page.go_back()
        page.wait_for_run(6003)
        page.wait_for(f"{ends}[0] === 12000")
        page["#toolbar-timelines button.whole"].click()
        page.wait_for('!location.search.includes("zoom")')
        assert page.run(f"return {ends}") == whole
        assert page.errors == []


def test_a_zoom_outside_of_the_run_shows_all_of_it(browser, dashboard):
    url = f"{dashboard}?camera={CAMERA}&run=6003&view=trigger&quantity={TRIGGER}&zoom=1..2"
    with Plots(browser, url) as page:
        page.wait_for('!location.search.includes("zoom")')
        assert page["#toolbar-trigger button.whole"].is_hidden()
        assert page.errors == []


# ---- picked in one view, picked in all ----------------------------------------------------------


@pytest.mark.parametrize("origin", SOURCES)
def test_what_is_picked_in_a_view_is_picked_in_all_others(browser, dashboard, origin):
    with opened(browser, dashboard, origin) as page:
        later = [view for view in SOURCES if view != origin]
        show(page, later[0])  # opened before the pick; the others are opened after it
        show(page, origin)
        pick(page, origin, "100, m30")
        expected = [100, *range(210, 217)]
        for view in (*later, origin):
            show(page, view)
            assert page.run(
                "return Array.from(model(given[0]).selected.indices)", f"{view}-source"
            ) == [100, *range(210, 217)]
            assert "8 pixels picked: 100, 210" in page.told(view)
        show(page, "waveforms")
        page.wait_for(f'{MODEL}("waveforms-plot-picked").data.id.length === 8')
        assert list(page.column("waveforms-plot-picked", "id")) == expected
        show(page, "temperature")
        page.wait_for(f'{MODEL}("temperature-trend-picked").data.id.length === 2')
        assert list(page.column("temperature-trend-picked", "id")) == [14, 30]
        assert page.errors == []


@pytest.mark.parametrize("view", ["waveforms", "temperature"])
def test_picks_of_the_address_are_drawn_by_the_first_view(browser, dashboard, view):
    url = f"{dashboard}?camera={CAMERA}&run=6001&view={view}&pixels=100,m30"
    source, count = {
        "waveforms": ("waveforms-plot-picked", 8),
        "temperature": ("temperature-trend-picked", 2),
    }[view]
    with Plots(browser, url) as page:
        page.wait_for(f'{MODEL}("{source}").data.id.length === {count}')
        assert page.errors == []


# ---- copying ------------------------------------------------------------------------------------


def test_the_link_is_copied_by_button_and_key(browser, dashboard):
    with opened(browser, dashboard, "maps", quantity=CHARGE) as page:
        page.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        pick(page, "maps", "3,4")
        page["#copy"].click()
        page.wait_for_words("#copied", "Link copied")
        read = "navigator.clipboard.readText()"
        assert page.page.evaluate(read) == page.page.url
        page.page.keyboard.press("Escape")
        page.press("]")
        page.page.keyboard.press("y")
        page.wait_for("document.getElementById('copied').hidden === false")
        page.wait_for_words("#copied", "Link copied")
        assert page.page.evaluate(read) == page.page.url
        assert "run=6002" in page.page.url
        assert page.errors == []


def test_where_copying_is_forbidden_the_link_is_there_selected(browser, dashboard):
    with opened(browser, dashboard, "maps", quantity=CHARGE) as page:
        # as on plain http, in a browser that also has no command for it
        page.page.evaluate(
            "() => { Object.defineProperty(navigator, 'clipboard', { value: undefined });"
            " document.execCommand = () => false; }"
        )
        page["#copy"].click()
        page.wait_for_words("#copied", "Copy this link")
        assert page.page.evaluate("getSelection().toString()") == page.page.url
        page.page.keyboard.press("Escape")
        assert page["#copied"].is_hidden()
        assert page.page.evaluate("document.activeElement.id") == "copy"
        page.page.evaluate("document.execCommand = () => true")
        page["#copy"].click()
        page.wait_for_words("#copied", "Link copied")
        assert page.errors == []
