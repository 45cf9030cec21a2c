"""One number per event, over the events of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool, Line, NumeralTickFormatter, Scatter, VArea
from numpy.typing import NDArray

from dqm_app.plots.export import Column, Table
from dqm_app.plots.frame import AxisSpec, PlotFrame
from dqm_app.plots.legend import legend
from dqm_app.plots.thinning import Buckets
from dqm_app.plots.tips import tip
from dqm_app.theme import Theme
from dqm_db.content import N_PIXELS

NARROWEST = 10
"""Events across the narrowest view."""


@dataclass(frozen=True)
class Timeline:
    """Values of consecutive events of one class, one by one or in buckets.

    Attributes
    ----------
    first, last : ndarray of int32, shape (points,)
        First and last event of each point, as indices into the file's order of all events.
    low, high, mean : ndarray of float64, shape (points,)
        Over the events of the class from first to last.
    events : int
        How many events of the class the points stand for.
    average : float
        Mean over these events; NaN when there are none.
    """

    first: NDArray[np.int32]
    last: NDArray[np.int32]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mean: NDArray[np.float64]
    events: int
    average: float

    @property
    def exact(self) -> bool:
        """Whether every point is one event."""
        return self.events == self.first.size

    def within(self, first: int, last: int) -> Timeline:
        """The points from event *first* to event *last*, of a timeline that is `exact`."""
        inside = slice(*np.searchsorted(self.first, [first, last + 1]))
        mean = self.mean[inside]
        return Timeline(
            first=self.first[inside],
            last=self.last[inside],
            low=self.low[inside],
            high=self.high[inside],
            mean=mean,
            events=int(mean.size),
            average=float(mean.mean()) if mean.size else float("nan"),
        )

    @classmethod
    def binned(
        cls, events: NDArray[np.integer], values: NDArray[np.float64], points: int
    ) -> Timeline:
        """Every event when there are at most *points*, else buckets of consecutive events.

        Parameters
        ----------
        events : ndarray of int, shape (n,)
            Indices of the events, ascending.
        values : ndarray of float64, shape (n,)
            One per event.
        points : int
            How many are drawn at most.
        """
        buckets = Buckets.of(values, points)
        return cls(
            first=events[buckets.starts].astype("<i4"),
            last=events[buckets.ends - 1].astype("<i4"),
            low=buckets.low,
            high=buckets.high,
            mean=buckets.mean,
            events=int(events.size),
            average=float(values.mean()) if values.size else float("nan"),
        )


def _height(data: Timeline) -> tuple[float, float]:
    low = float(data.low.min()) if data.low.size else 0.0
    high = float(data.high.max()) if data.high.size else 1.0
    # one pixel more or less must never look like a storm
    margin = max(0.1 * (high - low), 2 / N_PIXELS)
    return max(0.0, low - margin) if low > 0 else -0.1 * margin, high + margin


class TimelinePlot(PlotFrame):
    """Fraction per event: every event as a point, or a band from lowest to highest with the mean.

    The vertical axis spans the data in sight. A new horizontal range is for the view to notice.
    """

    def __init__(self, name: str, theme: Theme) -> None:
        self.hover = HoverTool(visible=False, tooltips="", mode="vline")
        super().__init__(
            name,
            theme,
            AxisSpec("Event (index in the file)"),
            AxisSpec("Fraction of pixels"),
            tools=[self.hover],
            zoom="width",
        )
        self.y_axis.formatter = NumeralTickFormatter(format="0.[000] %")
        self.source = ColumnDataSource(
            name=f"{name}-points",
            data={key: np.empty(0) for key in ("event", "first", "last", "low", "high", "mean")},
        )
        self._band = self.add(VArea(x="event", y1="low", y2="high"), self.source)
        self._line = self.add(Line(x="event", y="mean", line_width=1.5), self.source)
        self.points = self.add(Scatter(x="event", y="mean", size=4, line_color=None), self.source)
        self.legend = legend(
            ("Mean of the events of a point", self._line),
            ("Lowest to highest", self._band),
        )
        self.figure.center.append(self.legend)
        self.hover.renderers = [self.points]
        self.restyle(theme)

    def update(self, data: Timeline) -> None:
        """Draw *data*; the ranges stay as they are."""
        self.source.data = {
            "event": (data.first.astype(np.float64) + data.last) / 2,
            "first": data.first,
            "last": data.last,
            "low": data.low,
            "high": data.high,
            "mean": data.mean,
        }
        fraction = "fraction of pixels"
        columns = [
            Column("first", "first event"),
            Column("last", "last event"),
            Column("low", "lowest", fraction),
            Column("mean", "mean", fraction),
            Column("high", "highest", fraction),
        ]
        self.offer("Timeline", Table(self.source, columns))
        self.points.glyph.size = 4 if data.exact else 0
        self._band.visible = not data.exact
        self.legend.visible = not data.exact
        self.hover.tooltips = tip(
            [
                ("Event", "@first"),
                ("Bad pixels", f"@mean{{0.0000 %}} of {N_PIXELS}"),
            ]
            if data.exact
            else [
                ("Events", "@first to @last"),
                ("Lowest", "@low{0.0000 %}"),
                ("Mean", "@mean{0.0000 %}"),
                ("Highest", "@high{0.0000 %}"),
            ]
        )

    def frame(self, data: Timeline, total: int) -> None:
        """Show all *total* events of the run, and the values that *data* spans."""
        x = -0.01 * total - 0.5, 1.01 * total - 0.5
        self.show_range(x=x, y=_height(data), least=min(NARROWEST, total))

    def fit(self, data: Timeline) -> None:
        """Let the vertical axis span *data*, the events in sight; say so when there are none."""
        self.explain(None if data.events else "No event of this class among those in sight.")
        if data.events:
            self.show_height(_height(data))

    @property
    def visible_events(self) -> tuple[int, int] | None:
        """First and last event index inside the horizontal range; None when it is no range."""
        limits = self.x_limits
        return (math.ceil(limits[0]), math.floor(limits[1])) if limits is not None else None

    def style(self) -> None:
        """Colour the glyphs from ``self.theme``."""
        self._band.glyph.update(fill_color=self.theme["band"], fill_alpha=0.7)
        self._line.glyph.line_color = self.theme["accent"]
        self.points.glyph.fill_color = self.theme["accent"]
