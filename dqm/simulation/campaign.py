"""A plausible series of runs of some cameras over past nights, mostly healthy."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from dqm.simulation.camera import DAY
from dqm.simulation.conditions import campaign_opening, named_conditions
from dqm.simulation.run import simulate_run
from dqm_db.content import N_PIXELS

NIGHT_BEGINS, NIGHT_LASTS = 20 * 3600.0, 9 * 3600.0  # s after 0 h UTC, s
RUNS_PER_NIGHT = 8
_PAUSE = 0.2  # probability of no observations in the nights after one
_LAST_CONDITION = "complete"  # the newest run is the first that a user sees


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run of a campaign before it is simulated.

    Attributes
    ----------
    start : int
        Unix seconds, UTC.
    condition : str
        Name in ``conditions.toml``.
    dead_pixels : tuple of int
        Pixels that have died in the campaign so far.
    new_dead_pixels : int
        How many of them died since the camera's run before.
    """

    camera: str
    run: int
    start: int
    seed: int
    events: int | None
    condition: str
    dead_pixels: tuple[int, ...] = ()
    new_dead_pixels: int = 0

    @property
    def description(self) -> str:
        """One line for people."""
        when = datetime.fromtimestamp(self.start, UTC).strftime("%Y-%m-%d %H:%M")
        text = f"{self.camera} run {self.run}, {when} UTC: "
        text += named_conditions()[self.condition].description
        if self.new_dead_pixels:
            plural = "s have" if self.new_dead_pixels > 1 else " has"
            text += f"; {self.new_dead_pixels} more pixel{plural} died"
        return text

    def write(self, directory: Path) -> Path:
        """Simulate the run into *directory*; see `simulate_run`."""
        return simulate_run(
            directory,
            self.camera,
            self.run,
            start=self.start,
            events=self.events,
            seed=self.seed,
            condition=named_conditions()[self.condition].condition,
            dead_pixels=self.dead_pixels,
        )


def campaign(
    directory: Path,
    cameras: Sequence[str],
    runs: int,
    *,
    seed: int = 0,
    until: float | None = None,
    events: int | None = None,
) -> Iterator[tuple[Path, str]]:
    """Write the runs of `plan_campaign` one after the other; yields each path and description.

    Raises
    ------
    OSError
        When the directory cannot be written.
    """
    for planned in plan_campaign(cameras, runs, seed=seed, until=until, events=events):
        yield planned.write(directory), planned.description


def plan_campaign(
    cameras: Sequence[str],
    runs: int,
    *,
    seed: int = 0,
    until: float | None = None,
    events: int | None = None,
) -> list[PlannedRun]:
    """Plan *runs* runs, shared evenly between *cameras*, in the order of their start.

    The first runs go through ``opening`` of ``conditions.toml``, so that a short campaign shows
    variety; the others are drawn by frequency. The last run of each camera is a complete one.

    Parameters
    ----------
    cameras : sequence of str
        Names, each once.
    runs : int
        Of all cameras together.
    seed : int
        0 or more.
    until : float, optional
        Unix seconds, UTC; the last night has ended by then. Now by default.
    events : int, optional
        Events of every run; by default as its condition says, or 300.
    """
    slots = []
    for index, camera in enumerate(cameras):
        share = runs // len(cameras) + (index < runs % len(cameras))
        slots += _observations(camera, share, seed, time.time() if until is None else until)
    slots.sort(key=lambda planned: (planned.start, planned.camera))

    last = {planned.camera: position for position, planned in enumerate(slots)}
    rng = np.random.default_rng([seed, 1])
    known = named_conditions()
    weights = np.array([named.frequency for named in known.values()])
    drawn = rng.choice(list(known), runs, p=weights / weights.sum())
    drawn[: len(campaign_opening())] = campaign_opening()[:runs]
    drawn[list(last.values())] = _LAST_CONDITION
    return [
        PlannedRun(
            camera=slot.camera,
            run=slot.run,
            start=slot.start,
            seed=seed,
            events=events,
            condition=str(condition),
            dead_pixels=slot.dead_pixels,
            new_dead_pixels=slot.new_dead_pixels,
        )
        for slot, condition in zip(slots, drawn, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Slot:
    camera: str
    run: int
    start: int
    dead_pixels: tuple[int, ...]
    new_dead_pixels: int


def _observations(camera: str, runs: int, seed: int, until: float) -> list[_Slot]:
    """Numbers, times and pixel deaths of the runs of one camera, oldest first."""
    rng = np.random.default_rng([seed, zlib.crc32(camera.encode()), 2])
    numbers = 100 * rng.integers(20, 60) + np.cumsum(rng.integers(1, 5, runs))

    last_night = (until - NIGHT_BEGINS - NIGHT_LASTS) // DAY * DAY + NIGHT_BEGINS
    from_end = np.arange(runs)[::-1]
    nights = from_end // RUNS_PER_NIGHT
    pauses = (rng.random(runs) < _PAUSE) * rng.integers(1, 4, runs)
    nights_back = nights + np.concatenate([[0], np.cumsum(pauses)])[nights]
    slot = NIGHT_LASTS / RUNS_PER_NIGHT
    in_night = (RUNS_PER_NIGHT - 1 - from_end % RUNS_PER_NIGHT + rng.uniform(0, 0.6, runs)) * slot
    starts = last_night - nights_back * DAY + in_night

    deaths = min(1 + runs // 25, 12) if runs > 1 else 0
    victims = rng.choice(N_PIXELS, deaths, replace=False)
    died_at = np.sort(rng.integers(1, max(runs, 2), deaths))
    return [
        _Slot(
            camera=camera,
            run=int(numbers[index]),
            start=int(starts[index]),
            dead_pixels=tuple(int(pixel) for pixel in victims[died_at <= index]),
            new_dead_pixels=int(np.count_nonzero(died_at == index)),
        )
        for index in range(runs)
    ]
