"""Which modules and pixels of a camera a condition strikes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dqm.simulation.camera import Camera
from dqm.simulation.conditions import Condition
from dqm_db.content import N_PIXELS, PIXELS_PER_MODULE
from dqm_db.geometry import camera_geometry


@dataclass(frozen=True, slots=True)
class Faults:
    """Ids of the affected parts, sorted int64 arrays; no pixel is in two of the pixel arrays.

    Attributes
    ----------
    absent : ndarray
        Pixels that are not read out.
    dead, failing, flickering, noisy, hot : ndarray
        Pixels; see `Condition`.
    hot_modules, ping_pong_modules : ndarray
        Modules.
    """

    absent: NDArray[np.int64]
    dead: NDArray[np.int64]
    failing: NDArray[np.int64]
    flickering: NDArray[np.int64]
    noisy: NDArray[np.int64]
    hot: NDArray[np.int64]
    hot_modules: NDArray[np.int64]
    ping_pong_modules: NDArray[np.int64]

    @property
    def present(self) -> NDArray[np.int64]:
        """Ids of the pixels that are read out, sorted."""
        return np.setdiff1d(np.arange(N_PIXELS), self.absent, assume_unique=True)


def faults_of(camera: Camera, condition: Condition, dead_pixels: Iterable[int] = ()) -> Faults:
    """The parts of *camera* that *condition* strikes, and *dead_pixels* besides.

    Faults hit the camera's parts in its own order, so that they stay in place from run to run.
    """
    modules = iter(camera.module_order)

    def next_modules(count: int) -> NDArray[np.int64]:
        return np.sort(np.fromiter(modules, np.int64, count))

    absent = _pixels_of(next_modules(condition.absent_modules))
    dead_modules = next_modules(condition.dead_modules)
    failing = _pixels_of(next_modules(condition.failing_modules))
    hot_modules = next_modules(condition.hot_modules)
    ping_pong = next_modules(condition.ping_pong_modules)

    free = np.ones(N_PIXELS, bool)
    free[absent] = free[failing] = False

    def next_pixels(count: int) -> NDArray[np.int64]:
        taken = camera.pixel_order[free[camera.pixel_order]][:count]
        free[taken] = False
        return np.sort(taken)

    dead = np.union1d(_pixels_of(dead_modules), np.fromiter(dead_pixels, np.int64))
    dead = np.setdiff1d(dead, np.concatenate([absent, failing]))
    free[dead] = False
    dead = np.union1d(dead, next_pixels(condition.dead_pixels))
    flickering = next_pixels(condition.flickering_pixels)
    noisy = next_pixels(condition.noisy_pixels)
    hot = _cluster(int(camera.pixel_order[0]), free, condition.hot_pixels)
    return Faults(absent, dead, failing, flickering, noisy, hot, hot_modules, ping_pong)


def _pixels_of(modules: NDArray[np.int64]) -> NDArray[np.int64]:
    return (modules[:, None] * PIXELS_PER_MODULE + np.arange(PIXELS_PER_MODULE)).ravel()


def _cluster(centre: int, free: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
    geometry = camera_geometry()
    distance = np.hypot(geometry.x - geometry.x[centre], geometry.y - geometry.y[centre])
    nearest = np.argsort(distance, kind="stable")
    return np.sort(nearest[free[nearest]][:count])
