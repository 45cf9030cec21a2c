"""Summaries for plots and statistics for trends, against plain numpy."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from dqm_db.content import Kind, Quantity
from ingest import summaries
from ingest.statistics import DEFINITIONS, PERCENTILES, compute_statistics, map_statistics


def test_pixel_waveforms() -> None:
    waveforms = np.random.default_rng(0).normal(250, 4, (1855, 60))
    waveforms[7:14] = np.nan
    present = np.delete(waveforms, range(7, 14), axis=0)
    found = summaries.summarize(Kind.PIXEL_WAVEFORMS, {"W": waveforms}, None)
    np.testing.assert_allclose(found["mean"], present.mean(axis=0))
    for key, level in (("low", 2.5), ("median", 50), ("high", 97.5)):
        np.testing.assert_allclose(found[key], np.percentile(present, level, axis=0))
    waveforms[20, 3] = np.nan  # a sample without a value does not take its pixel away
    found = summaries.pixel_waveforms(waveforms)
    np.testing.assert_allclose(found["low"], np.nanpercentile(waveforms, 2.5, axis=0))


@settings(max_examples=50, deadline=None)
@given(own=hnp.arrays(np.bool_, st.integers(1, 5000)), seed=st.integers(0, 9))
def test_timeline_buckets(own: NDArray[np.bool_], seed: int) -> None:
    values = np.random.default_rng(seed).random(len(own))
    found = summaries.event_timeline(values, own)
    events = np.flatnonzero(own)
    assert len(found["event"]) == min(len(events), 1000)
    covered = 0
    for index, (first, last) in enumerate(zip(found["event"], found["event_end"], strict=True)):
        inside = values[(np.arange(len(own)) >= first) & (np.arange(len(own)) <= last) & own]
        covered += len(inside)
        if index % 50 == 0:
            assert found["low"][index] == inside.min()
            assert found["high"][index] == inside.max()
            np.testing.assert_allclose(found["mean"][index], inside.mean())
    assert covered == len(events)
    assert all(array.dtype == np.int64 for array in (found["event"], found["event_end"]))


def test_timeline_extremes_survive_in_long_runs() -> None:
    values = np.full(100_000, 0.01)
    values[77_777] = 0.9
    found = summaries.event_timeline(values, np.ones(100_000, bool))
    bucket = np.argmax(found["high"])
    assert found["high"][bucket] == 0.9
    assert found["event"][bucket] <= 77_777 <= found["event_end"][bucket]


def test_trigger_events_of_a_short_run_are_all_there() -> None:
    tai = 1.75e9 + np.array([0.0, 0.5, 0.25, 1.0])
    ids = np.array([2, 3, 4, 6])
    found = summaries.summarize(Kind.TRIGGER_EVENTS, {"Timestamps": tai, "IDs": ids}, 37.0)
    np.testing.assert_array_equal(found["time"], tai - 37)
    assert found["id"].tolist() == [2, 3, 4, 6]
    assert found["negative_count"].tolist() == [1]
    assert found["negative_id"].tolist() == [4]
    assert found["negative_time"].tolist() == [tai[2] - 37]
    assert found["negative_step"].tolist() == [-0.25]


def test_trigger_decimation_keeps_both_ends_of_negative_steps() -> None:
    random = np.random.default_rng(1)
    time = 1.75e9 + np.cumsum(random.exponential(1e-3, 30_000))
    back = np.sort(random.choice(np.arange(1, 29_999), 700, replace=False))
    time[back] -= 0.5
    ids = np.arange(1, 30_001)
    found = summaries.trigger_events(time, ids)
    steps = np.diff(time)
    negative = np.flatnonzero(steps < 0)
    assert len(found["id"]) <= 2000
    assert (np.diff(found["id"]) > 0).all()
    assert {1, 30_000} <= set(found["id"].tolist())
    kept = set(found["id"].tolist())
    for event in negative[:500]:
        assert {event + 1, event + 2} <= kept
    np.testing.assert_array_equal(found["time"], time[found["id"] - 1])
    assert found["negative_count"].item() == len(negative)
    assert len(found["negative_step"]) == 500
    np.testing.assert_array_equal(np.sort(found["negative_step"]), np.sort(steps[negative])[:500])
    assert (np.diff(found["negative_id"]) > 0).all()


def test_rate_and_deltas() -> None:
    time = 1.75e9 + np.arange(20_001) / 1000.0
    found = summaries.trigger_events(time, np.arange(20_001))
    assert len(found["rate"]) == 200
    np.testing.assert_allclose(found["rate"], 1000, rtol=0.02)
    width = np.diff(found["rate_time"])
    np.testing.assert_allclose(width, 0.1, rtol=1e-4)
    np.testing.assert_allclose((found["rate"] * 0.1).sum(), 20_001, rtol=1e-6)
    assert found["delta_counts"].sum() == 20_000
    edges = found["delta_edges"]
    assert edges[0] <= 9.99e-4 and edges[-1] >= 1.001e-3
    np.testing.assert_allclose(np.diff(np.log10(edges)), 0.1)


@pytest.mark.parametrize(
    "time",
    [
        np.empty(0),
        np.array([1.0]),
        np.array([1.0, 1.0]),
        np.array([np.nan, np.nan]),
        np.array([0.0, np.inf, -np.inf]),
        np.array([-1e308, 1e308]),
        np.array([1.0, np.nan, 2.0]),
    ],
)
def test_strange_times(time: NDArray[np.float64]) -> None:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = summaries.trigger_events(time, np.arange(len(time)))
        times = summaries.event_times(time)
    assert len(found["id"]) == len(found["time"]) == len(time)
    assert len(found["rate"]) == len(found["rate_time"])
    assert len(found["delta_edges"]) in (0, len(found["delta_counts"]) + 1)
    assert times["count"].tolist() == [len(time)]


def test_event_times_are_thinned() -> None:
    found = summaries.event_times(np.arange(20_000.0))
    assert len(found["time"]) == 5000 and found["count"].tolist() == [20_000]
    assert found["time"][0] == 0 and found["time"][-1] == 19_999


def test_unknown_offset_gives_no_times() -> None:
    found = summaries.summarize(Kind.EVENT_TIMES, {"T": np.arange(3.0)}, None)
    assert np.isnan(found["time"]).all() and found["count"].tolist() == [3]


def test_drawer_trend() -> None:
    readings = np.random.default_rng(0).normal(25, 1, (265, 8))
    found = summaries.summarize(Kind.DRAWER_TREND, {"T": readings}, None)
    np.testing.assert_allclose(found["mean"], readings.mean(axis=0))
    np.testing.assert_array_equal(found["low"], readings.min(axis=0))
    np.testing.assert_array_equal(found["high"], readings.max(axis=0))


@settings(max_examples=50, deadline=None)
@given(
    table=hnp.arrays(
        np.float64,
        st.tuples(st.integers(1, 4), st.integers(1, 40)),
        elements=st.one_of(st.floats(-1e6, 1e6), st.sampled_from([np.nan, np.inf])),
    )
)
def test_map_statistics(table: NDArray[np.float64]) -> None:
    with np.errstate(all="ignore"):
        found = map_statistics(table)
    for row, values in enumerate(table):
        finite = values[np.isfinite(values)]
        assert found["count"][row] == len(finite)
        if not len(finite):
            assert np.isnan(found["mean"][row]) and np.isnan(found["median"][row])
            continue
        sigma = 1.482602218505602 * np.median(np.abs(finite - np.median(finite)))
        expected = {
            "mean": finite.mean(),
            "std": finite.std(),
            "median": np.median(finite),
            "min": finite.min(),
            "max": finite.max(),
            "sigma": sigma,
            "zeros": np.count_nonzero(finite == 0),
            "count": len(finite),
            **{f"p{level:g}": np.percentile(finite, level) for level in PERCENTILES},
        }
        for name, value in expected.items():
            np.testing.assert_allclose(found[name][row], value, rtol=1e-9, atol=1e-6, err_msg=name)


def test_outliers() -> None:
    values = np.random.default_rng(0).normal(0, 1, 1855)
    values[:5] = 50
    values[5:8] = -50
    found = map_statistics(values[None, :])
    assert (found["outliers"], found["above"], found["below"]) == (8, 5, 3)


def test_dead_and_hot_pixels() -> None:
    values = np.full((2, 1855), 100.0)
    values[0, :7] = [0.0, 19.0, 20.0, 30.0, 200.0, 201.0, np.nan]
    values[1] -= 200  # e.g. with the pedestal subtracted: there is no half of that
    with np.errstate(all="ignore"):
        found = map_statistics(values)
    np.testing.assert_array_equal(found["dead"], [2, np.nan])
    np.testing.assert_array_equal(found["hot"], [1, np.nan])


def test_all_statistics_are_defined() -> None:
    times = 1.75e9 + np.array([0.0, 2.0, 1.0, 4.0])
    quantities = [
        Quantity("X-FRACTION", Kind.PIXEL_MAP, {"v": np.linspace(0, 1, 1855)}),
        Quantity("W", Kind.PIXEL_WAVEFORMS, {"v": np.tile(np.arange(60.0), (1855, 1))}),
        Quantity("M", Kind.MEAN_WAVEFORM, {"v": np.arange(60.0)}),
        Quantity("S", Kind.CAMERA_SCALAR, {"v": np.array([4.5])}),
        Quantity(
            "T",
            Kind.EVENT_TIMELINE,
            {"v": np.array([0.1, 0.0, 0.3]), "of_class": np.array([True, False, True])},
        ),
        Quantity("E", Kind.TRIGGER_EVENTS, {"Timestamps": times, "IDs": np.arange(4)}),
        Quantity("O", Kind.EVENT_TIMES, {"v": times}),
        Quantity("D", Kind.DRAWER_TREND, {"v": np.arange(530.0).reshape(265, 2)}),
        Quantity(
            "START-TIMES",
            Kind.COUNTERS,
            {"First event": np.array([[5.0]]), "Last event": np.array([7.5])},
        ),
        Quantity("G", Kind.GENERIC, {"v": np.arange(3.0)}),
        Quantity("U", Kind.CAMERA_SCALAR, unavailable="no data"),
    ]
    found = compute_statistics(quantities)
    for quantity in quantities:
        defined = set(DEFINITIONS.get(quantity.kind, {})) if quantity.columns else set()
        assert set(found.get(quantity.name, {})) == defined, quantity.name
    assert found["X-FRACTION"]["bad"] == np.count_nonzero(np.linspace(0, 1, 1855) > 0.5)
    assert found["W"] == {
        "baseline": 4.5,
        "baseline_std": 0,
        "amplitude": 54.5,
        "amplitude_std": 0,
        "peak": 59,
        "peak_std": 0,
    }
    assert found["M"] == {"baseline": 4.5, "amplitude": 54.5, "peak": 59}
    assert found["S"] == {"value": 4.5}
    assert found["T"] == {"mean": pytest.approx(0.2), "max": 0.3, "events": 2}
    assert found["E"] == {
        "events": 4,
        "rate": 0.75,
        "step_min": -1,
        "step_max": 3,
        "negative_steps": 1,
    }
    assert found["O"] == {"count": 4}
    assert found["D"]["drift"] == 1 and found["D"]["drift_max"] == 1
    assert found["START-TIMES"] == {"duration": 2.5}


def test_event_counts_are_statistics_under_their_own_names() -> None:
    columns = {"All": np.array([298]), "Wrong times": np.array([1])}
    (found,) = compute_statistics([Quantity("C", Kind.COUNTERS, columns)]).values()
    assert found == {"All": 298, "Wrong times": 1}
