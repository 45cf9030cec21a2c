"""Temperatures of the modules, reading by reading."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from bokeh.models import BasicTicker, ColumnDataSource, HoverTool, Line, Scatter, VArea
from numpy.typing import NDArray

from dqm_app.plots.curves import Curves, PickedCurves
from dqm_app.plots.export import Column, Table
from dqm_app.plots.frame import AxisSpec, PlotFrame
from dqm_app.plots.legend import legend
from dqm_app.plots.pixel_numbers import widened
from dqm_app.plots.tips import tip
from dqm_app.theme import Theme


@dataclass(frozen=True)
class Trend:
    """Readings of all modules.

    Attributes
    ----------
    quantity, title, unit : str
    mean, low, high : ndarray of float64, shape (readings,)
        Over the modules; ``low`` and ``high`` are the coldest and the hottest.
    """

    quantity: str
    title: str
    unit: str
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


class TemperatureTrend(PlotFrame):
    """Mean and extremes over the modules, with the modules of picked pixels on top.

    The file stores no times of the readings, so the horizontal axis counts them.
    """

    def __init__(self, name: str, theme: Theme) -> None:
        self.hover = HoverTool(visible=False, tooltips="", mode="vline")
        super().__init__(
            name,
            theme,
            AxisSpec("Reading number (no times are stored)"),
            AxisSpec("Temperature"),
            tools=[self.hover],
        )
        self.x_axis.ticker = BasicTicker(min_interval=1, num_minor_ticks=0)
        self.source = ColumnDataSource(
            name=f"{name}-camera",
            data={key: np.empty(0) for key in ("reading", "mean", "low", "high")},
        )
        self._band = self.add(VArea(x="reading", y1="low", y2="high"), self.source)
        # below the line of the camera, which must stay in sight
        self.picked = PickedCurves(self, f"{name}-picked", "module", "Reading")
        self._mean = self.add(Line(x="reading", y="mean", line_width=2.5), self.source)
        self._points = self.add(
            Scatter(x="reading", y="mean", size=6, line_color=None), self.source
        )
        self.figure.center.append(
            legend(
                ("Mean of the modules", self._mean),
                ("Coldest to hottest", self._band),
                picked=self.picked.lines,
            )
        )
        self.hover.renderers = [self._points]
        self._data: Trend | None = None
        self.restyle(theme)

    def update(self, data: Trend) -> None:
        """Show *data*, without any module's own readings."""
        self._data = data
        self.explain(None)
        readings = np.arange(data.mean.size, dtype="<i4")
        self.source.data = {
            "reading": readings,
            "mean": data.mean,
            "low": data.low,
            "high": data.high,
        }
        columns = [
            Column("reading", "reading"),
            Column("mean", "mean of the modules", data.unit),
            Column("low", "coldest", data.unit),
            Column("high", "hottest", data.unit),
        ]
        self.offer(
            "Readings",
            Table(self.source, columns, "camera"),
            self.picked.table(data.unit),
            quantity=data.quantity,
        )
        self.title.text = data.title
        self.y_axis.axis_label = f"Temperature [{data.unit}]"
        self.hover.tooltips = tip(
            [
                ("Reading", "@reading"),
                ("Mean", f"@mean{{0.00}} {data.unit}"),
                ("Coldest to hottest", f"@low{{0.00}} to @high{{0.00}} {data.unit}"),
            ]
        )
        known = np.concatenate([data.low, data.high])
        known = known[np.isfinite(known)]
        if known.size:
            self.show_range(
                x=(-0.3, data.mean.size - 0.7),
                y=widened((float(known.min()), float(known.max())), 0.08),
            )
        self.show_picked(None)

    def clear(self, title: str, reason: str) -> None:
        """Show nothing, and say why."""
        self._data = None
        self.title.text = title
        self.source.data = {key: np.empty(0) for key in self.source.data}
        self.show_picked(None)
        self.offer("Readings")
        self.explain(reason)

    def show_picked(self, curves: Curves | None) -> None:
        """Draw the readings of the modules of picked pixels, or none."""
        self.picked.update(curves, self._data.unit if self._data else "")

    def style(self) -> None:
        """Colour the glyphs from ``self.theme``."""
        self._band.glyph.update(fill_color=self.theme["band"], fill_alpha=0.5)
        self._mean.glyph.line_color = self.theme["text"]
        self._points.glyph.fill_color = self.theme["text"]
        self.picked.style(self.theme)
