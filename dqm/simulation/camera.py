"""The simulated instrument: what is the same in all runs of a camera, and how slowly it drifts.

Numbers (ADC counts, °C) are those of the reference results files of NectarCAM.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dqm_db.content import N_MODULES, N_PIXELS, PIXELS_PER_MODULE
from dqm_db.geometry import camera_geometry

HIGH, LOW = 0, 1
GAINS = ("HIGH", "LOW")  # index 0 and 1 of every (2, …) array
N_SAMPLES = 60
GAIN_RATIO = 13.0  # high over low gain

DAY = 86400.0
_EPOCH = 1735689600.0  # 2025-01-01, where all drifts are zero
_YEAR = 365.25  # days


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera at one moment.

    Attributes
    ----------
    pedestal : ndarray of float64, shape (2, 1855)
        Mean baseline in ADC counts, high and low gain.
    noise : ndarray of float64, shape (2, 1855)
        Standard deviation of one sample in one event, ADC counts.
    signal : ndarray of float64, shape (1855,)
        Relative response to light, mean about 1.
    delay : ndarray of float64, shape (1855,)
        Arrival of the pulse relative to the camera's mean, in samples.
    temperature : ndarray of float64, shape (265,)
        Of the modules, °C.
    module_order, pixel_order : ndarray of int64, shapes (265,), (1855,)
        The order in which this camera's parts fall ill: the first *n* are the affected ones,
        so that a fault stays in its place from run to run.
    """

    pedestal: NDArray[np.float64]
    noise: NDArray[np.float64]
    signal: NDArray[np.float64]
    delay: NDArray[np.float64]
    temperature: NDArray[np.float64]
    module_order: NDArray[np.int64]
    pixel_order: NDArray[np.int64]


def camera_at(name: str, time: float, seed: int) -> Camera:
    """The camera called *name* at *time* (unix s, UTC); the same for the same arguments."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    days = (time - _EPOCH) / DAY

    spread = np.array([[1.5], [1.1]]), np.array([[3.8], [2.8]])  # of modules, of their pixels
    pedestal = np.array([[253.8], [248.3]]) + spread[1] * rng.standard_normal((2, N_PIXELS))
    pedestal += (spread[0] * rng.standard_normal((2, N_MODULES))).repeat(PIXELS_PER_MODULE, 1)
    noise = np.array([[16.0], [3.9]]) * rng.lognormal(0.0, 0.06, (2, N_PIXELS))
    signal = rng.normal(1.0, 0.14, N_PIXELS).clip(0.4, 1.6)
    delay = rng.normal(0.0, 0.25, N_PIXELS)
    sensor = rng.normal(0.0, 0.25, N_MODULES)

    period = rng.uniform(20.0, 90.0, N_MODULES)
    swing = np.sin(2 * math.pi * (days / period + rng.random(N_MODULES)))
    temperature = _temperature(time, days) + sensor
    warmer = temperature - temperature.mean() + _temperature(time, days).mean() - 26.0
    drift = 0.25 * warmer + rng.normal(0.0, 0.6, N_MODULES) * swing
    pedestal += np.array([[1.0], [0.4]]) * drift.repeat(PIXELS_PER_MODULE)
    signal *= 1.0 - 0.003 * (temperature - 26.0).repeat(PIXELS_PER_MODULE)
    signal *= 1.0 + 0.03 * math.sin(2 * math.pi * days / 200.0)

    return Camera(
        pedestal=pedestal,
        noise=noise,
        signal=signal,
        delay=delay,
        temperature=temperature,
        module_order=rng.permutation(N_MODULES),
        pixel_order=rng.permutation(N_PIXELS),
    )


def _temperature(time: float, days: float) -> NDArray[np.float64]:
    """Warmer towards the rim and one side, by season, and cooling down during the night."""
    geometry = camera_geometry()
    x, y = (
        axis.reshape(N_MODULES, PIXELS_PER_MODULE).mean(axis=1) for axis in (geometry.x, geometry.y)
    )
    season = -3.0 * math.cos(2 * math.pi * (days - 20.0) / _YEAR)
    hours_of_night = ((time / 3600.0) - 20.0) % 24.0
    night = 2.0 * math.exp(-hours_of_night / 3.0)
    return 24.0 + 0.23 * x - 0.05 * y + 2.77 * (x**2 + y**2) + season + night
