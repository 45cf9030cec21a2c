"""Runs: the table of all runs of the camera, and its nights.

Filtering, sorting and the calendar are the browser's, see ``static/runs_table.js``. What it needs
travels as arrays in the tags of three models below ``root``:

``runs-table``
    All rows as they were at some time.
``runs-news``
    What has changed since, so that a new run costs a few hundred bytes; ``base`` is the ``number``
    of the table that it belongs to.
``runs-gaps``
    Runs that are not stored, and why, see `dqm_app.run_gaps.Gaps.told`; the browser asks through
    ``runs-asked`` for it when it may have changed without a new run.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from bokeh.models import Column, Spacer
from numpy.typing import NDArray

from dqm_app import nights
from dqm_app.run_gaps import Gaps
from dqm_app.theme import Theme
from dqm_app.views.base import Ask, NothingToShow, QuantityChoice, View, ViewContext
from dqm_db.content import RunHeader
from dqm_db.records import QuantityEntry

if TYPE_CHECKING:
    from dqm_db.reader import Snapshot

COUNTS = ("events", "pedestal_events", "absent_modules", "bad_pixels", "verdict")
"""Columns of the catalogue that are shown as they are; negative where there is no value."""
MOST_NEWS = 0.05
"""Fraction of the rows that may have changed before all of them are sent again."""
_INTEGERS = (np.int8, np.int16, np.int32)


@dataclass(frozen=True)
class RunsData:
    """The rows of the table, by ascending run.

    Attributes
    ----------
    quantity : None
        This view has no quantities.
    camera : str
    runs : ndarray of int64, shape (n,)
    columns : mapping of str to ndarray, shape (n,)
        What the page gets, as compact as it goes: ``run``, ``size`` (of the original, bytes),
        `COUNTS`, ``start`` and ``ingested_at`` (Unix s, UTC; 0 or NaN: not known), ``duration`` (s,
        NaN: not known).
    """

    quantity: None
    camera: str
    runs: NDArray[np.int64]
    columns: Mapping[str, NDArray]

    @classmethod
    def of(cls, camera: str, catalogue: Mapping[str, NDArray]) -> RunsData:
        """From the catalogue's columns."""
        columns = {name: as_numbers(catalogue[name]) for name in ("run", "size", *COUNTS)}
        columns |= {name: as_times(catalogue[name]) for name in ("start", "ingested_at")}
        with np.errstate(over="ignore", invalid="ignore"):  # of clocks gone mad; infinity is told
            columns["duration"] = (catalogue["end"] - catalogue["start"]).astype(np.float32)
        return cls(None, camera, catalogue["run"], columns)

    def since(self, before: RunsData) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Rows that are new or not as in *before*, and runs of *before* that are gone."""
        at = np.searchsorted(before.runs, self.runs).clip(max=max(len(before.runs) - 1, 0))
        if not len(before.runs):
            return np.arange(len(self.runs)), before.runs
        same = before.runs[at] == self.runs
        for name, values in self.columns.items():
            others = before.columns[name][at]
            same &= (values == others) | ((values != values) & (others != others))
        gone = np.setdiff1d(before.runs, self.runs, assume_unique=True)
        return np.flatnonzero(~same), gone


class RunsView(View):
    """The run table and the calendar of nights, in plain HTML."""

    name: ClassVar[str] = "runs"
    title: ClassVar[str] = "Runs"
    of_run: ClassVar[bool] = False

    def __init__(self, context: ViewContext) -> None:
        self._fetch = context.fetch
        self._list = context.run_list
        self._data: RunsData | None = None
        self._sent: RunsData | None = None
        self._number = 0
        self._told: tuple[str, Gaps, str] | None = None
        self.table = Spacer(name="runs-table", visible=False)
        self.news = Spacer(name="runs-news", visible=False)
        self.gaps = Spacer(name="runs-gaps", visible=False)
        self.asked = Spacer(name="runs-asked", visible=False)
        self.root = Column(
            name=f"figures-{self.name}",
            children=[self.table, self.news, self.gaps, self.asked],
            visible=False,
        )
        self.say()
        self.asked.on_change("tags", lambda _attr, _old, _new: self._look_for_gaps())

    @classmethod
    def quantities(cls, entries: Sequence[QuantityEntry]) -> list[QuantityChoice]:  # noqa: ARG003
        """None: the table is of runs."""
        return []

    @classmethod
    def version(cls, ask: Ask) -> Hashable:
        """The state of the catalogue."""
        return ask.runs.serial

    @classmethod
    def load(cls, snapshot: Snapshot, header: RunHeader, ask: Ask) -> RunsData:  # noqa: ARG003
        """The rows, from the catalogue in memory."""
        if not len(ask.runs):
            raise NothingToShow("All runs of this camera have been deleted.")
        return RunsData.of(ask.runs.name, ask.runs.columns)

    def update(self, data: RunsData) -> None:
        """Send what has changed, or all of it."""
        self._data = data
        sent = self._sent
        if sent is not None and sent.camera == data.camera:
            rows, gone = data.since(sent)
            if len(rows) + len(gone) <= max(1, MOST_NEWS * len(sent.runs)):
                self._tell_news(data, rows, gone)
                return
        self._sent = data
        self._number += 1
        self.table.tags = [
            {
                "number": self._number,
                "camera": data.camera,
                "columns": dict(data.columns),
                "night_begins": nights.BEGINS,
            }
        ]
        none = np.empty(0, np.int64)
        self._tell_news(data, none, none)

    def locate(self, run: int) -> None:  # noqa: ARG002  the page knows
        """The page is there again: what is missing may be known better than before."""
        self._look_for_gaps()

    def restyle(self, theme: Theme) -> None:
        """Nothing: the page's own style sheet does it."""

    def _tell_news(self, data: RunsData, rows: NDArray, gone: NDArray) -> None:
        columns = {name: values[rows] for name, values in data.columns.items()}
        gone = gone.astype(np.float64)
        self.news.tags = [{"base": self._number, "columns": columns, "gone": gone}]

    def _look_for_gaps(self) -> None:
        data = self._data
        if data is None:
            return

        def read(snapshot: Snapshot) -> tuple[Gaps, str]:
            listed = self._list.read()
            failures = [f for f in snapshot.failures() if f.camera == data.camera]
            of_camera = None if listed is None else listed.of(data.camera)
            problem = "" if listed is None else listed.problem
            if listed is not None and of_camera is None and not problem:
                problem = f"The run list names no run of {data.camera}."
            return Gaps.of(data.runs, failures, of_camera), problem

        def then(found: tuple[Gaps, str]) -> None:
            gaps, problem = found
            if self._told is not None:
                camera, known, said = self._told
                if (camera, said) == (data.camera, problem) and gaps.same_as(known):
                    return
            self._told = (data.camera, gaps, problem)
            watched = self._list.path is not None
            told_now = {**gaps.told(), "problem": problem, "watched": watched}
            self.gaps.tags = [{"camera": data.camera, **told_now}]

        self._fetch(read, then, "runs-gaps")


def as_numbers(values: NDArray) -> NDArray:
    """Integers in the smallest type that JavaScript reads; float64 for what is larger."""
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    for dtype in _INTEGERS:
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return values.astype(dtype)
    return values.astype(np.float64)


def as_times(values: NDArray[np.float64]) -> NDArray:
    """Unix seconds as uint32 with 0 for NaN; as they are when a sick clock does not fit in."""
    known = np.isfinite(values)
    seconds = np.rint(np.where(known, values, 0))
    if ((seconds < 1) & known).any() or (seconds > np.iinfo(np.uint32).max).any():
        return values
    return seconds.astype(np.uint32)
