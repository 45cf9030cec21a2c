"""The columns of the table of runs, from ``data/run_columns.toml``."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from numpy.typing import NDArray

from dqm_app.api.tables import Column
from dqm_db.quantities import TimeScale


@dataclass(frozen=True, slots=True)
class RunColumn:
    """One of them, without its values; the attributes are those of `Column`."""

    name: str
    description: str
    unit: str = ""
    missing: int | None = None
    time_scale: TimeScale | None = None

    def of(self, values: NDArray) -> Column:
        """The column with *values*, one per run."""
        return Column(self.name, values, self.unit, self.description, self.missing, self.time_scale)


@functools.cache
def run_columns() -> Sequence[RunColumn]:
    """All, in their order."""
    text = resources.files("dqm_app").joinpath("data/run_columns.toml").read_text("utf-8")
    known = tomllib.loads(text).items()
    for _, words in known:
        if "time_scale" in words:
            words["time_scale"] = TimeScale(words["time_scale"])
    return [RunColumn(name, **words) for name, words in known]
