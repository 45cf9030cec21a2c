"""Mean waveforms: the camera's, how the pixels spread around it, and those of picked pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool, Line, VArea

from dqm_app.plots.curves import Curves, PickedCurves
from dqm_app.plots.export import Column, Table
from dqm_app.plots.frame import AxisSpec, PlotFrame
from dqm_app.plots.legend import legend
from dqm_app.plots.pixel_numbers import widened
from dqm_app.plots.tips import tip
from dqm_app.theme import Theme


@dataclass(frozen=True)
class Waveforms:
    """The waveforms of one quantity over the present pixels.

    Attributes
    ----------
    quantity, title, unit, description : str
    mean, median : ndarray of float64, shape (samples,)
    low, high : ndarray of float64, shape (samples,)
        2.5 % and 97.5 % of the pixels lie below and above.
    """

    quantity: str
    title: str
    unit: str
    description: str
    mean: np.ndarray
    median: np.ndarray
    low: np.ndarray
    high: np.ndarray


class WaveformPlot(PlotFrame):
    """Camera mean (solid), median (dashed) and 95 % band of the pixels, with picked pixels on top.

    The vertical range follows the band and the picked curves.
    """

    def __init__(self, name: str, theme: Theme) -> None:
        self.hover = HoverTool(visible=False, tooltips="", mode="vline", line_policy="nearest")
        super().__init__(name, theme, AxisSpec("Sample"), AxisSpec("Value"), tools=[self.hover])
        self.source = ColumnDataSource(
            name=f"{name}-camera",
            data={key: np.empty(0) for key in ("sample", "mean", "median", "low", "high")},
        )
        self._band = self.add(VArea(x="sample", y1="low", y2="high"), self.source)
        # below the lines of the camera, which must stay in sight
        self.picked = PickedCurves(self, f"{name}-picked", "pixel", "Sample")
        self._median = self.add(
            Line(x="sample", y="median", line_width=1.5, line_dash="dashed"), self.source
        )
        self._mean = self.add(Line(x="sample", y="mean", line_width=2.5), self.source)
        self.legend = legend(
            ("Camera mean", self._mean),
            ("Camera median", self._median),
            ("95 % of the pixels", self._band),
            picked=self.picked.lines,
        )
        self.figure.center.append(self.legend)
        self.hover.renderers = [self._mean]
        self._data: Waveforms | None = None
        self.restyle(theme)

    def update(self, data: Waveforms) -> None:
        """Show *data*, without any pixel's own curve."""
        self._data = data
        nothing = not np.isfinite(data.mean).any()
        self.explain("No pixel has a waveform." if nothing else None)
        self.legend.visible = not nothing
        self.source.data = {
            "sample": np.arange(data.mean.size, dtype="<i4"),
            "mean": data.mean,
            "median": data.median,
            "low": data.low,
            "high": data.high,
        }
        columns = [
            Column("sample", "sample"),
            Column("mean", "mean of the camera", data.unit),
            Column("median", "median of the camera", data.unit),
            Column("low", "2.5 % of the pixels below", data.unit),
            Column("high", "2.5 % of the pixels above", data.unit),
        ]
        self.offer(
            "Waveforms",
            Table(self.source, columns, "camera"),
            self.picked.table(data.unit),
            quantity=data.quantity,
        )
        self.title.text = data.title
        self.y_axis.axis_label = f"Mean over events [{data.unit}]"
        self.hover.tooltips = tip(
            [
                ("Sample", "@sample"),
                ("Camera mean", f"@mean{{0.000}} {data.unit}"),
                ("Median", f"@median{{0.000}} {data.unit}"),
                ("95 % of the pixels", f"@low{{0.000}} to @high{{0.000}} {data.unit}"),
            ]
        )
        self.show_range(x=(-0.5, data.mean.size - 0.5))
        self.show_picked(None)

    def show_picked(self, curves: Curves | None) -> None:
        """Draw the curves of the picked pixels, or none."""
        self.picked.update(curves, self._data.unit if self._data else "")
        if self._data is not None:
            shown = [self._data.low, self._data.high]
            if curves is not None:
                shown.append(curves.values[np.isfinite(curves.values)])
            every = np.concatenate(shown)
            every = every[np.isfinite(every)]
            if every.size:
                self.show_range(y=widened((float(every.min()), float(every.max())), 0.06))

    def style(self) -> None:
        """Colour the glyphs from ``self.theme``."""
        self._band.glyph.update(fill_color=self.theme["band"], fill_alpha=0.5)
        self._mean.glyph.line_color = self.theme["text"]
        self._median.glyph.line_color = self.theme["muted"]
        self.picked.style(self.theme)
