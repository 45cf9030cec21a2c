"""Event counts, times, and which events belong to which class."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dqm_db.content import EventCounts, Kind, RunTimes
from dqm_db.quantities import describe
from ingest.results import RawHDU
from ingest.start_times import FIRST_EVENT, LAST_EVENT, RUN_START
from ingest.times import tai_minus_utc

MOST_EVENTS = 2**53
"""Counts above it are damage; float64 holds all integers up to here."""


def read_counts(hdus: Mapping[str, RawHDU]) -> EventCounts:
    """Events of the run, from TRIGGER-STATISTICS."""

    def count(column: str) -> int | None:
        value = _first(hdus, "TRIGGER-STATISTICS", column)
        return int(value) if value is not None and 0 <= value <= MOST_EVENTS else None

    return EventCounts(
        total=count("All"),
        physical=count("Physical"),
        pedestal=count("Pedestals"),
        other=count("Others"),
        wrong_time=count("Wrong times"),
    )


def read_times(hdus: Mapping[str, RawHDU]) -> RunTimes:
    """UTC times of the run, from START-TIMES; first and last event are unix_tai in the file.

    The offset is that of the first event; without it, of the first trigger time.
    """
    run_start = _first(hdus, "START-TIMES", RUN_START)
    first = _first(hdus, "START-TIMES", FIRST_EVENT)
    last = _first(hdus, "START-TIMES", LAST_EVENT)
    reference = first or last or _first(hdus, "TRIGGER-EVENTS-ALL", "Timestamps")
    offset = None if reference is None else tai_minus_utc(reference)
    return RunTimes(
        run_start=run_start,
        first_event=None if first is None or offset is None else first - offset,
        last_event=None if last is None or offset is None else last - offset,
        tai_minus_utc=offset,
    )


def pedestal_events(hdus: Mapping[str, RawHDU], events: int) -> NDArray[np.bool_]:
    """Which of the run's events, in file order, are sky pedestals; shape (*events*,).

    Timelines do not say which events they count: those of the other class hold 0, and so does an
    event without a bad pixel. Event ids are numbered through, so that the ids of pedestal events
    tell, provided that no non-zero value of a timeline contradicts them. The first event and those
    with wrong times have no id in the file: for these, and when the ids contradict, the non-zero
    values of the pedestal timelines decide.
    """
    in_pedestal = _nonzero(hdus, "PED", events)
    in_others = _nonzero(hdus, "PHY", events)
    listed = _ids(hdus, "TRIGGER-EVENTS-ALL")
    pedestals = _ids(hdus, "TRIGGER-EVENTS-PED")
    if not len(listed):
        return in_pedestal
    for first_id in dict.fromkeys((int(listed.max()) - events + 1, int(listed.min()) - 1)):
        known = _positions(listed, first_id, events)
        by_id = _positions(pedestals, first_id, events)
        if known is None or by_id is None:
            continue
        contradicted = (in_pedestal & known & ~by_id) | (in_others & by_id)
        if not contradicted.any():
            return by_id | (in_pedestal & ~known)
    return in_pedestal


def _positions(ids: NDArray, first_id: int, events: int) -> NDArray[np.bool_] | None:
    """Mask of the events with these ids; None when one is out of range."""
    if len(ids) and not (first_id <= int(ids.min()) and int(ids.max()) < first_id + events):
        return None
    mask = np.zeros(events, np.bool_)
    mask[ids - first_id] = True
    return mask


def _ids(hdus: Mapping[str, RawHDU], name: str) -> NDArray:
    values = hdus[name].columns.get("IDs") if name in hdus else None
    if values is None or values.ndim != 1 or values.dtype.kind != "i":
        return np.empty(0, np.int64)
    return values.astype(np.int64) if len(values) and values.min() >= 0 else np.empty(0, np.int64)


def _nonzero(hdus: Mapping[str, RawHDU], event_class: str, events: int) -> NDArray[np.bool_]:
    """Events with a value in a timeline of the class, of either gain."""
    mask = np.zeros(events, np.bool_)
    for name, hdu in hdus.items():
        info = describe(name)
        if info.kind is Kind.EVENT_TIMELINE and info.event_class == event_class:
            values = hdu.only()
            if values is not None and values.shape == (events,):
                mask |= values != 0
    return mask


def _first(hdus: Mapping[str, RawHDU], name: str, column: str) -> float | None:
    """First value of a column as a number, if there is a finite one."""
    values = hdus[name].columns.get(column) if name in hdus else None
    if values is None or not values.size or values.dtype.kind not in "iuf":
        return None
    value = values.ravel()[0]
    return float(value) if np.isfinite(value) else None
