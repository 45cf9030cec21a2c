"""Mean waveforms and integrated charges of a simulated run.

Nothing is simulated event by event: means over N events are drawn from their distribution, with
1/√N fluctuations, so that a run of 20,000 events takes no longer than one of 300. Production
integrates each event in a window of 16 samples around the camera's highest sample. Without a
pulse to find (in pedestals; now and then in low gain) that sample may be near an end of the
waveform, and the window is cut.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dqm.simulation.camera import GAIN_RATIO, HIGH, N_SAMPLES, Camera
from dqm.simulation.conditions import Condition
from dqm.simulation.events import FLATFIELD, Events
from dqm.simulation.faults import Faults
from dqm_db.content import N_PIXELS

WINDOW = 16  # samples
WINDOW_SHIFT = 6  # from the highest sample back to the window's first
PULSE_SAMPLE = 28
PEDESTAL_SAMPLE = 20  # whose camera mean production takes for the pedestal of an event

_FLATFIELD_CHARGE = 4500.0  # high gain, ADC counts × samples
_SHOWER_CHARGE = 1700.0  # mean of the pixels that a shower hits
_SHOWER_SHARE = 0.03  # of the pixels that a shower hits
# Share of the events whose highest sample may be anywhere, even where the window is cut.
_LOST_PEAKS = {"PHY": 0.004, "PED": 0.05}
# What the analogue filter leaves at the ends of the readout, ADC counts in high gain.
_EDGES = {0: -1.9, 1: -0.8, 2: -0.2, 57: -0.1, 58: -0.2, 59: -0.9}


@dataclass(frozen=True, slots=True)
class Charges:
    """Statistics of a charge over events, float64 arrays of one shape, ADC counts.

    ``rms`` is √Σq² over the events, as production has it: √(N·(average² + std²)).
    """

    average: NDArray[np.float64]
    median: NDArray[np.float64]
    std: NDArray[np.float64]
    rms: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Readout:
    """What the camera read out in the events of one class, in one gain.

    Attributes
    ----------
    waveforms : ndarray of float32, shape (1855, 60)
        Mean waveform of each pixel; absent pixels hold no meaningful values.
    charge : Charges, shape (1855,)
    pedestal : Charges, shape (1,)
        Of the mean of sample 20 over the present pixels.
    """

    waveforms: NDArray[np.float32]
    charge: Charges
    pedestal: Charges


def simulate_readout(
    camera: Camera,
    condition: Condition,
    faults: Faults,
    events: Events,
    event_class: str,
    gain: int,
    rng: np.random.Generator,
) -> Readout:
    """Waveforms and charges of *event_class* (``"PHY"`` or ``"PED"``); it must have events."""
    count = events.count(event_class)
    pedestal, noise = camera.pedestal[gain].copy(), camera.noise[gain].copy()
    pedestal[faults.hot] += 12.0 if gain == HIGH else 1.0
    pedestal = pedestal.astype(np.float32).astype(np.float64)
    noise[faults.noisy] *= 6.0
    noise[faults.hot] *= 2.0
    light = np.zeros(N_PIXELS)
    light_squared = np.zeros(N_PIXELS)
    if event_class == "PHY":
        light, light_squared = _light(camera, faults, events, rng)
        if gain != HIGH:
            light, light_squared = light / GAIN_RATIO, light_squared / GAIN_RATIO**2
    for quiet in (noise, light, light_squared):
        quiet[faults.dead] = 0.0

    waveforms = _waveforms(camera, faults, pedestal, noise / math.sqrt(count), light, gain, rng)
    camera_pedestal = float(waveforms[faults.present, PEDESTAL_SAMPLE].mean(dtype=np.float64))
    widths = _window_widths(event_class, gain, count, rng)
    baseline = pedestal - camera_pedestal if condition.pedestal_subtracted else pedestal

    if event_class == "PHY":
        first = PULSE_SAMPLE - WINDOW_SHIFT
        whole = waveforms[:, first : first + WINDOW].sum(axis=1, dtype=np.float64)
        average = whole - pedestal * (WINDOW - widths.mean())
    else:
        average = waveforms.mean(axis=1, dtype=np.float64) * widths.mean()
    if condition.pedestal_subtracted:
        average -= camera_pedestal * widths.mean()
    variance = light_squared - light**2 + widths.mean() * noise**2
    variance *= np.exp(rng.normal(0.0, 1.4 / math.sqrt(count), N_PIXELS))
    std = np.sqrt(variance + baseline**2 * widths.var())
    fluctuation = 1.25 * noise * math.sqrt(WINDOW / count) * rng.standard_normal(N_PIXELS)
    median = baseline * np.median(widths) + 0.02 * light + fluctuation
    swing = 0.87 if event_class == "PHY" and gain == HIGH else 0.2 if gain == HIGH else 0.05
    return Readout(
        waveforms=waveforms,
        charge=_charges(average, median, std, count),
        pedestal=_charges(
            np.array([camera_pedestal]),
            np.array([camera_pedestal - 0.3 * swing * rng.random()]),
            np.array([swing * rng.uniform(0.85, 1.15)]),
            count,
        ),
    )


def _light(
    camera: Camera, faults: Faults, events: Events, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and mean square over events of each pixel's high-gain signal charge."""
    count = events.count("PHY")
    flatfields = int((events.types == FLATFIELD).sum())
    showers = count - flatfields
    response = camera.signal * np.exp(rng.normal(0.0, 0.02, N_PIXELS))
    hit = rng.poisson(showers * _SHOWER_SHARE, N_PIXELS)
    total = flatfields * _FLATFIELD_CHARGE + rng.gamma(np.maximum(hit, 1e-3), _SHOWER_CHARGE)
    squares = flatfields * 1.01 * _FLATFIELD_CHARGE**2 + 2.0 * hit * _SHOWER_CHARGE**2
    response[faults.hot] *= 3.0
    mean = total * response / count
    # Never below the square of the mean, which few events with little light could give.
    return mean, np.maximum(squares * response**2 / count, 1.05 * mean**2)


