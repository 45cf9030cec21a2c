"""The quantities of a simulated run, in the order and shapes that production writes them in."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dqm.simulation.camera import GAINS, N_SAMPLES, Camera
from dqm.simulation.conditions import Condition, FrontEnd
from dqm.simulation.events import CLASSES, FLATFIELD, SKY_PEDESTAL, SUBARRAY, Events
from dqm.simulation.faults import Faults
from dqm.simulation.layout import ResultsHDU, ResultsImage, ResultsTable
from dqm.simulation.readout import Charges, Readout, simulate_readout
from dqm_db.content import N_MODULES, N_PIXELS, PIXELS_PER_MODULE

_FILL = {FrontEnd.V6: np.inf, FrontEnd.PRE_V6: 65535.0}  # what absent pixels read as
_CHARGE_CLASS = {"PHY": "IMAGE", "PED": "PED"}
_BADPIX_CLASS = {"PHY": "PHY", "PED": "PED-PHY"}
_READING_INTERVAL, _READING_MARGIN = 30.0, 100.0  # s; margin before and after the events
_HOT_MODULE_EXCESS = 12.0  # °C

ReadoutKey = tuple[str, int]  # class of events, gain


def results_hdus(
    camera: Camera,
    condition: Condition,
    faults: Faults,
    events: Events,
    rng: np.random.Generator,
) -> Iterator[ResultsHDU]:
    """All HDUs but the primary, in order.

    Which there are depends on the classes of events: a class without events has no quantities,
    except that production still writes the PHY waveforms (as zeros, and as an empty table).
    """
    classes = [name for name in CLASSES if events.count(name)]
    readouts = {
        (event_class, gain): simulate_readout(
            camera, condition, faults, events, event_class, gain, rng
        )
        for event_class in classes
        for gain in range(len(GAINS))
    }
    yield from _trigger(events)
    yield from _waveforms(readouts, faults, condition.front_end)
    yield from _averages(readouts, faults, condition.front_end)
    yield from _charges(readouts, faults)
    yield from _temperatures(camera, condition, faults, events, rng)
    yield from _bad_pixels(classes, events, faults)
    if condition.front_end is FrontEnd.V6:
        yield _column("CAMERA-PING-PONG-CHANGES", events.ping_pong_changes)
        yield _column("CAMERA-PING-PONG-CHANGES-TIMES", events.ping_pong_times)
    if condition.unknown_quantities:
        yield from _unknown(rng)


def stored_order(faults: Faults) -> NDArray[np.int64]:
    """The pixel whose value production stores at each of 1855 positions of some maps.

    Their writer fills an array of 1855 with k + (1855 − k) values, where k pixels are absent:
    first the pixels 0…k−1 (absent or not), then the present ones.
    """
    return np.concatenate([np.arange(len(faults.absent)), faults.present])


def _column(name: str, values: NDArray, ttype: str | None = None) -> ResultsTable:
    return ResultsTable(name, {ttype or name: values})


def _trigger(events: Events) -> Iterator[ResultsHDU]:
    accepted = events.accepted
    selections = {
        "ALL": accepted,
        "PHY": accepted & (events.types == SUBARRAY),
        "PED": accepted & (events.types == SKY_PEDESTAL),
        "OTHERS": accepted & (events.types == FLATFIELD),
    }
    counts = [int(selected.sum()) for selected in selections.values()]
    counts.append(len(events.wrong_times))
    titles = ("All", "Physical", "Pedestals", "Others", "Wrong times")
    statistics = {title: np.array([count]) for title, count in zip(titles, counts, strict=True)}

    yield _column("TRIGGER-TYPES", np.unique(events.types))
    yield ResultsTable("TRIGGER-STATISTICS", statistics, name_first=True)
    for name, selected in selections.items():
        if selected.any():
            columns = {"Timestamps": events.times[selected], "IDs": events.ids[selected]}
            yield ResultsTable(f"TRIGGER-EVENTS-{name}", columns, name_first=True)
    if len(events.wrong_times):
        columns = {"Timestamps": events.wrong_times}
        yield ResultsTable("TRIGGER-EVENTS-WRONG", columns, name_first=True)
    columns = {
        "Run start time": np.array([[events.start]]),
        "First event": events.times[:1, None],
        "Last event": np.array([events.times.max()]),
    }
    yield ResultsTable("START-TIMES", columns, name_first=True)


def _waveforms(
    readouts: dict[ReadoutKey, Readout], faults: Faults, front_end: FrontEnd
) -> Iterator[ResultsHDU]:
    for gain, gain_name in enumerate(GAINS):
        for event_class in CLASSES:
            image = f"WF-{event_class}-{gain_name}-GAIN"
            average = f"WF-{event_class}-AVERAGE-PIX-{gain_name}-GAIN"
            if (event_class, gain) in readouts:
                waveforms = readouts[event_class, gain].waveforms.astype(np.float64)
                waveforms[faults.absent] = _FILL[front_end]
                yield _column(average, _float32(waveforms.mean(axis=0)))
                yield ResultsImage(image, waveforms)
            elif event_class == "PHY":
                yield ResultsTable(average)
                yield ResultsImage(image, np.zeros((N_PIXELS, N_SAMPLES)))


def _averages(
    readouts: dict[ReadoutKey, Readout], faults: Faults, front_end: FrontEnd
) -> Iterator[ResultsHDU]:
    for gain, gain_name in enumerate(GAINS):
        for event_class in CLASSES:
            if (event_class, gain) in readouts:
                name = f"CAMERA-AVERAGE-{event_class}-OverEVENTS-OverSamp-{gain_name}-GAIN"
                means = readouts[event_class, gain].waveforms.mean(axis=1, dtype=np.float64)
                means[faults.absent] = _FILL[front_end]
                yield _column(name, _float32(means)[stored_order(faults)])


def _charges(readouts: dict[ReadoutKey, Readout], faults: Faults) -> Iterator[ResultsHDU]:
    for gain, gain_name in enumerate(GAINS):
        for event_class in CLASSES:
            if (event_class, gain) not in readouts:
                continue
            readout = readouts[event_class, gain]
            suffix = f"INTEGRATION-{_CHARGE_CLASS[event_class]}-ALL-{{}}-{gain_name}-GAIN"
            for statistic, values in _statistics(readout.charge):
                yield _column("CHARGE-" + suffix.format(statistic), values[faults.present])
            for statistic, values in _statistics(readout.pedestal):
                yield _column("PED-" + suffix.format(statistic), values, "col0")


def _statistics(charges: Charges) -> list[tuple[str, NDArray[np.float64]]]:
    return [
        ("AVERAGE", charges.average),
        ("MEDIAN", charges.median),
        ("STD", charges.std),
        ("RMS", charges.rms),
    ]


def _temperatures(
    camera: Camera,
    condition: Condition,
    faults: Faults,
    events: Events,
    rng: np.random.Generator,
) -> Iterator[ResultsHDU]:
    if not condition.temperature:
        for quantity in ("AVERAGE", "STD", "TREND"):
            yield ResultsTable(f"CAMERA-TEMPERATURE-{quantity}")
        return
    readings = int((events.duration + 2 * _READING_MARGIN) / _READING_INTERVAL) + 1
    modules = camera.temperature.copy()
    modules[faults.hot_modules] += _HOT_MODULE_EXCESS
    slope = np.full(N_MODULES, -0.02 / 60.0)  # °C/s
    slope[faults.hot_modules] = 0.3 / 60.0
    times = np.arange(readings) * _READING_INTERVAL
    truth = modules[:, None] + slope[:, None] * (times - times.mean())
    sensors = truth + rng.normal(0.0, 0.2, (2, N_MODULES, readings))  # two in each module
    trend = sensors.mean(axis=0)
    spread = sensors.std(axis=2).mean(axis=0)
    yield _column("CAMERA-TEMPERATURE-AVERAGE", trend.mean(axis=1).repeat(PIXELS_PER_MODULE))
    yield _column("CAMERA-TEMPERATURE-STD", spread.repeat(PIXELS_PER_MODULE))
    yield ResultsImage("CAMERA-TEMPERATURE-TREND", trend)


def _bad_pixels(classes: list[str], events: Events, faults: Faults) -> Iterator[ResultsHDU]:
    order = stored_order(faults)
    for gain, gain_name in enumerate(GAINS):
        for event_class in classes:
            name = f"CAMERA-BadPix-{_BADPIX_CLASS[event_class]}-OverEVENTS-{gain_name}-GAIN"
            yield _column(name, events.bad_events(event_class, gain)[order])
    for gain, gain_name in enumerate(GAINS):
        for event_class in classes:
            name = f"CAMERA-BadPixTimeline-{event_class}-{gain_name}-GAIN"
            yield _column(name, events.bad_fraction(event_class, gain))


def _unknown(rng: np.random.Generator) -> Iterator[ResultsHDU]:
    yield ResultsImage("CAMERA-CROSSTALK-MATRIX", rng.normal(0.0, 0.01, (32, 16)))
    modules = np.arange(N_MODULES)
    columns = {"Module": modules, "Current": rng.normal(1.2, 0.05, N_MODULES)}
    yield ResultsTable("MODULE-CURRENTS", columns, name_first=True)


def _float32(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values as production has them: float64 that hold float32."""
    return values.astype(np.float32).astype(np.float64)
