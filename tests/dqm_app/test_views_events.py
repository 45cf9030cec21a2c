"""Views of waveforms, timelines, trigger times and contents on the sample runs."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
from bokeh.models import Plot
from plot_runs import EVENTS, TIMELINE, TRIGGER, a_context, load_view, long_timeline, same
from results_files import raw_columns, raw_values, sample_fits

from dqm_app.plots.options import plot_options
from dqm_app.views import NothingToShow
from dqm_app.views.contents import ContentsView
from dqm_app.views.plotted import Plotted
from dqm_app.views.table import TablePage
from dqm_app.views.timelines import TimelinesView
from dqm_app.views.trigger import TriggerView
from dqm_app.views.waveforms import WaveformsView

WAVEFORMS = "WF-PHY-HIGH-GAIN"


def test_waveforms_are_those_of_the_file_and_picked_ones_are_fetched(sample_database, samples):
    raw = raw_values(sample_fits(samples, 6001))
    context, fetches = a_context(sample_database)
    context.pixels.pick([5, 900])
    view = WaveformsView(context)
    view.update(load_view(sample_database, WaveformsView, 6001, WAVEFORMS))
    drawn = view.plot.source.data
    assert drawn["mean"] == pytest.approx(raw["WF-PHY-AVERAGE-PIX-HIGH-GAIN"], rel=1e-5)
    assert same(drawn["low"], np.percentile(raw[WAVEFORMS], 2.5, axis=0))
    assert same(drawn["high"], np.percentile(raw[WAVEFORMS], 97.5, axis=0))
    assert view.plot.picked.source.data["id"] == []
    assert fetches.answer() == 1, "what was picked before the view was opened"
    assert view.plot.picked.source.data["id"] == [5, 900]
    assert same(view.plot.picked.source.data["y"][1], raw[WAVEFORMS][900])


def test_the_mean_waveform_is_over_present_pixels(sample_database, samples):
    raw = raw_values(sample_fits(samples, 8001))[WAVEFORMS]
    present = raw[np.isfinite(raw).all(axis=1)]
    assert len(present) == 1771
    data = load_view(sample_database, WaveformsView, 8001, WAVEFORMS)
    assert data.waveforms.mean == pytest.approx(present.mean(axis=0))


def test_no_peak_is_told_of_waveforms_without_any_value(sample_database):
    data = load_view(sample_database, WaveformsView, 6001, WAVEFORMS)
    none = np.full(60, np.nan)
    context, _ = a_context(sample_database)
    view = WaveformsView(context)
    view.update(replace(data, waveforms=replace(data.waveforms, mean=none, low=none, high=none)))
    assert view.root.tags[0]["numbers"] == []
    partly = data.waveforms.mean.copy()
    partly[0] = np.nan
    view.update(replace(data, waveforms=replace(data.waveforms, mean=partly)))
    numbers = dict(view.root.tags[0]["numbers"])
    assert numbers["at sample"] == str(np.nanargmax(partly))


def test_curves_of_an_older_run_are_not_drawn_into_a_newer_one(sample_database):
    context, fetches = a_context(sample_database)
    view = WaveformsView(context)
    view.update(load_view(sample_database, WaveformsView, 6001, WAVEFORMS))
    context.pixels.pick([5])
    late = dict(fetches.waiting)
    fetches.waiting.clear()
    view.update(load_view(sample_database, WaveformsView, 8001, WAVEFORMS))
    fetches.answer()
    shown = view.plot.picked.source.data["y"][0]
    fetches.waiting = late
    fetches.answer()
    assert view.plot.picked.source.data["y"][0] is shown


def test_a_run_without_pedestals_has_no_pedestal_waveforms(sample_database):
    with pytest.raises(NothingToShow, match="no pedestal events"):
        load_view(sample_database, WaveformsView, 8003, "WF-PED-HIGH-GAIN")


def test_a_timeline_holds_only_events_of_its_class(sample_database, samples):
    raw = raw_values(sample_fits(samples, 6001))
    name = TIMELINE.replace("PHY", "PED")
    data = load_view(sample_database, TimelinesView, 6001, name)
    assert data.total == 300
    assert data.timeline.exact
    assert data.timeline.events == 24
    assert same(data.timeline.mean, raw[name][data.timeline.first])
    assert (data.timeline.mean > 0).all(), "the zeros of the other class are left out"


def test_a_long_timeline_is_binned_until_the_zoom_leaves_few_events(sample_database):
    columns = long_timeline().columns
    context, fetches = a_context(sample_database)
    view = TimelinesView(context)
    data = load_view(sample_database, TimelinesView, 7001, TIMELINE)
    view.update(data)
    assert fetches.waiting == {}, "setting the ranges is no zoom"
    assert view.plot.source.data["mean"].size == 1000
    assert data.timeline.events == columns["of_class"].sum() == 18_000
    assert data.timeline.average == columns[TIMELINE][columns["of_class"]].mean()

    view.plot.x_range.update(start=12_000.2, end=13_000.7)
    assert fetches.answer() == 1
    shown = view.plot.source.data
    inside = np.flatnonzero(columns["of_class"][12_001:13_001]) + 12_001
    assert same(shown["first"], inside)
    assert same(shown["mean"], columns[TIMELINE][inside])
    assert shown["mean"].max() == 0.5
    assert "every event is a point" in view.root.tags[0]["note"]

    view.plot.x_range.update(start=0.5, end=15_000.0)
    assert fetches.answer() == 1
    assert view.plot.source.data["mean"].size == plot_options().exact_points
    assert view.plot.source.data["high"].max() == 0.5, "no spike is lost"

    view.plot.x_range.update(start=-100.0, end=EVENTS + 100.0)
    fetches.answer()
    assert view.plot.source.data["mean"] is data.timeline.mean


def test_trigger_times_are_utc_and_counts_those_of_the_file(sample_database, samples):
    raw = raw_columns(sample_fits(samples, 6001))
    context, _ = a_context(sample_database)
    view = TriggerView(context)
    data = load_view(sample_database, TriggerView, 6001)
    view.update(data)
    assert data.quantity == TRIGGER
    shown = view.times.source.data
    assert same(shown["time"], (raw[TRIGGER]["Timestamps"] - 37.0) * 1000)
    assert same(shown["id"], raw[TRIGGER]["IDs"])
    counts = {name: int(values[0]) for name, values in raw["TRIGGER-STATISTICS"].items()}
    assert dict(data.counts) == counts
    assert data.types == [0, 2, 32]
    steps = np.diff(raw[TRIGGER]["Timestamps"])
    assert data.negative.count == np.count_nonzero(steps < 0)
    told = json.dumps(view.root.tags[0])
    assert "1 event with wrong times" in told
    assert "2025-05-02" in told


def test_trigger_times_are_exact_when_zoomed(sample_database):
    context, fetches = a_context(sample_database)
    view = TriggerView(context)
    data = load_view(sample_database, TriggerView, 7001)
    view.update(data)
    assert data.negative.count == 2
    assert same(view.times.negative.data["id"], [5_002, 15_002])
    assert view.times.source.data["id"].size <= 2000
    assert data.events.events == EVENTS
    assert fetches.waiting == {}
    start = 1.75e9 + 4.5005
    view.times.x_range.update(start=start * 1000, end=(start + 1.0) * 1000)
    assert fetches.answer() == 1
    ids = view.times.source.data["id"]
    assert ids.size == 1000
    assert same(np.diff(ids), np.ones(999))


def test_the_rate_shares_the_axis_of_the_times(sample_database):
    context, _ = a_context(sample_database)
    view = TriggerView(context)
    assert view.rate.figure.x_range is view.times.figure.x_range


@pytest.mark.parametrize("run", [6001, 8001, 8003])
def test_no_quantity_of_a_file_is_out_of_reach(sample_database, run):
    context, _ = a_context(sample_database)
    view = ContentsView(context)
    with sample_database.snapshot() as snapshot:
        entries = snapshot.quantities("NectarCAMQM", run)
    assert [choice.name for choice in ContentsView.quantities(entries)] == [
        entry.name for entry in entries
    ]
    for entry in entries:
        data = load_view(sample_database, ContentsView, run, entry.name)
        view.update(data)
        assert data.quantity == entry.name
        assert {line["name"] for line in data.listing} == {entry.name for entry in entries}
        if entry.unavailable is None:
            assert data.table is not None
            assert data.table.total_rows > 0
        else:
            assert view.root.tags[0]["reason"] == entry.unavailable


def test_pages_of_a_table_are_exact_and_reach_the_end(sample_database, samples):
    raw = raw_columns(sample_fits(samples, 6001))[TRIGGER]
    context, fetches = a_context(sample_database)
    view = ContentsView(context)
    view.update(load_view(sample_database, ContentsView, 6001, TRIGGER))
    pages = [view.root.tags[0]["table"]]
    while pages[-1]["firstRow"] + len(pages[-1]["rows"]) < pages[-1]["totalRows"]:
        row = pages[-1]["firstRow"] + len(pages[-1]["rows"])
        view.asked.tags = [{"row": row, "column": 0}]
        assert fetches.answer() == 1
        pages.append(view.root.tags[0]["table"])
    rows = [row for page in pages for row in page["rows"]]
    assert pages[0]["header"] == ["Timestamps", "Timestamps in UTC", "IDs"]
    assert pages[0]["ours"] == [False, True, False]
    assert same([float(time) for time, _, _ in rows], raw["Timestamps"])
    assert same([int(number) for _, _, number in rows], raw["IDs"])
    moment = datetime.fromisoformat(f"{rows[7][1]}+00:00").timestamp()
    assert moment == pytest.approx(raw["Timestamps"][7] - 37.0, abs=1e-6)


def test_zeros_of_other_classes_are_no_values_of_a_timeline(sample_database, samples):
    name = TIMELINE.replace("PHY", "PED")
    values = raw_values(sample_fits(samples, 6001))[name]
    data = load_view(sample_database, ContentsView, 6001, name)
    series = data.plotted.series
    assert series.total == 24
    assert series.statistics[0] == pytest.approx(values[values > 0].mean())
    assert same(series.index, np.flatnonzero(values))
    assert series.position == "Event (index in the file)"
    assert [label.upper() for label in data.table.header] == [name, "OF_CLASS"]
    assert data.table.ours == [False, True]
    (line,) = (line for line in data.listing if line["name"] == name)
    assert "of_class" not in line["shape"]


def test_any_column_of_a_table_can_be_plotted(sample_database):
    context, fetches = a_context(sample_database)
    view = ContentsView(context)
    view.update(load_view(sample_database, ContentsView, 6001, TRIGGER))
    assert view.root.tags[0]["column"] == 0
    assert view.series.title.text.endswith(": Timestamps")
    view.asked.tags = [{"row": 0, "column": 0, "plot": 2}]
    assert fetches.answer() == 1
    assert view.root.tags[0]["column"] == 2
    assert view.series.title.text.endswith(": IDs")
    assert view.series.y_axis.axis_label == "Value", "ids are no seconds"
    view.asked.tags = [{"row": 100, "column": 0}]
    fetches.answer()
    assert view.root.tags[0]["column"] == 2, "another page of the table keeps the plot"


def test_a_column_per_module_is_a_map_and_row_numbers_are_not_plotted_first(sample_database):
    with sample_database.snapshot() as snapshot:
        header = snapshot.header("NectarCAMQM", 6001)
    currents = np.linspace(1.0, 2.0, 265)
    columns = {"Module": np.arange(265), "Current": currents, "Short": np.arange(3.0)}
    plotted = Plotted.of("MODULE-CURRENTS", columns, header)
    assert plotted.column == 1
    assert same(plotted.pixels.values, np.repeat(currents, 7))
    assert plotted.pixels.title.endswith(": Current")
    assert Plotted.of("MODULE-CURRENTS", columns, header, 0).pixels is not None
    assert Plotted.of("MODULE-CURRENTS", columns, header, 2).nothing
    few = Plotted.of("X", {"n": np.arange(9), "value": np.ones(9)}, header)
    assert (few.column, few.series.total) == (1, 9)


def test_start_times_are_told_in_utc(sample_database):
    data = load_view(sample_database, ContentsView, 6001, "START-TIMES")
    times = dict(zip(data.table.header, data.table.rows[0], strict=True))
    first = datetime.fromisoformat(f"{times['First event in UTC']}+00:00").timestamp()
    assert first == pytest.approx(data.header.times.first_event, abs=1e-6)
    start = datetime.fromisoformat(f"{times['Run start time in UTC']}+00:00").timestamp()
    assert start == int(times["Run start time"])


def test_figures_are_sent_when_they_are_first_needed(sample_database):
    context, _ = a_context(sample_database)
    view = ContentsView(context)
    view.update(load_view(sample_database, ContentsView, 6001, TRIGGER))
    shown = view.root.select({"type": Plot})
    assert {figure.name for figure in shown} == {"contents-series", "contents-distribution"}
    view.update(
        load_view(
            sample_database, ContentsView, 6001, "CHARGE-INTEGRATION-PED-ALL-AVERAGE-HIGH-GAIN"
        )
    )
    assert view.map.figure in view.root.children
    assert not view.series.figure.visible


def test_a_wide_table_is_paged_both_ways_and_any_cell_has_a_text():
    columns = {
        "x": np.arange(300_000).reshape(100, 3000),
        "name": np.array([b"a", b"\xff"]),
    }
    page = TablePage.of(columns, first_row=90, first_column=2_990)
    assert (page.first_row, page.first_column) == (90, 2_990)
    assert page.header == [str(at) for at in range(2_990, 3_000)] + ["name"]
    assert page.rows[0][0] == str(90 * 3000 + 2990)
    assert page.rows[0][-1] == "", "a shorter column ends earlier"
    assert TablePage.of(columns, 0, 3_000).rows[1] == ["\\xff"]
    assert TablePage.of(columns, 10**9, 10**9).total_rows == 100
    json.dumps(page.as_json())


def test_the_height_follows_the_events_in_sight(sample_database):
    context, fetches = a_context(sample_database)
    view = TimelinesView(context)
    view.update(load_view(sample_database, TimelinesView, 7001, TIMELINE))
    whole = view.plot.y_range.start, view.plot.y_range.end
    assert whole[1] > 0.5
    view.plot.x_range.update(start=2_000.0, end=3_000.0)
    fetches.answer()
    shown = view.plot.source.data
    assert view.plot.y_range.start < shown["low"].min()
    assert shown["high"].max() < view.plot.y_range.end < 0.05
    assert (view.plot.y_range.reset_start, view.plot.y_range.reset_end) == whole
    view.plot.x_range.update(start=-100.0, end=EVENTS + 100.0)
    assert (view.plot.y_range.start, view.plot.y_range.end) == whole


def test_a_short_timeline_needs_no_fetch_for_its_height_and_numbers(sample_database):
    context, fetches = a_context(sample_database)
    view = TimelinesView(context)
    data = load_view(sample_database, TimelinesView, 6001, TIMELINE)
    view.update(data)
    view.plot.x_range.update(start=100.5, end=149.5)
    assert fetches.waiting == {}
    seen = data.timeline.within(101, 149)
    assert 0 < seen.events < 49
    assert f"{seen.events} events of this class shown" in view.root.tags[0]["note"]
    assert view.plot.y_range.start < seen.mean.min() <= seen.mean.max() < view.plot.y_range.end
    assert view.plot.source.data["mean"] is data.timeline.mean, "nothing is sent again"


@pytest.mark.parametrize("edge", [float("nan"), float("inf")])
def test_edges_that_are_no_numbers_are_ignored(sample_database, edge):
    for name, plot in (("timelines", TimelinesView), ("trigger", TriggerView)):
        context, fetches = a_context(sample_database)
        view = plot(context)
        view.update(load_view(sample_database, plot, 7001))
        told = view.root.tags
        figure = view.plot if name == "timelines" else view.times
        figure.x_range.start = edge
        assert fetches.waiting == {}
        assert view.root.tags is told


def test_zooming_stays_within_the_data_and_above_the_resolution(sample_database):
    context, _ = a_context(sample_database)
    view = TriggerView(context)
    view.update(load_view(sample_database, TriggerView, 7001))
    times = view.times.x_range
    assert times.bounds == (times.start, times.end) == (times.reset_start, times.reset_end)
    assert times.min_interval > 100 * np.spacing(times.end), "ticks can be told apart"
    assert times.min_interval < 1.0, "less than a millisecond"


def test_rate_and_height_are_those_of_the_time_in_sight(sample_database):
    context, fetches = a_context(sample_database)
    view = TriggerView(context)
    data = load_view(sample_database, TriggerView, 7001)
    view.update(data)
    start, end = 1.75e9 + 6.00025, 1.75e9 + 7.00025
    view.times.x_range.update(start=start * 1000, end=end * 1000)
    fetches.answer()
    rates = view.rate.source.data
    assert rates["rate"].size == 100, "finer than over the whole run"
    assert start < rates["time"][0] / 1000 < rates["time"][-1] / 1000 < end
    assert rates["rate"].mean() == pytest.approx(1000.0, rel=1e-6)
    ids = view.times.source.data["id"]
    assert view.times.y_range.start < ids.min() <= ids.max() < view.times.y_range.end < 7_100
    numbers = {label: (value, note) for label, value, note in view.root.tags[0]["numbers"]}
    assert numbers["Mean rate in sight"] == ("1000 Hz", "Of this class, while zoomed in")
    assert "Mean rate of this class" not in numbers
    view.times.x_range.update(start=0.0, end=2e13)
    assert "Mean rate of this class" in str(view.root.tags[0]["numbers"])
    assert view.rate.source.data["rate"] is data.rate.rate
