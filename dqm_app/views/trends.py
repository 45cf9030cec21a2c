"""Trends: any statistic of any quantity over all runs of the camera."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dqm_app.catalogues import CameraRuns
from dqm_app.plots.numbers import MILLISECONDS, alike, counted, significant, utc
from dqm_app.plots.trend import Trend
from dqm_app.plots.trend_plot import TrendDistribution, TrendPlot
from dqm_app.statistics import OF_RUN, StatisticInfo, statistics_of
from dqm_app.theme import Theme
from dqm_app.verdicts import NOT_JUDGED, words
from dqm_app.views.base import REST, Ask, NothingToShow, QuantityChoice, View, ViewContext, laid_out
from dqm_app.views.by_run import aligned
from dqm_app.views.choices import plainly
from dqm_db.content import Kind, RunHeader
from dqm_db.quantities import describe, known_quantities
from dqm_db.records import QuantityEntry

if TYPE_CHECKING:
    from dqm_db.reader import Snapshot

RUN = "RUN"
"""In the place of an EXTNAME: what the catalogue knows of every run."""
RUN_TITLE = "The run: events, bad pixels, absent modules, …"
PREFERRED = (
    "PED-INTEGRATION-PED-ALL-AVERAGE-HIGH-GAIN",
    "CHARGE-INTEGRATION-IMAGE-ALL-AVERAGE-HIGH-GAIN",
)
TIME = "time"
AXES = ("run", TIME)
BESIDE = "minmax(90px, 15%)"
"""Width of the histogram."""


@dataclass(frozen=True)
class Available:
    """What there is of a quantity: its statistics, and the one that is shown."""

    quantity: str
    title: str
    description: str
    statistic: StatisticInfo
    unit: str
    statistics: tuple[StatisticInfo, ...]


@dataclass(frozen=True)
class TrendsData:
    """One statistic over all runs.

    Attributes
    ----------
    quantity : str
    shown : Available
    trend : Trend or None
        None when there is nothing to draw; ``reason`` says why then.
    verdicts : mapping of int to int
        How many of the drawn runs have which status.
    missing, undated : int
        Runs without a value, and, over time, runs with one that have no start.
    camera, note : str
        ``note`` says what could not be understood of how it was asked for.
    """

    quantity: str
    shown: Available
    by_time: bool
    trend: Trend | None
    reason: str | None
    verdicts: Mapping[int, int]
    missing: int
    undated: int
    last: tuple[int, float] | None
    camera: str
    note: str = ""

    def alike(self, other: TrendsData | None) -> str:
        """Which axes have the same meaning in *other*, e.g. ``"x"``."""
        if other is None or (other.camera, other.by_time) != (self.camera, self.by_time):
            return ""
        same = (other.quantity, other.shown.statistic) == (self.quantity, self.shown.statistic)
        return "xy" if same else "x"


class TrendsView(View):
    """A statistic against run number or start time, and the distribution of its values."""

    name: ClassVar[str] = "trends"
    title: ClassVar[str] = "Trends"
    options: ClassVar[tuple[str, ...]] = ("statistic", "axis")
    of_run: ClassVar[bool] = False

    def __init__(self, context: ViewContext) -> None:
        self.plot = TrendPlot("trends-plot", context.theme)
        self.distribution = TrendDistribution("trends-distribution", context.theme, self.plot)
        self.root = laid_out(
            self.name, (REST, BESIDE), [self.plot.figure], [self.distribution.figure]
        )
        self._data: TrendsData | None = None

    @classmethod
    def quantities(cls, entries: Sequence[QuantityEntry]) -> list[QuantityChoice]:
        """Every quantity of which statistics are kept, whether or not the run in front has it."""
        known = known_quantities()
        strangers = [entry.name for entry in entries if entry.name not in known]
        infos = [*known.values(), *map(describe, strangers)]
        run = QuantityChoice(RUN, RUN_TITLE, "Run", available=True, reason=None)
        return [run] + [
            QuantityChoice(info.name, info.title, info.section, available=True, reason=None)
            for info in infos
            if info.kind is not Kind.GENERIC
        ]

    @classmethod
    def version(cls, ask: Ask) -> Hashable:
        """Every new run adds a point, and every verdict may change one."""
        return ask.runs.serial

    @classmethod
    def load(cls, snapshot: Snapshot, header: RunHeader, ask: Ask) -> TrendsData:
        """Values, starts and verdicts of all runs, and the limits that held for each."""
        camera = header.camera
        names = snapshot.trend_names(camera)
        shown = available(names, ask.quantity, ask.options.get("statistic"), camera)
        columns = ask.runs.columns
        if shown.quantity == RUN:
            runs, values = columns["run"], of_run(ask.runs, shown.statistic.name)
        else:
            runs, values = snapshot.trend(camera, shown.quantity, shown.statistic.name)
        starts = aligned(runs, columns["run"], columns["start"])
        verdicts = aligned(runs, columns["run"], columns["verdict"], NOT_JUDGED)
        by_time = ask.options.get("axis") == TIME
        series = snapshot.thresholds(camera)
        bands = (
            series.bands(shown.quantity, shown.statistic.name, runs, starts)
            if series is not None and len(runs)
            else {}
        )
        unit = f" [{shown.unit}]" if shown.unit else ""
        several = len(shown.statistics) > 1
        trend = Trend.of(
            (
                f"{shown.title}: {_lower(shown.statistic.title)}" if several else shown.title,
                f"{shown.statistic.title}{unit}",
                shown.unit,
            ),
            runs,
            starts,
            values,
            verdicts,
            {int(status): limits for status, limits in bands.items()},
            by_time=by_time,
        )
        known = np.isfinite(values)
        undated = int(np.count_nonzero(known & ~np.isfinite(starts))) if by_time else 0
        rows = np.flatnonzero(known)
        codes, numbers = np.unique(verdicts[known], return_counts=True)
        return TrendsData(
            quantity=shown.quantity,
            shown=shown,
            by_time=by_time,
            trend=trend,
            reason=None if trend is not None else _why(undated, camera),
            verdicts=dict(zip(codes.tolist(), numbers.tolist(), strict=True)),
            missing=int(len(runs) - rows.size),
            undated=undated,
            last=(int(runs[rows[-1]]), float(values[rows[-1]])) if rows.size else None,
            camera=camera,
            note=_misread(ask, shown),
        )

    def update(self, data: TrendsData) -> None:
        """Show all runs; what is zoomed to stays where it means the same as before."""
        before, self._data = self._data, data
        for plot in (self.plot, self.distribution):
            plot.explain(data.reason)
        if data.trend is not None:
            self.plot.update(data.trend, keep=data.alike(before))
            self.distribution.update(data.trend)

    def locate(self, run: int) -> None:
        """Mark the run in front, and tell its value."""
        self.plot.locate(run)
        data = self._data
        if data is None:
            return
        shown, trend = data.shown, data.trend
        here = None if trend is None else trend.row(run)
        self.say(
            quantity=data.quantity,
            title=shown.title,
            description=shown.description,
            numbers=_numbers(data, run),
            note=data.note,
            about=shown.statistic.name,
            trend={
                "statistics": [[info.name, info.title] for info in shown.statistics],
                "statistic": shown.statistic.name,
                "axis": TIME if data.by_time else "run",
                "verdicts": [
                    [status, data.verdicts[status]] for status in words() if status in data.verdicts
                ],
                "limits": _limits(trend, run),
                "window": trend.smoothed()[2] if trend else 0,
                "run": run,
                "here": here is not None,
            },
        )

    def restyle(self, theme: Theme) -> None:
        """Take the look of *theme*."""
        self.plot.restyle(theme)
        self.distribution.restyle(theme)


def available(
    names: Mapping[str, Sequence[str]], quantity: str | None, statistic: str | None, camera: str
) -> Available:
    """What is shown of *quantity*, or of a default, and which statistics of it there are.

    Raises
    ------
    NothingToShow
        When no run of the camera has a statistic of it.
    """
    if quantity == RUN:
        ours = statistics_of(OF_RUN)
        name = ours.chosen(ours.known, statistic)
        info = ours.known[name]
        text = "What the catalogue knows of every run."
        return Available(RUN, "The run", text, info, info.unit or "", tuple(ours.known.values()))
    if quantity is None or (quantity not in names and quantity not in known_quantities()):
        quantity = next((name for name in (*PREFERRED, *names) if name in names), None)
        if quantity is None:
            return available(names, RUN, statistic, camera)
    about = describe(quantity)
    held: Collection[str] = names.get(quantity, ())
    if not held:
        raise NothingToShow(
            f"{about.title}: no run of {camera} has values ({plainly(about.unavailable)})."
        )
    kind = statistics_of(about.kind.value)
    infos = kind.described(held)
    chosen = kind.chosen(held, statistic)
    info = next(info for info in infos if info.name == chosen)
    unit = about.unit if info.unit is None else info.unit
    return Available(quantity, about.title, about.description, info, unit, tuple(infos))


def _misread(ask: Ask, shown: Available) -> str:
    """What is asked for and does not exist, in words."""
    statistic, axis = ask.options.get("statistic", ""), ask.options.get("axis", "")
    notes = []
    if statistic not in {"", *(info.name for info in shown.statistics)}:
        instead = _lower(shown.statistic.title)
        notes.append(f"There is no statistic “{statistic[:20]}” of this; the {instead} is shown.")
    if axis not in {"", *AXES}:
        notes.append(f"There is no axis “{axis[:20]}”; run numbers are shown.")
    return " ".join(notes)


def of_run(runs: CameraRuns, name: str) -> NDArray[np.float64]:
    """A number that the catalogue has of every run, shape (runs,); NaN where it is not known."""
    columns = runs.columns
    if name == "duration":
        return np.asarray(columns["end"] - columns["start"], "<f8")
    values = columns[name].astype("<f8")
    values[values < 0] = np.nan  # not known
    return values


def _numbers(data: TrendsData, run: int) -> list[list[str]]:
    trend, last = data.trend, data.last
    if trend is None or last is None:
        return []
    unit = f" {data.shown.unit}" if data.shown.unit else ""
    known = trend.known
    median, sigma, value = alike(
        trend.sigma or float(known.std()), trend.median, trend.sigma, last[1]
    )
    numbers = [
        ["runs", _coverage(data, int(known.size))],
        ["median", median + unit],
        ["spread", sigma, "1.48 × median absolute deviation"],
        ["last", value, f"Run {last[0]}"],
    ]
    row = trend.row(run)
    if row is None:
        return [*numbers, [f"run {run}", "no value", ""]]
    here = float(trend.value[row])
    away = (here - trend.median) / trend.sigma if trend.sigma > 0 else np.nan
    distance = f" ({away:+.1f} spreads)".replace("-", "−") if np.isfinite(away) else ""
    started = float(trend.time[row]) / MILLISECONDS
    when = f"Started {utc(started, 0)}" if np.isfinite(started) else ""
    return [*numbers, [f"run {run}", f"{significant(here)}{distance}", when]]


def _limits(trend: Trend | None, run: int) -> list[list[Any]]:
    """Of each status with limits: where *run* would get it, in words, and whether that is seen."""
    if trend is None:
        return []
    bottom, top = trend.height()
    told: list[list[Any]] = []
    for limits in sorted(trend.limits, key=lambda one: one.status):
        low, high = limits.at(float(trend.position[trend.row(run) or 0]))
        unit = f" {trend.unit}" if trend.unit else ""
        edges = [
            f"below {significant(low)}" if np.isfinite(low) else "",
            f"above {significant(high)}" if np.isfinite(high) else "",
        ]
        beyond = " or ".join(filter(None, edges))
        beyond += unit if beyond else ""
        every = np.concatenate([limits.low, limits.high])
        in_sight = bool(((every > bottom) & (every < top)).any())
        told.append([limits.status, beyond if trend.row(run) is not None else "", in_sight])
    return told


def _coverage(data: TrendsData, known: int) -> str:
    """How many runs are drawn, and why the others are not."""
    why = [
        f"{data.missing:,} without" if data.missing else "",
        f"{data.undated:,} without a start" if data.undated else "",
    ]
    reasons = ", ".join(filter(None, why))
    total = known + data.missing + data.undated
    return f"{known:,} of {total:,} ({reasons})" if reasons else f"{known:,}"


def _why(undated: int, camera: str) -> str:
    if undated:
        return f"None of {counted(undated, 'run')} with a value says when it started."
    return f"No run of {camera} has a value."


def _lower(title: str) -> str:
    return title[:1].lower() + title[1:]
