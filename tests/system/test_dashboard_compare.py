"""Two runs compared in a browser, and camera maps by module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser
from plots_page import CAMERA, LIGHT, Plots, opened, read_geometry, rgb
from processes import LOOPBACK, ServerProcess, free_port
from results_files import raw_values, sample_fits

from dqm_db.content import N_PIXELS
from dqm_db.settings import DatabaseSettings, load
from dqm_db.writer import open_writer
from ingest.reading import ReadJob, read_run

pytestmark = [pytest.mark.system, pytest.mark.browser]

SAMPLES = Path(__file__).parent.parent / "data"
RUNS = (6001, 8001, 8003)
CHARGE = "CHARGE-INTEGRATION-IMAGE-ALL-AVERAGE-HIGH-GAIN"
PEDESTAL = CHARGE.replace("IMAGE", "PED")
WAVEFORMS = "WF-PHY-HIGH-GAIN"
ENTRY = '#toolbar-compare [aria-label="Run B"]'
COMPARISON = "compare-comparison"
BYTES_PER_CHANGE = 100_000
MODEL = "Bokeh.documents.at(-1).get_model_by_name"


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a dashboard of the sample runs: 8001 lacks 12 modules, 8003 pedestals."""
    directory = tmp_path_factory.mktemp("compare")
    url = f"file://{directory}/Data.fs"
    settings = load(DatabaseSettings, db_url=url, lock_dir=directory / "locks")
    with open_writer(settings) as writer:
        for run in RUNS:
            content = read_run(ReadJob(SAMPLES / f"{CAMERA}_DQM_Run{run}.tar.gz")).content
            assert content is not None
            writer.store_run(content, None)
    port = free_port()
    command = ["dqm", "serve", "--port", str(port), "--num-procs", "1"]
    log = directory / "dashboard.log"
    with ServerProcess(command, port, log, {"DQM_DB_URL": url}):
        yield f"http://{LOOPBACK}:{port}/"


@pytest.fixture(scope="module")
def raw() -> dict[int, dict[str, np.ndarray]]:
    """Runs 6001 and 8003, in which no module is absent, as astropy reads them."""
    return {run: raw_values(sample_fits(SAMPLES, run)) for run in (6001, 8003)}


def comparing(browser: Browser, url: str, a: int, b: int, quantity: str = CHARGE, **more: Any):
    extra = "".join(f"&{key}={value}" for key, value in more.pop("address", {}).items())
    query = f"?camera={CAMERA}&run={a}&view=compare&quantity={quantity}&reference={b}{extra}"
    page = Plots(browser, url + query, **more)
    return page


def ready(page: Plots) -> None:
    """Wait for the controls, which come after the figures."""
    page.page.wait_for_selector(ENTRY)


def colours(page: Plots, name: str = f"{COMPARISON}-mapper") -> list[float]:
    return page.run("const { low, high } = model(given[0]); return [low, high]", name)


def tooltip(page: Plots) -> list[str]:
    page.page.wait_for_selector(".bk-Tooltip .bk-tooltip-content")
    words = page.run(
        "return [...document.querySelectorAll('.bk-Tooltip')]"
        ".map(tooltip => tooltip.shadowRoot.querySelector('.bk-tooltip-content').innerText)"
    )
    assert len(words) == 1
    return words[0].split()


def test_the_difference_is_on_the_screen_in_its_own_colours(browser, dashboard, raw):
    with comparing(browser, dashboard, 8003, 6001, size=(1600, 1000)) as page:
        ready(page)
        difference = raw[8003][CHARGE] - raw[6001][CHARGE]
        assert np.array_equal(page.column("compare-source", "value_a"), raw[8003][CHARGE])
        assert np.array_equal(page.column("compare-source", "value_b"), raw[6001][CHARGE])
        assert np.array_equal(page.column("compare-source", "value"), difference)
        low, high = colours(page)
        assert low == -high
        palette = np.array([rgb(colour) for colour in LIGHT.palettes["difference"]])
        scaled = (difference - low) / (high - low) * len(palette)
        expected = palette[np.clip(scaled, 0, len(palette) - 1).astype(int)]
        places = np.round(page.on_screen(COMPARISON, *read_geometry().T)).astype(int)
        found = page.picture()[places[:, 1], places[:, 0]]
        good = page.column("compare-source", "state") == 0
        assert good.sum() > 1700
        assert (found == expected)[good].all()
        assert page.errors == []