def _waveforms(
    camera: Camera,
    faults: Faults,
    pedestal: NDArray[np.float64],
    noise: NDArray[np.float64],
    light: NDArray[np.float64],
    gain: int,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    edges = np.zeros(N_SAMPLES, np.float32)
    for sample, value in _EDGES.items():
        edges[sample] = value if gain == HIGH else 0.07 * value
    waveforms = rng.standard_normal((N_PIXELS, N_SAMPLES), dtype=np.float32)
    waveforms *= noise.astype(np.float32)[:, None]
    waveforms += pedestal.astype(np.float32)[:, None]
    waveforms += edges
    if light.any():
        waveforms += light.astype(np.float32)[:, None] * _pulse(camera.delay)
    waveforms[faults.dead] = pedestal[faults.dead, None].astype(np.float32)
    return waveforms


def _pulse(delay: NDArray[np.float64]) -> NDArray[np.float32]:
    """Mean pulse of each pixel with unit integral: a core and the showers' early, broad share."""
    offset = (
        np.arange(N_SAMPLES, dtype=np.float32) - PULSE_SAMPLE - delay.astype(np.float32)[:, None]
    )
    core = np.exp(-0.5 * np.square(offset / np.float32(1.6))) / np.float32(1.6)
    early = np.exp(-0.5 * np.square((offset + 2) / np.float32(4.0))) / np.float32(4.0)
    return (np.float32(0.85) * core + np.float32(0.15) * early) / np.float32(math.sqrt(2 * math.pi))


def _window_widths(
    event_class: str, gain: int, count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Samples within the integration window, per event of the class."""
    peaks = np.full(count, PULSE_SAMPLE)
    if event_class == "PED" or gain != HIGH:  # the high gain never misses a pulse
        lost = rng.random(count) < _LOST_PEAKS[event_class]
        peaks[lost] = rng.integers(0, N_SAMPLES, int(lost.sum()))
    first = peaks - WINDOW_SHIFT
    return np.minimum(first + WINDOW, N_SAMPLES) - np.maximum(first, 0)


def _charges(
    average: NDArray[np.float64],
    median: NDArray[np.float64],
    std: NDArray[np.float64],
    count: int,
) -> Charges:
    if count == 1:
        std = np.zeros_like(std)
    # A median is never further from the mean than one standard deviation; of one or two events
    # it is the mean. Of an odd number it is one event's charge, which is a float32.
    median = np.clip(median, average - std, average + std) if count > 2 else average
    if count > 2 and count % 2:
        median = median.astype(np.float32).astype(np.float64)
    return Charges(average, median, std, np.sqrt(count * (average**2 + std**2)))
