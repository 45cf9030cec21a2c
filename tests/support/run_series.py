"""A short series of small runs in which pixels change, for the tests of what is shown over runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from synthetic_runs import a_run

from dqm_db.content import N_PIXELS, Kind, Quantity, RunContent
from ingest.statistics import compute_statistics

CAMERA = "NectarCAMQM"
CHARGE = "CHARGE-INTEGRATION-IMAGE-ALL-AVERAGE-HIGH-GAIN"
PEDESTAL = "CHARGE-INTEGRATION-PED-ALL-AVERAGE-HIGH-GAIN"
FLAGS = "CAMERA-BADPIX-PHY-OVEREVENTS-HIGH-GAIN-FRACTION"
TEMPERATURE = "CAMERA-TEMPERATURE-AVERAGE"
RUNS = range(6001, 6021)
BAD_PIXEL, BAD_RUNS = 100, range(6005, 6009)
ABSENT_MODULE, ABSENT_RUN = 30, 6012
NO_PEDESTALS = 6003
"""The run without pedestal events."""


def charges(run: int) -> np.ndarray:
    """Charge of each pixel, (1855,); the camera drifts, and its bad pixel is far off while bad."""
    values = np.random.default_rng(run).normal(4000 + 10 * (run - RUNS[0]), 50, N_PIXELS)
    if run in BAD_RUNS:
        values[BAD_PIXEL] = 100.0
    if run == ABSENT_RUN:
        values[7 * ABSENT_MODULE : 7 * ABSENT_MODULE + 7] = np.nan
    return values


def series_run(run: int) -> RunContent:
    """One run of the series."""
    charge = charges(run)
    absent = np.flatnonzero(np.isnan(charge)).astype(np.uint16)
    flags = np.where(np.isnan(charge), np.nan, 0.01)
    if run in BAD_RUNS:
        flags[BAD_PIXEL] = 0.82
    pedestals: dict[str, np.ndarray] = {} if run == NO_PEDESTALS else {PEDESTAL: charge / 10}
    maps = {CHARGE: charge, FLAGS: flags, TEMPERATURE: np.full(N_PIXELS, 20.0), **pedestals}
    quantities = tuple(
        Quantity(name, Kind.PIXEL_MAP, {name: values}) for name, values in maps.items()
    )
    content = a_run(run, CAMERA)
    header = replace(
        content.header, absent_pixels=absent, bad_pixels=1 if run in BAD_RUNS else 0, notes=()
    )
    return RunContent(header, quantities, compute_statistics(quantities))
