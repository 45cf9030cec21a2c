"""The plots in a browser: what is on the screen is what the results file says, where it belongs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from plot_runs import EVENTS, TIMELINE, TRIGGER, long_timeline, long_trigger, with_quantities
from plots_page import CAMERA, LIGHT, Plots, check_map, opened, read_geometry, rgb
from processes import LOOPBACK, ServerProcess, free_port
from results_files import raw_columns, raw_values, sample_fits

from dqm_app.theme import themes
from dqm_app.views import VIEWS
from dqm_db.content import N_PIXELS, Quantity, RunContent, RunTimes
from dqm_db.settings import DatabaseSettings, load
from dqm_db.writer import open_writer
from ingest.reading import ReadJob, read_run

pytestmark = [pytest.mark.system, pytest.mark.browser]

SAMPLES = Path(__file__).parent.parent / "data"
CHARGE = "CHARGE-INTEGRATION-IMAGE-ALL-AVERAGE-HIGH-GAIN"
VALUELESS = 900
BYTES_PER_CHANGE = 100_000
MODEL = "Bokeh.documents.at(-1).get_model_by_name"
PICKED = f'{MODEL}("picked-pixels").indices'


def poor(content: RunContent) -> RunContent:
    """*content* as run 5001, with the faults that `dashboard` names."""
    charge = next(quantity for quantity in content.quantities if quantity.name == CHARGE)
    values = next(iter(charge.columns.values())).copy()
    values[VALUELESS] = np.inf
    run = with_quantities(content, Quantity(CHARGE, charge.kind, {CHARGE: values}), run=5001)
    return replace(run, header=replace(run.header, times=RunTimes()))


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a dashboard of the sample runs, of 7001 with 20,000 events, and of 5001 without
    times and without a value in pixel `VALUELESS`."""
    directory = tmp_path_factory.mktemp("plots")
    url = f"file://{directory}/Data.fs"
    settings = load(DatabaseSettings, db_url=url, lock_dir=directory / "locks")
    with open_writer(settings) as writer:
        for run in (6001, 8001, 8003):
            content = read_run(ReadJob(SAMPLES / f"{CAMERA}_DQM_Run{run}.tar.gz")).content
            assert content is not None
            writer.store_run(content, None)
            if run == 6001:
                long = with_quantities(content, long_timeline(), long_trigger(), run=7001)
                writer.store_run(long, None)
                writer.store_run(poor(content), None)
    port = free_port()
    command = ["dqm", "serve", "--port", str(port), "--num-procs", "1"]
    log = directory / "dashboard.log"
    with ServerProcess(command, port, log, {"DQM_DB_URL": url}):
        yield f"http://{LOOPBACK}:{port}/"


def key_of(view: str) -> str:
    """What opens a view."""
    return str(list(VIEWS).index(view) + 1)


@pytest.fixture(scope="module")
def raw() -> dict[str, np.ndarray]:
    """Run 6001 as astropy reads it."""
    return raw_values(sample_fits(SAMPLES, 6001))


def test_every_pixel_of_the_map_has_its_value_and_its_colour_at_its_place(browser, dashboard, raw):
    bad = raw["CAMERA-BADPIX-PHY-OVEREVENTS-HIGH-GAIN"] > 137
    with opened(browser, dashboard, "maps", quantity=CHARGE, size=(1600, 1000)) as page:
        check_map(page, raw[CHARGE], bad)


def test_absent_modules_are_empty_hexagons(browser, dashboard):
    wave = raw_values(sample_fits(SAMPLES, 8001))["WF-PHY-HIGH-GAIN"]
    absent = np.flatnonzero(~np.isfinite(wave).all(axis=1))
    assert absent.size == 84
    with opened(browser, dashboard, "maps", 8001, quantity=CHARGE, size=(1600, 1000)) as page:
        values = page.column("maps-source", "value")
        assert np.array_equal(np.flatnonzero(np.isnan(values)), absent)
        centres = page.on_screen("maps-map", *read_geometry()[absent].T)
        columns, rows = np.round(centres).astype(int).T
        assert (page.picture()[rows, columns] == rgb(LIGHT["surface"])).all()
        assert "84 absent pixels (not read out)" in page.told("maps")


