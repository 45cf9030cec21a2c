"""The biography of a pixel in a browser: from a map to its history, and on to a run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from plots_page import Plots, opened
from processes import LOOPBACK, ServerProcess, free_port
from run_series import (
    ABSENT_MODULE,
    BAD_PIXEL,
    CHARGE,
    FLAGS,
    RUNS,
    TEMPERATURE,
    charges,
    series_run,
)

from dqm_db.settings import DatabaseSettings, load
from dqm_db.writer import open_writer

pytestmark = [pytest.mark.system, pytest.mark.browser]

VALUES, ROWS = "pixel-history-values", "pixel-deviations-rows"
ENTRY = '[aria-label="Pixel, or m and a module"]'
ALL_THERE = f'Bokeh.documents.at(-1).get_model_by_name("{ROWS}").data.y.length > 0'


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a dashboard of a series of runs."""
    directory = tmp_path_factory.mktemp("pixel")
    url = f"file://{directory}/Data.fs"
    settings = load(DatabaseSettings, db_url=url, lock_dir=directory / "locks")
    with open_writer(settings) as writer:
        for run in RUNS:
            writer.store_run(series_run(run), None)
    port = free_port()
    command = ["dqm", "serve", "--port", str(port), "--num-procs", "1"]
    log = directory / "dashboard.log"
    with ServerProcess(command, port, log, {"DQM_DB_URL": url}):
        yield f"http://{LOOPBACK}:{port}/"


def pixel_page(browser, dashboard, pixel, **options):
    query = "".join(f"&{key}={value}" for key, value in options.items())
    address = f"{dashboard}?camera=NectarCAMQM&run=6010&view=pixel&quantity={CHARGE}"
    return Plots(browser, f"{address}&pixel={pixel}{query}")


def test_a_picked_pixel_leads_to_its_biography(browser, dashboard):
    with opened(browser, dashboard, "maps", 6010, quantity=CHARGE) as page:
        page.page.fill("#toolbar-maps input.entry", f"{BAD_PIXEL}, 7")
        page.page.keyboard.press("Enter")
        page.page.click("#toolbar-maps >> text=Biography of 7")
        page.wait_for('new URLSearchParams(location.search).get("view") === "pixel"')
        assert page.settled().address["pixel"] == "7"
        assert page.column(VALUES, "run").tolist() == list(RUNS)
        expected = np.array([charges(run)[7] for run in RUNS], "f4")
        assert np.array_equal(page.column(VALUES, "value").astype("f4"), expected)
        assert page.errors == []


def test_picked_pixels_are_at_hand_and_the_map_shows_whose_biography_it_was(browser, dashboard):
    def pick(words):
        page.page.fill("#toolbar-maps input.entry", words)
        page.page.keyboard.press("Enter")

    def now_shows(pixel):
        page.wait_for(f'new URLSearchParams(location.search).get("pixel") === "{pixel}"')
        page.settled()

    with opened(browser, dashboard, "maps", 6010, quantity=CHARGE) as page:
        pick("12, 100-109")
        page.page.click('[data-view="pixel"]')
        now_shows(12)
        assert page.text(".pixel-module >> nth=1").split() == [
            "picked:", "12", *map(str, range(100, 107)), "and", "3", "more",
        ]  # fmt: skip
        page.page.click(".pixel-module >> nth=1 >> text=103")
        now_shows(103)
        page.page.click("#toolbar-pixel >> text=On the map")
        page.wait_for('new URLSearchParams(location.search).get("view") === "maps"')
        assert page.settled().picked == [103]
        assert (page.address["pixels"], page.address["quantity"]) == ("103", CHARGE)
        page.page.click('[data-view="pixel"]')
        now_shows(103)
        page.page.click("#toolbar-pixel [data-level=module]")
        page.settled()
        page.page.click("#toolbar-pixel >> text=On the map")
        page.wait_for('new URLSearchParams(location.search).get("view") === "maps"')
        assert page.settled().picked == list(range(98, 105))
        assert page.address["level"] == "module"
        page.page.click("#toolbar-maps [data-level=pixel]")
        page.settled()
        pick("500")
        page.page.click('[data-view="pixel"]')
        now_shows(500)
        assert "level" not in page.address
        assert page.errors == []


def test_without_a_pixel_the_first_picked_one_is_shown_and_going_back_leaves(browser, dashboard):
    with opened(browser, dashboard, "maps", 6010, quantity=CHARGE) as page:
        page.page.fill("#toolbar-maps input.entry", "20-26")
        page.page.keyboard.press("Enter")
        page.page.click('[data-view="pixel"]')
        page.wait_for('new URLSearchParams(location.search).get("pixel") === "20"')
        assert page.settled().column(VALUES, "run").size == len(RUNS)
        page.page.go_back()
        page.wait_for('new URLSearchParams(location.search).get("view") === "maps"')


