"""What every plot has: a figure with axes, tools and room for a message, restyled by one call.

Figures are put together from `bokeh.models.Plot` and not with `bokeh.plotting.figure`: the same
picture with a third less work on the server, and only the models that are needed are sent.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from bokeh.models import (
    BasicTickFormatter,
    ColumnDataSource,
    DatetimeAxis,
    DatetimeTickFormatter,
    Grid,
    LinearAxis,
    LinearScale,
    LogAxis,
    LogScale,
    Node,
    PanTool,
    Plot,
    Range1d,
    ResetTool,
    SaveTool,
    Tool,
    Toolbar,
    WheelZoomTool,
)
from bokeh.models.annotations import Label, Title
from bokeh.models.axes import Axis
from bokeh.models.glyph import Glyph
from bokeh.models.ranges import Range
from bokeh.models.renderers import GlyphRenderer
from bokeh.models.tools import Drag, Tap

from dqm_app.plots.export import Table, offered
from dqm_app.theme import Theme

AxisType = Literal["linear", "log", "utc", "none"]
Zoom = Literal["both", "width"]

NARROWEST = 1e-9
"""Smallest part of the whole that a zoom shows."""
RESOLUTION = 5e-14
"""Smallest width of a range over its values: some 200 steps of float64, enough to place ticks."""

LEFT, BOTTOM, RIGHT, TOP = 66, 46, 22, 8
"""Borders in px, fixed so that no change of tick labels moves anything."""

TOOLBAR_STYLE = ":host { --button-color: var(--dqm-outline); }"
"""The tools appear in the row of the title when the pointer is over the figure."""


@dataclass(frozen=True)
class AxisSpec:
    """How one axis of a plot looks.

    Attributes
    ----------
    label : str
    type : str
        ``"utc"`` takes milliseconds since 1970 in UTC; ``"none"`` draws no axis.
    """

    label: str = ""
    type: AxisType = "linear"


class PlotFrame(ABC):
    """A figure with axes, grid, toolbar and a message.

    Subclasses add their renderers and an ``update(...)`` with the data that they show, in which
    they `offer` these for saving as CSV. Its picture every figure can give without that.

    Parameters
    ----------
    name : str
        Name of the figure, by which the browser and tests find it.
    theme : Theme
    x, y : AxisSpec
    tools : sequence of Tool
        In addition to pan, wheel zoom, reset and save. The first one that can be dragged is active.
    x_range, y_range : Range, optional
        To share with another plot, or of another kind.
    zoom : str
        What wheel and pan change; ``"width"`` where the vertical range follows the data in sight.
    """

    aspect: ClassVar[bool] = False
    message_width = 52
    """Characters in a line of a message."""

    def __init__(
        self,
        name: str,
        theme: Theme,
        x: AxisSpec,
        y: AxisSpec,
        *,
        tools: Sequence[Tool] = (),
        active_drag: Drag | None = None,
        active_tap: Tap | None = None,
        x_range: Range | None = None,
        y_range: Range | None = None,
        zoom: Zoom = "both",
    ) -> None:
        pan = PanTool(dimensions=zoom)
        # at its bounds a range glides along; else zooming out near an edge would do nothing
        wheel = WheelZoomTool(visible=False, dimensions=zoom, maintain_focus=self.aspect)
        toolbar = Toolbar(
            tools=[pan, wheel, *tools, ResetTool(), SaveTool()],
            active_drag=active_drag or pan,
            active_scroll=wheel,
            active_tap=active_tap,
            logo=None,
            autohide=True,
            stylesheets=[TOOLBAR_STYLE],
        )
        self._zoom = zoom
        self.theme = theme
        self.x_range: Any = x_range if x_range is not None else Range1d(start=0, end=1)
        self.y_range: Any = y_range if y_range is not None else Range1d(start=0, end=1)
        # never empty: a title that appears later would move everything below it
        self.title = Title(text=" ", standoff=4)
        self._message: Label | None = None
        self._scaffold: list[Axis | Grid] = []
        self.figure = Plot(
            name=name,
            x_range=self.x_range,
            y_range=self.y_range,
            x_scale=_scale(x),
            y_scale=_scale(y),
            toolbar=toolbar,
            toolbar_location="above",
            title=self.title,
            match_aspect=self.aspect,
            lod_threshold=None,
            sizing_mode="stretch_both",
            min_border_left=LEFT if y.type != "none" else TOP,
            min_border_right=RIGHT,
            min_border_top=TOP,
            min_border_bottom=BOTTOM if x.type != "none" else TOP,
        )
        self.x_axis = self._add_axis(x, "below")
        self.y_axis = self._add_axis(y, "left")

    def explain(self, reason: str | None) -> None:
        """Write in the place of axes and grid why there is nothing to show; None undoes it."""
        if reason is not None and self._message is None:
            self._message = Label(
                x=Node(target="frame", symbol="center"),
                y=Node(target="frame", symbol="center"),
                text_align="center",
            )
            self._message.update(anchor="center", padding=8)
            self.figure.center.append(self._message)
            self._style_message()
        if self._message is not None:
            self._message.update(
                text=_wrapped(reason or "", self.message_width), visible=reason is not None
            )
            for drawn in self._scaffold:  # ticks of nothing would say something
                drawn.visible = reason is None

    def offer(
        self,
        title: str,
        *tables: Table,
        quantity: str | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        """Let the user save *tables*; every plot says so whenever it is updated.

        Parameters
        ----------
        title : str
            What the plot is, in the menu: a few words that differ from those of the others beside.
        *tables : Table
            None when there is nothing to save now.
        quantity : str, optional
            EXTNAME of what is shown, when that is not the quantity of the view.
        notes : sequence of str
            Lines for the head of the file.
        """
        self.figure.tags = [{"export": offered(title, tables, quantity, notes)}]

    def restyle(self, theme: Theme) -> None:
        """Take the colours and fonts of *theme*."""
        self.theme = theme
        theme.apply(self.figure)
        self._style_message()
        self.style()

    @abstractmethod
    def style(self) -> None:
        """Colour the glyphs from ``self.theme``."""

    def add(self, glyph: Glyph, source: ColumnDataSource, **options: Any) -> GlyphRenderer:
        """Draw *glyph* with the columns of *source*."""
        renderer = GlyphRenderer(glyph=glyph, data_source=source, **options)
        self.figure.renderers.append(renderer)
        return renderer

    def show_range(
        self,
        x: tuple[float, float] | None = None,
        y: tuple[float, float] | None = None,
        *,
        least: float = 0.0,
        keep: str = "",
    ) -> None:
        """Show these data coordinates, also after a reset; no zoom leaves them.

        Parameters
        ----------
        x : tuple of float, optional
            Left and right edge; None leaves them.
        y : tuple of float, optional
            Bottom and top edge; None leaves them.
        least : float
            Horizontal width below which zooming stops; numerical limits hold in any case.
        keep : str
            ``"x"``, ``"y"`` or both: the user may have zoomed in, which is kept as far as it lies
            within these coordinates.
        """
        for name, axis, limits, width in (
            ("x", self.figure.x_range, x, least),
            ("y", self.figure.y_range, y, 0.0),
        ):
            if limits is not None:
                whole_start, whole_end = limits
                least_width = max(width, narrowest(whole_start, whole_end))
                start, end = (
                    _zoomed(axis, limits, least_width) if name in keep else None
                ) or limits
                # in this order: the browser takes no edge beyond the bounds that it knows
                axis.update(
                    bounds=None if axis is self.y_range and self._zoom == "width" else limits,
                    start=start,
                    end=end,
                    reset_start=whole_start,
                    reset_end=whole_end,
                    min_interval=least_width,
                )

    def show_height(self, y: tuple[float, float]) -> None:
        """Show these vertical data coordinates until the next reset."""
        self.y_range.update(start=y[0], end=y[1])

    @property
    def x_limits(self) -> tuple[float, float] | None:
        """The data coordinates at the left and right edge, the smaller first.

        None when the browser sent something that is no range.
        """
        start, end = sorted((float(self.x_range.start), float(self.x_range.end)))
        return (start, end) if math.isfinite(start) and math.isfinite(end) else None

    def on_move(self, callback: Callable[[], None]) -> None:
        """Call *callback* whenever an end of the horizontal range changes."""
        for edge in ("start", "end"):
            self.x_range.on_change(edge, lambda _attr, _old, _new: callback())

    def _style_message(self) -> None:
        if self._message is not None:
            self._message.update(
                text_color=self.theme["text"],
                text_font=self.theme.font["family"],
                text_font_size=self.theme.font["title"],
                background_fill_color=self.theme["surface"],
            )

    def _add_axis(self, spec: AxisSpec, place: Literal["below", "left"]) -> Axis:
        axis = _axis(spec)
        if spec.type == "none":
            return axis  # not drawn, so not sent either
        grid = Grid(axis=axis, dimension=0 if place == "below" else 1)
        getattr(self.figure, place).append(axis)
        self.figure.center.insert(0, grid)
        self._scaffold += [axis, grid]
        return axis


def narrowest(start: float, end: float) -> float:
    """The least width to which a range from *start* to *end* can be zoomed."""
    return max(NARROWEST * abs(end - start), RESOLUTION * max(abs(start), abs(end)))


def _zoomed(axis: Any, limits: tuple[float, float], least: float) -> tuple[float, float] | None:
    """What of *limits* a range was zoomed to; None when it shows all, or nothing of them."""
    if axis.reset_start is None or (axis.start, axis.end) == (axis.reset_start, axis.reset_end):
        return None
    start, end = max(float(axis.start), limits[0]), min(float(axis.end), limits[1])
    return (start, end) if end - start >= 0.999 * least else None


def _scale(spec: AxisSpec) -> LinearScale | LogScale:
    return LogScale() if spec.type == "log" else LinearScale()


def _axis(spec: AxisSpec) -> Axis:
    if spec.type == "log":
        return LogAxis(axis_label=spec.label)
    if spec.type == "utc":
        # seconds stay readable down to the microsecond, and the date is always in sight
        formats = DatetimeTickFormatter(
            microseconds="%H:%M:%S.%f",
            milliseconds="%H:%M:%S.%3N",
            seconds="%H:%M:%S",
            minsec="%H:%M:%S",
            minutes="%H:%M",
            hourmin="%H:%M",
            hours="%d %b %H:%M",
        )
        return DatetimeAxis(axis_label=spec.label, formatter=formats)
    return LinearAxis(
        axis_label=spec.label, formatter=BasicTickFormatter(power_limit_high=7, power_limit_low=-4)
    )


def _wrapped(text: str, width: int) -> str:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
