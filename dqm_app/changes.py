"""What changed between two runs: per-pixel maps, and the states of pixels and modules.

Plain computation on what a snapshot gives; `before` is the run to compare with, `after` the other.
"""

from __future__ import annotations

import functools
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from dqm_app.plots.numbers import MAD_TO_SIGMA, ROUNDING
from dqm_app.plots.options import plot_options
from dqm_db.content import N_PIXELS, PIXELS_PER_MODULE, Kind, RunHeader
from dqm_db.quantities import describe, known_quantities
from dqm_db.reader import PixelMaps


@dataclass(frozen=True, slots=True)
class ChangeOptions:
    """The table ``changes`` of ``data/overview.toml``; the file says what each means."""

    outlier: float
    pixels: float
    strong: float
    worth: float
    least: Mapping[str, float]


@functools.cache
def change_options() -> ChangeOptions:
    """The options, read once."""
    text = resources.files("dqm_app").joinpath("data/overview.toml").read_text("utf-8")
    return ChangeOptions(**tomllib.loads(text)["changes"])


@dataclass(frozen=True, slots=True)
class MapChange:
    """How a per-pixel quantity differs between two runs.

    Only pixels that have a finite value in both runs enter.

    Attributes
    ----------
    quantity : str
    compared : int
        How many pixels that are; at least one.
    before, after : float
        Median over these pixels in either run.
    spread : float
        How much pixels differ from each other: 1.4826 × the median absolute deviation from the
        median, the larger one of the two runs, but not less than the option ``least`` of its unit.
    shift : float
        (after − before) / spread: how far the whole camera moved. Infinite when it moved although
        all pixels are alike.
    pixels : ndarray of int64
        Pixels that changed on their own, ascending: whose difference between the runs is further
        than 5 robust sigmas of the differences (1.4826 × their median absolute deviation) from the
        median difference. What the whole camera did is so left out.
    """

    quantity: str
    compared: int
    before: float
    after: float
    spread: float
    shift: float
    pixels: NDArray[np.int64]

    @property
    def significance(self) -> float:
        """How much it differs, ≥ 0: what quantities are ranked by.

        The larger of the shift, in spreads, and of the number of pixels that changed on their own,
        three of which (the option ``pixels``) count as much as one spread.
        """
        return max(abs(self.shift), len(self.pixels) / change_options().pixels)

    @property
    def strong(self) -> bool:
        """Whether somebody should look at it."""
        return self.significance >= change_options().strong


def map_changes(
    before: PixelMaps, after: PixelMaps, states: StateChanges | None = None
) -> list[MapChange]:
    """Changes of all maps that both runs have, the most significant first.

    Those that grow with the number of events are left out: runs differ in it. So are pixels that
    changed their state, except where badness itself is the quantity: they are told of by *states*,
    and would be what changed everywhere else.
    """
    growing = growing_quantities()
    others = np.ones(N_PIXELS, np.bool_)
    if states is not None:
        others[states.all] = False
    found = []
    for name in after.names:
        if name in before and name not in growing:
            old = before.of(name)
            if describe(name).section != "Bad pixels":
                old = np.where(others, old, np.nan)
            found.append(map_change(name, old, after.of(name)))
    return sorted(
        (change for change in found if change is not None),
        key=lambda change: -change.significance,
    )


def map_change(
    quantity: str, before: NDArray[np.float64], after: NDArray[np.float64]
) -> MapChange | None:
    """Change of one map, of shape (1855,) each; None when no pixel has a value in both."""
    options = change_options()
    valid = np.isfinite(before) & np.isfinite(after)
    old, new = before[valid], after[valid]
    if not len(old):
        return None
    least = options.least.get(describe(quantity).unit, 0.0)
    middles = float(np.median(old)), float(np.median(new))
    spread = max(_sigma(old, middles[0]), _sigma(new, middles[1]), least)
    difference = new - old
    common = float(np.median(difference))
    apart = np.abs(difference - common)
    scale = ROUNDING * max(abs(middles[0]), abs(middles[1]))
    limit = max(options.outlier * _sigma(difference, common), least, scale)
    return MapChange(
        quantity=quantity,
        compared=len(old),
        before=middles[0],
        after=middles[1],
        spread=spread,
        shift=_shift(middles[1] - middles[0], spread, scale),
        pixels=np.flatnonzero(valid)[apart > limit],
    )


