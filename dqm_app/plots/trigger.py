"""When events were triggered: times against ids, rate, and time differences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from bokeh.models import BasicTicker, ColumnDataSource, HoverTool, Quad, Scatter, Step
from bokeh.models.ranges import Range
from numpy.typing import NDArray

from dqm_app.plots.export import Column, Table
from dqm_app.plots.frame import AxisSpec, PlotFrame
from dqm_app.plots.legend import legend
from dqm_app.plots.numbers import MILLISECONDS
from dqm_app.plots.options import plot_options
from dqm_app.plots.tips import tip
from dqm_app.theme import Theme

FEWEST = 2
"""Events that make a rate."""
UTC_HOVER = "@time{%F %H:%M:%S.%3N} UTC"


@dataclass(frozen=True)
class TriggerEvents:
    """Some or all events of a class, in the order of the file.

    Attributes
    ----------
    time : ndarray of float64, shape (points,)
        UTC, unix s.
    id : ndarray of float64, shape (points,)
        Event ids; float64 holds them exactly up to 2⁵³.
    events : int
        How many events the points stand for.
    """

    time: NDArray[np.float64]
    id: NDArray[np.float64]
    events: int


@dataclass(frozen=True)
class Rate:
    """Rate of a class of events.

    Attributes
    ----------
    time, rate : ndarray of float64, shape (bins,)
        Bin centres (UTC, unix s) and events per second in each bin.
    mean : float
        Events over time (Hz); NaN when there are too few.
    """

    time: NDArray[np.float64]
    rate: NDArray[np.float64]
    mean: float

    @classmethod
    def of(cls, time: NDArray[np.float64], start: float, end: float) -> Rate:
        """Of the events between two moments (UTC, unix s), in as many bins as they can fill."""
        inside = time[(time >= start) & (time <= end)]
        if inside.size < FEWEST or not end > start:
            return cls(np.empty(0), np.empty(0), float("nan"))
        options = plot_options()
        bins = int(np.clip(inside.size // options.events_per_rate_bin, 1, options.rate_bins))
        width = (end - start) / bins
        # relative to the start: unix seconds leave float64 only 0.2 µs
        place = np.minimum(((inside - start) / width).astype(np.int64), bins - 1)
        counts = np.bincount(place, minlength=bins)
        return cls(
            time=start + width * (np.arange(bins, dtype=np.float64) + 0.5),
            rate=(counts / width).astype("<f8"),
            mean=inside.size / (end - start),
        )


@dataclass(frozen=True)
class NegativeSteps:
    """Events that are earlier than the one before them.

    ``time`` (UTC, unix s), ``id`` and ``step`` (s, < 0) have one entry per event shown; ``count``
    is how many there are in all.
    """

    time: NDArray[np.float64]
    id: NDArray[np.float64]
    step: NDArray[np.float64]
    count: int

    @classmethod
    def of(cls, time: NDArray[np.float64], ids: NDArray[np.integer]) -> NegativeSteps:
        """Among events in the order of the file; the largest steps when there are too many."""
        steps = np.diff(time)
        negative = np.flatnonzero(steps < 0)
        shown = np.sort(negative[np.argsort(steps[negative])[: plot_options().exact_points]])
        return cls(
            time=time[shown + 1],
            id=ids[shown + 1].astype("<f8"),
            step=steps[shown],
            count=int(negative.size),
        )


class TriggerTimes(PlotFrame):
    """Event id against time; negative time steps are marked with triangles."""

    def __init__(self, name: str, theme: Theme) -> None:
        self.hover = HoverTool(
            visible=False,
            tooltips=tip([("Event id", "@id{0}"), ("Time", UTC_HOVER)]),
            formatters={"@time": "datetime"},
        )
        self.negative_hover = HoverTool(
            visible=False,
            tooltips=tip(
                [
                    ("Event id", "@id{0}"),
                    ("Time", UTC_HOVER),
                    ("Earlier than the event before by", "@lag{0.[000000]} ms"),
                ]
            ),
            formatters={"@time": "datetime"},
        )
        super().__init__(
            name,
            theme,
            AxisSpec("Time (UTC)", "utc"),
            AxisSpec("Event id"),
            tools=[self.hover, self.negative_hover],
            zoom="width",
        )
        self.source = ColumnDataSource(
            name=f"{name}-events", data={"time": np.empty(0), "id": np.empty(0)}
        )
        self.negative = ColumnDataSource(
            name=f"{name}-negative",
            data={"time": np.empty(0), "id": np.empty(0), "lag": np.empty(0)},
        )
        self._events = self.add(Scatter(x="time", y="id", size=3, line_color=None), self.source)
        self._negative = self.add(
            Scatter(x="time", y="id", size=9, marker="inverted_triangle", line_width=1),
            self.negative,
        )
        self.legend = legend(("Event", self._events), ("Negative time step", self._negative))
        self.legend.location = "bottom_right"
        self.figure.center.append(self.legend)
        self.y_axis.ticker = BasicTicker(min_interval=1)  # ids are whole
        self.hover.renderers = [self._events]
        self.negative_hover.renderers = [self._negative]
        self.restyle(theme)

    def update(self, events: TriggerEvents, negative: NegativeSteps) -> None:
        """Show a whole class, and set the ranges to it."""
        self.explain(None)
        moment = [Column("time", "time", kind="utc"), Column("id", "event id")]
        lag = Column("lag", "earlier than the event before by", "ms")
        self.offer(
            "Event ids over time",
            Table(self.source, moment, "events"),
            Table(self.negative, [*moment, lag], "negative time steps"),
        )
        self.legend.visible = events.events > 0
        self.show_events(events)
        self.negative.data = {
            "time": negative.time * MILLISECONDS,
            "id": negative.id,
            "lag": -negative.step * MILLISECONDS,
        }
        if events.time.size:
            self.show_range(
                x=_span(events.time * MILLISECONDS, least=1.0, alone=MILLISECONDS),
                y=_span(events.id, least=2.0),
            )

    def show_events(self, events: TriggerEvents) -> None:
        """Draw these events; the ranges stay as they are."""
        self.source.data = {"time": events.time * MILLISECONDS, "id": events.id}

    def fit(self, events: TriggerEvents) -> None:
        """Let the vertical axis span *events*, those in sight; say so when there are none."""
        self.explain(None if events.events else "No event of this class in this time.")
        if events.events:
            self.show_height(_span(events.id, least=2.0))

    @property
    def visible_times(self) -> tuple[float, float] | None:
        """The horizontal range, unix s; None when it is no range."""
        limits = self.x_limits
        return (limits[0] / MILLISECONDS, limits[1] / MILLISECONDS) if limits is not None else None

    def style(self) -> None:
        """Colour the glyphs from ``self.theme``."""
        self._events.glyph.fill_color = self.theme["accent"]
        self._negative.glyph.update(
            fill_color=self.theme["alert"], line_color=self.theme["surface"]
        )


class TriggerRate(PlotFrame):
    """Rate of a class of events over time.

    Parameters
    ----------
    times : Range
        The horizontal range of the plot of times, so that both move together.
    """

    def __init__(self, name: str, theme: Theme, times: Range) -> None:
        self.hover = HoverTool(
            visible=False,
            tooltips=tip([("Around", UTC_HOVER), ("Rate", "@rate{0.[000]} Hz")]),
            formatters={"@time": "datetime"},
            mode="vline",
        )
        super().__init__(
            name,
            theme,
            AxisSpec("Time (UTC)", "utc"),
            AxisSpec("Rate [Hz]"),
            tools=[self.hover],
            x_range=times,
            zoom="width",
        )
        self.source = ColumnDataSource(
            name=f"{name}-bins", data={"time": np.empty(0), "rate": np.empty(0)}
        )
        self.title.text = "Trigger rate"
        self._line = self.add(Step(x="time", y="rate", mode="center", line_width=2), self.source)
        self.hover.renderers = [self._line]
        self.restyle(theme)

    def update(self, data: Rate) -> None:
        """Show the rate of the whole run."""
        self.show_range(y=_up_to(data.rate))
        self.show_part(data)

    def show_part(self, data: Rate) -> None:
        """Show the rate of a part of the run; a reset goes back to the range of the whole."""
        self.explain(None if data.rate.size else "Too few events for a rate.")
        columns = [Column("time", "middle of the bin", kind="utc"), Column("rate", "rate", "Hz")]
        self.offer("Rate", Table(self.source, columns))
        self.source.data = {"time": data.time * MILLISECONDS, "rate": data.rate}
        self.show_height(_up_to(data.rate))

    def style(self) -> None:
        """Colour the glyphs from ``self.theme``."""
        self._line.glyph.line_color = self.theme["accent"]


class TimeDifferences(PlotFrame):
    """Histogram of the times between consecutive events, in logarithmic bins."""

    def __init__(self, name: str, theme: Theme) -> None:
        self.hover = HoverTool(
            visible=False,
            tooltips=tip(
                [
                    ("From", "@left{0.[000000000]} s"),
                    ("To", "@right{0.[000000000]} s"),
                    ("Pairs of events", "@count"),
                ]
            ),
        )
        super().__init__(
            name,
            theme,
            AxisSpec("Time since the event before [s]", "log"),
            AxisSpec("Pairs of events"),
            tools=[self.hover],
            zoom="width",
        )
        self.source = ColumnDataSource(
            name=f"{name}-bins", data={key: np.empty(0) for key in ("left", "right", "count")}
        )
        self.title.text = "Time between events"
        self._bars = self.add(
            Quad(left="left", right="right", bottom=0, top="count", line_width=0.5), self.source
        )
        self.hover.renderers = [self._bars]
        self.show_range(x=(1e-6, 1.0))
        self.restyle(theme)

    def update(self, edges: NDArray[np.float64], counts: NDArray[np.integer]) -> None:
        """Show *counts* between *edges* (s)."""
        self.explain(None if counts.size else "No event is later than the one before it.")
        self.source.data = {
            "left": edges[:-1],
            "right": edges[1:],
            "count": counts.astype("<i4"),
        }
        columns = [
            Column("left", "from", "s"),
            Column("right", "to", "s"),
            Column("count", "pairs of events"),
        ]
        self.offer("Time between events", Table(self.source, columns))
        if counts.size:
            self.show_range(
                x=(float(edges[0]) / 1.2, float(edges[-1]) * 1.2),
                y=(0.0, 1.08 * float(counts.max())),
            )

    def style(self) -> None:
        """Colour the glyphs from ``self.theme``."""
        self._bars.glyph.update(fill_color=self.theme["band"], line_color=self.theme["accent"])


def _up_to(rate: NDArray[np.float64]) -> tuple[float, float]:
    return 0.0, 1.08 * float(rate.max(initial=0.0)) or 1.0


def _span(
    values: NDArray[np.float64], least: float, alone: float | None = None
) -> tuple[float, float]:
    """Around all values, no narrower than *least*; around a single one as wide as *alone*."""
    low, high = float(values.min()), float(values.max())
    if alone is not None and low == high:
        least = alone
    margin = max(0.02 * (high - low), (least - (high - low)) / 2)
    return low - margin, high + margin