def test_the_maps_of_both_runs_have_the_same_colours_and_zoom_together(browser, dashboard):
    with comparing(browser, dashboard, 8003, 6001) as page:
        ready(page)
        for edge in ("x_range", "y_range"):
            ranges = page.run(
                "return ['a', 'b', 'comparison'].map(one => model(`compare-${one}`)[given[0]].id)",
                edge,
            )
            assert len(set(ranges)) == 1
        before = [page.on_screen(f"compare-{name}", [0.0], [0.5]) for name in ("a", "b")]
        sizes = page.run(
            "return ['a', 'b', 'comparison'].map(n => view(`compare-${n}`).frame.bbox.width)"
        )
        assert len(set(sizes)) == 1, "else aspects would fight over the common ranges"
        (centre,) = page.on_screen("compare-a", [0.0], [0.0])
        page.page.mouse.move(*centre)
        page.page.mouse.wheel(0, -600)
        page.wait_for("document.querySelector('#toolbar-compare .whole').hidden === false")
        after = [page.on_screen(f"compare-{name}", [0.0], [0.5]) for name in ("a", "b")]
        for old, new in zip(before, after, strict=True):
            assert new[0][1] < old[0][1] - 20
        page.page.click("#toolbar-compare .whole")
        page.wait_for("document.querySelector('#toolbar-compare .whole').hidden === true")
        again = page.on_screen("compare-a", [0.0], [0.5])
        assert again == pytest.approx(before[0], abs=1)
        assert page.errors == []


def test_the_words_under_the_pointer_have_both_values(browser, dashboard, raw):
    pixel = 700
    with comparing(browser, dashboard, 8003, 6001, size=(1600, 1000)) as page:
        ready(page)
        (at,) = page.on_screen(COMPARISON, *read_geometry()[[pixel]].T)
        page.page.mouse.move(*at)
        words = tooltip(page)
        values = [raw[run][CHARGE][pixel] for run in (8003, 6001)]
        for label, value in (
            ("8003", values[0]),
            ("6001", values[1]),
            ("B", values[0] - values[1]),
        ):
            # the difference is behind “A − B”, the last B of all
            place = len(words) - 1 - words[::-1].index(label)
            assert float(words[place + 1].replace(",", "")) == pytest.approx(value, abs=1e-4)
        assert words[-1] == "good"


def test_b_is_typed_stepped_to_swapped_and_given_back(browser, dashboard):
    with opened(browser, dashboard, "compare", 8003, quantity=CHARGE) as page:
        ready(page)
        assert "reference" not in page.address
        page.page.fill(ENTRY, "6001")
        page.page.press(ENTRY, "Enter")
        page.wait_for_words("#toolbar-compare", "Swap")
        page.wait_for("new URLSearchParams(location.search).get('reference') === '6001'").settled()
        assert page.run('return model("compare-b").title.text') == "B: run 6001"
        page.page.click('#toolbar-compare [aria-label="Later run as B"]')
        page.settled()
        assert page.address["reference"] == "8001"
        assert "84 absent in B only" in page.told("compare")
        page.page.click("#toolbar-compare >> text=Swap")
        page.wait_for_run(8001)
        assert (page.address["run"], page.address["reference"]) == ("8001", "8003")
        assert "84 absent in A only" in page.told("compare")
        assert page.page.input_value(ENTRY) == "8003"
        page.page.go_back()
        page.wait_for_run(8003)
        page.page.click("#toolbar-compare >> text=/Last good|Run before/")
        page.settled()
        assert "reference" not in page.address
        assert page.errors == []


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [("8003", "That is run A"), ("abc", "A run number"), ("", "A run number")],
)
def test_what_is_no_other_run_is_refused_where_it_is_typed(browser, dashboard, typed, complaint):
    with comparing(browser, dashboard, 8003, 6001) as page:
        ready(page)
        page.page.fill(ENTRY, typed)
        page.page.press(ENTRY, "Enter")
        assert complaint in page.page.eval_on_selector(ENTRY, "entry => entry.validationMessage")
        assert page.address["reference"] == "6001"
        page.page.press(ENTRY, "Escape")
        assert page.page.input_value(ENTRY) == "6001"