@functools.cache
def growing_quantities() -> frozenset[str]:
    """Quantities that grow with the number of events: those that have another one per event."""
    known = known_quantities().values()
    return frozenset(
        info.derived_from
        for info in known
        if info.kind is Kind.PIXEL_MAP and info.derived_from is not None
    )


@dataclass(frozen=True, slots=True)
class StateChanges:
    """Pixels whose state differs between two runs; ids, ascending, int64.

    Attributes
    ----------
    became_bad, recovered : ndarray
        Flagged bad in one of the runs only and read out in that of `after`. None of both is known
        when the runs have no bad-pixel data of the same gain and event class.
    became_absent, came_back : ndarray
        Not read out in one of the runs only.
    judged : bool
        Whether badness could be compared.
    """

    became_bad: NDArray[np.int64]
    recovered: NDArray[np.int64]
    became_absent: NDArray[np.int64]
    came_back: NDArray[np.int64]
    judged: bool

    @property
    def all(self) -> NDArray[np.int64]:
        """All of these pixels."""
        lists = (self.became_bad, self.recovered, self.became_absent, self.came_back)
        return np.unique(np.concatenate(lists))


def state_changes(
    before: tuple[RunHeader, PixelMaps], after: tuple[RunHeader, PixelMaps]
) -> StateChanges:
    """Which pixels became bad, recovered, became absent, came back.

    A pixel is bad when it is flagged in more than half of the events of a gain and event class; of
    these only those count that both runs have, so that a run without pedestals heals nobody.
    """
    masks = [name for name in _fractions() if name in before[1] and name in after[1]]
    gone = [_mask(header.absent_pixels) for header, _ in (before, after)]
    bad = [_flagged(run[1], masks) & ~gone[at] for at, run in enumerate((before, after))]
    return StateChanges(
        became_bad=np.flatnonzero(bad[1] & ~bad[0]),
        recovered=np.flatnonzero(bad[0] & ~bad[1] & ~gone[1]),
        became_absent=np.flatnonzero(gone[1] & ~gone[0]),
        came_back=np.flatnonzero(gone[0] & ~gone[1]),
        judged=bool(masks),
    )


def by_module(pixels: NDArray[np.integer]) -> tuple[list[int], list[int]]:
    """*pixels* as whole modules, and the pixels of the others; both ascending."""
    modules, counts = np.unique(np.asarray(pixels) // PIXELS_PER_MODULE, return_counts=True)
    whole = modules[counts == PIXELS_PER_MODULE]
    rest = [int(pixel) for pixel in pixels if pixel // PIXELS_PER_MODULE not in whole]
    return whole.tolist(), rest


@functools.cache
def _fractions() -> tuple[str, ...]:
    """The quantities that say how often a pixel was flagged."""
    known = known_quantities().values()
    return tuple(
        info.name
        for info in known
        if info.section == "Bad pixels" and info.unit == "fraction of events"
    )


def _flagged(maps: PixelMaps, masks: list[str]) -> NDArray[np.bool_]:
    bad = np.zeros(N_PIXELS, np.bool_)
    for name in masks:
        with np.errstate(invalid="ignore"):  # absent pixels have NaN, which is not bad
            bad |= maps.of(name) > plot_options().bad_fraction
    return bad


def _mask(pixels: NDArray[np.integer]) -> NDArray[np.bool_]:
    mask = np.zeros(N_PIXELS, np.bool_)
    mask[pixels] = True
    return mask


def _sigma(values: NDArray[np.float64], middle: float) -> float:
    return MAD_TO_SIGMA * float(np.median(np.abs(values - middle)))


def _shift(difference: float, spread: float, scale: float) -> float:
    if abs(difference) <= scale:
        return 0.0
    return difference / spread if spread > 0 else math.copysign(math.inf, difference)
