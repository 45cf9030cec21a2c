"""Trends as plain values: order, breaks, limits, medians; and what their plots make of them."""

from __future__ import annotations

import numpy as np
import pytest
from plot_runs import same

from dqm_app.plots.columns import gaps, opened, put
from dqm_app.plots.trend import Limits, Trend
from dqm_app.plots.trend_plot import MARKERS, TrendDistribution, TrendPlot
from dqm_app.statistics import OF_RUN, statistics_of
from dqm_app.theme import themes
from dqm_app.verdicts import words
from dqm_db.catalogue import COLUMNS
from dqm_db.content import Kind
from ingest.statistics import DEFINITIONS

LABELS = ("Title", "Mean [counts]", "counts")
WARNING, BAD = 2, 3


def a_trend(values, runs=None, starts=None, verdicts=None, bands=None, *, by_time=False):
    values = np.asarray(values, float)
    runs = np.arange(len(values)) + 6001 if runs is None else np.asarray(runs)
    starts = 1.7e9 + 600.0 * np.arange(len(values)) if starts is None else np.asarray(starts)
    verdicts = np.zeros(len(values), "i1") if verdicts is None else np.asarray(verdicts)
    return Trend.of(LABELS, runs, starts, values, verdicts, bands or {}, by_time=by_time)


def test_a_run_without_the_value_breaks_the_line_and_counts_for_nothing():
    trend = a_trend([1.0, np.nan, np.inf, 4.0, 5.0])
    assert same(trend.run, [6001, 6002, 6003, 6004, 6005])
    assert same(trend.value, [1.0, np.nan, np.nan, 4.0, 5.0])
    assert trend.median == 4.0
    assert trend.sigma == pytest.approx(1.4826, rel=1e-5)
    assert trend.row(6004) == 3
    assert trend.row(6002) is None
    assert trend.row(7000) is None
    assert a_trend([np.nan, np.nan]) is None
    assert a_trend([]) is None


def test_the_line_is_broken_where_runs_are_far_apart_and_verdicts_stay_with_theirs():
    trend = a_trend(
        [1.0, 2.0, 3.0, 4.0], runs=[6001, 6002, 7000, 7001], verdicts=[BAD, 0, WARNING, -1]
    )
    assert same(trend.run, [6001, 6002, 7000, 7000, 7001])
    assert same(trend.value, [1.0, 2.0, np.nan, 3.0, 4.0])
    assert trend.verdict == ["BAD", "OK", "Not judged", "WARNING", "Not judged"]
    assert trend.row(7000) == 3


def test_over_time_runs_are_in_the_order_of_their_starts_and_those_without_are_left_out():
    trend = a_trend([1.0, 2.0, 3.0], starts=[1.7e9 + 60, np.nan, 1.7e9], by_time=True)
    assert same(trend.run, [6003, 6001])
    assert same(trend.value, [3.0, 1.0])
    assert same(trend.position, np.array([1.7e12, 1.7e12 + 6e4]))
    assert a_trend([1.0], starts=[np.nan], by_time=True) is None


def test_equal_limits_of_neighbouring_runs_are_one_stretch():
    runs = np.array([10, 11, 13, 14, 20])
    low = np.array([1.0, 1.0, 1.0, 2.0, 2.0])
    high = np.full(5, np.nan)
    limits = Limits.of(BAD, runs, low, high)
    assert same(limits.start, [-np.inf, 13.5])
    assert same(limits.end, [13.5, np.inf])
    assert same(limits.low, [1.0, 2.0])
    assert same(limits.high, [np.nan, np.nan])
    one = Limits.of(BAD, runs[:1], low[:1], high[:1])
    assert (len(one.start), one.low[0]) == (1, 1.0)


def test_the_running_median_follows_a_step_and_no_spike():
    values = np.where(np.arange(600) < 300, 10.0, 20.0)
    values[100] = 1e6
    positions, medians, width = a_trend(values).smoothed()
    assert width >= 15
    assert set(medians) <= {10.0, 15.0, 20.0}
    assert medians[0] == 10.0
    assert medians[-1] == 20.0
    assert same(np.sort(positions), positions)
    assert a_trend(values[:59]).smoothed()[2] == 0, "few points need none"


