"""The statistics of a run, of which trends are made. What each means is in `DEFINITIONS`.

Absent pixels (NaN) never enter; a statistic that cannot be computed is NaN and is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dqm_db.content import Kind, Quantity
from ingest.derived import BAD_FRACTION, FRACTION

PERCENTILES = (0.5, 2.5, 25.0, 75.0, 97.5, 99.5)
DEAD, HOT = 0.2, 2.0
"""Times the median of the camera, below and above which a pixel counts as dead and as hot."""
OUTLIER = 5.0
"""Robust standard deviations from the median beyond which a pixel counts as an outlier."""
MAD_TO_SIGMA = 1.482602218505602
"""1 / Φ⁻¹(3/4): makes the median absolute deviation the σ of a normal distribution."""
BASELINE_SAMPLES = 10
"""First samples of the readout window, before the pulse."""

DEFINITIONS: Mapping[Kind, Mapping[str, str]] = {
    Kind.PIXEL_MAP: {
        "mean": "mean over the present pixels",
        "median": "median over the present pixels",
        "std": "standard deviation over the present pixels",
        "min": "smallest value",
        "max": "largest value",
        **{f"p{level:g}": f"{level:g} % percentile over the pixels" for level in PERCENTILES},
        "sigma": "1.4826 × median absolute deviation: a width that outliers do not change",
        "outliers": "pixels further than 5 sigma from the median",
        "above": "pixels more than 5 sigma above the median",
        "below": "pixels more than 5 sigma below the median",
        "dead": "pixels at less than a fifth of the median, where that is above 0",
        "hot": "pixels at more than twice the median, where that is above 0",
        "count": "pixels with a finite value",
        "zeros": "pixels that are exactly zero",
        "bad": "pixels flagged in more than half of the events (bad-pixel fractions only)",
    },
    Kind.PIXEL_WAVEFORMS: {
        "baseline": "mean over pixels of the mean of the first 10 samples",
        "baseline_std": "standard deviation over pixels of the mean of the first 10 samples",
        "amplitude": "mean over pixels of the maximum above the baseline",
        "amplitude_std": "standard deviation over pixels of the maximum above the baseline",
        "peak": "mean over pixels of the sample of the maximum",
        "peak_std": "standard deviation over pixels of the sample of the maximum",
    },
    Kind.MEAN_WAVEFORM: {
        "baseline": "mean of the first 10 samples",
        "amplitude": "maximum above the baseline",
        "peak": "sample of the maximum",
    },
    Kind.CAMERA_SCALAR: {"value": "the value itself"},
    Kind.EVENT_TIMELINE: {
        "mean": "mean over the events of the class",
        "max": "largest value among the events of the class",
        "events": "events of the class",
    },
    Kind.TRIGGER_EVENTS: {
        "events": "events listed",
        "rate": "events per second between the earliest and the latest time",
        "step_min": "smallest time step between successive events, in s; below 0: backwards",
        "step_max": "largest time step between successive events, in s",
        "negative_steps": "steps backwards in time",
    },
    Kind.EVENT_TIMES: {"count": "number of times"},
    Kind.DRAWER_TREND: {
        "mean": "mean over modules and readings",
        "min": "smallest reading",
        "max": "largest reading",
        "spread": "standard deviation over modules of their mean",
        "drift": "mean of the last reading minus mean of the first",
        "drift_max": "largest change of one module between first and last reading",
    },
    Kind.COUNTERS: {  # and event counts, under their own names
        "duration": "last event minus first event, in s (START-TIMES only)",
    },
}


def compute_statistics(quantities: Sequence[Quantity]) -> dict[str, dict[str, float]]:
    """Statistics of all quantities that have values, by quantity and name."""
    maps = [q for q in quantities if q.kind is Kind.PIXEL_MAP and q.columns]
    found: dict[str, dict[str, float]] = {}
    if maps:
        table = np.array([_only(quantity) for quantity in maps], np.float64)
        by_name = map_statistics(table)
        for row, quantity in enumerate(maps):
            found[quantity.name] = {name: float(values[row]) for name, values in by_name.items()}
            if quantity.name.endswith(FRACTION):
                bad = np.count_nonzero(table[row] > BAD_FRACTION)
                found[quantity.name]["bad"] = float(bad)
    for quantity in quantities:
        if quantity.columns and quantity.kind is not Kind.PIXEL_MAP:
            found[quantity.name] = _statistics(quantity)
    return {
        name: finite
        for name, values in found.items()
        if (finite := {key: value for key, value in values.items() if np.isfinite(value)})
    }


def map_statistics(table: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Statistics of many maps at once.

    Parameters
    ----------
    table : ndarray, shape (maps, pixels)
        Values that are not finite are left out.

    Returns
    -------
    dict
        The names of ``DEFINITIONS[Kind.PIXEL_MAP]`` except "bad", each (maps,).
    """
    finite = np.isfinite(table)
    values = np.where(finite, table, np.nan)
    count = finite.sum(axis=1)
    ordered = np.sort(values, axis=1)  # NaN last
    mean = np.nansum(values, axis=1) / count
    median = _percentile(ordered, count, 50.0)
    difference = values - median[:, None]
    deviation = np.abs(difference)
    sigma = MAD_TO_SIGMA * _percentile(np.sort(deviation, axis=1), count, 50.0)
    positive = np.where(median > 0, 1.0, np.nan)  # of a median of 0 or below nothing is a share
    return {
        "mean": mean,
        "median": median,
        "std": np.sqrt(np.nansum((values - mean[:, None]) ** 2, axis=1) / count),
        "min": _percentile(ordered, count, 0.0),
        "max": _percentile(ordered, count, 100.0),
        **{f"p{level:g}": _percentile(ordered, count, level) for level in PERCENTILES},
        "sigma": sigma,
        "outliers": (deviation > OUTLIER * sigma[:, None]).sum(axis=1).astype(np.float64),
        "above": (difference > OUTLIER * sigma[:, None]).sum(axis=1).astype(np.float64),
        "below": (difference < -OUTLIER * sigma[:, None]).sum(axis=1).astype(np.float64),
        "dead": positive * (values < DEAD * median[:, None]).sum(axis=1),
        "hot": positive * (values > HOT * median[:, None]).sum(axis=1),
        "count": count.astype(np.float64),
        "zeros": (values == 0).sum(axis=1).astype(np.float64),
    }


