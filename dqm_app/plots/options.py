"""Numbers that the plots go by, from ``data/plots.toml``."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class PlotOptions:
    """``data/plots.toml``; the file says what each means."""

    bad_fraction: float
    colour_percentiles: tuple[float, float]
    histogram_bins: int
    picked_curves: int
    exact_points: int
    rate_bins: int
    events_per_rate_bin: int
    table_rows: int
    range: Mapping[str, tuple[float, float]]
    counts: tuple[str, ...]
    mostly_zero: tuple[str, ...]
    time_units: tuple[str, ...]


@functools.cache
def plot_options() -> PlotOptions:
    """The options, read once."""
    text = resources.files("dqm_app").joinpath("data/plots.toml").read_text("utf-8")
    document = tomllib.loads(text)
    low, high = document.pop("colour_percentiles")
    ranges = {unit: (limits[0], limits[1]) for unit, limits in document.pop("range").items()}
    lists = [name for name, value in document.items() if isinstance(value, list)]
    document |= {name: tuple(document[name]) for name in lists}
    return PlotOptions(colour_percentiles=(low, high), range=ranges, **document)