def test_a_run_that_does_not_exist_is_said_and_another_one_shown(browser, dashboard):
    with comparing(browser, dashboard, 8003, 9999) as page:
        ready(page)
        assert "There is no run “9999”" in page.text("#toolbar-compare .compare-problem")
        assert "value" in page.run('return [...Object.keys(model("compare-source").data)]')
        assert np.isfinite(page.column("compare-source", "value_b")).sum() > 1700


def test_groups_of_pixels_are_picked_and_so_are_outliers(browser, dashboard, raw):
    with comparing(browser, dashboard, 8001, 6001) as page:
        ready(page)
        page.page.click("#toolbar-compare >> text=84 absent in A only")
        assert (
            page.picked
            == np.flatnonzero(np.isnan(page.column("compare-source", "value_a"))).tolist()
        )
        assert len(page.picked) == 84
        difference = page.column("compare-source", "value")
        good = page.column("compare-source", "state") == 0
        middle = np.median(difference[good])
        sigma = 1.482602218505602 * np.median(abs(difference[good] - middle))
        far = np.flatnonzero(good & (abs(difference - middle) > 5 * sigma))
        button = page["#toolbar-compare button.group"].first
        assert button.inner_text() == f"{far.size} beyond 5 σ"
        if far.size:
            button.click()
            assert page.picked == far.tolist()
        else:
            assert button.is_disabled()
        assert page.errors == []


def test_picked_pixels_have_their_waveforms_of_both_runs(browser, dashboard, raw):
    pixel = 900
    with comparing(browser, dashboard, 8003, 6001, size=(1600, 1000)) as page:
        ready(page)
        (at,) = page.on_screen("compare-b", *read_geometry()[[pixel]].T)
        page.page.mouse.click(*at)
        page.wait_for(f"{MODEL}('compare-waveforms-pixels').data.id.length === 2")
        assert page.picked == [pixel]
        drawn = page.run(
            "const { id, run, dash, y } = model('compare-waveforms-pixels').data;"
            "return { id: [...id], run, dash, y: y.map(one => [...one]) }"
        )
        assert drawn["id"] == [pixel, pixel]
        assert drawn["run"] == ["run 8003", "run 6001"]
        assert drawn["dash"] == ["solid", "dashed"]
        for row, run in enumerate((8003, 6001)):
            assert drawn["y"][row] == pytest.approx(raw[run][WAVEFORMS][pixel])
        assert page.errors == []


def test_the_ratio_and_its_colours_are_in_the_address(browser, dashboard, raw):
    with comparing(browser, dashboard, 8003, 6001) as page:
        ready(page)
        page.page.click("#toolbar-compare [data-mode=ratio]")
        page.settled()
        assert page.address["mode"] == "ratio"
        ratio = raw[8003][CHARGE] / raw[6001][CHARGE]
        assert np.array_equal(page.column("compare-source", "value"), ratio)
        low, high = colours(page)
        assert low + high == pytest.approx(2.0)
        limit = page["#toolbar-compare .symmetric input.limit"].last
        limit.fill("1.25")
        limit.press("Enter")
        assert colours(page) == [0.75, 1.25], "the other end follows"
        assert page.address["scale"] == "0.75..1.25"
        shared = colours(page, "compare-mapper")
        assert shared[1] > 1000, "A and B keep theirs"
        link = page.page.url
        page.page.click("#toolbar-compare [data-mode=difference]")
        page.settled()
        assert "scale" not in page.address
        low, high = colours(page)
        assert low == -high < -1.25
    with Plots(browser, link) as page:
        ready(page)
        page.wait_for(f"{MODEL}('compare-comparison-mapper').high === 1.25")
        assert colours(page) == [0.75, 1.25]
        assert (
            page.page.get_attribute("#toolbar-compare [data-mode=ratio]", "aria-pressed") == "true"
        )
        assert page.errors == []


def test_the_slider_of_the_difference_moves_both_ends(browser, dashboard):
    with comparing(browser, dashboard, 8003, 6001) as page:
        ready(page)
        before = colours(page)
        page.page.focus("#toolbar-compare .symmetric input[type=range] >> nth=0")
        for _ in range(40):
            page.page.keyboard.press("ArrowRight")
        # painted once per frame, perhaps after the address has it
        scale = "new URLSearchParams(location.search).get('scale')?.split('..')[1]"
        page.wait_for(f"{MODEL}('compare-comparison-mapper').high === Number({scale})")
        low, high = colours(page)
        assert low == -high
        assert 0 < high < before[1]
        page.page.click("#toolbar-compare .symmetric >> text=99 %")
        assert colours(page) == before
        assert "scale" not in page.address


