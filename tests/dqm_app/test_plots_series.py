"""Plots over events and time: thinning that tells the truth, ranges from the data."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from plot_runs import same

from dqm_app.plots.curves import Curves
from dqm_app.plots.event_times import EventTimesPlot
from dqm_app.plots.numbers import alike, counted, duration, significant, utc
from dqm_app.plots.options import plot_options
from dqm_app.plots.series import Series
from dqm_app.plots.temperature import TemperatureTrend, Trend
from dqm_app.plots.thinning import Buckets, evenly
from dqm_app.plots.timeline import Timeline, TimelinePlot
from dqm_app.plots.trigger import NegativeSteps, TriggerEvents, TriggerTimes
from dqm_app.plots.waveform import WaveformPlot, Waveforms
from dqm_app.theme import themes

LIGHT = themes()["light"]
FLOATS = st.floats(-1e6, 1e6)


@given(arrays(float, st.integers(0, 300), elements=FLOATS), st.integers(1, 50))
def test_buckets_hold_every_value_once(values, points):
    buckets = Buckets.of(values, points)
    assert buckets.starts.size == min(points, values.size)
    sizes = buckets.ends - buckets.starts
    assert sizes.sum() == values.size
    if values.size:
        assert sizes.max() - sizes.min() <= 1
        assert buckets.low.min() == values.min()
        assert buckets.high.max() == values.max()
        assert (buckets.mean * sizes).sum() == pytest.approx(values.sum(), rel=1e-9, abs=1e-6)


def test_buckets_leave_nan_out_and_are_nan_without_any_value():
    buckets = Buckets.of(np.array([1.0, np.nan, np.nan, np.nan]), 2)
    assert buckets.mean[0] == 1.0
    assert np.isnan([buckets.mean[1], buckets.low[1], buckets.high[1]]).all()


@given(st.integers(1, 10_000), st.integers(2, 500))
def test_thinned_indices_keep_both_ends(count, points):
    kept = evenly(count, points)
    assert kept.size <= points
    assert (kept[0], kept[-1]) == (0, count - 1)
    assert (np.diff(kept) > 0).all()


def test_a_short_timeline_has_one_point_per_event():
    events = np.array([1, 4, 9])
    timeline = Timeline.binned(events, np.array([0.1, 0.2, 0.3]), 1000)
    assert timeline.exact
    assert timeline.first.tolist() == timeline.last.tolist() == [1, 4, 9]
    plot = TimelinePlot("t", LIGHT)
    plot.update(timeline)
    assert plot.source.data["event"].tolist() == [1, 4, 9]
    assert plot.source.data["mean"].tolist() == [0.1, 0.2, 0.3]
    assert not plot._band.visible


def test_a_long_timeline_has_a_band_that_no_spike_escapes():
    events = np.arange(20_000)
    values = np.full(20_000, 0.016)
    values[777] = 0.9
    timeline = Timeline.binned(events, values, 1000)
    assert not timeline.exact
    assert timeline.first.size == 1000
    assert timeline.high.max() == 0.9
    assert timeline.average == values.mean()
    plot = TimelinePlot("t", LIGHT)
    plot.update(timeline)
    assert plot._band.visible
    size = sum(column.nbytes for column in plot.source.data.values())
    assert size <= 100_000


def test_the_axis_of_a_timeline_spans_the_data_not_zero_to_one():
    plot = TimelinePlot("t", LIGHT)
    timeline = Timeline.binned(np.arange(300), np.full(300, 0.0162), 1000)
    plot.frame(timeline, 300)
    assert 0.01 < plot.y_range.start < 0.0162 < plot.y_range.end < 0.025
    assert plot.x_range.start < 0
    assert plot.x_range.end > 299
    assert (plot.y_range.reset_start, plot.y_range.reset_end) == (
        plot.y_range.start,
        plot.y_range.end,
    )


def test_negative_time_steps_are_marked_at_their_events():
    plot = TriggerTimes("t", LIGHT)
    time = 1.75e9 + np.array([0.0, 0.1, 0.05, 0.2])
    negative = NegativeSteps(time[[2]], np.array([4.0]), np.array([-0.05]), 1)
    plot.update(TriggerEvents(time, np.array([2.0, 3.0, 4.0, 5.0]), 4), negative)
    assert same(plot.source.data["time"], time * 1000)
    assert plot.negative.data["id"].tolist() == [4.0]
    assert plot.negative.data["lag"].tolist() == [50.0]
    assert plot.visible_times[0] < time[0]
    assert plot.visible_times[1] > time[3]
    assert plot._negative.glyph.fill_color == LIGHT["alert"]
    assert plot._negative.glyph.marker != plot._events.glyph.marker


def a_waveform() -> Waveforms:
    mean = np.linspace(250, 260, 60)
    return Waveforms("WF", "Title", "ADC counts", "", mean, mean - 1, mean - 5, mean + 5)


def test_waveforms_of_picked_pixels_widen_the_range():
    plot = WaveformPlot("w", LIGHT)
    plot.update(a_waveform())
    assert plot.y_range.end < 270
    rows = np.full((4, 60), 300.0)
    rows[2] = np.nan
    plot.show_picked(Curves.of(rows, (1, 2, 3)))
    assert plot.picked.source.data["id"] == [1, 3], "an absent pixel has no curve"
    assert plot.picked.source.data["label"] == ["Pixel 1", "Pixel 3"]
    assert plot.y_range.end > 300
    plot.show_picked(None)
    assert plot.picked.source.data["id"] == []
    assert plot.y_range.end < 270


def test_waveforms_without_any_value_are_explained():
    plot = WaveformPlot("w", LIGHT)
    none = np.full(60, np.nan)
    plot.update(Waveforms("WF", "Title", "ADC counts", "", none, none, none, none))
    assert plot._message.visible
    assert plot._message.text == "No pixel has a waveform."
    assert not plot.legend.visible
    plot.update(a_waveform())
    assert not plot._message.visible
    assert plot.legend.visible


def test_many_picked_curves_are_limited_and_share_a_colour():
    limit = plot_options().picked_curves
    curves = Curves.of(np.zeros((100, 5)), tuple(range(100)))
    assert len(curves.ids) == limit
    assert curves.left_out == 100 - limit
    plot = WaveformPlot("w", LIGHT)
    plot.update(a_waveform())
    plot.show_picked(curves)
    assert len(set(plot.picked.source.data["colour"])) == 1
    assert set(plot.picked.source.data["label"]) == {"Picked pixels"}


def test_temperature_readings_are_counted_and_missing_ones_explained():
    plot = TemperatureTrend("t", LIGHT)
    plot.update(Trend("T", "Title", "°C", np.full(7, 25.0), np.full(7, 24.0), np.full(7, 26.0)))
    assert plot.source.data["reading"].tolist() == list(range(7))
    assert "no times" in plot.x_axis.axis_label
    plot.clear("Title", "temperature readings were not available")
    assert plot.source.data["reading"].size == 0
    assert "not available" in plot._message.text.replace("\n", " ")
    assert not plot.x_axis.visible and not plot.y_axis.visible, "ticks of nothing say something"
    plot.update(Trend("T", "Title", "°C", np.full(7, 25.0), np.full(7, 24.0), np.full(7, 26.0)))
    assert plot.x_axis.visible and plot.y_axis.visible and not plot._message.visible


def test_times_are_counted_up():
    plot = EventTimesPlot("t", LIGHT, "Changes")
    plot.update("Title", 1.75e9 + np.array([1.0, 2.0, 4.0]), 3, (1.75e9, 1.75e9 + 10))
    assert plot.source.data["number"].tolist() == [1, 2, 3]
    assert plot.x_range.start < 1.75e12
    assert plot.x_range.end > (1.75e9 + 10) * 1000


def test_a_matrix_is_summed_up_column_by_column():
    matrix = np.array([[1.0, np.nan, 3.0], [3.0, np.nan, 5.0]])
    series = Series.of("Title", "", matrix)
    assert same(series.mean, [2.0, np.nan, 4.0])
    assert same(series.low, [1.0, np.nan, 3.0])
    assert series.finite == 4
    assert series.counts.sum() == 4
    assert Series.of("Title", "", np.full(9, np.nan)) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (4123.45678, "4123.46"),
        (0.0215633, "0.0215633"),
        (5.0, "5"),
        (-1234567.0, "−1234567"),
        (12345678.0, "12345678"),
        (0.00001234, "0.0000123400"),
        (math.nan, "–"),
    ],
)
def test_numbers_have_as_many_digits_as_say_something(value, text):
    assert significant(value) == text


@pytest.mark.parametrize(
    ("std", "values", "texts"),
    [
        (82.2446, (4337.62, 4334.59, 82.2446), ("4337.6", "4334.6", "82.2")),
        (0.01234, (-25.1, 25.0), ("−25.1000", "25.0000")),
        (5000.0, (12345.6, 5000.0), ("12346", "5000")),
        (0.05, (1.75e9, 1.75e9 + 0.25), ("1750000000.0000", "1750000000.2500")),
        (1e-20, (5.0,), ("5.00000000000000",)),
        (0.0, (3.0, 0.0), ("3", "0")),
        (math.nan, (math.nan,), ("–",)),
        (math.inf, (1e300, 2.0), ("1e+300", "2")),
    ],
)
def test_numbers_that_belong_together_have_the_same_decimals(std, values, texts):
    assert alike(std, *values) == texts


def test_times_are_written_as_utc():
    assert utc(0.0) == "1970-01-01 00:00:00.000 UTC"
    assert utc(1746145812.0361945, 6) == "2025-05-02 00:30:12.036194 UTC"
    assert utc(0.9996) == "1970-01-01 00:00:01.000 UTC"
    assert utc(59.0, 0) == "1970-01-01 00:00:59 UTC"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2.79e-5, "27.9 µs"),
        (-0.0025, "−2.5 ms"),
        (1.5, "1.5 s"),
        (400.0, "6 min 40 s"),
        (7320.0, "2 h 2 min"),
    ],
)
def test_durations_have_the_unit_that_suits_them(seconds, text):
    assert duration(seconds) == text


def test_counts_agree_with_their_noun():
    assert counted(1, "pixel") == "1 pixel"
    assert counted(1855, "pixel") == "1,855 pixels"
