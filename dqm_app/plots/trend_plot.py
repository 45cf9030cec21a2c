"""A statistic of runs as points with limits, and how its values are distributed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from bokeh.models import (
    BasicTicker,
    BoxZoomTool,
    CategoricalColorMapper,
    ColumnDataSource,
    HoverTool,
    Line,
    Quad,
    Scatter,
    Segment,
    TapTool,
)
from bokeh.models.annotations import Span
from bokeh.models.transforms import Transform
from bokeh.transform import factor_mark
from numpy.typing import NDArray

from dqm_app.plots.columns import put
from dqm_app.plots.export import Column, ColumnKind, Table
from dqm_app.plots.frame import TOP, AxisSpec, PlotFrame
from dqm_app.plots.numbers import counted
from dqm_app.plots.options import plot_options
from dqm_app.plots.pixel_numbers import widened
from dqm_app.plots.run_axis import RunAxes
from dqm_app.plots.tips import tip
from dqm_app.plots.trend import Trend
from dqm_app.theme import Theme
from dqm_app.verdicts import words

MARKERS: Mapping[str, str] = {
    "bad": "x",
    "warning": "triangle",
    "info": "diamond",
    "ok": "circle",
    "unknown": "square",
    "none": "circle",
}
"""Shape of a point by the key of its verdict; ``static/plots_trends.js`` names the same."""
EDGE = ("left", "right", "at", "first", "last", "side")
"""Columns of an edge: as it is drawn, then as it is saved."""
EDGES = {"info": "dotted", "warning": "dashed", "bad": "solid"}
"""How the edges of the zones are drawn."""
HOLLOW = ("unknown", "none")
SIZES: Mapping[str, int] = {"bad": 11, "warning": 9, "info": 9}
"""In px, of points that stand out; all others are `PLAIN`."""
PLAIN = 6
MANY = 1500
"""Points of which each is drawn smaller."""


class TrendPlot(PlotFrame):
    """Points whose shape and colour are the verdict of their run; a tap opens the run.

    Zones beyond limits are tinted; their edges are dotted, dashed or solid, the worse the firmer.
    """

    def __init__(self, name: str, theme: Theme) -> None:
        self.hover = HoverTool(
            visible=False, tooltips="", formatters={"@time": "datetime"}, limit=1
        )
        tap = TapTool(visible=False)
        super().__init__(
            name,
            theme,
            AxisSpec("Run"),
            AxisSpec(" "),
            tools=[BoxZoomTool(), tap, self.hover],
            active_tap=tap,
        )
        self.source = ColumnDataSource(
            name=f"{name}-points",
            data={"run": [], "time": [], "value": [], "verdict": [], "size": []},
        )
        wording = words().values()
        factors = [one.word for one in wording]
        self._colours = CategoricalColorMapper(factors=factors, palette=[theme["text"]])
        self._fills = CategoricalColorMapper(factors=factors, palette=[theme["text"]])
        self._zones: dict[str, tuple[ColumnDataSource, Any, ColumnDataSource, Any]] = {}
        for key, dash in EDGES.items():
            zone = ColumnDataSource(data={"left": [], "right": [], "bottom": [], "top": []})
            edge = ColumnDataSource(name=f"{name}-{key}", data={column: [] for column in EDGE})
            quads = self.add(
                Quad(
                    left="left", right="right", bottom="bottom", top="top",
                    line_color=None, fill_alpha=0.08,
                ),
                zone,
            )  # fmt: skip
            lines = self.add(
                Segment(
                    x0="left", x1="right", y0="at", y1="at", line_width=1.4,
                    line_dash=dash,
                ),
                edge,
            )  # fmt: skip
            self._zones[key] = (zone, quads, edge, lines)
        self._line = self.add(Line(x="run", y="value", line_width=1, line_alpha=0.55), self.source)
        self.smooth = ColumnDataSource(name=f"{name}-median", data={"x": [], "y": []})
        self._smooth = self.add(Line(x="x", y="y", line_width=2.5), self.smooth)
        mapped: dict[str, Transform] = {"line": self._colours, "fill": self._fills}
        glyph = Scatter(
            x="run",
            y="value",
            size="size",
            line_width=1.8,
            marker=factor_mark("verdict", [MARKERS[one.key] for one in wording], factors),
            line_color={"field": "verdict", "transform": mapped["line"]},
            fill_color={"field": "verdict", "transform": mapped["fill"]},
        )
        # a tap leaves the page: no other look meanwhile
        self.points = self.add(glyph, self.source, selection_glyph=glyph, nonselection_glyph=glyph)
        self.here = ColumnDataSource(name=f"{name}-here", data={"x": [], "y": []})
        self._ring = self.add(
            Scatter(x="x", y="y", size=16, fill_color=None, line_width=2.5), self.here
        )
        self._span = Span(dimension="height", line_dash="dotted", line_width=1.5, visible=False)
        self.figure.center.append(self._span)
        self._axes = RunAxes(self.x_axis)
        self.hover.renderers = tap.renderers = [self.points]
        self._data: Trend | None = None
        self.restyle(theme)

    def update(self, data: Trend, *, keep: str = "") -> None:
        """Show all of *data*; *keep* says of which axes a zoom stays, see `show_range`."""
        self._data = data
        put(
            self.source,
            {
                "run": data.run,
                "time": data.time,
                "value": data.value,
                "verdict": data.verdict,
                "size": _sizes(data),
            },
        )
        self._axes.show(by_time=data.by_time)
        for drawn in (self._line, self.points):
            drawn.glyph.x = "time" if data.by_time else "run"
        positions, medians, _ = data.smoothed()
        put(self.smooth, {"x": positions, "y": medians})
        self.title.text = data.title
        self.y_axis.axis_label = data.label
        unit = f" {data.unit}" if data.unit else ""
        self.hover.tooltips = tip(
            [
                ("Run", "@run{0}"),
                ("Start", "@time{%F %H:%M} UTC"),
                ("Value", f"@value{{0.[000000]}}{unit}"),
                ("Verdict of the run", "@verdict"),
                ("", "click opens the run"),
            ]
        )
        columns = [
            Column("run", "run"),
            Column("time", "start", kind="utc"),
            Column("value", data.label.partition(" [")[0].lower(), data.unit),
            Column("verdict", "verdict of the run"),
        ]
        known = data.position[np.isfinite(data.value)]
        span = float(known.min()), float(known.max())
        x, y = widened(span, 0.02), data.height()
        self.show_range(x=x, y=y, least=0.0 if data.by_time else 4.0, keep=keep)
        self._show_limits(data, span, x, y)
        self.offer(
            "Trend",
            Table(self.source, columns, skip=data.breaks.tolist()),
            *self._limit_tables(data),
        )

    def locate(self, run: int) -> bool:
        """Mark *run*; whether it has a value here."""
        row = None if self._data is None else self._data.row(run)
        if self._data is None or row is None:
            put(self.here, {"x": np.empty(0), "y": np.empty(0)})
            self._span.visible = False
            return False
        x = float(self._data.position[row])
        put(self.here, {"x": np.array([x]), "y": self._data.value[[row]]})
        self._span.update(location=x, visible=True)
        return True

    def style(self) -> None:
        """Colour the glyphs from ``self.theme``."""
        theme = self.theme
        wording = words().values()
        self._colours.palette = [theme[one.colour] for one in wording]
        self._fills.palette = [
            theme["surface"] if one.key in HOLLOW else theme[one.colour] for one in wording
        ]
        self._line.glyph.line_color = theme["axis"]
        self._smooth.glyph.line_color = theme["text"]
        self._ring.glyph.line_color = theme["pick"]
        self._span.line_color = theme["pick"]
        for key, (_, quads, _, lines) in self._zones.items():
            quads.glyph.fill_color = theme[f"status_{key}"]
            lines.glyph.line_color = theme[f"status_{key}"]

    def _show_limits(
        self,
        data: Trend,
        span: tuple[float, float],
        x: tuple[float, float],
        y: tuple[float, float],
    ) -> None:
        """Draw them from edge to edge of the plot; *span* is from the first run to the last."""
        by_key = {words()[limits.status].key: limits for limits in data.limits}
        for key, (zone, _, edge, _) in self._zones.items():
            limits = by_key.get(key)
            quads: list[tuple[float, ...]] = []
            lines: list[tuple[float, ...]] = []
            sides: list[str] = []
            if limits is not None:
                starts, ends = np.maximum(limits.start, x[0]), np.minimum(limits.end, x[1])
                firsts, lasts = np.maximum(limits.start, span[0]), np.minimum(limits.end, span[1])
                if not data.by_time:  # stretches meet between two runs
                    firsts, lasts = np.ceil(firsts), np.floor(lasts)
                for left, right, first, last, low, high in zip(
                    starts, ends, firsts, lasts, limits.low, limits.high, strict=True
                ):
                    if np.isfinite(low):
                        quads.append((left, right, y[0], max(low, y[0])))
                        lines.append((left, right, low, first, last))
                        sides.append("below")
                    if np.isfinite(high):
                        quads.append((left, right, min(high, y[1]), y[1]))
                        lines.append((left, right, high, first, last))
                        sides.append("above")
            put(zone, _table(quads, ("left", "right", "bottom", "top")))
            put(edge, {**_table(lines, EDGE[:-1]), EDGE[-1]: sides})

    def _limit_tables(self, data: Trend) -> list[Table]:
        noun = "time" if data.by_time else "run"
        kind: ColumnKind = "utc" if data.by_time else "plain"
        tables = []
        for limits in sorted(data.limits, key=lambda one: -one.status):
            wording = words()[limits.status]
            columns = [
                Column("first", f"from {noun}", kind=kind),
                Column("last", f"to {noun}", kind=kind),
                Column("side", "values"),
                Column("at", f"limit of {wording.word}", data.unit),
            ]
            tables.append(Table(self._zones[wording.key][2], columns, f"limits of {wording.word}"))
        return tables


class TrendDistribution(PlotFrame):
    """How the values of a trend are distributed, beside it and on its vertical axis."""

    def __init__(self, name: str, theme: Theme, beside: TrendPlot) -> None:
        self.hover = HoverTool(
            visible=False,
            tooltips=tip(
                [("From", "@bottom{0.[000000]}"), ("To", "@top{0.[000000]}"), ("Runs", "@count")]
            ),
        )
        super().__init__(
            name,
            theme,
            AxisSpec("Runs"),
            AxisSpec(type="none"),
            tools=[self.hover],
            y_range=beside.y_range,
        )
        self.figure.update(min_border_left=TOP)
        self.x_axis.ticker = BasicTicker(min_interval=1, desired_num_ticks=4)
        self.source = ColumnDataSource(
            name=f"{name}-bins", data={"bottom": [], "top": [], "count": []}
        )
        self._bars = self.add(
            Quad(left=0, right="count", bottom="bottom", top="top", line_width=0.5), self.source
        )
        self.restyle(theme)

    def update(self, data: Trend) -> None:
        """Show the histogram of all values of *data*."""
        known = data.known
        edges = np.linspace(
            *widened((float(known.min()), float(known.max()))), plot_options().histogram_bins + 1
        )
        counts = np.histogram(known, edges)[0].astype("<i4")
        put(self.source, {"bottom": edges[:-1], "top": edges[1:], "count": counts})
        columns = [
            Column("bottom", "from", data.unit),
            Column("top", "to", data.unit),
            Column("count", "runs"),
        ]
        self.offer("Distribution", Table(self.source, columns))
        self.title.text = counted(int(known.size), "run")
        self.show_range(x=(0.0, 1.08 * float(counts.max())))

    def style(self) -> None:
        """Colour the glyphs from ``self.theme``."""
        self.title.update(text_font_size=self.theme.font["label"], text_font_style="normal")
        self._bars.glyph.update(fill_color=self.theme["band"], line_color=self.theme["accent"])


def _sizes(data: Trend) -> NDArray[np.uint8]:
    by_word = {one.word: SIZES.get(one.key, PLAIN) for one in words().values()}
    sizes = np.array([by_word[word] for word in data.verdict], np.uint8)
    return sizes if data.known.size <= MANY else sizes - 2


def _table(rows: list[tuple[float, ...]], names: tuple[str, ...]) -> dict[str, NDArray]:
    table = np.array(rows, "<f8").reshape(len(rows), len(names))
    return dict(zip(names, table.T.copy(), strict=True))
