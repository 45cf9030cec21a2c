"""Small synthetic runs for the tests of the database."""

from __future__ import annotations

import numpy as np

from dqm_db.content import (
    N_PIXELS,
    EventCounts,
    Kind,
    Provenance,
    Quantity,
    RunContent,
    RunHeader,
    RunTimes,
)

MAP = "CAMERA-AVERAGE-PHY-OVEREVENTS-OVERSAMP-HIGH-GAIN"
WAVEFORMS = "WF-PHY-HIGH-GAIN"
TIMELINE = "CAMERA-BADPIXTIMELINE-PHY-HIGH-GAIN"


def a_run(run: int = 6001, camera: str = "NectarCAMQM", seed: int = 0) -> RunContent:
    """A run with one quantity of each storage class: map, large, small, generic, unavailable."""
    rng = np.random.default_rng([run, seed])
    pixels = rng.normal(250, 5, N_PIXELS)
    pixels[21:28] = np.nan
    waveforms = np.rint(rng.normal(250, 2, (N_PIXELS, 60)))
    quantities = (
        Quantity(
            "TRIGGER-STATISTICS",
            Kind.COUNTERS,
            {"All": np.array([298], np.int64), "Pedestals": np.array([24], np.int64)},
        ),
        Quantity(
            "TRIGGER-EVENTS-ALL",
            Kind.TRIGGER_EVENTS,
            {
                "Timestamps": 1.7e9 + np.cumsum(rng.exponential(1e-3, 3000)),
                "IDs": np.arange(3000) + 2**62,
            },
            summary={"time": np.linspace(0, 1, 2000), "id": np.arange(2000)},
        ),
        Quantity(
            WAVEFORMS,
            Kind.PIXEL_WAVEFORMS,
            {WAVEFORMS: waveforms},
            summary={"mean": waveforms.mean(axis=0)},
        ),
        Quantity(MAP, Kind.PIXEL_MAP, {"CAMERA-AVERAGE-PHY": pixels}),
        Quantity("X-INT-MAP", Kind.PIXEL_MAP, {"n": np.arange(N_PIXELS) + 2**60}),
        Quantity(
            "X-UNKNOWN", Kind.GENERIC, {"a": np.array(["x", "yy"]), "b": np.eye(2, dtype="i2")}
        ),
        Quantity("CAMERA-TEMPERATURE-TREND", Kind.DRAWER_TREND, unavailable="no readings"),
    )
    header = RunHeader(
        camera=camera,
        run=run,
        times=RunTimes(1.7e9 + run, 1.7e9 + run + 1.25, 1.7e9 + run + 9.5, 37.0),
        events=EventCounts(298, 254, 24, 20, 1),
        absent_pixels=np.arange(21, 28, dtype=np.uint16),
        bad_pixels=3,
        provenance=Provenance(
            source=f"/grid/{camera}_DQM_Run{run}.tar.gz",
            source_size=1_700_000,
            source_adler32=0xFFEE0011,
            results_name=f"NectarCAM_Run{run}_Results.fits",
            results_size=4_345_920,
            results_sha256=f"{run:032x}{seed:032x}",
            ingested_at=1.8e9,
            parser_version=1,
        ),
        notes=("a note",),
    )
    statistics = {
        MAP: {"mean": float(np.nanmean(pixels)), "std": float(np.nanstd(pixels))},
        "TRIGGER-STATISTICS": {"All": 298.0},
    }
    return RunContent(header, quantities, statistics)
