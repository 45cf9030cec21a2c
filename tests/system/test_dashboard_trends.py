"""Trends in a browser: every run is a point, and a click on it opens the run."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest
from plots_page import Plots, opened
from processes import LOOPBACK, ServerProcess, free_port
from run_series import CHARGE, NO_PEDESTALS, PEDESTAL, RUNS, TEMPERATURE, charges, series_run

from dqm_db.settings import DatabaseSettings, load
from dqm_db.writer import open_writer

pytestmark = [pytest.mark.system, pytest.mark.browser]

POINTS = "trends-plot-points"
STATISTIC = "#toolbar-trends select"


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a dashboard of a series of runs."""
    directory = tmp_path_factory.mktemp("trends")
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


def click_point(page: Plots, run: int, x: str = "run") -> None:
    row = list(page.column(POINTS, "run")).index(run)
    place = page.column(POINTS, x)[row], page.column(POINTS, "value")[row]
    (centre,) = page.on_screen("trends-plot", [place[0]], [place[1]])
    page.page.mouse.move(*centre)
    page.page.mouse.click(*centre)


def test_every_run_is_a_point_and_a_click_opens_it(browser, dashboard):
    with opened(browser, dashboard, "trends", 6010, quantity=CHARGE) as page:
        assert page.column(POINTS, "run").tolist() == list(RUNS)
        expected = [np.nanmean(charges(run)) for run in RUNS]
        assert page.column(POINTS, "value") == pytest.approx(expected)
        assert page.run('return model("trends-plot-here").data.x[0]') == 6010
        click_point(page, 6015)
        page.wait_for_run(6015)
        assert page.address["view"] in ("overview", "maps")
        page.page.go_back()
        page.wait_for('new URLSearchParams(location.search).get("view") === "trends"')
        page.settled()
        assert page.address["run"] == "6010"
        assert page.errors == []


def test_the_statistic_and_the_axis_are_chosen_and_in_the_address(browser, dashboard):
    with opened(browser, dashboard, "trends", 6010, quantity=CHARGE) as page:
        page.page.select_option(STATISTIC, "sigma")
        page.settled()
        page.page.click("#toolbar-trends [data-axis=time]")
        page.settled()
        assert (page.address["statistic"], page.address["axis"]) == ("sigma", "time")
        values = page.column(POINTS, "value")
        assert 40 < values.min() <= values.max() < 60
        assert page.run('return model("trends-plot").title.text').endswith("(1.48 × MAD)")
        link = page.page.url
        click_point(page, 6004, "time")
        page.wait_for_run(6004)
    with Plots(browser, link) as page:
        assert page.page.input_value(STATISTIC) == "sigma"
        assert np.array_equal(page.column(POINTS, "value"), values)
        assert page.page.get_attribute("[data-axis=time]", "aria-pressed") == "true"
        assert page.errors == []


def test_another_run_only_moves_the_mark(browser, dashboard):
    with opened(browser, dashboard, "trends", 6010, quantity=CHARGE) as page:
        page.run(f'window.sent = 0; model("{POINTS}").properties.data.change.connect('
                 "() => { window.sent += 1; }); return null")  # fmt: skip
        page.press("]")
        assert page.run('return model("trends-plot-here").data.x[0]') == 6011
        assert page.page.evaluate("window.sent") == 0
        assert "run 6011" in page.told("trends")
        page.page.click("text=Open run 6011")
        page.wait_for('new URLSearchParams(location.search).get("view") !== "trends"')
        assert page.settled().address["run"] == "6011"


def test_a_zoom_stays_for_another_quantity_and_is_in_the_address(browser, dashboard):
    ends = "return [model('trends-plot').x_range.start, model('trends-plot').x_range.end]"
    in_address = 'location.search.includes("zoom=6005..6012")'
    with opened(browser, dashboard, "trends", 6010, quantity=CHARGE) as page:
        page.run('model("trends-plot").x_range.setv({ start: 6005, end: 6012 })')
        page.wait_for(in_address)
        page.page.select_option("#quantity", PEDESTAL)
        page.settled().wait_for(in_address)
        assert page.run(ends) == [6005, 6012]
        page.press("]")
        page.wait_for(in_address)
        with Plots(browser, page.page.url) as other:
            assert other.run(ends) == [6005, 6012]
            assert other.column(POINTS, "run").tolist() == list(RUNS)
        click_point(page, 6008)
        page.wait_for_run(6008)
        page.page.go_back()
        page.wait_for('new URLSearchParams(location.search).get("view") === "trends"')
        assert page.settled().run(ends) == [6005, 6012]
        height = "return [model('trends-plot').y_range.start, model('trends-plot').y_range.end]"
        low, high = page.run(height)
        page.run(f'model("trends-plot").y_range.setv({{ start: {low + 4}, end: {high} }})')
        page.wait_for("/zoom=6005\\.\\.6012,[\\d.]+$/.test(location.search)")
        with Plots(browser, page.page.url) as other:
            assert other.run(height) == pytest.approx([low + 4, high], abs=0.1)
        page.page.click("#toolbar-trends [data-axis=time]")
        page.settled().wait_for('!location.search.includes("zoom")')
        assert page["#toolbar-trends button.whole"].is_hidden()
        assert page.errors == []


def test_runs_without_the_value_are_counted(browser, dashboard):
    with opened(browser, dashboard, "trends", NO_PEDESTALS, quantity=PEDESTAL) as page:
        told = page.told("trends")
        assert "19 of 20 (1 without)" in told
        assert f"run {NO_PEDESTALS} no value" in told
        assert np.isnan(page.column(POINTS, "value")[RUNS.index(NO_PEDESTALS)])


def test_limits_that_are_out_of_sight_are_told_in_numbers(browser, dashboard):
    with opened(browser, dashboard, "trends", 6010, quantity=TEMPERATURE) as page:
        told = page.text("#toolbar-trends .trend-key")
        assert re.search(r"BAD below −?\d+ or above \d+ °C \(out of sight\)", told), told


def test_what_no_run_has_says_so_and_the_page_goes_on(browser, dashboard):
    quantity = "CAMERA-PING-PONG-CHANGES"
    with opened(browser, dashboard, "trends", 6010, quantity=quantity) as page:
        assert "no run of NectarCAMQM has values" in page.text("#view-trends .unavailable")
        page.page.select_option("#quantity", CHARGE)
        page.settled()
        assert page.column(POINTS, "run").size == len(RUNS)
        assert page.errors == []


def test_the_run_itself_has_trends(browser, dashboard):
    with opened(browser, dashboard, "trends", 6010, quantity="RUN", dark=True) as page:
        page.page.select_option(STATISTIC, "bad_pixels")
        page.settled()
        assert page.column(POINTS, "value").sum() == 4
        assert page.errors == []
