"""Counts, times, and the events of a class."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ingest.events import pedestal_events, read_counts, read_times
from ingest.results import RawHDU
from ingest.times import tai_minus_utc


def table(name: str, **columns: object) -> dict[str, RawHDU]:
    arrays = {key.replace("_", " "): np.atleast_1d(value) for key, value in columns.items()}
    return {name: RawHDU(name, arrays)}


def timeline(event_class: str, values: NDArray) -> dict[str, RawHDU]:
    name = f"CAMERA-BADPIXTIMELINE-{event_class}-HIGH-GAIN"
    return {name: RawHDU(name, {name: values})}


@pytest.mark.parametrize(
    ("utc", "offset"),
    [
        (1483228799 - 10, 36),  # before the leap second of 2016-12-31
        (1483228800 + 10, 37),
        (1746145812, 37),
        (1341100800 + 10, 35),  # after the leap second of 2012-06-30
        (2_500_000_000, 37),  # later than any leap second known
    ],
)
def test_leap_seconds(utc: int, offset: int) -> None:
    assert tai_minus_utc(utc + offset) == offset


@pytest.mark.parametrize("time", [np.nan, np.inf, -np.inf, 0.0, -1e300, 1e300])
def test_times_that_are_none(time: float) -> None:
    assert tai_minus_utc(time) is None


def test_no_network_is_needed() -> None:
    """In a new process, where astropy has not looked for leap seconds yet."""
    program = (
        "import socket\n"
        "def refuse(*a, **k): raise SystemExit('tried to connect')\n"
        "socket.socket.connect = refuse; socket.getaddrinfo = refuse\n"
        "from ingest.times import tai_minus_utc\n"
        "print(tai_minus_utc(4e9))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout.strip() == "37.0", result.stderr
    assert result.stderr == ""


def test_times_without_start() -> None:
    trigger = table("TRIGGER-EVENTS-ALL", Timestamps=1746145849.5)
    times = read_times(trigger)
    assert (times.run_start, times.first_event, times.tai_minus_utc) == (None, None, 37)
    assert times.start is None
    assert read_times({}).tai_minus_utc is None


def test_counts_that_cannot_be() -> None:
    hdus = table("TRIGGER-STATISTICS", All=-1, Physical=np.nan, Pedestals=1e300, Others=3)
    counts = read_counts(hdus)
    assert (counts.total, counts.physical, counts.pedestal) == (None, None, None)
    assert counts.other == 3


def events_file(
    classes: NDArray[np.bool_], values: NDArray, listed: NDArray[np.bool_], first_id: int
) -> dict[str, RawHDU]:
    """The HDUs of a file with these events; True in *classes*: a pedestal."""
    ids = first_id + np.arange(len(classes))
    hdus = timeline("PED", np.where(classes, values, 0))
    hdus |= timeline("PHY", np.where(classes, 0, values))
    hdus |= table("TRIGGER-EVENTS-ALL", IDs=ids[listed])
    hdus |= table("TRIGGER-EVENTS-PED", IDs=ids[listed & classes])
    return hdus


@settings(max_examples=60, deadline=None)
@given(
    classes=st.lists(st.booleans(), min_size=3, max_size=40).map(np.array),
    first_id=st.integers(0, 10**12),
    bad=st.booleans(),
)
def test_ids_tell_the_class_of_events_without_bad_pixels(
    classes: NDArray[np.bool_], first_id: int, bad: bool
) -> None:
    """The first event is never listed; the last one is."""
    values = np.full(len(classes), 0.02 if bad else 0.0)
    listed = np.arange(len(classes)) > 0
    found = pedestal_events(events_file(classes, values, listed, first_id), len(classes))
    if bad:
        np.testing.assert_array_equal(found, classes)
    else:
        np.testing.assert_array_equal(found[1:], classes[1:])
        assert not found[0]


def test_unlisted_events_go_by_their_values() -> None:
    classes = np.array([True, False, True, False, True, False])
    values = np.array([0.1, 0.1, 0.1, 0.0, 0.0, 0.1])
    listed = np.array([False, True, False, True, True, True])
    found = pedestal_events(events_file(classes, values, listed, 1), 6)
    np.testing.assert_array_equal(found, classes)


def test_ids_that_contradict_the_values_are_not_believed() -> None:
    classes = np.array([False, True, False, False, True, False])
    hdus = events_file(classes, np.full(6, 0.1), np.arange(6) > 0, 1)
    hdus |= table("TRIGGER-EVENTS-PED", IDs=np.array([3, 4]))
    np.testing.assert_array_equal(pedestal_events(hdus, 6), classes)


@pytest.mark.parametrize(
    "ids", [np.array([-5, 3]), np.array([2**62, 5]), np.array([1.5, 2.5]), np.empty(0, np.int64)]
)
def test_nonsense_ids(ids: NDArray) -> None:
    hdus = timeline("PED", np.array([0.0, 0.1, 0.0]))
    hdus |= table("TRIGGER-EVENTS-ALL", IDs=ids) | table("TRIGGER-EVENTS-PED", IDs=ids)
    np.testing.assert_array_equal(pedestal_events(hdus, 3), [False, True, False])
