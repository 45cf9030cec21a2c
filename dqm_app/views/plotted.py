"""Any column of any quantity as a plot: a map where it has one number per pixel or module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dqm_app.plots.pixels import PixelValues
from dqm_app.plots.series import Series
from dqm_app.views.table import flattened
from dqm_app.views.timelines import OF_CLASS
from dqm_db.content import N_MODULES, N_PIXELS, PIXELS_PER_MODULE, RunHeader
from dqm_db.quantities import QuantityInfo, describe

FEW = 3  # numbers that are better read than plotted


@dataclass(frozen=True)
class Plotted:
    """What is drawn of a quantity.

    Attributes
    ----------
    column : int or None
        Which column of its table; None when it is drawn as a whole or not at all.
    pixels : PixelValues or None
        When there is one value per pixel or module.
    series : Series or None
        When there are other numbers, and more than a few.
    """

    column: int | None = None
    pixels: PixelValues | None = None
    series: Series | None = None

    @property
    def nothing(self) -> bool:
        """Whether nothing is drawn."""
        return self.pixels is None and self.series is None

    @classmethod
    def of(
        cls,
        name: str,
        columns: Mapping[str, NDArray],
        header: RunHeader,
        column: int | None = None,
    ) -> Plotted:
        """The column of the table with this number; None leaves the choice to us."""
        info = describe(name)
        flat = flattened(columns)
        if column is None:
            whole = _matrix(columns)
            if whole is not None:
                return cls(series=Series.of(info.title, info.unit, whole))
            column = next((at for at, (_, values) in enumerate(flat) if _says(values)), None)
        if column is None:
            column = next((at for at, (_, values) in enumerate(flat) if _numbers(values)), None)
        if column is None or not 0 <= column < len(flat) or not _numbers(flat[column][1]):
            return cls()
        label, values = flat[column]
        if sum(_numbers(values) for name, values in flat if name != OF_CLASS) > 1:
            info = replace(info, title=f"{info.title}: {label}", unit=_unit(info, values))
        pixels = _map(info, values, header)
        if pixels is not None:
            return cls(column, pixels=pixels)
        events = np.flatnonzero(columns[OF_CLASS]) if OF_CLASS in columns else None
        if events is not None and label != OF_CLASS:
            # the file holds 0 for events of other classes, which is no value
            return cls(column, series=Series.of(info.title, info.unit, values[events], events))
        return cls(column, series=Series.of(info.title, info.unit, values))


def _map(info: QuantityInfo, values: NDArray, header: RunHeader) -> PixelValues | None:
    if values.size == N_MODULES:
        values = np.repeat(values, PIXELS_PER_MODULE)
    if values.size != N_PIXELS:
        return None
    return PixelValues.of(info, values.astype("<f8"), header.absent_pixels)


def _matrix(columns: Mapping[str, NDArray]) -> NDArray | None:
    if len(columns) != 1:
        return None
    (values,) = columns.values()
    return values if values.ndim > 1 and values.dtype.kind in "fiu" and values.size > FEW else None


def _numbers(values: NDArray) -> bool:
    return values.dtype.kind in "fiub" and values.size > FEW


def _says(values: NDArray) -> bool:
    """Whether it is more than the number of the row, and not one of ours."""
    if not _numbers(values) or values.dtype.kind == "b":
        return False
    return values.dtype.kind == "f" or not np.array_equal(values, np.arange(values.size))


def _unit(info: QuantityInfo, values: NDArray) -> str:
    # ids and counters beside times are no seconds
    return "" if info.unit.startswith("s") and values.dtype.kind in "iub" else info.unit