def test_a_pixel_without_a_value_is_a_dash_and_a_run_without_times_says_no_more(browser, dashboard):
    with opened(browser, dashboard, "maps", 5001, quantity=CHARGE, size=(1600, 1000)) as page:
        (centre,) = page.on_screen("maps-map", *read_geometry()[[VALUELESS]].T)
        column, row = np.round(centre).astype(int)
        picture = page.picture()
        assert tuple(picture[row, column]) == rgb(LIGHT["bad"])
        for above in (-4, 4):  # a cross would be there, and a value
            assert tuple(picture[row + above, column]) == rgb(LIGHT["surface"])
        assert "1 pixel without a value" in page.told("maps")
        header = page.text("#facts")
        assert header.partition("Start")[2].split()[0] == "–"
        assert "UTC" not in header.partition("Events")[0]
        assert "first event" not in header
        assert page.errors == []


def test_a_pixel_clicked_on_the_map_is_picked_in_every_plot_and_view(browser, dashboard, raw):
    pixel = random.Random(4).randrange(N_PIXELS)
    with opened(browser, dashboard, "maps", quantity=CHARGE) as page:
        (centre,) = page.on_screen("maps-map", *read_geometry()[[pixel]].T)
        page.page.mouse.click(*centre)
        page.wait_for_words("#toolbar-maps", f"1 pixel picked: {pixel}")
        assert page.picked == [pixel]
        page.press("]")
        assert page.picked == [pixel], "a change of run keeps it"
        page.press("[", key_of("waveforms"))
        name = page.address["quantity"]
        page.wait_for(f'{MODEL}("waveforms-plot-picked").data.id.length === 1')
        curve = page.run('return Array.from(model("waveforms-plot-picked").data.y[0])')
        assert np.array_equal(curve, raw[name][pixel])
        page.press(key_of("temperature"))
        page.wait_for(f'{MODEL}("temperature-trend-picked").data.id.length === 1')
        readings = page.run('return Array.from(model("temperature-trend-picked").data.y[0])')
        assert np.array_equal(readings, raw["CAMERA-TEMPERATURE-TREND"][pixel // 7])
        assert page.errors == []


def test_a_range_dragged_over_the_histogram_picks_the_pixels_in_it(browser, dashboard, raw):
    with opened(browser, dashboard, "maps", quantity=CHARGE) as page:
        low, high = np.percentile(raw[CHARGE], [20, 30])
        ends = page.on_screen("maps-histogram", [low, high], [10.0, 20.0])
        page.drag(*ends)
        page.wait_for(f"{PICKED}.length > 0")
        # the ends lie on whole screen pixels, so values within one of them may go either way
        step = (high - low) / (ends[1, 0] - ends[0, 0])
        picked = set(page.picked)
        certain = np.flatnonzero((raw[CHARGE] > low + step) & (raw[CHARGE] < high - step))
        possible = np.flatnonzero((raw[CHARGE] > low - step) & (raw[CHARGE] < high + step))
        assert set(certain) <= picked <= set(possible)
        assert f"{len(picked)} pixels picked" in page.told("maps")
        page.page.keyboard.press("Escape")
        page.wait_for(f"{PICKED}.length === 0")
        assert "No pixels picked" in page.told("maps")


def test_a_box_over_the_scatter_picks_its_pixels(browser, dashboard, raw):
    with opened(browser, dashboard, "maps", quantity=CHARGE) as page:
        bottom, top = float(raw[CHARGE].min()) - 10, float(raw[CHARGE].max()) + 10
        page.drag(*page.on_screen("maps-scatter", [699.5, 706.5], [bottom, top]))
        page.wait_for(f"{PICKED}.length > 0")
        assert page.picked == list(range(700, 707))


def test_pixels_are_picked_by_number_and_let_go(browser, dashboard):
    with opened(browser, dashboard, "maps") as page:
        entry = page["#toolbar-maps input.entry"]
        entry.fill("12, 20-22 m5")
        entry.press("Enter")
        assert page.picked == [12, 20, 21, 22, *range(35, 42)]
        assert "11 pixels picked: 12, 20, 21, 22, 35" in page.told("maps")
        entry.fill("9999")
        entry.press("Enter")
        assert "wrong" in entry.get_attribute("class")
        assert len(page.picked) == 11
        page.page.reload()
        page.settled()
        page.wait_for(f"{PICKED}.length === 11")
        page["#toolbar-maps .picked button"].click()
        assert page.picked == []
        page.page.reload()
        page.settled()
        page.wait_for_words("#toolbar-maps", "No pixels picked")


def test_the_colour_range_changes_in_the_browser_alone(browser, dashboard, raw):
    with opened(browser, dashboard, "maps", quantity=CHARGE) as page:
        bad = raw["CAMERA-BADPIX-PHY-OVEREVENTS-HIGH-GAIN"] > 137
        colours = 'const { low, high } = model("maps-mapper"); return [low, high]'
        automatic = page.run(colours)
        page.page.get_by_role("button", name="min–max").click()
        assert page.run(colours) == [raw[CHARGE].min(), raw[CHARGE].max()]
        inputs = page["#toolbar-maps input.limit"]
        inputs.nth(0).fill("4400")
        inputs.nth(1).fill("4500")
        inputs.nth(1).press("Enter")
        assert page.run(colours) == [4400, 4500]
        inputs.nth(1).fill("4000")
        inputs.nth(1).press("Enter")
        assert page.run(colours) == [4400, 4500], "an empty range is refused"
        inputs.nth(1).press("Escape")  # what was refused stays there to be corrected, until then
        page.press("]")
        assert page.run(colours) == [4400, 4500], "kept from run to run, to compare them"
        page.press("[", ".")
        assert page.run(colours) != [4400, 4500], "another quantity has another range"
        page.press(",")
        assert page.run(colours) == [4400, 4500], "each quantity keeps its own"
        page.page.reload()
        page.settled()
        page.wait_for(f'{MODEL}("maps-mapper").low === 4400')
        assert page.run(colours) == [4400, 4500], "a restarted server reloads the page"
        assert inputs.nth(1).input_value() == "4500"
        page.press(".")
        page.page.get_by_role("button", name="min–max").click()
        of_other = page.run(colours)
        page.page.reload()
        page.settled()
        page.wait_for(f'{MODEL}("maps-mapper").high === {of_other[1]}')
        assert page.run(colours) == of_other
        page.press(",")
        page.page.get_by_role("button", name="0.5–99.5 %").click()
        assert (
            page.run(colours)
            == automatic
            == pytest.approx(list(np.percentile(raw[CHARGE][~bad], [0.5, 99.5])))
        )


def test_a_change_of_run_or_quantity_sends_few_bytes(browser, dashboard):
    with opened(browser, dashboard, "maps") as page:
        received: list[int] = []
        page.page.on(
            "websocket",
            lambda socket: socket.on("framereceived", lambda data: received.append(len(data))),
        )
        page.page.reload()
        page.settled()
        views = ("1", "2", "3", "4", "5", "6", "7")
        for key in views:  # the figures of each view are sent once
            page.press(key)
        for key in ("]", ".", "[", *views, "]"):
            received.clear()
            page.press(key)
            assert sum(received) <= BYTES_PER_CHANGE, key


def test_a_timeline_is_exact_where_it_is_zoomed(browser, dashboard):
    columns = long_timeline().columns
    with opened(browser, dashboard, "timelines", 7001, quantity=TIMELINE) as page:
        assert page.column("timelines-plot-points", "mean").size == 1000
        assert "18,000 events" in page.told("timelines")
        page.run('model("timelines-plot").x_range.setv({ start: 12000.5, end: 13000.5 })')
        page.wait_for_words("#toolbar-timelines", "every event is a point")
        events = np.flatnonzero(columns["of_class"][12_001:13_001]) + 12_001
        assert np.array_equal(page.column("timelines-plot-points", "first"), events)
        shown = page.column("timelines-plot-points", "mean")
        assert np.array_equal(shown, columns[TIMELINE][events])


def test_trigger_times_and_negative_steps_are_those_of_the_file(browser, dashboard):
    with opened(browser, dashboard, "trigger", 7001, quantity=TRIGGER) as page:
        stored = long_trigger().columns
        ids = page.column("trigger-times-events", "id").astype(int)
        times = page.column("trigger-times-events", "time")
        assert ids.size <= 2000
        assert np.array_equal(times, (stored["Timestamps"][ids - 2] - 37.0) * 1000)
        assert page.column("trigger-times-negative", "id").tolist() == [5_002, 15_002]
        first = page.column("trigger-times-negative", "time")[0]
        (at,) = page.on_screen("trigger-times", [first], [5002])
        column, row = np.round(at).astype(int)
        assert tuple(page.picture()[row, column]) == rgb(LIGHT["alert"])
        told = page.told("trigger")
        assert "2 negative time steps" in told
        assert f"of {EVENTS:,} events drawn" in told


def wheel(page: Plots, figure: str, notches: int) -> None:
    """Turn the wheel over the middle of a figure; up (negative) zooms in."""
    frame = "const { x, y } = view(given[0]).canvas_view.el.getBoundingClientRect();"
    centre = page.run(
        f"{frame} const {{ x_center, y_center }} = view(given[0]).frame.bbox;"
        "return [x + x_center, y + y_center]",
        figure,
    )
    page.page.mouse.move(*centre)
    for _ in range(abs(notches)):
        page.page.mouse.wheel(0, 480 if notches > 0 else -480)
    page.settled()


def in_sight(source: str, figure: str, x: str, y: str) -> str:
    """Script that says whether a point lies inside both ranges."""
    return (
        f"(() => {{ const {{ data }} = {MODEL}('{source}'), {{ x_range: a, y_range: b }} ="
        f" {MODEL}('{figure}'); return Array.from(data['{x}']).some((at, n) => at > a.start"
        f" && at < a.end && data['{y}'][n] > b.start && data['{y}'][n] < b.end); }})()"
    )


RANGES = """
const { x_range, y_range } = model(given[0]);
return [x_range.start, x_range.end, y_range.start, y_range.end];
"""


@pytest.mark.parametrize(
    ("figure", "source", "x", "y"),
    [
        ("timelines-plot", "timelines-plot-points", "event", "mean"),
        ("trigger-times", "trigger-times-events", "time", "id"),
    ],
)
def test_zooming_keeps_data_in_sight_and_can_be_left(browser, dashboard, figure, source, x, y):
    view = figure.partition("-")[0]
    quantity = TIMELINE if view == "timelines" else TRIGGER
    with opened(browser, dashboard, view, 7001, quantity=quantity) as page:
        whole = page.run(RANGES, figure)
        button = page[f"#toolbar-{view} button.whole"]
        assert button.is_hidden()
        wheel(page, figure, -2)
        page.wait_for(f"{MODEL}('{figure}').x_range.end < {whole[1]}")
        page.wait_for(in_sight(source, figure, x, y))
        assert page.run(RANGES, figure)[:2] != whole[:2]
        wheel(page, figure, -16)
        page.wait_for(f"document.querySelector('#toolbar-{view} button.whole').hidden === false")
        deep = page.run(RANGES, figure)
        assert np.isfinite(deep).all()
        assert 0 < deep[1] - deep[0] < 1e-3 * (whole[1] - whole[0])
        wheel(page, figure, 24)
        page.wait_for(f"document.querySelector('#toolbar-{view} button.whole').hidden === true")
        assert page.run(RANGES, figure) == pytest.approx(whole)
        wheel(page, figure, -2)
        button.click()
        page.wait_for(f"document.querySelector('#toolbar-{view} button.whole').hidden === true")
        assert page.run(RANGES, figure) == pytest.approx(whole)
        assert page.errors == []


@pytest.mark.parametrize(
    ("figure", "points"),
    [("timelines-plot", "timelines-plot-points"), ("trigger-times", "trigger-times-events")],
)
def test_a_reloaded_page_is_zoomed_as_before(browser, dashboard, figure, points):
    view = figure.partition("-")[0]
    quantity = TIMELINE if view == "timelines" else TRIGGER
    with opened(browser, dashboard, view, 7001, quantity=quantity) as page:
        whole = page.run(RANGES, figure)
        wheel(page, figure, -4)
        page.wait_for('location.search.includes("zoom=")')
        said = page.run(RANGES, figure)[:2]
        assert said[1] - said[0] < 0.9 * (whole[1] - whole[0])
        zoomed = [float(end) for end in page.address["zoom"].split("..")]
        assert zoomed == pytest.approx(said, abs=1e-3 * (said[1] - said[0]))
        page.page.reload()
        page.settled()
        page.wait_for(f"{MODEL}('{figure}').x_range.start === {zoomed[0]!r}")
        assert page.run(RANGES, figure)[:2] == zoomed
        column = "first" if view == "timelines" else "time"
        first = f"Array.from({MODEL}('{points}').data['{column}'])[0]"
        page.wait_for(f"{first} >= {zoomed[0]!r}")  # the server sent what is in sight
        assert page[f"#toolbar-{view} button.whole"].is_visible()
        page.press("[")  # it does not go along to another run, also not when this one comes back
        page.press("]")
        page.page.reload()
        page.settled()
        page.wait_for(f"{MODEL}('{figure}').x_range.start === {whole[0]!r}")
        assert page[f"#toolbar-{view} button.whole"].is_hidden()
        assert page.errors == []


def test_a_toolbar_with_a_map_has_its_controls_in_one_line(browser, dashboard):
    fraction = "CAMERA-BADPIX-PHY-OVEREVENTS-HIGH-GAIN-FRACTION"
    with opened(browser, dashboard, "maps", 6001, quantity=fraction, size=(1600, 1000)) as page:
        for width in (1600, 1280, 1920):
            page.page.set_viewport_size({"width": width, "height": 1000})
            page.wait_for(f"innerWidth === {width}")
            colours = page["#toolbar-maps .colour-range"].bounding_box()
            picked = page["#toolbar-maps .picked"].bounding_box()
            facts = page["#toolbar-maps .plot-name"].bounding_box()
            assert colours["y"] >= facts["y"] + facts["height"], "below the facts"
            middles = [box["y"] + box["height"] / 2 for box in (colours, picked)]
            assert middles[0] == pytest.approx(middles[1], abs=2), width


def test_the_curve_under_the_pointer_is_named_alone_and_shown_on_the_map(browser, dashboard, raw):
    name = "WF-PHY-HIGH-GAIN"
    with opened(browser, dashboard, "waveforms", quantity=name) as page:
        entry = page["#toolbar-waveforms input.entry"]
        entry.fill("m5, m6")
        entry.press("Enter")
        page.wait_for(f'{MODEL}("waveforms-plot-picked").data.id.length === 14')
        extremes = raw[name][35:49]
        sample = 28  # where a curve sticks out furthest, so that no other is under the pointer
        pixel = 35 + int(extremes[:, sample].argmin())
        (at,) = page.on_screen("waveforms-plot", [sample], [raw[name][pixel, sample]])
        page.page.mouse.move(*at)
        page.wait_for(f'{MODEL}("waveforms-map-pointed").data.x.length === 1')
        tooltips = page.run(
            "return [...document.querySelectorAll('.bk-Tooltip')]"
            ".map(tooltip => tooltip.shadowRoot.querySelector('.bk-tooltip-content').innerText)"
        )
        assert len(tooltips) == 1
        words = tooltips[0].split()
        assert words[words.index("Pixel") + 1] == str(pixel)
        assert words[words.index("Sample") + 1] == str(sample)
        value = float(words[words.index("Value") + 1].replace(",", ""))
        assert value == pytest.approx(raw[name][pixel, sample], abs=5e-4)
        pointed = page.run('return Array.from(model("waveforms-map-pointed").data.x)')
        assert pointed == pytest.approx([read_geometry()[pixel, 0]], abs=1e-6)
        assert page.errors == []


def test_missing_data_are_explained_in_words(browser, dashboard):
    pedestals = CHARGE.replace("IMAGE", "PED")
    with opened(browser, dashboard, "maps", 8003, quantity=pedestals) as page:
        assert "the run has no pedestal events" in page.text("#view-maps .unavailable")
        assert page["#figures-maps"].is_hidden()
        assert page.address["quantity"] == pedestals, "the choice is kept for the next run"
        page.press("[")
        assert page["#figures-maps"].is_visible()
        assert page.errors == []


def test_every_quantity_can_be_looked_at_as_numbers(browser, dashboard, raw):
    columns = raw_columns(sample_fits(SAMPLES, 6001))
    with opened(browser, dashboard, "contents") as page:
        names = page[".contents-list .row code"].all_inner_texts()
        assert set(columns) <= set(names)
        page["#toolbar-contents input[type=search]"].fill("trigger stat")
        visible = page[".contents-list .row:visible code"].all_inner_texts()
        assert visible == ["TRIGGER-STATISTICS"]
        page[".contents-list .row:visible"].click()
        page.settled()
        page.wait_for_words(".contents-words", "Event counts")
        header = page[".contents-body thead th"].all_inner_texts()[1:]
        cells = page[".contents-body td"].all_inner_texts()
        expected = {name: str(values[0]) for name, values in columns["TRIGGER-STATISTICS"].items()}
        assert dict(zip(header, cells, strict=True)) == expected

        page["#quantity"].select_option(TRIGGER)
        page.settled()
        page.page.get_by_role("button", name="Last rows").click()
        page.wait_for_words(".contents-pages", "Rows 200")
        last = page[".contents-body tr:last-child td"].all_inner_texts()
        assert [float(last[0]), int(last[2])] == [
            columns[TRIGGER]["Timestamps"][-1],
            columns[TRIGGER]["IDs"][-1],
        ]
        page.page.get_by_role("button", name="IDs", exact=True).click()
        page.wait_for(f'{MODEL}("contents-series").title.text.endsWith(": IDs")')
        for quantity in (CHARGE, TRIGGER):  # the first map that this page shows, and away again
            page["#quantity"].select_option(quantity)
            page.settled()
        for figure in ("contents-series", "contents-distribution"):
            size = page.run("return view(given[0]).el.getBoundingClientRect().height", figure)
            assert size >= 180
        assert page.errors == []


def test_figures_follow_the_theme(browser, dashboard):
    with opened(browser, dashboard, "maps") as page:
        corner = page.run(
            "const { x, y } = view('maps-map').canvas_view.el.getBoundingClientRect();"
            "return [x + 3, y + 3]"
        )
        column, row = np.round(corner).astype(int)
        assert tuple(page.picture()[row, column]) == rgb(LIGHT["surface"])
        page.press("t")
        assert tuple(page.picture()[row, column]) == rgb(themes()["dark"]["surface"])


@pytest.mark.parametrize("size", [(1600, 1000), (1280, 720)])
def test_map_scatter_and_histogram_are_seen_without_scrolling(browser, dashboard, size):
    with opened(browser, dashboard, "maps", size=size) as page:
        for figure in ("maps-map", "maps-scatter", "maps-histogram"):
            x, y, width, height = page.run(
                "const box = view(given[0]).el.getBoundingClientRect();"
                "return [box.x, box.y, box.width, box.height]",
                figure,
            )
            assert x >= 0
            assert y >= 0
            assert x + width <= size[0]
            assert y + height <= size[1]
            assert min(width, height) > 180
        unit = page.on_screen("maps-map", [0, 1, 0], [0.0, 0.0, 1.0])
        assert unit[1, 0] - unit[0, 0] == pytest.approx(unit[0, 1] - unit[2, 1], rel=1e-3)
