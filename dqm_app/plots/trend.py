"""One number per run, over many runs, with the limits that held for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dqm_app.plots.columns import breaks, gaps, opened
from dqm_app.plots.numbers import MAD_TO_SIGMA, MILLISECONDS
from dqm_app.plots.pixel_numbers import widened
from dqm_app.verdicts import NOT_JUDGED, words

SMOOTHED, WINDOWS, LEAST_IN_WINDOW = 60, 120, 15
"""From so many points on the running median is drawn, in so many windows, of at least so many."""
FAR = 0.6
"""Limits are in sight unless they would add more than this part to the height of the values."""


@dataclass(frozen=True)
class Limits:
    """Between which values a status is not given, stretch by stretch of runs with the same limits.

    Attributes
    ----------
    status : int
        Of what lies beyond, see `dqm_app.verdicts`.
    start, end : ndarray of float64, shape (stretches,)
        Positions on the horizontal axis; infinite at both ends of the whole.
    low, high : ndarray of float64, shape (stretches,)
        NaN where there is none.
    """

    status: int
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def at(self, position: float) -> tuple[float, float]:
        """The lowest and highest value at a position; NaN where there is none."""
        row = max(0, int(np.searchsorted(self.start, position, "right")) - 1)
        return float(self.low[row]), float(self.high[row])

    @classmethod
    def of(
        cls,
        status: int,
        positions: NDArray[np.floating | np.integer],
        low: NDArray[np.float64],
        high: NDArray[np.float64],
    ) -> Limits:
        """From limits that every run has, all shapes (runs,); *positions* ascending."""
        pairs = np.nan_to_num(np.array([low, high]), nan=np.inf)
        changed = np.flatnonzero((pairs[:, 1:] != pairs[:, :-1]).any(axis=0)) + 1
        first = np.concatenate([[0], changed])[: len(positions)]
        between = (np.asarray(positions, "<f8")[changed - 1] + positions[changed]) / 2
        return cls(
            status=status,
            start=np.concatenate([[-np.inf], between])[: len(first)],
            end=np.concatenate([between, [np.inf]])[: len(first)],
            low=np.asarray(low, "<f8")[first],
            high=np.asarray(high, "<f8")[first],
        )


@dataclass(frozen=True)
class Trend:
    """A statistic over runs, in the order of the horizontal axis.

    Attributes
    ----------
    title, label, unit : str
        Of the plot and of the vertical axis.
    by_time : bool
        Whether the horizontal axis is the start of the run, else it is the run number.
    run : ndarray of int32, shape (points,)
    time : ndarray of float64, shape (points,)
        Start of the run, ms since 1970 in UTC; NaN where it is not known.
    value : ndarray of float64, shape (points,)
        NaN: the run has none, or the line is broken here.
    verdict : list of str, length points
        Words of the verdicts of the runs.
    breaks : ndarray of intp
        The points that are none, but break the line.
    limits : tuple of Limits
    median : float
        Of all values.
    sigma : float
        1.4826 × their median absolute deviation.
    """

    title: str
    label: str
    unit: str
    by_time: bool
    run: NDArray[np.int32]
    time: NDArray[np.float64]
    value: NDArray[np.float64]
    verdict: list[str]
    breaks: NDArray[np.intp]
    limits: tuple[Limits, ...]
    median: float
    sigma: float

    @classmethod
    def of(
        cls,
        labels: tuple[str, str, str],
        runs: NDArray[np.integer],
        starts: NDArray[np.float64],
        values: NDArray[np.float64],
        verdicts: NDArray[np.integer],
        bands: Mapping[int, tuple[NDArray[np.float64], NDArray[np.float64]]],
        *,
        by_time: bool,
    ) -> Trend | None:
        """Put runs into order, and breaks where neighbours are far apart.

        Parameters
        ----------
        labels : tuple of str
            ``title``, ``label``, ``unit``.
        runs, starts, values, verdicts : ndarray, shape (runs,)
            *starts* in unix s, UTC; NaN where unknown.
        bands : mapping of int to tuple of ndarray
            Status to lowest and highest value without it, for every run.
        by_time : bool
            Runs without a start are left out then.

        Returns
        -------
        Trend or None
            None when there is no value to draw.
        """
        values = np.where(np.isfinite(values), values, np.nan)
        order = np.argsort(starts if by_time else runs, kind="stable")
        if by_time:
            order = order[np.isfinite(starts[order])]
        known = values[order]
        known = known[np.isfinite(known)]
        if not known.size:
            return None
        positions = (starts * MILLISECONDS if by_time else runs)[order]
        at = gaps(positions)
        wording = words()
        names = [wording.get(int(code), wording[NOT_JUDGED]).word for code in verdicts[order]]
        for place in at[::-1]:
            names.insert(int(place), wording[NOT_JUDGED].word)
        median = float(np.median(known))
        return cls(
            *labels,
            by_time=by_time,
            run=opened(runs[order].astype("<i4"), at, repeat=True),
            time=opened(starts[order] * MILLISECONDS, at, repeat=True),
            value=opened(values[order].astype("<f8"), at),
            verdict=names,
            breaks=breaks(at),
            limits=tuple(
                Limits.of(status, positions, low[order], high[order])
                for status, (low, high) in bands.items()
            ),
            median=median,
            sigma=MAD_TO_SIGMA * float(np.median(np.abs(known - median))),
        )

    @property
    def position(self) -> NDArray:
        """Where the points are on the horizontal axis, shape (points,)."""
        return self.time if self.by_time else self.run

    @property
    def known(self) -> NDArray[np.float64]:
        """The values that there are."""
        return self.value[np.isfinite(self.value)]

    def row(self, run: int) -> int | None:
        """The point of *run*; None when it has no value."""
        rows = np.flatnonzero((self.run == run) & np.isfinite(self.value))
        return int(rows[0]) if rows.size else None

    def smoothed(self) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
        """Running median: positions and medians of windows, and runs in each; empty for few."""
        rows = np.flatnonzero(np.isfinite(self.value))
        if rows.size < SMOOTHED:
            return np.empty(0), np.empty(0), 0
        width = max(LEAST_IN_WINDOW, 2 * rows.size // WINDOWS)
        windows = np.lib.stride_tricks.sliding_window_view(rows, width)[:: max(1, width // 2)]
        return (
            np.asarray(self.position, "<f8")[windows[:, width // 2]],
            np.median(self.value[windows], axis=1),
            width,
        )

    def height(self) -> tuple[float, float]:
        """The values to show: all that there are, and limits that are not far off."""
        low, high = float(self.known.min()), float(self.known.max())
        span = high - low or abs(high) or 1.0
        every = np.concatenate([np.r_[limits.low, limits.high] for limits in self.limits] or [[]])
        near = every[np.isfinite(every)]
        near = near[(near > low - FAR * span) & (near < high + FAR * span)]
        return widened((min([low, *near]), max([high, *near])), 0.06)
