"""Simulate one run."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dqm.simulation.archive import write_archive
from dqm.simulation.camera import camera_at
from dqm.simulation.conditions import Condition
from dqm.simulation.events import simulate_events
from dqm.simulation.faults import faults_of
from dqm.simulation.layout import fits_bytes
from dqm.simulation.results import results_hdus
from dqm_db.errors import ConfigurationError

DEFAULT_EVENTS = 300
_PROCESSING_TIME = 3600.25  # s from the last event to the results file


def simulate_results(
    camera: str,
    run: int,
    *,
    start: int,
    events: int | None = None,
    seed: int = 0,
    condition: Condition | None = None,
    dead_pixels: Iterable[int] = (),
) -> bytes:
    """Simulate a run and return its results file, FITS; the same for the same arguments.

    Parameters
    ----------
    camera : str
        Name, e.g. ``"NectarCAMQM"``. With *seed* it decides what the instrument is like.
    run : int
        Number, which with *camera* and *seed* decides the random part.
    start : int
        Start of the run, unix seconds, UTC.
    events : int, optional
        Triggered events, wins over ``condition.events``; 300 when neither says.
    seed : int
        0 or more.
    condition : Condition, optional
        A healthy run by default.
    dead_pixels : iterable of int
        Pixels that are dead besides those of the condition.

    Raises
    ------
    ConfigurationError
        When there are no events to simulate.
    """
    condition = condition or Condition()
    instrument = camera_at(camera, start, seed)
    faults = faults_of(instrument, condition, dead_pixels)
    rng = np.random.default_rng([seed, zlib.crc32(camera.encode()), run])
    simulated = simulate_events(condition, faults, start, _event_count(events, condition), rng)
    return fits_bytes(results_hdus(instrument, condition, faults, simulated, rng))


def simulate_run(
    directory: Path,
    camera: str,
    run: int,
    *,
    start: int,
    events: int | None = None,
    seed: int = 0,
    condition: Condition | None = None,
    dead_pixels: Iterable[int] = (),
) -> Path:
    """Simulate a run and write its results file as the grid job leaves it.

    Writes ``{camera}_DQM_Run{run}.tar.gz`` into *directory*, which must exist, and returns its
    path. The other arguments are those of `simulate_results`; the same ones give the same
    tarball, byte for byte.

    Raises
    ------
    ConfigurationError
        When there are no events to simulate.
    OSError
        When the directory cannot be written.
    """
    condition = condition or Condition()
    results = simulate_results(
        camera,
        run,
        start=start,
        events=events,
        seed=seed,
        condition=condition,
        dead_pixels=dead_pixels,
    )
    duration = _event_count(events, condition) / condition.rate
    modified = start + round(duration) + _PROCESSING_TIME
    return write_archive(directory, camera, run, results, modified=modified)


def _event_count(events: int | None, condition: Condition) -> int:
    given = next(n for n in (events, condition.events, DEFAULT_EVENTS) if n is not None)
    if given < 1:
        raise ConfigurationError(f"a run needs at least one event to simulate, not {given}")
    return given