def test_b_without_the_quantity_says_so_and_a_stays(browser, dashboard):
    with comparing(browser, dashboard, 6001, 8003, PEDESTAL) as page:
        ready(page)
        assert "Run 8003 has no values: the run has no pedestal events" in page.told("compare")
        assert np.isfinite(page.column("compare-source", "value_a")).all()
        assert np.isnan(page.column("compare-source", "value")).all()
        assert "B: run 8003" in page.run('return model("compare-b").title.text')
        assert page["#toolbar-compare .symmetric"].is_hidden()
        page.page.click('#toolbar-compare [aria-label="Earlier run as B"]')
        page.settled()
        assert np.isfinite(page.column("compare-source", "value")).sum() == N_PIXELS - 84
        assert page.errors == []


def test_another_run_or_quantity_sends_little_and_builds_nothing(browser, dashboard):
    with comparing(browser, dashboard, 8003, 6001) as page:
        ready(page)
        received: list[int] = []
        session = page.page.context.new_cdp_session(page.page)
        session.send("Network.enable")
        session.on(
            "Network.webSocketFrameReceived",
            lambda event: received.append(len(event["response"]["payloadData"]) * 3 // 4),
        )
        count = "return Bokeh.documents.at(-1)._all_models.size"
        models = page.run(count)
        for key in ("[", "]", ".", ","):
            received.clear()
            page.press(key)
            assert 0 < sum(received) <= BYTES_PER_CHANGE, key
        assert page.run(count) == models
        assert page.errors == []


# ---- camera maps by module ----------------------------------------------------------------------


def tap(page: Plots, at: np.ndarray) -> None:
    """Click, not so soon after another click that both together are a double click."""
    page.page.mouse.click(*at)
    page.run("window.apart = performance.now() + 320; return null")
    page.wait_for("performance.now() > window.apart")


def test_modules_are_a_level_of_the_maps_and_picked_whole(browser, dashboard, raw):
    pixel = 700
    with opened(browser, dashboard, "maps", 6001, quantity=CHARGE, size=(1600, 1000)) as page:
        page.page.click("#toolbar-maps [data-level=module]")
        page.settled()
        assert page.address["level"] == "module"
        bad = raw[6001]["CAMERA-BADPIX-PHY-OVEREVENTS-HIGH-GAIN"] > 137
        sums = np.where(bad, 0.0, raw[6001][CHARGE]).reshape(-1, 7).sum(axis=1)
        counts = (~bad).reshape(-1, 7).sum(axis=1)
        means = np.divide(sums, counts, out=np.full(265, np.nan), where=counts > 0)
        expected = pytest.approx(np.repeat(means, 7), nan_ok=True)
        assert page.column("maps-source", "value") == expected
        (at,) = page.on_screen("maps-map", *read_geometry()[[pixel]].T)
        page.page.mouse.move(*at)
        words = tooltip(page)
        assert words[words.index("Module") + 1] == "100"
        tap(page, at)
        assert page.picked == list(range(700, 707))
        tap(page, at)
        assert page.picked == [], "a second click lets go"
        tap(page, at)
        (other,) = page.on_screen("maps-map", *read_geometry()[[10]].T)
        page.page.keyboard.down("Shift")
        tap(page, other)
        page.page.keyboard.up("Shift")
        assert page.picked == [*range(7, 14), *range(700, 707)]
        page.page.fill("#toolbar-maps .picked .entry", "12")
        page.page.press("#toolbar-maps .picked .entry", "Enter")
        assert page.picked == [12], "a pixel that is named is meant"
        page.page.click("#toolbar-maps [data-level=pixel]")
        page.settled()
        assert "level" not in page.address
        assert np.array_equal(page.column("maps-source", "value"), raw[6001][CHARGE])
        tap(page, at)
        assert page.picked == [pixel]
        assert page.errors == []


def test_a_level_that_is_none_is_said(browser, dashboard):
    query = f"?camera={CAMERA}&run=6001&view=maps&quantity={CHARGE}&level=drawer"
    with Plots(browser, dashboard + query) as page:
        page.wait_for_words("#toolbar-maps", "There is no level “drawer”")
        assert page.column("maps-source", "pixel").size == N_PIXELS
