"""The events of a simulated run: types, times, and which pixels are flagged in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dqm.simulation.conditions import Condition
from dqm.simulation.faults import Faults
from dqm_db.content import N_PIXELS, PIXELS_PER_MODULE

FLATFIELD, SKY_PEDESTAL, SUBARRAY = 0, 2, 32  # ctapipe's EventType
CLASSES = ("PHY", "PED")  # everything but sky pedestals; sky pedestals
TAI_MINUS_UTC = 37.0  # s, since 2017
WRONG_TIME_OFFSET = -400.0  # s
FLICKER_PROBABILITY = 0.08
PING_PONG_CHANGES = 4  # per affected module


@dataclass(frozen=True, slots=True)
class Events:
    """All events of a run in the order of their ids.

    Attributes
    ----------
    start : int
        Start of the run, unix s, UTC.
    ids : ndarray of int64, shape (events,)
        From 1.
    types : ndarray of int64, shape (events,)
        EventType values.
    times : ndarray of float64, shape (events,)
        unix_tai s.
    flags : tuple of two mappings of int to ndarray of bool, shape (events,)
        High and low gain: pixel to the events in which it is flagged; others never are.
    ping_pong_changes : ndarray of float64, shape (1855,)
        Changes per pixel.
    ping_pong_times : ndarray of float64, shape (changes,)
        Those of the events in which a module changed, unix_tai s.
    """

    start: int
    ids: NDArray[np.int64]
    types: NDArray[np.int64]
    times: NDArray[np.float64]
    flags: tuple[Mapping[int, NDArray[np.bool_]], Mapping[int, NDArray[np.bool_]]]
    ping_pong_changes: NDArray[np.float64]
    ping_pong_times: NDArray[np.float64]

    @property
    def duration(self) -> float:
        """From the first to the last event, s."""
        return float(self.times.max() - self.times[0])

    def of_class(self, event_class: str) -> NDArray[np.bool_]:
        """Which events enter the quantities of *event_class* (one of ``CLASSES``)."""
        pedestal = self.types == SKY_PEDESTAL
        return pedestal if event_class == "PED" else ~pedestal

    def count(self, event_class: str) -> int:
        """Number of events of the class."""
        return int(self.of_class(event_class).sum())

    @property
    def accepted(self) -> NDArray[np.bool_]:
        """Events later than the first one, which alone enter the trigger quantities."""
        return self.times > self.times[0]

    @property
    def wrong_times(self) -> NDArray[np.float64]:
        """Times earlier than that of the first event."""
        return self.times[self.times < self.times[0]]

    def bad_events(self, event_class: str, gain: int) -> NDArray[np.float64]:
        """Events of the class in which each pixel is flagged, shape (1855,), in pixel-id order."""
        mask = self.of_class(event_class)
        counts = np.zeros(N_PIXELS)
        for pixel, flagged in self.flags[gain].items():
            counts[pixel] = np.count_nonzero(flagged & mask)
        return counts

    def bad_fraction(self, event_class: str, gain: int) -> NDArray[np.float64]:
        """Fraction of the pixels that is flagged, per event, 0 in events of the other class."""
        flagged = np.zeros(len(self.ids))
        for events in self.flags[gain].values():
            flagged += events
        return np.where(self.of_class(event_class), flagged / N_PIXELS, 0.0)


def simulate_events(
    condition: Condition, faults: Faults, start: int, count: int, rng: np.random.Generator
) -> Events:
    """Events of a run that starts at *start* (unix s, UTC).

    Times are those of a Poisson process. The first event is never mistimed: production
    measures all others against it.
    """
    share = (condition.flatfield_fraction, condition.pedestal_fraction)
    types = rng.choice(
        np.array([FLATFIELD, SKY_PEDESTAL, SUBARRAY]), count, p=[*share, 1.0 - sum(share)]
    )
    first = start + TAI_MINUS_UTC + rng.uniform(5.0, 20.0)
    gaps = rng.exponential(1.0 / condition.rate, count)
    gaps[0] = 0.0
    times = first + np.cumsum(gaps)
    _mistime(condition, times, rng)

    changes = np.zeros(N_PIXELS)
    change_times = []
    for module in faults.ping_pong_modules:
        changes[module * PIXELS_PER_MODULE :][:PIXELS_PER_MODULE] = PING_PONG_CHANGES
        change_times.append(np.sort(rng.choice(times, PING_PONG_CHANGES)))

    return Events(
        start=start,
        ids=np.arange(1, count + 1),
        types=types,
        times=times,
        flags=_flags(faults, count, rng),
        ping_pong_changes=changes,
        ping_pong_times=np.concatenate([np.zeros(0), *change_times]),
    )


def _mistime(condition: Condition, times: NDArray[np.float64], rng: np.random.Generator) -> None:
    """Put single events too early, in place."""
    candidates = 1 + rng.permutation(len(times) - 1)
    wrong, early = np.split(candidates, [condition.wrong_times])
    early = early[: condition.negative_steps]
    times[early] -= rng.uniform(0.05, 1.5, len(early))
    times[wrong] = times[0] + WRONG_TIME_OFFSET - np.arange(len(wrong))


def _flags(
    faults: Faults, count: int, rng: np.random.Generator
) -> tuple[dict[int, NDArray[np.bool_]], dict[int, NDArray[np.bool_]]]:
    always = np.ones(count, bool)
    failing = np.arange(count) >= rng.integers(count // 3, 2 * count // 3 + 1)
    both = {int(pixel): always for pixel in faults.dead}
    both |= {int(pixel): failing for pixel in faults.failing}
    high = dict(both)
    for pixel in faults.flickering:
        high[int(pixel)] = rng.random(count) < FLICKER_PROBABILITY
    return high, both
