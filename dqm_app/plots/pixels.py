"""Per-pixel values as the plots show them, and the pixels that the user has picked."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, Selection
from numpy.typing import NDArray

from dqm_app.plots.export import Column, Table
from dqm_app.plots.options import plot_options
from dqm_db.content import N_PIXELS, PIXELS_PER_MODULE
from dqm_db.geometry import camera_geometry
from dqm_db.quantities import QuantityInfo

GOOD, BAD, ABSENT, NO_VALUE = 0, 1, 2, 3
STATE_WORDS = ("good", "bad", "absent: not read out", "no value")
NOTHING = "No pixel has a value."


@dataclass(frozen=True)
class PixelStatistics:
    """Of the values that `PixelValues.counted` selects; NaN when there are none.

    Attributes
    ----------
    pixels : int
        How many values went into them.
    mean, median, std, low, high : float
        ``std`` is the population standard deviation; ``low`` and ``high`` are the extremes.
    all_pixels : bool
        Whether no finite value was left out.
    """

    pixels: int
    mean: float
    median: float
    std: float
    low: float
    high: float
    all_pixels: bool


@dataclass(frozen=True)
class PixelHistogram:
    """Counts of pixels in equal bins.

    Attributes
    ----------
    edges : ndarray of float64, shape (bins + 1,)
    good, bad : ndarray of int32, shape (bins,)
        Pixels in each bin: good ones, and bad ones with a finite value.
    below, above : int
        Pixels, good or bad, outside the edges.
    zeros : int or None
        Pixels, good or bad, that are left out because they are at 0; None where none are left out.
    """

    edges: NDArray[np.float64]
    good: NDArray[np.int32]
    bad: NDArray[np.int32]
    below: int
    above: int
    zeros: int | None


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
        full = _limits(values[finite])
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
            statistics=_statistics(values[counted], bool((counted == finite).all())),
            auto=auto,
            full=full,
            histogram=_histogram(info.unit, values, finite, flagged, auto, full),
            mask=mask,
        )

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
    changed: dict[str, Any] = {
        name: new for name, new in columns.items() if not _same(source.data[name], new)
    }
    if "state" in changed:
        changed["words"] = data.words
    if changed:
        source.data.update(changed)


def pixel_table(source: ColumnDataSource, data: PixelValues) -> Table:
    """What is saved of a source of `PixelSource` that shows *data*: one line per pixel."""
    flagged = [Column("bad_fraction", "flagged bad", "fraction of events")] if data.mask else []
    columns = [
        Column("pixel", "pixel id"),
        Column("module", "module"),
        Column("x", "x", "m"),
        Column("y", "y", "m"),
        Column("value", "value", data.unit),
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


def _limits(values: NDArray[np.float64]) -> tuple[float, float]:
    if values.size == 0:
        return (0.0, 1.0)
    return float(values.min()), float(values.max())


def default_range(
    info: QuantityInfo, values: NDArray[np.float64], full: tuple[float, float]
) -> tuple[float, float]:
    """Colours of a quantity by default: fixed by unit, all values of counts, else percentiles."""
    options = plot_options()
    if info.unit in options.range:
        return options.range[info.unit]
    if info.unit in options.counts:
        return min(0.0, full[0]), max(1.0, full[1])
    return _auto_range(values, full)


def _auto_range(values: NDArray[np.float64], full: tuple[float, float]) -> tuple[float, float]:
    if values.size == 0:
        return full
    low, high = np.percentile(values, plot_options().colour_percentiles)
    return (float(low), float(high)) if high > low else full


def _statistics(values: NDArray[np.float64], all_pixels: bool) -> PixelStatistics:
    if values.size == 0:
        nan = float("nan")
        return PixelStatistics(0, nan, nan, nan, nan, nan, all_pixels)
    return PixelStatistics(
        pixels=int(values.size),
        mean=float(values.mean()),
        median=float(np.median(values)),
        std=_std(values),
        low=float(values.min()),
        high=float(values.max()),
        all_pixels=all_pixels,
    )


def _std(values: NDArray[np.float64]) -> float:
    with np.errstate(over="ignore"):  # infinite then, which is told as unknown
        return float(values.std())


def _histogram(
    unit: str,
    values: NDArray[np.float64],
    finite: NDArray[np.bool_],
    bad: NDArray[np.bool_],
    auto: tuple[float, float],
    full: tuple[float, float],
) -> PixelHistogram:
    zeros = None
    if unit in plot_options().mostly_zero:
        at_zero = finite & (values == 0)
        zeros = int(at_zero.sum())
        finite = finite & ~at_zero
    if zeros is None or not finite.any():
        edges = _edges(auto, full)
    elif unit in plot_options().counts:
        edges = _whole_edges(_limits(values[finite]))
    else:
        low, high = _limits(values[finite])
        edges = np.linspace(min(0.0, low), max(0.0, high), plot_options().histogram_bins + 1)
    good_counts, _ = np.histogram(values[finite & ~bad], edges)
    bad_counts, _ = np.histogram(values[finite & bad], edges)
    return PixelHistogram(
        edges=edges,
        good=good_counts.astype("<i4"),
        bad=bad_counts.astype("<i4"),
        below=int(np.count_nonzero(values[finite] < edges[0])),
        above=int(np.count_nonzero(values[finite] > edges[-1])),
        zeros=zeros,
    )


def _edges(auto: tuple[float, float], full: tuple[float, float]) -> NDArray[np.float64]:
    """Over the default range and half of it on either side, where there are values."""
    width = auto[1] - auto[0]
    low, high = max(full[0], auto[0] - width / 2), min(full[1], auto[1] + width / 2)
    if not high > low:
        low, high = auto if width > 0 else widened((low, low))
    return np.linspace(low, high, plot_options().histogram_bins + 1)


def _whole_edges(limits: tuple[float, float]) -> NDArray[np.float64]:
    """From 0 over all values, halfway between whole numbers, so that bars stand on these."""
    low, high = min(0, math.floor(limits[0])), max(0, math.ceil(limits[1]))
    step = math.ceil((high - low + 1) / plot_options().histogram_bins)
    bins = math.ceil((high - low + 1) / step)
    return low - 0.5 + step * np.arange(bins + 1, dtype=np.float64)


def widened(limits: tuple[float, float], share: float = 0.0) -> tuple[float, float]:
    """*limits* with *share* of their distance added at both ends; never empty."""
    low, high = limits
    margin = share * (high - low)
    if not high - low > 1e-12 * max(abs(low), abs(high)):
        margin = 0.05 * abs(low) or 0.5
    return low - margin, high + margin
