"""The columns of the table of runs, from ``data/run_columns.toml``."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

from numpy.typing import NDArray

from dqm_app.api.tables import Column
from dqm_db.quantities import TimeScale


def run_columns(values: Callable[[str], NDArray]) -> tuple[Column, ...]:
    """All, in their order, with what *values* gives for the name of each: one per run."""
    return tuple(Column(name, values(name), **words) for name, words in _described().items())


@functools.cache
def _described() -> Mapping[str, Mapping[str, Any]]:
    """What the file says of each: attributes of `Column`."""
    text = resources.files("dqm_app").joinpath("data/run_columns.toml").read_text("utf-8")
    known = tomllib.loads(text)
    for words in known.values():
        if "time_scale" in words:
            words["time_scale"] = TimeScale(words["time_scale"])
    return known