def test_limits_nearby_are_in_sight_and_far_ones_are_not():
    runs = np.ones(3)
    near = {WARNING: (9.5 * runs, np.nan * runs), BAD: (-1e6 * runs, 13.5 * runs)}
    low, high = a_trend([10.0, 11.0, 13.0], bands=near).height()
    assert 9.0 < low < 9.5
    assert 13.5 < high < 14.5
    low, high = a_trend([5.0, 5.0, 5.0]).height()
    assert low < 5.0 < high


def test_the_plot_draws_zones_beyond_the_limits_and_marks_the_run_in_front():
    plot = TrendPlot("t", themes()["light"])
    ones = np.ones(4)
    bands = {WARNING: (ones, 4 * ones), BAD: (np.nan * ones, np.array([5.0, 5, 60, 60]))}
    plot.update(a_trend([1.5, 2.0, 3.0, 4.5], bands=bands))
    zone, _, edge, _ = plot._zones["bad"]
    assert same(edge.data["at"], [5.0, 60.0])
    assert same(zone.data["bottom"], [5.0, plot.y_range.end]), "what is out of sight has no zone"
    assert same(edge.data["left"], [plot.x_range.start, 6002.5])
    assert plot._zones["warning"][2].data["at"].size == 2
    assert plot.locate(6003)
    assert (plot.here.data["x"][0], plot.here.data["y"][0]) == (6003.0, 3.0)
    assert plot._span.visible
    assert not plot.locate(9999)
    assert not plot._span.visible
    plot.update(a_trend([1.0, 2.0], by_time=True))
    assert plot.points.glyph.x == plot._line.glyph.x == "time"
    assert edge.data["at"].size == 0, "no limits are left of the one before"
    assert plot.figure.x_scale is not None


def offered(plot):
    (tag,) = plot.figure.tags
    return {table["title"]: table for table in tag["export"]["tables"]}


def test_limits_are_saved_with_the_runs_that_they_held_for_and_breaks_are_not_saved():
    plot = TrendPlot("t", themes()["light"])
    values, runs = [1.5, 2.0, 3.0, 4.5, 2.0], [6001, 6002, 6003, 6090, 6091]
    bands = {BAD: (np.full(5, np.nan), np.array([5.0, 5, 60, 60, 60])),
             WARNING: (np.ones(5), np.full(5, 4.0))}  # fmt: skip
    plot.update(a_trend(values, runs, bands=bands))
    tables = offered(plot)
    assert list(tables) == ["", "limits of BAD", "limits of WARNING"]
    assert tables[""]["skip"] == [3]
    assert same(plot.source.data["value"][3], np.nan)
    edge = plot._zones["bad"][2]
    assert tables["limits of BAD"]["source"] == edge.id
    saved = [list(edge.data[key]) for key, *_ in tables["limits of BAD"]["columns"]]
    assert saved == [[6001, 6003], [6002, 6091], ["above", "above"], [5.0, 60.0]]
    assert tables["limits of WARNING"]["columns"][-1][1:3] == ["limit of WARNING", "counts"]
    plot.update(a_trend(values, runs, bands=bands, by_time=True))
    (first, last) = (plot._zones["bad"][2].data[key] for key in ("first", "last"))
    assert first[0] == plot.source.data["time"][0]
    assert last[-1] == plot.source.data["time"][-1]
    assert offered(plot)["limits of BAD"]["columns"][0][3] == "utc"
    plot.update(a_trend([1.0, 2.0]))
    assert list(offered(plot)) == [""]


def test_a_change_of_axis_sends_no_column_again():
    plot = TrendPlot("t", themes()["light"])
    plot.update(a_trend([1.0, 2.0, 3.0]))
    sent = dict(plot.source.data)
    plot.update(a_trend([1.0, 2.0, 3.0], by_time=True))
    assert all(plot.source.data[name] is values for name, values in sent.items())


