"""Timelines: the fraction of bad pixels in each event of a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dqm_app.plots.numbers import counted, significant
from dqm_app.plots.options import plot_options
from dqm_app.plots.timeline import Timeline, TimelinePlot
from dqm_app.theme import Theme
from dqm_app.views.base import REST, Ask, NothingToShow, QuantityChoice, View, ViewContext, laid_out
from dqm_app.views.choices import choices, chosen, plainly
from dqm_db.content import N_PIXELS, Kind, RunHeader
from dqm_db.quantities import describe
from dqm_db.records import QuantityEntry

if TYPE_CHECKING:
    from dqm_db.reader import Snapshot

OF_CLASS = "of_class"


@dataclass(frozen=True)
class TimelinesData:
    """A timeline as computed at ingestion.

    ``total`` counts all events of the file, those of other classes included.
    """

    quantity: str
    camera: str
    run: int
    title: str
    description: str
    timeline: Timeline
    total: int


class TimelinesView(View):
    """One timeline, exact wherever the zoom leaves few enough events."""

    name: ClassVar[str] = "timelines"
    title: ClassVar[str] = "Timelines"

    def __init__(self, context: ViewContext) -> None:
        self._context = context
        self._data: TimelinesData | None = None
        self._shown: tuple[int, int] | None = None
        self.plot = TimelinePlot("timelines-plot", context.theme)
        self.root = laid_out(self.name, (REST,), [self.plot.figure])
        self.plot.on_move(self._moved)

    @classmethod
    def quantities(cls, entries: Sequence[QuantityEntry]) -> list[QuantityChoice]:
        """Bad pixels per event, of each class and gain."""
        return choices(entries, {Kind.EVENT_TIMELINE})

    @classmethod
    def load(cls, snapshot: Snapshot, header: RunHeader, ask: Ask) -> TimelinesData:
        """The timeline in at most 1000 points."""
        entries = snapshot.quantities(header.camera, header.run)
        name = chosen(cls.quantities(entries), ask.quantity)
        info = describe(name)
        summary = snapshot.summary(header.camera, header.run, name)
        if not summary or not summary["event"].size:
            raise NothingToShow(f"{info.title}: {plainly(info.unavailable)}.")
        held = next(entry.columns for entry in entries if entry.name == name)
        total = max((shape[0] for _, shape in held.values()), default=0)
        if np.array_equal(summary["event"], summary["event_end"]):
            events, average = int(summary["event"].size), float(summary["mean"].mean())
        else:
            # buckets differ in size by one event, so only the values themselves give exact numbers
            values = own_values(snapshot.columns(header.camera, header.run, name))[1]
            events, average = int(values.size), float(values.mean())
        return TimelinesData(
            quantity=name,
            camera=header.camera,
            run=header.run,
            title=info.title,
            description=info.description,
            timeline=Timeline(
                first=summary["event"].astype("<i4"),
                last=summary["event_end"].astype("<i4"),
                low=summary["low"],
                high=summary["high"],
                mean=summary["mean"],
                events=events,
                average=average,
            ),
            total=total,
        )

    def update(self, data: TimelinesData) -> None:
        """Show the whole run."""
        self._data = None  # ranges that are set from here are no zoom
        self.plot.title.text = data.title
        self.plot.frame(data.timeline, data.total)
        self._data, self._shown = data, None
        self._show(data.timeline)

    def restyle(self, theme: Theme) -> None:
        """Take the look of *theme*."""
        self.plot.restyle(theme)

    def _show(self, timeline: Timeline) -> None:
        self.plot.update(timeline)
        self.plot.fit(timeline)
        self._tell(timeline)

    def _moved(self) -> None:
        """Bring what the new horizontal range can show, once it has changed."""
        data = self._data
        visible = self.plot.visible_events
        if data is None or visible is None:
            return
        first, last = visible
        everything = first <= 0 and last >= data.total - 1
        wanted = None if everything else (max(first, 0), min(last, data.total - 1))
        if wanted == self._shown:
            return
        self._shown = wanted
        if wanted is None:
            self._show(data.timeline)
            return
        start, end = wanted
        if data.timeline.exact:  # every point is there, most of them out of sight
            seen = data.timeline.within(start, end)
            self.plot.fit(seen)
            self._tell(seen)
            return

        def read(snapshot: Snapshot) -> Timeline:
            columns = snapshot.columns(data.camera, data.run, data.quantity)
            return zoomed(columns, start, end)

        def then(timeline: Timeline) -> None:
            if self._data is data and self._shown == wanted:
                self._show(timeline)

        self._context.fetch(read, then, "timelines-zoom")

    def _tell(self, timeline: Timeline) -> None:
        data = self._data
        if data is None:
            return
        numbers = []
        if timeline.events:
            low, high = float(timeline.low.min()), float(timeline.high.max())
            numbers = [
                ["lowest", _percent(low)],
                ["mean", _percent(timeline.average)],
                ["highest", _percent(high)],
            ]
        point = (
            "every event is a point"
            if timeline.exact
            else f"about {round(timeline.events / max(1, timeline.first.size))} events a point; "
            "zoom in to see every event"
        )
        self.say(
            quantity=data.quantity,
            title=data.title,
            description=data.description,
            numbers=numbers,
            note=f"{counted(timeline.events, 'event')} of this class shown, {point}",
        )


def own_values(columns: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Indices and values of the events of the quantity's own class."""
    values = next(array for name, array in columns.items() if name != OF_CLASS)
    events = np.flatnonzero(columns[OF_CLASS])
    return events, values[events]


def zoomed(columns: dict[str, np.ndarray], first: int, last: int) -> Timeline:
    """The timeline from event *first* to event *last*, from the full columns of the quantity."""
    events, values = own_values(columns)
    inside = slice(np.searchsorted(events, first), np.searchsorted(events, last, "right"))
    return Timeline.binned(events[inside], values[inside], plot_options().exact_points)


def _percent(fraction: float) -> str:
    return f"{significant(100 * fraction, 4)} % ({significant(fraction * N_PIXELS, 4)} pixels)"
