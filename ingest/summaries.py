"""What plots need of a quantity, small enough to be sent as it is; the keys are those of
``docs/schema.md``. Times are unix UTC seconds, unlike in the full columns.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dqm_db.content import Kind

TIMELINE_BUCKETS = 1000
TRIGGER_POINTS = 2000
NEGATIVE_STEPS = 500
RATE_BINS = 200
EVENTS_PER_RATE_BIN = 10
DELTA_BINS_PER_DECADE = 10
TIMES = 5000

Summary = dict[str, NDArray]


def summarize(kind: Kind, columns: Mapping[str, NDArray], tai_minus_utc: float | None) -> Summary:
    """Summary of one quantity; empty for kinds whose columns are small themselves.

    Parameters
    ----------
    kind : Kind
        What decides on the keys.
    columns
        As stored (`dqm_db.content.Quantity.columns`).
    tai_minus_utc : float or None
        Seconds; None when it is unknown: then all times are NaN.
    """
    offset = np.nan if tai_minus_utc is None else tai_minus_utc
    if kind is Kind.PIXEL_WAVEFORMS:
        (waveforms,) = columns.values()
        return pixel_waveforms(waveforms)
    if kind is Kind.EVENT_TIMELINE:
        values, of_class = columns.values()
        return event_timeline(values, of_class)
    if kind is Kind.TRIGGER_EVENTS:
        return trigger_events(columns["Timestamps"] - offset, columns["IDs"])
    if kind is Kind.EVENT_TIMES:
        (times,) = columns.values()
        return event_times(times - offset)
    if kind is Kind.DRAWER_TREND:
        (readings,) = columns.values()
        return drawer_trend(readings)
    return {}


def pixel_waveforms(waveforms: NDArray) -> Summary:
    """Mean, 2.5 %, 50 % and 97.5 % over the present pixels, each (samples,)."""
    present = waveforms[np.isfinite(waveforms).any(axis=1)]
    if not len(present):
        nothing = np.full(waveforms.shape[1], np.nan)
        return dict.fromkeys(("mean", "low", "median", "high"), nothing)
    # nanpercentile goes column by column, ten times slower; overflows are rare
    percentile = np.percentile if np.isfinite(present).all() else np.nanpercentile
    low, median, high = percentile(present, (2.5, 50.0, 97.5), axis=0)
    return {"mean": np.nanmean(present, axis=0), "low": low, "median": median, "high": high}


def event_timeline(values: NDArray, of_class: NDArray[np.bool_]) -> Summary:
    """Buckets of consecutive events of the quantity's own class, at most `TIMELINE_BUCKETS`.

    ``event`` and ``event_end`` are the positions of a bucket's first and last event among all
    events of the file; ``low``, ``high`` and ``mean`` are of the values of the events of the class.
    """
    events = np.flatnonzero(of_class)
    own = values[events].astype(np.float64)
    buckets = min(len(events), TIMELINE_BUCKETS)
    if not buckets:
        nothing = np.empty(0)
        none = np.empty(0, np.int64)
        return {"event": none, "event_end": none, "low": nothing, "high": nothing, "mean": nothing}
    edges = np.arange(buckets + 1) * len(events) // buckets
    starts = edges[:-1]
    return {
        "event": events[starts],
        "event_end": events[edges[1:] - 1],
        "low": np.minimum.reduceat(own, starts),
        "high": np.maximum.reduceat(own, starts),
        "mean": np.add.reduceat(own, starts) / np.diff(edges),
    }


def trigger_events(time: NDArray[np.float64], ids: NDArray[np.int64]) -> Summary:
    """Times against ids, negative steps, rate and time differences of the events of a class.

    Parameters
    ----------
    time : ndarray, shape (events,)
        UTC, unix s.
    ids : ndarray, shape (events,)
        Event ids, in file order.
    """
    steps = np.diff(time)
    negative = np.flatnonzero(steps < 0)
    shown = _decimated(len(time), negative[:NEGATIVE_STEPS])
    largest = negative
    if len(negative) > NEGATIVE_STEPS:
        largest = np.sort(negative[np.argsort(steps[negative])[:NEGATIVE_STEPS]])
    return {
        "id": ids[shown].astype(np.int64),
        "time": time[shown],
        "negative_id": ids[largest + 1].astype(np.int64),
        "negative_time": time[largest + 1],
        "negative_step": steps[largest],
        "negative_count": np.array([len(negative)], np.int64),
        **_rate(time),
        **_deltas(steps),
    }


def _decimated(events: int, negative: NDArray) -> NDArray:
    """Positions of at most `TRIGGER_POINTS` events, both ends of negative steps among them."""
    if events <= TRIGGER_POINTS:
        return np.arange(events)
    ends = np.union1d(negative, negative + 1)
    even = np.linspace(0, events - 1, TRIGGER_POINTS - len(ends)).astype(np.int64)
    return np.union1d(even, ends)


def _rate(time: NDArray[np.float64]) -> Summary:
    finite = time[np.isfinite(time)]
    span = float(np.ptp(finite)) if len(finite) else 0.0
    if not 0 < span < np.inf:
        return {"rate_time": np.empty(0), "rate": np.empty(0)}
    bins = int(np.clip(len(finite) // EVENTS_PER_RATE_BIN, 1, RATE_BINS))
    start, width = finite.min(), span / bins
    # relative to the start: unix seconds leave float64 only 0.2 µs
    place = np.minimum(((finite - start) / width).astype(np.int64), bins - 1)
    counts = np.bincount(place, minlength=bins)
    return {"rate_time": start + (np.arange(bins) + 0.5) * width, "rate": counts / width}


def _deltas(steps: NDArray[np.float64]) -> Summary:
    """Histogram of the positive time differences in logarithmic bins from 1 ns to 1e9 s."""
    positive = steps[(steps >= 1e-9) & (steps <= 1e9)]
    if not len(positive):
        return {"delta_edges": np.empty(0), "delta_counts": np.empty(0, np.int64)}
    low, high = np.log10([positive.min(), positive.max()]) * DELTA_BINS_PER_DECADE
    first, last = int(np.floor(low)), int(np.ceil(high))
    last = max(last, first + 1)
    edges = 10.0 ** (np.arange(first, last + 1) / DELTA_BINS_PER_DECADE)
    place = np.searchsorted(edges, positive, side="right") - 1
    counts = np.bincount(np.clip(place, 0, last - first - 1), minlength=last - first)
    return {"delta_edges": edges, "delta_counts": counts.astype(np.int64)}


def event_times(time: NDArray[np.float64]) -> Summary:
    """Times (UTC, unix s), evenly thinned to `TIMES`, and their true number."""
    shown = np.linspace(0, len(time) - 1, min(len(time), TIMES)).astype(np.int64)
    return {"time": time[shown], "count": np.array([len(time)], np.int64)}


def drawer_trend(readings: NDArray) -> Summary:
    """Mean and limits over the modules, each (readings,), of (modules, readings)."""
    return {
        "mean": np.nanmean(readings, axis=0),
        "low": np.nanmin(readings, axis=0),
        "high": np.nanmax(readings, axis=0),
    }
