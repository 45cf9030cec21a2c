"""Made-up catalogues for the tests of the dashboard."""

from __future__ import annotations

import numpy as np

from dqm_app.catalogues import CameraRuns
from dqm_db.catalogue import COLUMNS


def camera_runs(
    name: str, runs: list[int], start: float = np.nan, step: float = 3600
) -> CameraRuns:
    """Runs of a camera, the first of which started at *start* (Unix s), the others *step* later."""
    columns = {
        column: np.full(len(runs), default, dtype) for column, (dtype, default) in COLUMNS.items()
    }
    columns["run"][:] = runs
    columns["start"][:] = start + step * np.arange(len(runs))
    columns["events"][:] = 100 + np.arange(len(runs))
    columns["sha256"][:] = [f"{run:064d}".encode() for run in runs]
    columns["ingested_at"][:] = 1.7e9
    return CameraRuns(name, columns)
