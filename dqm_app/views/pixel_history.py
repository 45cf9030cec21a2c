"""What the database has of one pixel, or of one module, over all runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dqm_app.catalogues import CameraRuns
from dqm_app.plots.deviations import Columns, Deviations, distance
from dqm_app.plots.numbers import counted
from dqm_app.plots.options import plot_options
from dqm_app.plots.pixel_history import History
from dqm_app.plots.pixel_states import States
from dqm_app.plots.pixels import ABSENT
from dqm_app.views.by_run import aligned
from dqm_app.views.pixel_data import all_masks, counts_bad, mask_of
from dqm_db.content import PIXELS_PER_MODULE
from dqm_db.quantities import QuantityInfo, describe

if TYPE_CHECKING:
    from dqm_db.reader import Snapshot


@dataclass(frozen=True)
class Subject:
    """A pixel, or its whole module."""

    pixel: int
    whole_module: bool = False

    @property
    def module(self) -> int:
        """Its module."""
        return self.pixel // PIXELS_PER_MODULE

    @property
    def pixels(self) -> tuple[int, ...]:
        """All pixels of the module, ascending."""
        first = self.module * PIXELS_PER_MODULE
        return tuple(range(first, first + PIXELS_PER_MODULE))

    @property
    def place(self) -> int:
        """Of the pixel among those of the module."""
        return self.pixel % PIXELS_PER_MODULE

    @property
    def noun(self) -> str:
        """``"Pixel 12"`` or ``"Module 1"``."""
        return f"Module {self.module}" if self.whole_module else f"Pixel {self.pixel}"


@dataclass(frozen=True)
class OfPixels:
    """One quantity of the pixels of a module, aligned with the runs of the catalogue.

    Attributes
    ----------
    info : QuantityInfo
    subject : Subject
    runs : ndarray of int64, shape (runs,)
    start : ndarray of float64, shape (runs,)
    values : ndarray of float, shape (7, runs)
    fraction : ndarray of float, shape (7, runs)
        Of the events in which each is flagged; where the quantity has no class and gain of its own,
        the highest of all.
    median, sigma, std : ndarray of float64, shape (runs,)
        Of the camera.
    measured, flags_known : ndarray of bool, shape (runs,)
        Whether any pixel of the camera has a value, and flags.
    """

    info: QuantityInfo
    subject: Subject
    runs: NDArray[np.int64]
    start: NDArray[np.float64]
    values: NDArray[np.floating]
    fraction: NDArray[np.floating]
    median: NDArray[np.float64]
    sigma: NDArray[np.float64]
    std: NDArray[np.float64]
    measured: NDArray[np.bool_]
    flags_known: NDArray[np.bool_]

    @classmethod
    def read(
        cls,
        snapshot: Snapshot,
        camera: str,
        quantity: str,
        subject: Subject,
        known: CameraRuns,
        held: Sequence[str],
    ) -> OfPixels:
        """Read them; runs that *known* does not have yet are left out.

        *held* are the quantities that have a history, *quantity* among them.
        """
        runs = known.columns["run"]
        info = describe(quantity)
        own = mask_of(info)
        masks = [name for name in ((own,) if own else all_masks()) if name in held]
        # in one go: what is not folded yet is read from the runs
        stored, values = snapshot.pixel_histories(camera, [quantity, *masks], subject.pixels)

        columns = [(quantity, statistic) for statistic in ("median", "sigma", "std", "count")]
        columns += [(mask, "count") for mask in masks]
        found = aligned(runs, *snapshot.trends(camera, columns))
        median, sigma, std, count, *flag_counts = np.asarray(found, "<f8")
        fraction = np.full((PIXELS_PER_MODULE, len(runs)), np.nan)
        for mask in masks:
            fraction = np.fmax(fraction, aligned(runs, stored, values[mask]))
        return cls(
            info=info,
            subject=subject,
            runs=runs,
            start=known.columns["start"],
            values=aligned(runs, stored, values[quantity]),
            fraction=fraction,
            median=median,
            sigma=sigma,
            std=std,
            measured=count > 0,
            flags_known=np.nan_to_num([np.zeros(len(runs)), *flag_counts]).max(axis=0) > 0,
        )

    @property
    def own(self) -> NDArray[np.floating]:
        """Of the pixel, or the mean of the module as a map of modules has it, shape (runs,)."""
        if not self.subject.whole_module:
            return self.values[self.subject.place]
        judged = mask_of(self.info) is not None
        return mean_of(good_ones(self.info, self.values, self.fraction if judged else None))

    def states(self) -> States:
        """Of the pixel, or of the module, in every run."""
        places = range(PIXELS_PER_MODULE) if self.subject.whole_module else [self.subject.place]
        states = [
            States.of_pixel(
                self.runs, self.values[at], self.fraction[at], self.measured, self.flags_known
            )
            for at in places
        ]
        return States.of_pixels(states) if self.subject.whole_module else states[0]

    def history(self) -> History:
        """Own values, with what is around them."""
        subject = self.subject
        around = [
            at for at in range(PIXELS_PER_MODULE) if subject.whole_module or at != subject.place
        ]
        return History(
            title=self.info.title,
            unit=self.info.unit,
            noun=subject.noun,
            run=self.runs.astype("<i4"),
            start=self.start,
            value=self.own.astype("<f4"),
            median=self.median.astype("<f4"),
            sigma=np.where(self.sigma > 0, self.sigma, self.std).astype("<f4"),
            around=self.values[around].astype("<f4"),
            ids=tuple(subject.pixels[at] for at in around),
        )

    def reason(self) -> str | None:
        """Why no value can be drawn; None when there are some."""
        if np.isfinite(self.own).any():
            return None
        noun, runs = self.subject.noun, int(self.runs.size)
        measured = int(np.count_nonzero(self.measured))
        if not measured:
            return f"{self.info.title} was not measured in any of {counted(runs, 'run')}."
        absent = self.states().counts().get(ABSENT, 0)
        if absent:
            return f"{noun} was never read out: absent in {counted(absent, 'run')}."
        return f"{noun} has no value in any of the {counted(measured, 'run')} that have some."


def deviations_of(
    snapshot: Snapshot, camera: str, names: Sequence[str], subject: Subject
) -> Deviations | None:
    """All quantities *names* of *subject* over runs; None when none has a value."""
    pixels = subject.pixels if subject.whole_module else (subject.pixel,)
    runs, histories = snapshot.pixel_histories(camera, names, pixels)
    if not runs.size:
        return None
    statistics = ("median", "sigma", "std")
    wanted = [(name, statistic) for name in names for statistic in statistics]
    of_camera = aligned(runs, *snapshot.trends(camera, wanted))
    columns = Columns.of(runs)
    infos = [describe(name) for name in names]
    rows = []
    for info, found in zip(infos, of_camera.reshape(len(names), len(statistics), -1), strict=True):
        values = histories[info.name]
        if subject.whole_module:
            values = good_ones(info, values, histories.get(mask_of(info) or ""))
        rows.append(columns.farthest(distance(mean_of(values), *found)))
    table = np.array(rows, "<f4")
    if not np.isfinite(table).any():
        return None
    return Deviations(
        names=tuple(names),
        titles=tuple(info.title for info in infos),
        sections=tuple(info.section for info in infos),
        rows=table,
        first=columns.first,
        last=columns.last,
    )


def good_ones(
    info: QuantityInfo, values: NDArray[np.floating], fraction: NDArray[np.floating] | None
) -> NDArray[np.floating]:
    """*values* with NaN for bad pixels, as maps of modules leave them out.

    *fraction* is that of the events in which each is flagged, of the shape of *values*; None when
    the quantity has no bad-pixel mask of its own.
    """
    if fraction is None or counts_bad(info):
        return values
    with np.errstate(invalid="ignore"):
        return np.where(fraction > plot_options().bad_fraction, np.nan, values)


def mean_of(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Mean over the pixels with a value, shape (runs,), of (pixels, runs); NaN without any."""
    known = np.isfinite(values)
    number = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)
