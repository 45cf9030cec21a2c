"""Statistics, default ranges and histograms of per-pixel values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dqm_app.plots.options import plot_options
from dqm_db.quantities import QuantityInfo


@dataclass(frozen=True)
class PixelStatistics:
    """Of the values that `PixelValues.counted` selects, or of modules; NaN when there are none.

    Attributes
    ----------
    pixels : int
        How many values, of pixels or of modules, went into them.
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


def limits_of(values: NDArray[np.float64]) -> tuple[float, float]:
    """Lowest and highest of finite *values*; 0 and 1 of none."""
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


def statistics_of(values: NDArray[np.float64], all_pixels: bool) -> PixelStatistics:
    """Statistics of finite *values*; *all_pixels* tells whether none was left out."""
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


def pixel_histogram(
    unit: str,
    values: NDArray[np.float64],
    bad: NDArray[np.bool_],
    auto: tuple[float, float],
    full: tuple[float, float],
) -> PixelHistogram:
    """Counts of *values*, NaN where there is none, in bins around the range *auto*.

    Parameters
    ----------
    unit : str
        Some are mostly at 0: those are counted apart.
    values : ndarray of float64, shape (n,)
        Of pixels or modules.
    bad : ndarray of bool, shape (n,)
        Which of them are counted as bad.
    auto, full : tuple of float
        Default colour range, and the range of all finite values.
    """
    finite = np.isfinite(values)
    zeros = None
    if unit in plot_options().mostly_zero:
        at_zero = finite & (values == 0)
        zeros = int(at_zero.sum())
        finite = finite & ~at_zero
    if zeros is None or not finite.any():
        edges = _edges(auto, full)
    elif unit in plot_options().counts:
        edges = _whole_edges(limits_of(values[finite]))
    else:
        low, high = limits_of(values[finite])
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
