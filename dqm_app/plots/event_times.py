"""When something rare happened."""

from __future__ import annotations

import numpy as np
from bokeh.models import BasicTicker, ColumnDataSource, HoverTool, Scatter, Step
from numpy.typing import NDArray

from dqm_app.plots.export import Column, Table
from dqm_app.plots.frame import AxisSpec, PlotFrame
from dqm_app.plots.numbers import MILLISECONDS
from dqm_app.plots.tips import tip
from dqm_app.plots.trigger import UTC_HOVER
from dqm_app.theme import Theme


class EventTimesPlot(PlotFrame):
    """How often something had happened by each moment of the run."""

    def __init__(self, name: str, theme: Theme, noun: str) -> None:
        self._noun = noun.lower()
        self.hover = HoverTool(
            visible=False,
            tooltips=tip([("Number", "@number"), ("Time", UTC_HOVER)]),
            formatters={"@time": "datetime"},
        )
        super().__init__(
            name,
            theme,
            AxisSpec("Time (UTC)", "utc"),
            AxisSpec(f"{noun} so far"),
            tools=[self.hover],
        )
        self.source = ColumnDataSource(
            name=f"{name}-times", data={"time": np.empty(0), "number": np.empty(0)}
        )
        self._steps = self.add(
            Step(x="time", y="number", mode="after", line_width=1.5), self.source
        )
        self._points = self.add(Scatter(x="time", y="number", size=7, line_width=1), self.source)
        self.y_axis.ticker = BasicTicker(min_interval=1)
        self.hover.renderers = [self._points]
        self.restyle(theme)

    def update(
        self,
        title: str,
        time: NDArray[np.float64],
        count: int,
        run: tuple[float | None, float | None],
        quantity: str | None = None,
    ) -> None:
        """Show when it happened.

        Parameters
        ----------
        title : str
            Of the plot.
        time : ndarray of float64
            UTC, unix s, ascending; may be thinned.
        count : int
            How often it happened in all.
        run : tuple of float or None
            First and last event of the run, which is shown whole.
        quantity : str, optional
            EXTNAME of the times.
        """
        self.explain(None)
        self.title.text = title
        # thinned times are spread evenly, the first and the last among them
        number = np.linspace(1, count, time.size) if time.size else np.empty(0)
        self.source.data = {"time": time * MILLISECONDS, "number": np.rint(number)}
        columns = [Column("time", "time", kind="utc"), Column("number", f"{self._noun} so far")]
        self.offer("Times", Table(self.source, columns), quantity=quantity)
        known = [moment for moment in run if moment is not None]
        known += [float(time.min()), float(time.max())] if time.size else []
        if known:
            margin = 0.02 * (max(known) - min(known)) or 1.0
            self.show_range(
                x=((min(known) - margin) * MILLISECONDS, (max(known) + margin) * MILLISECONDS)
            )
        self.show_range(y=(0.0, 1.1 * max(count, 1)))

    def clear(self, title: str, reason: str) -> None:
        """Show nothing, and say why."""
        self.title.text = title
        self.source.data = {"time": np.empty(0), "number": np.empty(0)}
        self.offer("Times")
        self.explain(reason)

    def style(self) -> None:
        """Colour the glyphs from ``self.theme``."""
        self._steps.glyph.line_color = self.theme["muted"]
        self._points.glyph.update(fill_color=self.theme["alert"], line_color=self.theme["surface"])
