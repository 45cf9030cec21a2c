"""Columns of a plot's source, sent when they differ from what the browser has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource
from numpy.typing import NDArray

GAP_STEPS = 20.0
"""A line over runs is broken where two neighbours are further apart than so many usual steps."""


def put(source: ColumnDataSource, columns: Mapping[str, NDArray | list]) -> None:
    """Let *source* hold exactly *columns*; of as many rows as before only what differs is sent."""
    rows = {len(values) for values in columns.values()}
    held = source.data
    if held.keys() != columns.keys() or rows != {len(values) for values in held.values()}:
        source.data = dict(columns)
        return
    changed: dict[str, Any] = {
        name: values for name, values in columns.items() if not _same(held[name], values)
    }
    if changed:
        source.data.update(changed)


def gaps(positions: NDArray[np.floating | np.integer]) -> NDArray[np.intp]:
    """Before which of ascending *positions*, shape (n,), a line is broken."""
    steps = np.diff(positions)
    steps_up = steps[steps > 0]
    if not steps_up.size:
        return np.empty(0, np.intp)
    return np.flatnonzero(steps > GAP_STEPS * np.median(steps_up)) + 1


def opened(values: NDArray, at: NDArray[np.intp], *, repeat: bool = False) -> NDArray:
    """*values* with a row more before each of *at*: NaN, or the row that follows (*repeat*)."""
    return np.insert(values, at, values[at] if repeat else np.nan)


def breaks(at: NDArray[np.intp]) -> NDArray[np.intp]:
    """Which rows of its result `opened` has put in."""
    return at + np.arange(at.size)


def _same(old: object, new: NDArray | list) -> bool:
    if isinstance(old, np.ndarray) and isinstance(new, np.ndarray):
        return old.dtype == new.dtype and np.array_equal(old, new, equal_nan=new.dtype.kind == "f")
    return type(old) is type(new) and bool(old == new)
