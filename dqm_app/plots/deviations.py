"""All quantities of one pixel over runs: how far each is from the rest of the camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from bokeh.models import (
    ColumnDataSource,
    FixedTicker,
    HoverTool,
    Image,
    LinearColorMapper,
    Quad,
    TapTool,
)
from bokeh.models.ranges import Range
from numpy.typing import NDArray

from dqm_app.plots.colours import shades
from dqm_app.plots.columns import GAP_STEPS, put
from dqm_app.plots.export import Column, Table
from dqm_app.plots.frame import AxisSpec, PlotFrame
from dqm_app.plots.run_axis import RunAxes
from dqm_app.plots.tips import tip
from dqm_app.theme import Theme

CLIPPED = 5.0
"""Widths of the camera at which the colours end."""
COLUMNS = 1000
"""Most columns of the picture."""
LABEL_ROWS = 2.6
"""Least distance of the names of two sections, in strips."""


@dataclass(frozen=True)
class Deviations:
    """Distances from the camera's median, in its widths.

    Attributes
    ----------
    names, titles, sections : tuple of str, length quantities
    rows : ndarray of float32, shape (quantities, columns)
        Of the runs of a column the one that is farthest off; NaN where there is none.
    first, last : float
        Left edge of the first column and right edge of the last one, as run numbers.
    """

    names: tuple[str, ...]
    titles: tuple[str, ...]
    sections: tuple[str, ...]
    rows: NDArray[np.float32]
    first: float
    last: float


@dataclass(frozen=True)
class Columns:
    """Which runs share a column of the picture.

    Attributes
    ----------
    starts : ndarray of intp, shape (columns with runs,)
        The first run of each, as an index.
    source : ndarray of intp, shape (columns,)
        From which of these a column has its value: its own runs, else the nearest ones; -1 where
        all are far.
    first, last : float
        Edges as run numbers.
    """

    starts: NDArray[np.intp]
    source: NDArray[np.intp]
    first: float
    last: float

    @classmethod
    def of(cls, runs: NDArray[np.integer]) -> Columns:
        """For ascending *runs*, at least one; at most `COLUMNS`."""
        first, last = float(runs[0]) - 0.5, float(runs[-1]) + 0.5
        count = int(min(COLUMNS, last - first))
        width = (last - first) / count
        column = np.minimum(((runs - first) / width).astype(np.intp), count - 1)
        starts = np.flatnonzero(np.r_[True, np.diff(column) > 0])
        held = column[starts]
        every = np.arange(count)
        right = np.minimum(np.searchsorted(held, every), len(held) - 1)
        left = np.maximum(right - 1, 0)
        nearest = np.where(every - held[left] < held[right] - every, left, right)
        # between neighbours that the rest of the page draws a line between
        usual = np.median(np.diff(runs)) if len(runs) > 1 else 1.0
        far = np.abs(held[nearest] - every) * width > GAP_STEPS * usual / 2
        return cls(starts, np.where(far & (held[nearest] != every), -1, nearest), first, last)

    def farthest(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """Of *values*, shape (runs,), the one farthest from 0 in each column; NaN without any."""
        known = np.isfinite(values)
        low = np.minimum.reduceat(np.where(known, values, np.inf), self.starts)
        high = np.maximum.reduceat(np.where(known, values, -np.inf), self.starts)
        found = np.where(-low > high, low, high)
        found = np.append(np.where(np.isfinite(found), found, np.nan), np.nan)
        return found[self.source].astype("<f4")


def distance(
    values: NDArray[np.floating],
    median: NDArray[np.floating],
    sigma: NDArray[np.floating],
    std: NDArray[np.floating],
) -> NDArray[np.float64]:
    """How many widths *values* are from the camera's *median*; all shapes (runs,).

    The width is *sigma*, or *std* where more than half of the pixels are at the median.
    """
    away = np.asarray(values, "<f8") - median
    width = np.where(sigma > 0, sigma, std)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(away == 0, 0.0, np.where(width > 0, away / width, np.nan))


class DeviationStrips(PlotFrame):
    """A strip per quantity, blue below and red above the camera; a tap chooses the quantity.

    Parameters
    ----------
    x_range : Range
        That of the plot above it.
    """

    def __init__(self, name: str, theme: Theme, x_range: Range) -> None:
        self.hover = HoverTool(
            visible=False,
            tooltips=tip(
                [
                    ("Quantity", "@title"),
                    ("Run", "$x{0}"),
                    ("From the camera's median", "@image{+0.0} widths"),
                    ("", "click shows this quantity"),
                ]
            ),
        )
        tap = TapTool(visible=False)
        super().__init__(
            name,
            theme,
            AxisSpec("Run"),
            AxisSpec(),
            tools=[tap, self.hover],
            active_tap=tap,
            x_range=x_range,
            zoom="width",
        )
        RunAxes(self.x_axis)
        self.mapper = LinearColorMapper(low=-CLIPPED, high=CLIPPED, palette=[theme["surface"]])
        self.source = ColumnDataSource(
            name=f"{name}-rows", data={key: [] for key in ("image", "y", "name", "title")}
        )
        image = Image(image="image", x=0, y="y", dw=1, dh=1, color_mapper=self.mapper)
        self.strips = self.add(image, self.source, selection_glyph=image, nonselection_glyph=image)
        self.chosen = ColumnDataSource(name=f"{name}-chosen", data={"bottom": [], "top": []})
        self._frame = self.add(
            Quad(left=0, right=1, bottom="bottom", top="top", fill_color=None, line_width=2),
            self.chosen,
        )
        self.hover.renderers = tap.renderers = [self.strips]
        self._names: tuple[str, ...] = ()
        self.restyle(theme)

    def clear(self, reason: str) -> None:
        """Show nothing, and say why."""
        self._names = ()
        self.source.data = {key: [] for key in self.source.data}
        self.choose("")
        self.title.text = " "
        self.offer("All quantities")
        self.explain(reason)

    def update(self, data: Deviations) -> None:
        """Show *data*, the first quantity at the top."""
        self.explain(None)
        count = len(data.names)
        self._names = data.names
        width = data.last - data.first
        self.strips.glyph.update(x=data.first, dw=width)
        self._frame.glyph.update(left=data.first, right=data.last)
        self.source.data = {
            "image": [row.reshape(1, -1) for row in data.rows],
            "y": list(range(count - 1, -1, -1)),
            "name": list(data.names),
            "title": list(data.titles),
        }
        self._label(data.sections)
        self.y_range.update(start=0, end=count, reset_start=0, reset_end=count, bounds=(0, count))
        self.title.text = (
            "All quantities: distance from the camera's median in its robust widths "
            "(of the runs of a column the farthest)"
        )
        step = width / data.rows.shape[1]
        columns = [
            Column("name", "quantity"),
            Column("title", "title"),
            Column("image", "from run", kind="steps", start=data.first, step=step),
            Column("image", "distance from the camera's median", "robust widths", kind="list"),
        ]
        self.offer("All quantities", Table(self.source, columns))

    def choose(self, quantity: str) -> None:
        """Frame the strip of *quantity*, if there is one."""
        rows = [
            len(self._names) - 1 - at for at, name in enumerate(self._names) if name == quantity
        ]
        put(self.chosen, {"bottom": rows, "top": [row + 1 for row in rows]})

    def style(self) -> None:
        """Colour the glyphs from ``self.theme``."""
        theme = self.theme
        self.title.update(text_font_size=theme.font["label"], text_font_style="normal")
        self.mapper.update(
            palette=shades(theme.series[0], theme["surface"], theme.series[1]),
            nan_color=theme["outline"],
        )
        self._frame.glyph.line_color = theme["text"]
        self.y_axis.update(major_tick_line_color=None)

    def _label(self, sections: Sequence[str]) -> None:
        """Name each section at the middle of its strips."""
        count = len(sections)
        places: dict[float, str] = {}
        for name in dict.fromkeys(sections):
            rows = [at for at, other in enumerate(sections) if other == name]
            place = count - float(np.mean(rows)) - 0.5
            # the words under the pointer tell of those for which there is no room
            if all(abs(place - other) >= LABEL_ROWS for other in places):
                places[place] = name
        self.y_axis.update(
            ticker=FixedTicker(ticks=sorted(places)),
            major_label_overrides=places,
        )
