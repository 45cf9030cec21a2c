"""One per-pixel quantity of two runs, A and B, pixel by pixel."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dqm_app.plots.numbers import MAD_TO_SIGMA, ROUNDING
from dqm_app.plots.options import plot_options
from dqm_app.plots.pixel_numbers import default_range
from dqm_app.plots.pixels import ABSENT, BAD, GOOD, NO_VALUE, STATE_WORDS, PixelValues
from dqm_db.content import N_PIXELS
from dqm_db.quantities import describe


class Mode(enum.StrEnum):
    """How two values are compared."""

    DIFFERENCE = "difference"
    RATIO = "ratio"

    @property
    def sign(self) -> str:
        """For people: what is done to A and B."""
        return "A − B" if self is Mode.DIFFERENCE else "A / B"

    @property
    def centre(self) -> float:
        """What two equal values give."""
        return 0.0 if self is Mode.DIFFERENCE else 1.0


@dataclass(frozen=True)
class PixelGroup:
    """Pixels that have something in common, and what, in words: ``"bad in A only"``."""

    words: str
    pixels: NDArray[np.int64]


@dataclass(frozen=True)
class PixelPair:
    """Values of run A, those of run B, and their difference or ratio.

    Attributes
    ----------
    a : PixelValues
    b : PixelValues or None
        None when there is nothing to compare with; all that follows is empty then.
    mode : Mode
    values : ndarray of float64, shape (1855,)
        A − B or A / B; NaN where either run has no value, and where there is no ratio: B is not
        above 0.
    flagged : ndarray of bool, shape (1855,)
        Bad in A or in B.
    state : ndarray of uint8, shape (1855,)
        `ABSENT` in A or B, else `NO_VALUE`, else `BAD` in A or B, else `GOOD`.
    words : list of str, length 1855
        The states in both runs.
    auto, full : tuple of float
        Default colour range of the values of A and of B, and the range of all of them.
    reach, whole : float
        How far from `Mode.centre` the colours of the comparison reach by default, and where the
        farthest value is; both > 0.
    compared : int
        Pixels that have a comparison and count in both runs: not bad, unless badness is compared.
    middle, sigma : float
        Median of these, and 1.4826 × their median absolute deviation; NaN when there is none.
    outliers : ndarray of int64
        Which of these are further from the median than the limit of `of`.
    changes : tuple of PixelGroup
        Pixels whose state differs, by how; none of the groups is empty.
    judged : bool
        Whether badness can be compared: both runs say which pixels are bad, or neither has to.
    """

    a: PixelValues
    b: PixelValues | None
    mode: Mode
    values: NDArray[np.float64]
    flagged: NDArray[np.bool_]
    state: NDArray[np.uint8]
    words: list[str]
    auto: tuple[float, float]
    full: tuple[float, float]
    reach: float
    whole: float
    compared: int
    middle: float
    sigma: float
    outliers: NDArray[np.int64]
    changes: tuple[PixelGroup, ...]
    judged: bool

    @classmethod
    def of(
        cls,
        a: PixelValues,
        b: PixelValues | None,
        mode: Mode,
        *,
        sigmas: float = 5.0,
        least: float = 0.0,
    ) -> PixelPair:
        """Compare the same quantity of two runs.

        Parameters
        ----------
        a, b : PixelValues
            *b* may be None.
        mode : Mode
            Difference or ratio.
        sigmas : float
            Beyond how many robust sigmas from the median a pixel is an outlier.
        least : float
            Distance from the median that is none, however small the spread; of differences only.
        """
        if b is None:
            return cls._alone(a, mode)
        values = _compared(a.values, b.values, mode)
        known = np.isfinite(values)
        flagged = a.flagged | b.flagged
        state = np.where(flagged, BAD, GOOD).astype(np.uint8)
        state[~known] = NO_VALUE
        state[(a.state == ABSENT) | (b.state == ABSENT)] = ABSENT
        entering = known & a.counted & b.counted
        entered = values[entering]
        middle = float(np.median(entered)) if entered.size else np.nan
        apart = np.abs(values - middle)
        sigma = MAD_TO_SIGMA * float(np.median(apart[entering])) if entered.size else np.nan
        floor = least if mode is Mode.DIFFERENCE else 0.0
        rounding = ROUNDING * _size(a, b, mode)
        with np.errstate(invalid="ignore"):
            outlying = entering & (apart > max(sigmas * sigma, floor, rounding))
        every = np.concatenate([a.values[a.counted], b.values[b.counted]])
        full = min(a.full[0], b.full[0]), max(a.full[1], b.full[1])
        if a.nothing or b.nothing:
            full = b.full if a.nothing else a.full
        reach, whole = _reach(a, values[known], entered, mode)
        judged = (a.mask is None) == (b.mask is None)
        return cls(
            a=a,
            b=b,
            mode=mode,
            values=values,
            flagged=flagged,
            state=state,
            words=_words(a, b, known, mode),
            auto=default_range(describe(a.quantity), every, full),
            full=full,
            reach=reach,
            whole=whole,
            compared=int(entered.size),
            middle=middle,
            sigma=sigma,
            outliers=np.flatnonzero(outlying),
            changes=_changes(a, b, judged=judged),
            judged=judged,
        )

    @classmethod
    def _alone(cls, a: PixelValues, mode: Mode) -> PixelPair:
        return cls(
            a=a,
            b=None,
            mode=mode,
            values=np.full(N_PIXELS, np.nan),
            flagged=a.flagged,
            state=a.state,
            words=a.words,
            auto=a.auto,
            full=a.full,
            reach=1.0,
            whole=1.0,
            compared=0,
            middle=np.nan,
            sigma=np.nan,
            outliers=np.empty(0, np.int64),
            changes=(),
            judged=True,
        )

    @property
    def nothing(self) -> bool:
        """Whether no pixel can be compared."""
        return not np.isfinite(self.values).any()

    @property
    def unit(self) -> str:
        """Of the comparison."""
        return self.a.unit if self.mode is Mode.DIFFERENCE else ""

    @property
    def limits(self) -> tuple[float, float]:
        """Default colour range of the comparison, symmetric around `Mode.centre`."""
        return self.mode.centre - self.reach, self.mode.centre + self.reach


def _compared(a: NDArray[np.float64], b: NDArray[np.float64], mode: Mode) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):  # no finite number says it then, which is no value
        if mode is Mode.DIFFERENCE:
            values = a - b
        else:
            values = np.full(N_PIXELS, np.nan)
            np.divide(a, b, out=values, where=np.isfinite(b) & (b > 0))
    return np.where(np.isfinite(values), values, np.nan)


def _size(a: PixelValues, b: PixelValues, mode: Mode) -> float:
    """What rounding errors are relative to."""
    if mode is Mode.RATIO:
        return 1.0
    sizes = [abs(run.statistics.median) for run in (a, b) if not run.nothing]
    return max(sizes, default=0.0)


def _reach(
    a: PixelValues, known: NDArray[np.float64], entered: NDArray[np.float64], mode: Mode
) -> tuple[float, float]:
    """By default most of those that count are within the colours: as many as in any other map."""
    if not known.size:
        return 1.0, 1.0
    options = plot_options()
    if mode is Mode.DIFFERENCE and a.unit in options.range:
        low, high = options.range[a.unit]
        return high - low, high - low
    whole = float(np.abs(known - mode.centre).max())
    if whole == 0:
        size = abs(a.statistics.median) if mode is Mode.DIFFERENCE else 1.0
        whole = 0.05 * size or 1.0
        return whole, whole
    if a.unit in options.counts and mode is Mode.DIFFERENCE:
        return whole, whole
    low, high = options.colour_percentiles
    chosen = entered if entered.size else known
    reach = float(np.percentile(np.abs(chosen - mode.centre), high - low))
    return reach or whole, whole


def _words(a: PixelValues, b: PixelValues, known: NDArray[np.bool_], mode: Mode) -> list[str]:
    words = [
        one if one == other else f"A: {one}; B: {other}"
        for one, other in zip(a.words, b.words, strict=True)
    ]
    if mode is Mode.RATIO:
        for pixel in np.flatnonzero(np.isfinite(a.values) & np.isfinite(b.values) & ~known):
            value = b.values[pixel]
            why = "0" if value == 0 else "negative" if value < 0 else "too small"
            words[pixel] += f"; no ratio: B is {why}"
    return words


def _changes(a: PixelValues, b: PixelValues, *, judged: bool) -> tuple[PixelGroup, ...]:
    found = []
    for code, word in ((ABSENT, "absent"), (BAD, STATE_WORDS[BAD]), (NO_VALUE, "without value")):
        if code == BAD and not judged:
            continue
        has = [run.flagged if code == BAD else run.state == code for run in (a, b)]
        for name, one, other, run in (("A", has[0], has[1], b), ("B", has[1], has[0], a)):
            # of what was not read out nothing else is known
            pixels = np.flatnonzero(one & ~other & ((code == ABSENT) | (run.state != ABSENT)))
            if pixels.size:
                found.append(PixelGroup(f"{word} in {name} only", pixels))
    return tuple(found)


def beyond(pair: PixelPair, sigmas: float) -> str:
    """How many outliers there are, in words."""
    if not pair.sigma > 0:
        return f"{len(pair.outliers):,} off the median"
    return f"{len(pair.outliers):,} beyond {sigmas:g} σ"
