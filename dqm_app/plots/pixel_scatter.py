"""Value against pixel id: what the map hides, order along the modules, is plain here."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.models import (
    BasicTicker,
    BoxSelectTool,
    ColumnDataSource,
    Grid,
    HoverTool,
    LinearAxis,
    Range1d,
    Scatter,
    TapTool,
    VStrip,
)

from dqm_app.plots.camera_map import pixel_tooltips
from dqm_app.plots.frame import AxisSpec, PlotFrame
from dqm_app.plots.pixel_numbers import widened
from dqm_app.plots.pixels import ABSENT, NO_VALUE, NOTHING, PixelValues, pixel_table
from dqm_app.theme import Theme
from dqm_db.content import N_PIXELS, PIXELS_PER_MODULE


class PixelScatter(PlotFrame):
    """Value of every pixel against its id.

    The grid lines, and the axis above, are the boundaries of the modules: as many as there is room
    for, all of them when zoomed in. Bad pixels are crosses; where pixels are absent the background
    is hatched.

    Parameters
    ----------
    source : ColumnDataSource
        The source of the map beside it, so that values are sent once.
    """

    def __init__(self, name: str, theme: Theme, source: ColumnDataSource) -> None:
        tap, box = TapTool(visible=False), BoxSelectTool()
        self.hover = HoverTool(tooltips="", point_policy="snap_to_data", limit=1, visible=False)
        super().__init__(
            name,
            theme,
            AxisSpec("Pixel id"),
            AxisSpec(" "),
            tools=[tap, box, self.hover],
            active_drag=box,
            active_tap=tap,
        )
        # pixel p of module m covers [p − ½, p + ½], so module m covers [m, m + 1] of the axis above
        first, last = -10.5, N_PIXELS + 9.5
        self.show_range(x=(first, last), least=PIXELS_PER_MODULE)
        edges = (first + 0.5) / PIXELS_PER_MODULE, (last + 0.5) / PIXELS_PER_MODULE
        modules = Range1d(
            start=edges[0],
            end=edges[1],
            bounds=edges,
            min_interval=self.x_range.min_interval / PIXELS_PER_MODULE,
        )
        self.figure.extra_x_ranges = {"module": modules}
        module_axis = LinearAxis(
            x_range_name="module",
            ticker=BasicTicker(min_interval=1, desired_num_ticks=10, num_minor_ticks=0),
        )
        self.figure.above.append(module_axis)
        # the title is the label of the axis under it: one row less
        self.title.update(text="Module", align="center")
        self.figure.center = [
            Grid(axis=module_axis, dimension=0),
            *(part for part in self.figure.center if getattr(part, "axis", None) != self.x_axis),
        ]
        self.source = source
        self.absent = ColumnDataSource(
            name=f"{name}-absent", data={"from": np.empty(0), "to": np.empty(0)}
        )
        self._strips = self.add(VStrip(x0="from", x1="to", line_color=None), self.absent)
        place: dict[str, Any] = {"x": "pixel", "y": "value"}
        self._plain = Scatter(**place, size=4, line_color=None)
        self._picked = Scatter(**place, size=8, line_width=1)
        self._rest = Scatter(**place, size=4, line_color=None, fill_alpha=0.35)
        self.pixels = self.add(
            self._plain,
            source,
            selection_glyph=self._picked,
            nonselection_glyph=self._rest,
            name=f"{name}-pixels",
        )
        self.bad = ColumnDataSource(
            name=f"{name}-bad", data={"pixel": np.empty(0, "<i2"), "value": np.empty(0)}
        )
        self._crosses = self.add(
            Scatter(x="pixel", y="value", marker="x", size=8, line_width=1.6), self.bad
        )
        self.hover.renderers = [self.pixels]
        for tool in (tap, box):
            tool.renderers = [self.pixels]
        self.restyle(theme)

    def update(self, data: PixelValues) -> None:
        """Show *data*, which the map has already put into the common source."""
        self.explain(NOTHING if data.nothing else None)
        self.offer("Values by pixel id", pixel_table(self.source, data), quantity=data.quantity)
        self.y_axis.axis_label = _axis_label(data)
        self.hover.tooltips = pixel_tooltips(data)
        self.show_range(y=widened(data.full, 0.06))
        valueless = int((data.state == NO_VALUE).sum())
        self.x_axis.axis_label = "Pixel id" + (
            f" – {valueless:,} without a value not drawn" if valueless else ""
        )
        bad = np.flatnonzero(data.flagged & np.isfinite(data.values))
        self.bad.data = {"pixel": bad.astype("<i2"), "value": data.values[bad]}
        starts, ends = _stretches(np.flatnonzero(data.state == ABSENT))
        if not np.array_equal(starts, self.absent.data["from"]):
            self.absent.data = {"from": starts, "to": ends}

    def style(self) -> None:
        """Colour the glyphs from ``self.theme``."""
        theme = self.theme
        self.title.update(text_font_size=theme.font["label"], text_font_style="normal")
        self._plain.fill_color = self._rest.fill_color = theme["accent"]
        self._picked.update(fill_color=theme["pick"], line_color=theme["surface"])
        self._crosses.glyph.line_color = theme["bad"]
        self._strips.glyph.update(
            fill_color=theme["grid"],
            fill_alpha=0.6,
            hatch_pattern="right_diagonal_line",
            hatch_color=theme["absent"],
            hatch_alpha=0.6,
            hatch_scale=6,
        )


def _axis_label(data: PixelValues) -> str:
    return f"Value [{data.unit}]" if data.unit else "Value"


def _stretches(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges of the runs of consecutive ids, half a pixel beyond the first and the last."""
    if pixels.size == 0:
        return np.empty(0), np.empty(0)
    breaks = np.flatnonzero(np.diff(pixels) > 1)
    first = pixels[np.concatenate([[0], breaks + 1])]
    last = pixels[np.concatenate([breaks, [pixels.size - 1]])]
    return first - 0.5, last + 0.5