def test_the_distribution_counts_every_value_on_the_same_axis():
    plot = TrendPlot("t", themes()["light"])
    beside = TrendDistribution("d", themes()["light"], plot)
    trend = a_trend([1.0, 1.0, np.nan, 9.0])
    plot.update(trend)
    beside.update(trend)
    assert beside.figure.y_range is plot.figure.y_range
    counts = beside.source.data["count"]
    assert (counts.sum(), counts[0], counts[-1]) == (3, 2, 1)


def test_every_verdict_has_a_shape_and_a_colour_in_both_themes():
    assert {one.key for one in words().values()} == set(MARKERS)
    plot = TrendPlot("t", themes()["light"])
    for theme in themes().values():
        plot.restyle(theme)
        assert plot._colours.palette == [theme[one.colour] for one in words().values()]


def test_only_changed_columns_are_put_and_other_lengths_replace_all():
    plot = TrendPlot("t", themes()["light"])
    source, first = plot.here, np.array([1.0])
    put(source, {"x": first, "y": np.array([np.nan])})
    put(source, {"x": np.array([1.0]), "y": np.array([2.0])})
    assert source.data["x"] is first
    assert same(source.data["y"], [2.0])
    put(source, {"x": np.empty(0), "y": np.empty(0)})
    assert source.data["x"].size == 0


def test_what_is_zoomed_to_stays_as_far_as_it_is_there():
    plot = TrendPlot("t", themes()["light"])
    span = lambda: (plot.x_range.start, plot.x_range.end)  # noqa: E731
    plot.update(a_trend(np.arange(100.0)), keep="xy")
    whole, height = span(), (plot.y_range.start, plot.y_range.end)
    assert whole == (plot.x_range.reset_start, plot.x_range.reset_end)
    plot.x_range.update(start=6050.0, end=6090.0)
    plot.y_range.update(start=10.0, end=20.0)
    plot.update(a_trend(np.arange(110.0)), keep="x")  # runs have arrived, another quantity
    assert span() == (6050.0, 6090.0)
    assert plot.x_range.reset_end > whole[1]
    assert plot.y_range.start < height[0]
    plot.update(a_trend(np.arange(70.0)), keep="x")
    assert span() == (6050.0, plot.x_range.reset_end)
    plot.update(a_trend(np.arange(30.0)), keep="x")
    assert span() == (plot.x_range.reset_start, plot.x_range.reset_end)
    plot.x_range.update(start=6005.0, end=6015.0)
    plot.update(a_trend(np.arange(30.0)))
    assert span() == (plot.x_range.reset_start, plot.x_range.reset_end)


def test_breaks():
    assert gaps(np.array([1, 2, 3, 50, 51])).tolist() == [3]
    assert gaps(np.array([5])).size == gaps(np.empty(0)).size == 0
    assert gaps(np.array([7, 7, 7])).size == 0
    assert same(opened(np.array([1.0, 2.0]), np.array([1])), [1.0, np.nan, 2.0])
    assert same(opened(np.array([1, 2]), np.array([1]), repeat=True), [1, 2, 2])


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_every_statistic_that_is_computed_has_a_title(kind):
    known = statistics_of(kind.value)
    assert set(DEFINITIONS[kind]) <= set(known.known)
    assert known.default in known.known or kind is Kind.COUNTERS


def test_statistics_of_the_run_are_columns_of_the_catalogue():
    of_run = statistics_of(OF_RUN)
    assert set(of_run.known) - {"duration"} <= set(COLUMNS)
    assert of_run.default in of_run.known


def test_the_statistic_is_the_one_asked_for_or_the_default_or_any():
    maps = statistics_of(Kind.PIXEL_MAP.value)
    assert maps.chosen(("mean", "sigma"), "sigma") == "sigma"
    assert maps.chosen(("mean", "sigma"), "nonsense") == "mean"
    assert maps.chosen(("sigma", "zeros"), None) == "sigma"
    counters = statistics_of(Kind.COUNTERS.value)
    assert [info.title for info in counters.described(["Wrong times", "duration"])] == [
        "Time from the first to the last event",
        "Wrong times",
    ]
    assert counters.chosen(["Pedestals"], None) == "Pedestals"
