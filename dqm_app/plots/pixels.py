"""Per-pixel values as the plots show them, and the pixels that the user has picked."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, Selection
from numpy.typing import NDArray

from dqm_app.plots.export import Column, Table
from dqm_app.plots.options import plot_options
from dqm_app.plots.pixel_numbers import (
    PixelHistogram,
    PixelStatistics,
    default_range,
    limits_of,
    pixel_histogram,
    statistics_of,
)
from dqm_db.content import N_PIXELS, PIXELS_PER_MODULE
from dqm_db.geometry import camera_geometry
from dqm_db.quantities import QuantityInfo

GOOD, BAD, ABSENT, NO_VALUE = 0, 1, 2, 3
STATE_WORDS = ("good", "bad", "absent: not read out", "no value")
NOTHING = "No pixel has a value."
PLACE = (
    Column("pixel", "pixel id"),
    Column("module", "module"),
    Column("x", "x", "m"),
    Column("y", "y", "m"),
)
"""Columns of every file with a line per pixel."""


@dataclass(frozen=True)
class ModuleSpread:
    """How the pixels of each module differ; every pixel of a module has the same numbers.

    Attributes
    ----------
    std : ndarray of float64, shape (1855,)
        Population standard deviation of the pixels that enter the value of the module; NaN when
        none does.
    pixels : ndarray of uint8, shape (1855,)
        How many these are.
    """

    std: NDArray[np.float64]
    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class PixelValues:
    """One per-pixel quantity of one run, ready to show.

    Attributes
    ----------
    quantity, title, unit, description : str
    values : ndarray of float64, shape (1855,)
        NaN where there is none, or none that is finite.
    bad_fraction : ndarray of float64, shape (1855,)
        Fraction of the events of the quantity's own class and gain in which the pixel is flagged;
        NaN where it is not known.
    flagged : ndarray of bool, shape (1855,)
        Which pixels are bad, whether or not they have a value.
    state : ndarray of uint8, shape (1855,)
        `GOOD`, `BAD`, `ABSENT`, or `NO_VALUE` for a pixel that was read out and yet has none.
    words : list of str, length 1855
        The state in words.
    statistics : PixelStatistics
    auto, full : tuple of float
        Default colour range, and the range of all finite values.
    histogram : PixelHistogram
    mask : str or None
        EXTNAME of the bad-pixel quantity that ``bad_fraction`` comes from.
    modules : ModuleSpread or None
        When every pixel has the value of its module, see `dqm_app.plots.modules`: how its pixels
        differ. Statistics and histogram are those of modules then.
    """

    quantity: str
    title: str
    unit: str
    description: str
    values: NDArray[np.float64]
    bad_fraction: NDArray[np.float64]
    flagged: NDArray[np.bool_]
    state: NDArray[np.uint8]
    words: list[str]
    statistics: PixelStatistics
    auto: tuple[float, float]
    full: tuple[float, float]
    histogram: PixelHistogram
    mask: str | None
    modules: ModuleSpread | None = None

    @classmethod
    def of(
        cls,
        info: QuantityInfo,
        values: NDArray[np.float64],
        absent: NDArray[np.integer],
        bad_fraction: NDArray[np.float64] | None = None,
        mask: str | None = None,
        *,
        count_bad: bool = False,
    ) -> PixelValues:
        """Work out states, statistics, ranges and histogram.

        Parameters
        ----------
        info : QuantityInfo
            What is shown.
        values : ndarray, shape (1855,)
            In pixel-id order, NaN or infinite where there is none.
        absent : ndarray of int
            Ids of the pixels that were not read out.
        bad_fraction : ndarray, shape (1855,), optional
            None when the run does not say, or when the quantity has neither gain nor class.
        mask : str, optional
            EXTNAME of the quantity that *bad_fraction* is.
        count_bad : bool
            Whether bad pixels enter statistics and default range, as they must where badness itself
            is shown.
        """
        options = plot_options()
        values = np.ascontiguousarray(values, "<f8")
        fraction = (
            np.full(N_PIXELS, np.nan)
            if bad_fraction is None
            else np.ascontiguousarray(bad_fraction, "<f8")
        )
        finite = np.isfinite(values)
        if np.isinf(values).any():  # would have the colour of the highest
            values = np.where(finite, values, np.nan)
        with np.errstate(invalid="ignore"):
            flagged = fraction > options.bad_fraction
        flagged[absent] = False
        state = np.where(flagged, BAD, GOOD).astype(np.uint8)
        state[~finite] = NO_VALUE
        state[absent] = ABSENT
        words = [STATE_WORDS[code] for code in state]
        for pixel in np.flatnonzero(flagged & (state == NO_VALUE)):
            words[pixel] = f"{STATE_WORDS[NO_VALUE]}, {STATE_WORDS[BAD]}"
        counted = finite if count_bad else finite & ~flagged
        if not counted.any():
            counted = finite
        full = limits_of(values[finite])
        auto = default_range(info, values[counted], full)
        return cls(
            quantity=info.name,
            title=info.title,
            unit=info.unit,
            description=info.description,
            values=values,
            bad_fraction=fraction,
            flagged=flagged,
            state=state,
            words=words,
            statistics=statistics_of(values[counted], bool((counted == finite).all())),
            auto=auto,
            full=full,
            histogram=pixel_histogram(info.unit, values, flagged, auto, full),
            mask=mask,
        )

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Which pixels enter the statistics, shape (1855,)."""
        finite = np.isfinite(self.values)
        return finite if self.statistics.all_pixels else finite & ~self.flagged

    @property
    def noun(self) -> str:
        """What is counted in statistics and histogram."""
        return "pixel" if self.modules is None else "module"

    @property
    def nothing(self) -> bool:
        """Whether no pixel has a value."""
        return self.statistics.pixels == 0