def _percentile(ordered: NDArray, count: NDArray, level: float) -> NDArray[np.float64]:
    """Percentile with linear interpolation of the first *count* values of each sorted row."""
    place = np.maximum(level / 100.0 * (count - 1), 0.0)
    below = np.floor(place).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(count - 1, 0))
    rows = np.arange(len(ordered))
    low, high = ordered[rows, below], ordered[rows, above]
    return low + (high - low) * (place - below)


def _statistics(quantity: Quantity) -> dict[str, float]:
    columns = quantity.columns
    match quantity.kind:
        case Kind.PIXEL_WAVEFORMS:
            return _pixel_waveforms(_only(quantity))
        case Kind.MEAN_WAVEFORM:
            baseline, amplitude, peak = _pulse(_only(quantity)[None, :])
            return {
                "baseline": float(baseline[0]),
                "amplitude": float(amplitude[0]),
                "peak": float(peak[0]),
            }
        case Kind.CAMERA_SCALAR:
            return {"value": float(_only(quantity)[0])}
        case Kind.EVENT_TIMELINE:
            values, of_class = columns.values()
            own = values[of_class]
            limits = {"mean": float(own.mean()), "max": float(own.max())} if len(own) else {}
            return {**limits, "events": float(len(own))}
        case Kind.TRIGGER_EVENTS:
            return _trigger(columns["Timestamps"])
        case Kind.EVENT_TIMES:
            return {"count": float(len(_only(quantity)))}
        case Kind.DRAWER_TREND:
            return _drawers(_only(quantity))
        case Kind.COUNTERS:
            counters = {
                name: float(values.ravel()[0])
                for name, values in columns.items()
                if values.size == 1 and values.dtype.kind in "iuf"
            }
            if quantity.name != "START-TIMES":
                return counters
            first, last = counters.get("First event"), counters.get("Last event")
            return {} if first is None or last is None else {"duration": last - first}
    return {}


def _pixel_waveforms(waveforms: NDArray) -> dict[str, float]:
    present = waveforms[np.isfinite(waveforms).all(axis=1)]
    if not len(present):
        return {}
    found: dict[str, float] = {}
    for name, values in zip(("baseline", "amplitude", "peak"), _pulse(present), strict=True):
        found[name] = float(values.mean())
        found[f"{name}_std"] = float(values.std())
    return found


def _pulse(waveforms: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Baseline, amplitude above it and sample of the maximum of each row."""
    baseline = waveforms[:, :BASELINE_SAMPLES].mean(axis=1)
    peak = waveforms.argmax(axis=1)
    return baseline, waveforms.max(axis=1) - baseline, peak


def _trigger(times: NDArray) -> dict[str, float]:
    found = {"events": float(len(times))}
    if len(times) > 1:
        steps = np.diff(times)
        span = float(times.max() - times.min())
        found |= {
            "rate": (len(times) - 1) / span if span > 0 else np.nan,
            "step_min": float(steps.min()),
            "step_max": float(steps.max()),
            "negative_steps": float(np.count_nonzero(steps < 0)),
        }
    return found


def _drawers(readings: NDArray) -> dict[str, float]:
    change = readings[:, -1] - readings[:, 0]
    extreme = change[np.argmax(np.nan_to_num(np.abs(change)))]
    return {
        "mean": float(np.nanmean(readings)),
        "min": float(np.nanmin(readings)),
        "max": float(np.nanmax(readings)),
        "spread": float(np.nanstd(np.nanmean(readings, axis=1))),
        "drift": float(np.nanmean(change)),
        "drift_max": float(extreme),
    }


def _only(quantity: Quantity) -> NDArray:
    (values,) = quantity.columns.values()
    return values
