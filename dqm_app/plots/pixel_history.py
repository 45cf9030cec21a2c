"""The values of one pixel, or one module, over runs, with the camera and the module around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from bokeh.models import (
    BoxZoomTool,
    ColumnDataSource,
    HoverTool,
    Line,
    Scatter,
    TapTool,
    VArea,
    VBar,
)
from bokeh.models.annotations import Span
from numpy.typing import NDArray

from dqm_app.plots.colours import mixed
from dqm_app.plots.columns import breaks, gaps, opened, put
from dqm_app.plots.export import Column, Table
from dqm_app.plots.frame import AxisSpec, PlotFrame
from dqm_app.plots.numbers import MILLISECONDS
from dqm_app.plots.options import plot_options
from dqm_app.plots.pixel_numbers import widened
from dqm_app.plots.run_axis import RunAxes
from dqm_app.plots.tips import tip
from dqm_app.theme import Theme
from dqm_db.content import PIXELS_PER_MODULE

MANY = 1500
"""Values of which each is drawn smaller."""
BAND_ALPHA = 0.45
CORNERS = 700
"""Runs up to which the band of the camera is drawn as one area, else as a bar for each."""
COMMON = (2.0, 98.0)
"""Percentiles of what is around that are in sight at least; the own values are all."""


@dataclass(frozen=True)
class History:
    """One quantity of a pixel or a module over runs; all arrays (runs,) unless told otherwise.

    Attributes
    ----------
    title, unit, noun : str
        ``noun`` names what it is of, e.g. ``"Pixel 12"``.
    run : ndarray of int32
        Ascending.
    start : ndarray of float64
        Unix s, UTC; NaN where unknown.
    value : ndarray of float32
        NaN where there is none.
    median, sigma : ndarray of float32
        Of the camera in each run.
    around : ndarray of float32, shape (others, runs)
        The other pixels of the module, or all its pixels.
    ids : tuple of int
        Theirs.
    """

    title: str
    unit: str
    noun: str
    run: NDArray[np.int32]
    start: NDArray[np.float64]
    value: NDArray[np.float32]
    median: NDArray[np.float32]
    sigma: NDArray[np.float32]
    around: NDArray[np.float32]
    ids: tuple[int, ...]

    @property
    def low(self) -> NDArray[np.float32]:
        """Lower edge of the camera's band, shape (runs,)."""
        return self._within(self.median - self.sigma)

    @property
    def high(self) -> NDArray[np.float32]:
        """Upper edge of the camera's band, shape (runs,)."""
        return self._within(self.median + self.sigma)

    def _within(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """*values*, inside what is possible in this unit."""
        options = plot_options()
        low, high = options.range.get(self.unit, (-np.inf, np.inf))
        return np.clip(values, 0.0 if self.unit in options.counts else low, high)

    def known(self) -> NDArray[np.intp]:
        """The rows with a value."""
        return np.flatnonzero(np.isfinite(self.value))

    def height(self) -> tuple[float, float] | None:
        """The values to show; None when there are none."""
        own = self.value[np.isfinite(self.value)]
        shown = [own]
        for values in (self.around, self.low, self.high):
            known = values[np.isfinite(values)]
            if known.size:
                shown.append(np.percentile(known, COMMON))
        every = np.concatenate(shown)
        return widened((float(every.min()), float(every.max())), 0.06) if every.size else None


class PixelHistoryPlot(PlotFrame):
    """Own values as a line with points, the camera's median and width as a band, the rest thin.

    A tap on a value opens its run.
    """

    def __init__(self, name: str, theme: Theme) -> None:
        self.hover = HoverTool(
            visible=False, tooltips="", formatters={"@time": "datetime"}, limit=1
        )
        self.around_hover = HoverTool(visible=False, tooltips="", line_policy="nearest", limit=1)
        tap = TapTool(visible=False)
        super().__init__(
            name,
            theme,
            AxisSpec(),
            AxisSpec(" "),
            tools=[BoxZoomTool(), tap, self.hover, self.around_hover],
            active_tap=tap,
        )
        RunAxes(self.x_axis)
        self.figure.min_border_bottom = 26
        self._others = [f"other_{number}" for number in range(PIXELS_PER_MODULE)]
        self.source = ColumnDataSource(
            name=f"{name}-values",
            data={key: [] for key in ("run", "time", "value", "low", "median", "high")},
        )
        # one polygon of many corners takes seconds to fill
        self._band = self.add(VArea(x="run", y1="low", y2="high"), self.source)
        self._bars = self.add(
            VBar(x="run", bottom="low", top="high", line_color=None), self.source, visible=False
        )
        self._median = self.add(Line(x="run", y="median", line_width=1.5), self.source)
        self.around = [
            self.add(Line(x="run", y="median", line_width=1), self.source, visible=False)
            for _ in self._others
        ]
        self._line = self.add(Line(x="run", y="value", line_width=1.8), self.source)
        points = Scatter(x="run", y="value", size=5, line_color=None)
        self.points = self.add(
            points, self.source, selection_glyph=points, nonselection_glyph=points
        )
        self._span = Span(dimension="height", line_dash="dotted", line_width=1.5, visible=False)
        self.figure.center.append(self._span)
        self.hover.renderers = tap.renderers = [self.points]
        self.around_hover.renderers = list(self.around)
        self.restyle(theme)

    def update(self, data: History, *, keep: str = "") -> None:
        """Show all runs of *data*; *keep* says of which axes a zoom stays, see `show_range`."""
        at = gaps(data.run)
        others = {
            key: opened(values, at) for key, values in zip(self._others, data.around, strict=False)
        }
        # no line may ask for a column that is not there
        for drawn in self.around[len(others) :]:
            drawn.visible = False
            drawn.glyph.y = "median"
        put(
            self.source,
            {
                "run": opened(data.run, at, repeat=True),
                "time": opened(data.start * MILLISECONDS, at, repeat=True),
                "value": opened(data.value, at),
                "low": opened(data.low, at),
                "median": opened(data.median, at),
                "high": opened(data.high, at),
                **others,
            },
        )
        for drawn, key, pixel in zip(self.around, others, data.ids, strict=False):
            drawn.glyph.y = key
            drawn.update(visible=True, name=f"pixel {pixel}")
        many = data.run.size > CORNERS
        self._band.visible, self._bars.visible = not many, many
        if many:  # wide enough to leave no holes
            self._bars.glyph.width = float(data.run[-1] - data.run[0]) / CORNERS
        self.points.glyph.size = 3 if np.isfinite(data.value).sum() > MANY else 5
        self.title.text = f"{data.noun}: {data.title}"
        self.y_axis.axis_label = f"Value [{data.unit}]" if data.unit else "Value"
        unit = f" {data.unit}" if data.unit else ""
        self.hover.tooltips = tip(
            [
                ("Run", "@run{0}"),
                ("Start", "@time{%F %H:%M} UTC"),
                (data.noun, f"@value{{0.[0000]}}{unit}"),
                ("Camera median", f"@median{{0.[0000]}}{unit}"),
                ("Median ± width", "@low{0.[0000]} to @high{0.[0000]}"),
                ("", "click opens the run"),
            ]
        )
        self.around_hover.tooltips = tip([("", "$name"), ("Run", "$snap_x{0}"), ("", "$snap_y")])
        columns = [
            Column("run", "run"),
            Column("time", "start", kind="utc"),
            Column("value", data.noun.lower(), data.unit),
            Column("median", "camera median", data.unit),
            Column("low", "median minus width", data.unit),
            Column("high", "median plus width", data.unit),
            *(
                Column(key, f"pixel {pixel}", data.unit)
                for key, pixel in zip(others, data.ids, strict=True)
            ),
        ]
        self.offer("Values over runs", Table(self.source, columns, skip=breaks(at).tolist()))
        self.show_range(y=data.height(), keep=keep)

    def show_runs(self, first: int, last: int, *, keep: str = "") -> None:
        """Show these runs, also in the plots below, which may have values that this one has not."""
        self.show_range(x=widened((first, last), 0.02), least=4.0, keep=keep)

    def locate(self, run: int | None) -> None:
        """Mark *run*; None takes the mark away."""
        self._span.update(location=run, visible=run is not None)

    def style(self) -> None:
        """Colour the glyphs from ``self.theme``."""
        theme = self.theme
        self._band.glyph.update(fill_color=theme["band"], fill_alpha=BAND_ALPHA)
        # they overlap, so that they cannot be translucent
        self._bars.glyph.fill_color = mixed(theme["surface"], theme["band"], BAND_ALPHA)
        self._median.glyph.line_color = theme["muted"]
        for drawn in self.around:
            drawn.glyph.update(line_color=theme["axis"], line_alpha=0.55)
        self._line.glyph.line_color = theme["accent"]
        self.points.glyph.fill_color = theme["accent"]
        self._span.line_color = theme["pick"]