class PixelSource:
    """The pixels that are picked in a session, and the sources of all its plots of pixels.

    All sources share one `Selection`: what is picked in one plot is picked in every other, in the
    browser and without a round trip. Positions are the same arrays for all sessions.
    """

    def __init__(self) -> None:
        self.selection = Selection(name="picked-pixels")

    def source(self, name: str) -> ColumnDataSource:
        """A new source of all 1855 pixels, with no values yet."""
        return ColumnDataSource(name=name, data=dict(_empty_columns()), selected=self.selection)

    @property
    def picked(self) -> tuple[int, ...]:
        """Ids of the picked pixels, ascending."""
        return tuple(sorted({int(i) for i in self.selection.indices if 0 <= i < N_PIXELS}))

    @property
    def picked_modules(self) -> tuple[int, ...]:
        """Modules of the picked pixels, ascending."""
        return tuple(sorted({pixel // PIXELS_PER_MODULE for pixel in self.picked}))

    def pick(self, pixels: Sequence[int]) -> None:
        """Pick exactly these pixels."""
        self.selection.indices = sorted(pixels)

    def on_pick(self, callback: Callable[[], None]) -> None:
        """Call *callback* whenever other pixels are picked."""
        self.selection.on_change("indices", lambda _attr, _old, _new: callback())


def show_pixels(source: ColumnDataSource, data: PixelValues) -> None:
    """Put *data* into a source of `PixelSource`; only columns that differ are sent."""
    columns: dict[str, NDArray] = {
        "value": data.values,
        "bad_fraction": data.bad_fraction,
        "state": data.state,
    }
    if data.modules is not None:
        columns |= {"std": data.modules.std, "pixels": data.modules.pixels}
    put_columns(source, columns, data.words)


def put_columns(source: ColumnDataSource, columns: Mapping[str, NDArray], words: list[str]) -> None:
    """Put *columns* and the *words* of the states into a source; only what differs is sent."""
    changed: dict[str, Any] = {
        name: new for name, new in columns.items() if not _same(source.data.get(name), new)
    }
    if source.data["words"] != words:
        changed["words"] = words
    if changed:
        source.data.update(changed)


def pixel_table(source: ColumnDataSource, data: PixelValues) -> Table:
    """What is saved of a source of `PixelSource` that shows *data*: one line per pixel."""
    flagged = [Column("bad_fraction", "flagged bad", "fraction of events")] if data.mask else []
    columns = [
        *PLACE,
        Column("value", "value" if data.modules is None else "mean of the module", data.unit),
        *(
            []
            if data.modules is None
            else [
                Column("std", "standard deviation in the module", data.unit),
                Column("pixels", "pixels of the module in the mean"),
            ]
        ),
        *flagged,
        Column("words", "state"),
    ]
    return Table(source, columns)


@functools.cache
def _empty_columns() -> dict[str, NDArray | list[str]]:
    geometry = camera_geometry()
    columns = {
        "x": geometry.x.astype("<f4"),
        "y": geometry.y.astype("<f4"),
        "pixel": np.arange(N_PIXELS, dtype="<i2"),
        "module": geometry.module.astype("<i2"),
        "value": np.full(N_PIXELS, np.nan, "<f4"),
        "bad_fraction": np.full(N_PIXELS, np.nan, "<f4"),
        "state": np.full(N_PIXELS, ABSENT, np.uint8),
    }
    for array in columns.values():
        array.setflags(write=False)
    return {**columns, "words": [""] * N_PIXELS}


def _same(old: object, new: NDArray) -> bool:
    return (
        isinstance(old, np.ndarray)
        and old.dtype == new.dtype
        and old.shape == new.shape
        and np.array_equal(old, new, equal_nan=new.dtype.kind == "f")
    )
