"""The camera seen from the front: one hexagon per pixel, coloured by its value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.models import (
    BasicTicker,
    BasicTickFormatter,
    BoxSelectTool,
    ColumnDataSource,
    DataRange1d,
    HoverTool,
    LassoSelectTool,
    LinearColorMapper,
    Ngon,
    Scatter,
    TapTool,
)
from bokeh.models.annotations import ColorBar
from numpy.typing import NDArray

from dqm_app.plots.frame import AxisSpec, PlotFrame
from dqm_app.plots.options import plot_options
from dqm_app.plots.pixel_numbers import widened
from dqm_app.plots.pixels import (
    GOOD,
    NO_VALUE,
    NOTHING,
    PixelValues,
    pixel_table,
    show_pixels,
)
from dqm_app.plots.tips import tip
from dqm_app.theme import Theme
from dqm_db.content import N_PIXELS, PIXELS_PER_MODULE
from dqm_db.geometry import camera_geometry

CLEAR = "rgba(0, 0, 0, 0)"
CLOSEST, FARTHEST = 0.1, 8.0
"""Widths (m) between which the map can be zoomed: two pixels, and three cameras."""


@dataclass(frozen=True)
class MapColumns:
    """Columns of a source that a map shows: those of values and of states."""

    value: str = "value"
    state: str = "state"


class CameraMap(PlotFrame):
    """A map of the camera with a colour bar.

    A good pixel is a filled hexagon; a bad one carries a cross on its colour; an absent one is an
    empty hexagon with a grey outline; one that was read out and has no value carries a dash in such
    a hexagon, and a cross besides when it is bad. Picked pixels have a thick outline;
    colours stay what they are, so that the colour bar holds for all.

    Parameters
    ----------
    name : str
    theme : Theme
    source : ColumnDataSource
        From `PixelSource.source`; may be shared with other plots of the same values.
    mapper : LinearColorMapper
        Colours of the values; may be shared likewise.
    columns : MapColumns, optional
        Which columns of *source* it shows.
    palette : str
        Of the theme.
    beside : CameraMap, optional
        Another one of the same size, with which it zooms and pans.
    outline : float
        Width (px) of the outline of picked pixels; small maps need a thin one.
    """

    aspect = True

    def __init__(
        self,
        name: str,
        theme: Theme,
        source: ColumnDataSource,
        mapper: LinearColorMapper,
        *,
        columns: MapColumns | None = None,
        palette: str = "value",
        beside: CameraMap | None = None,
        outline: float = 3.0,
    ) -> None:
        self._columns = columns if columns is not None else MapColumns()
        self._palette = palette
        tap, box, lasso = TapTool(visible=False), BoxSelectTool(), LassoSelectTool(continuous=False)
        self.hover = HoverTool(tooltips="", point_policy="follow_mouse", limit=1, visible=False)
        ranges: list[Any] = [
            DataRange1d(range_padding=0.015, min_interval=CLOSEST, max_interval=FARTHEST)
            if beside is None
            else getattr(beside, f"{axis}_range")
            for axis in "xy"
        ]
        super().__init__(
            name,
            theme,
            AxisSpec(type="none"),
            AxisSpec(type="none"),
            tools=[tap, box, lasso, self.hover],
            active_drag=box,
            active_tap=tap,
            x_range=ranges[0],
            y_range=ranges[1],
        )
        geometry = camera_geometry()
        self.source = source
        self.mapper = mapper
        self._outlines = LinearColorMapper(low=GOOD - 0.5, high=NO_VALUE + 0.5)
        shape: dict[str, Any] = {
            "x": "x",
            "y": "y",
            "radius": geometry.pixel_radius,
            "angle": geometry.pixel_rotation,
            "n": 6,
            "fill_color": {"field": self._columns.value, "transform": mapper},
            "line_color": {"field": self._columns.state, "transform": self._outlines},
        }
        self._picked = Ngon(**{**shape, "line_width": outline})
        self.pixels = self.add(
            Ngon(**shape, line_width=1),
            source,
            selection_glyph=self._picked,
            nonselection_glyph=None,
            name=f"{name}-pixels",
        )
        self.bad = ColumnDataSource(
            name=f"{name}-bad",
            data={"x": np.empty(0, "<f4"), "y": np.empty(0, "<f4"), "marker": []},
        )
        mark: dict[str, Any] = {"x": "x", "y": "y", "marker": {"field": "marker"}, "size": 9}
        self._halo = self.add(Scatter(**mark, line_width=4.5), self.bad)
        self._crosses = self.add(Scatter(**mark, line_width=1.8), self.bad)
        self._pointed: Ngon | None = None
        self.hover.renderers = [self.pixels]
        for tool in (tap, box, lasso):
            tool.renderers = [self.pixels]
        for axis_range in ranges:
            shown = axis_range.renderers if beside is not None else []
            axis_range.renderers = [*shown, self.pixels]
        self._ticks = BasicTicker(desired_num_ticks=8)
        self.colour_bar = _colour_bar(mapper, self._ticks)
        # room for any label: Bokeh does not lay out again when the labels of a colour bar get wider
        self.figure.min_border_right = 92
        self.figure.add_layout(self.colour_bar, "right")
        self.restyle(theme)

    def update(self, data: PixelValues) -> None:
        """Show *data*; pixels that are picked stay picked."""
        show_pixels(self.source, data)
        self.dress(
            title=("" if data.modules is None else "By module: ") + data.title,
            unit=data.unit,
            limits=data.auto,
            tooltips=pixel_tooltips(data),
            bad=data.flagged,
            valueless=data.state == NO_VALUE,
            reason=NOTHING if data.nothing else None,
        )
        self.offer(f"Map: {data.title}", pixel_table(self.source, data), quantity=data.quantity)

    def dress(
        self,
        *,
        title: str,
        unit: str,
        limits: tuple[float, float],
        tooltips: str,
        bad: NDArray[np.bool_],
        valueless: NDArray[np.bool_],
        reason: str | None = None,
    ) -> None:
        """Say what the values are that the source has; `update` does both.

        Parameters
        ----------
        title : str
            Of the figure.
        unit : str
            Of the colour bar.
        limits : tuple of float
            Of the colours; may be empty.
        tooltips : str
            HTML, see `dqm_app.plots.tips.tip`.
        bad, valueless : ndarray of bool, shape (1855,)
            Which pixels carry a cross and a dash.
        reason : str, optional
            Why there is no value at all.
        """
        self.explain(reason)
        self.colour_bar.visible = reason is None
        low, high = widened(limits) if not limits[1] > limits[0] else limits
        self.mapper.update(low=low, high=high)
        self.colour_bar.title = unit
        self._ticks.min_interval = 1 if unit in plot_options().counts else 0
        self.title.text = title
        self.hover.tooltips = tooltips
        # where none has a value, the words say it
        self._mark(bad, valueless & (reason is None))

    def point_out(self) -> None:
        """Make room for pixels that another plot points at, see ``static/plots_pointed.js``."""
        geometry = camera_geometry()
        self._pointed = Ngon(
            x="x",
            y="y",
            radius=geometry.pixel_radius,
            angle=geometry.pixel_rotation,
            n=6,
            fill_color=None,
            line_width=5,
            line_color=self.theme["text"],
        )
        empty = {"x": np.empty(0), "y": np.empty(0)}
        self.add(self._pointed, ColumnDataSource(name=f"{self.figure.name}-pointed", data=empty))

    def clear(self, reason: str) -> None:
        """Show no values, and say why."""
        self.source.data.update({self._columns.value: np.full(N_PIXELS, np.nan, "<f4")})
        self.colour_bar.visible = False
        self.offer("Map")
        self._mark(np.zeros(N_PIXELS, np.bool_), np.zeros(N_PIXELS, np.bool_))
        self.explain(reason)

    def style(self) -> None:
        """Colour the glyphs from ``self.theme``."""
        theme = self.theme
        self.mapper.update(palette=list(theme.palettes[self._palette]), nan_color=CLEAR)
        self._outlines.palette = [theme["surface"]] * 2 + [theme["absent"]] * 2
        self._picked.line_color = theme["pick"]
        if self._pointed is not None:
            self._pointed.line_color = theme["text"]
        self._halo.glyph.line_color = theme["bad_halo"]
        self._crosses.glyph.line_color = theme["bad"]

    def _mark(self, bad: NDArray[np.bool_], valueless: NDArray[np.bool_]) -> None:
        geometry = camera_geometry()
        pixels = np.concatenate([np.flatnonzero(bad), np.flatnonzero(valueless)])
        markers = ["x"] * int(bad.sum()) + ["dash"] * int(valueless.sum())
        places = geometry.x[pixels].astype("<f4"), geometry.y[pixels].astype("<f4")
        if not np.array_equal(places[0], self.bad.data["x"]) or markers != self.bad.data["marker"]:
            self.bad.data = {"x": places[0], "y": places[1], "marker": markers}


def _colour_bar(mapper: LinearColorMapper, ticks: BasicTicker) -> ColorBar:
    return ColorBar(
        color_mapper=mapper,
        ticker=ticks,
        formatter=BasicTickFormatter(power_limit_high=7, power_limit_low=-4),
        width=14,
        padding=6,
        label_standoff=6,
        title_standoff=8,
    )


def pixel_tooltips(data: PixelValues) -> str:
    """What is said about the pixel under the pointer."""
    unit = f" {data.unit}" if data.unit else ""
    flagged = [("Flagged bad in", "@bad_fraction{0.0 %} of events")] if data.mask else []
    value, place = f"@value{{0.[00000]}}{unit}", ("Position", "@x{0.000} m, @y{0.000} m")
    if data.modules is not None:
        return tip(
            [
                ("Module", "@module"),
                ("Mean of its pixels", value),
                ("Their standard deviation", f"@std{{0.[00000]}}{unit}"),
                ("Pixels in both", f"@pixels of {PIXELS_PER_MODULE}"),
                ("Pixel here", "@pixel, @words"),
            ]
        )
    return tip(
        [
            ("Pixel", "@pixel"),
            ("Module", "@module"),
            place,
            ("Value", value),
            *flagged,
            ("State", "@words"),
        ]
    )
