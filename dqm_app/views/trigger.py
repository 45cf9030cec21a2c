"""Trigger: times against ids, negative steps, rates, time differences, and the counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dqm_app.plots.numbers import (
    EARLIEST,
    LATEST,
    counted,
    duration,
    moment,
    moments,
    significant,
    utc,
)
from dqm_app.plots.options import plot_options
from dqm_app.plots.thinning import evenly
from dqm_app.plots.trigger import (
    NegativeSteps,
    Rate,
    TimeDifferences,
    TriggerEvents,
    TriggerRate,
    TriggerTimes,
)
from dqm_app.theme import Theme
from dqm_app.views.base import REST, Ask, NothingToShow, QuantityChoice, View, ViewContext, laid_out
from dqm_app.views.choices import choices, chosen
from dqm_app.views.utc_columns import why_no_dates
from dqm_db.content import Kind, RunHeader
from dqm_db.quantities import describe
from dqm_db.records import QuantityEntry

if TYPE_CHECKING:
    from dqm_db.reader import Snapshot

COUNTS, TYPES, WRONG = "TRIGGER-STATISTICS", "TRIGGER-TYPES", "TRIGGER-EVENTS-WRONG"
TYPE_WORDS = {0: "flat-field", 2: "sky pedestal", 32: "subarray"}
LISTED = 20


@dataclass(frozen=True)
class TriggerData:
    """Trigger times of one class.

    Attributes
    ----------
    dateless : int
        How many more events there are whose times are no moments in UTC.
    no_dates : str
        Why there is no other, in words.
    tai_minus_utc : float
        Seconds by which the stored times are ahead of ``events.time``; NaN when it is not known.
    counts : list of (name, number)
        TRIGGER-STATISTICS as the file has it.
    types : list of int
        Event types seen.
    wrong : ndarray of float64
        Times of events earlier than the first, UTC, unix s; ``wrong_count`` of them in all.
    run_start : float or None
        First event of the run, UTC, unix s.
    """

    quantity: str
    camera: str
    run: int
    title: str
    description: str
    events: TriggerEvents
    dateless: int
    no_dates: str
    negative: NegativeSteps
    rate: Rate
    delta_edges: np.ndarray
    delta_counts: np.ndarray
    tai_minus_utc: float
    counts: list[tuple[str, int]]
    types: list[int]
    wrong: np.ndarray
    wrong_count: int
    run_start: float | None

    @property
    def exact(self) -> bool:
        """Whether every event is a point."""
        return self.events.time.size == self.events.events


class TriggerView(View):
    """Times and rate share their axis; times are exact wherever the zoom leaves few enough."""

    name: ClassVar[str] = "trigger"
    title: ClassVar[str] = "Trigger"

    def __init__(self, context: ViewContext) -> None:
        self._context = context
        self._data: TriggerData | None = None
        self._shown: tuple[float, float] | None = None
        self.times = TriggerTimes("trigger-times", context.theme)
        self.rate = TriggerRate("trigger-rate", context.theme, self.times.x_range)
        self.differences = TimeDifferences("trigger-differences", context.theme)
        self.root = laid_out(
            self.name,
            ("minmax(0, 1.7fr)", REST),
            [self.times.figure, self.rate.figure],
            [self.differences.figure],
        )
        self.times.on_move(self._moved)

    @classmethod
    def quantities(cls, entries: Sequence[QuantityEntry]) -> list[QuantityChoice]:
        """Trigger times of each class."""
        return choices(entries, {Kind.TRIGGER_EVENTS})

    @classmethod
    def load(cls, snapshot: Snapshot, header: RunHeader, ask: Ask) -> TriggerData:
        """What was computed at ingestion, and the small quantities beside it."""
        camera, run = header.camera, header.run
        entries = {entry.name: entry for entry in snapshot.quantities(camera, run)}
        name = chosen(cls.quantities(tuple(entries.values())), ask.quantity)
        info = describe(name)
        summary = snapshot.summary(camera, run, name)
        if not summary or not summary["time"].size:
            raise NothingToShow(f"{info.title}: no event of this class has a time.")
        offset = header.times.tai_minus_utc
        offset = float("nan") if offset is None else offset
        columns = snapshot.columns(camera, run, name)
        time = columns["Timestamps"] - offset
        dated = moments(time)
        if dated.all():
            events = TriggerEvents(summary["time"], summary["id"].astype("<f8"), time.size)
            negative = NegativeSteps(
                time=summary["negative_time"],
                id=summary["negative_id"].astype("<f8"),
                step=summary["negative_step"],
                count=int(summary["negative_count"][0]),
            )
            rate = Rate(
                time=summary["rate_time"],
                rate=summary["rate"],
                # bins of equal widths over the whole time
                mean=float(summary["rate"].mean()) if summary["rate"].size else float("nan"),
            )
        else:  # what was computed at ingestion contains the others
            events = zoomed(time, columns["IDs"], EARLIEST, LATEST)
            negative = NegativeSteps.of(time[dated], columns["IDs"][dated])
            rate = Rate.of(time, *_ends(time[dated]))
        wrong = snapshot.summary(camera, run, WRONG) if _held(entries, WRONG) else {}
        counts = snapshot.columns(camera, run, COUNTS) if _held(entries, COUNTS) else {}
        types = snapshot.columns(camera, run, TYPES) if _held(entries, TYPES) else {}
        return TriggerData(
            quantity=name,
            camera=camera,
            run=run,
            title=info.title,
            description=info.description,
            events=events,
            dateless=int(time.size - dated.sum()),
            no_dates=why_no_dates(header, "these events"),
            negative=negative,
            rate=rate,
            delta_edges=summary["delta_edges"],
            delta_counts=summary["delta_counts"],
            tai_minus_utc=offset,
            counts=[(label, int(values[0])) for label, values in counts.items() if values.size],
            types=[int(code) for values in types.values() for code in values.ravel()],
            wrong=wrong.get("time", np.empty(0)),
            wrong_count=int(wrong["count"][0]) if wrong else 0,
            run_start=moment(header.times.first_event),
        )

    def update(self, data: TriggerData) -> None:
        """Show the whole class."""
        self._data = None  # ranges that are set from here are no zoom
        self.times.title.text = data.title
        self.times.update(data.events, data.negative)
        self._data, self._shown = data, None
        self.rate.update(data.rate)
        self.differences.update(data.delta_edges, data.delta_counts)
        if not data.events.events:
            for plot in (self.times, self.rate, self.differences):
                plot.explain(data.no_dates)
        self._tell(data.events, data.rate)

    def restyle(self, theme: Theme) -> None:
        """Take the look of *theme*."""
        for plot in (self.times, self.rate, self.differences):
            plot.restyle(theme)

    def _moved(self) -> None:
        """Bring the events of the new horizontal range, once it has changed."""
        data = self._data
        visible = self.times.visible_times
        if data is None or visible is None or not data.events.events:
            return
        first, last = _ends(data.events.time)
        everything = visible[0] <= first and visible[1] >= last
        wanted = None if everything else (max(visible[0], first), min(visible[1], last))
        if wanted == self._shown:
            return
        self._shown = wanted
        if wanted is None:
            self._show(data.events, data.rate)
            return
        start, end = wanted
        if data.exact:  # every event is there, most of them out of sight
            seen = zoomed(data.events.time, data.events.id, start, end)
            self._show(seen, Rate.of(data.events.time, start, end))
            return

        def read(snapshot: Snapshot) -> tuple[TriggerEvents, Rate]:
            columns = snapshot.columns(data.camera, data.run, data.quantity)
            time = columns["Timestamps"] - data.tai_minus_utc
            return zoomed(time, columns["IDs"], start, end), Rate.of(time, start, end)

        def then(part: tuple[TriggerEvents, Rate]) -> None:
            if self._data is data and self._shown == wanted:
                self._show(*part)

        self._context.fetch(read, then, "trigger-zoom")

    def _show(self, events: TriggerEvents, rate: Rate) -> None:
        self.times.show_events(events)
        self.times.fit(events)
        self.rate.show_part(rate)
        self._tell(events, rate)

    def _tell(self, shown: TriggerEvents, rate: Rate) -> None:
        data = self._data
        if data is None:
            return
        whole = self._shown is None
        seen = "Of this class in the whole run" if whole else "Of this class, while zoomed in"
        mean = significant(rate.mean, 5)
        drawn = shown.time.size
        points = (
            _all_drawn(drawn)
            if drawn == shown.events
            else f"{drawn:,} of {counted(shown.events, 'event')} drawn; zoom in to see every event"
        )
        if data.dateless:
            points = f"{counted(data.dateless, 'event')} without a usable time not drawn" + (
                f"; {points}" if shown.events else ""
            )
        self.say(
            quantity=data.quantity,
            title=data.title,
            description=data.description,
            numbers=[
                *([label, f"{number:,}", f"{COUNTS}, {label}"] for label, number in data.counts),
                [
                    f"Mean rate {'of this class' if whole else 'in sight'}",
                    f"{mean} Hz" if rate.rate.size else mean,
                    seen,
                ],
                ["Event types", ", ".join(_type(code) for code in data.types) or "–", TYPES],
            ],
            note=points,
            lists=_lists(data),
        )


def zoomed(time: np.ndarray, ids: np.ndarray, start: float, end: float) -> TriggerEvents:
    """The events between two times (UTC, unix s): all, or evenly thinned when too many."""
    inside = np.flatnonzero((time >= start) & (time <= end))
    drawn = inside[evenly(inside.size, plot_options().exact_points)] if inside.size else inside
    return TriggerEvents(time[drawn], ids[drawn].astype("<f8"), int(inside.size))


def _all_drawn(events: int) -> str:
    return "the only event is drawn" if events == 1 else f"all {events:,} events are drawn"


def _ends(time: np.ndarray) -> tuple[float, float]:
    """Earliest and latest; no time at all without any."""
    return (float(time.min()), float(time.max())) if time.size else (0.0, 0.0)


def _lists(data: TriggerData) -> list[dict[str, object]]:
    lists: list[dict[str, object]] = []
    if data.wrong_count:
        items = [_wrong(time, data.run_start) for time in data.wrong[:LISTED].tolist()]
        lists.append(
            {
                "title": f"{counted(data.wrong_count, 'event')} with wrong times",
                "name": WRONG,
                "items": _some(items, data.wrong_count),
            }
        )
    if not data.negative.count and data.events.events:
        lists.append({"title": "No negative time step", "name": data.quantity, "items": []})
    elif data.negative.count:
        negative = data.negative
        order = np.argsort(negative.step)[:LISTED]
        items = [
            f"event {int(negative.id[at])}: {duration(float(negative.step[at]))} "
            f"at {utc(float(negative.time[at]), 6)}"
            for at in order
        ]
        lists.append(
            {
                "title": f"{counted(negative.count, 'negative time step')}, largest first",
                "name": data.quantity,
                "items": _some(items, negative.count),
            }
        )
    return lists


def _wrong(time: float, run_start: float | None) -> str:
    if moment(time) is None:
        return f"no date; {WRONG} in All contents has the number"
    before = "" if run_start is None else f" ({duration(run_start - time)} before the first event)"
    return utc(time, 6) + before


def _some(items: list[str], count: int) -> list[str]:
    return [*items, f"… and {count - len(items)} more"] if count > len(items) else items


def _held(entries: dict[str, QuantityEntry], name: str) -> bool:
    return name in entries and entries[name].unavailable is None


def _type(code: int) -> str:
    return f"{code} ({TYPE_WORDS[code]})" if code in TYPE_WORDS else str(code)