def test_changes_of_state_are_listed_and_lead_to_their_runs(browser, dashboard):
    with pixel_page(browser, dashboard, BAD_PIXEL) as page:
        page.wait_for("document.querySelectorAll('.pixel-changes li').length === 2")
        listed = [
            text.replace("\u00a0", " ") for text in page[".pixel-changes li"].all_inner_texts()
        ]
        assert listed == [
            "run 6009: good again",
            "run 6005: became bad (flagged in 82 % of events)",
        ]
        assert "bad in 4 runs" in page.text(".pixel-changes")
        assert page.run('return [...model("pixel-states-stretches").data.first]') == [
            6001,
            6005,
            6009,
        ]
        page.page.focus(".pixel-changes li:last-child a")
        page.page.keyboard.press("Enter")
        page.wait_for_run(6005)
        assert page.address["view"] in ("overview", "maps")
        assert page.errors == []


def test_all_quantities_appear_and_a_click_on_one_shows_it(browser, dashboard):
    with pixel_page(browser, dashboard, BAD_PIXEL) as page:
        page.wait_for(ALL_THERE)
        names = page.run(f'return [...model("{ROWS}").data.name]')
        assert set(names) >= {CHARGE, FLAGS, TEMPERATURE}
        row = names.index(CHARGE)
        image = np.array(page.run(f'return Array.from(model("{ROWS}").data.image[{row}])'))
        assert (image[4:8] < -5).all()
        assert (np.abs(np.delete(image, range(4, 8))) < 5).all()
        y = page.run(f'return model("{ROWS}").data.y[given[0]]', names.index(FLAGS))
        (place,) = page.on_screen("pixel-deviations", [6015], [y + 0.5])
        page.page.mouse.click(*place)
        page.wait_for(f'new URLSearchParams(location.search).get("quantity") === "{FLAGS}"')
        page.settled()
        assert page.column(VALUES, "value").max() == pytest.approx(0.82)
        assert page.run('return model("pixel-deviations-chosen").data.bottom[0]') == y
        assert page.errors == []


def test_pixels_and_modules_are_typed_and_stepped_through(browser, dashboard):
    with pixel_page(browser, dashboard, 1854) as page:
        assert page["[aria-label='Next pixel']"].is_disabled()
        page.page.click("[aria-label='Previous pixel']")
        assert page.settled().address["pixel"] == "1853"
        page.page.fill(ENTRY, f"m{ABSENT_MODULE}")
        page.page.keyboard.press("Enter")
        page.settled()
        assert (page.address["pixel"], page.address["level"]) == (str(7 * ABSENT_MODULE), "module")
        first = 7 * ABSENT_MODULE
        expected = [charges(run)[first : first + 7].mean() for run in RUNS]
        assert page.column(VALUES, "value") == pytest.approx(expected, rel=1e-5, nan_ok=True)
        assert "absent" in page.text(".pixel-changes")
        page.page.click("[data-level=pixel]")
        assert "level" not in page.settled().address
        page.page.fill(ENTRY, "1855")
        page.page.keyboard.press("Enter")
        assert page.page.get_attribute(ENTRY, "aria-invalid") == "true"
        assert page.address["pixel"] == str(first)
        page.press("[")  # out of the entry: keys belong to the page again
        assert page.errors == []


def test_a_zoom_stays_for_other_quantities_and_pixels(browser, dashboard):
    ends = "return [model('pixel-history').x_range.start, model('pixel-history').x_range.end]"
    in_address = 'location.search.includes("zoom=6003..6011")'
    with pixel_page(browser, dashboard, BAD_PIXEL) as page:
        page.run('model("pixel-history").x_range.setv({ start: 6003, end: 6011 })')
        page.wait_for(in_address)
        page.press(".")
        page.page.click("[aria-label='Next pixel']")
        page.settled().wait_for(in_address)
        assert page.run(ends) == [6003, 6011]
        with Plots(browser, page.page.url) as other:
            assert other.run(ends) == [6003, 6011]
        assert page.errors == []


def test_another_run_only_moves_the_mark_and_nonsense_asks_which_pixel(browser, dashboard):
    with pixel_page(browser, dashboard, 12) as page:
        page.wait_for(ALL_THERE)
        page.run(f'window.sent = 0; for (const name of ["{VALUES}", "{ROWS}"])'
                 " model(name).properties.data.change.connect(() => { window.sent += 1; });"
                 " return null")  # fmt: skip
        page.press("]")
        assert page.page.evaluate("window.sent") == 0
        assert "run 6011" in page.told("pixel")
    with pixel_page(browser, dashboard, "nonsense") as page:
        words = page.run('return model("pixel-history").center.map((one) => one.text ?? "")')
        assert any("Which pixel?" in text for text in words)
        assert page.errors == []
