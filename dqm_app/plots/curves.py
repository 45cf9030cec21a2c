"""Curves of what the user has picked, on top of a plot of the whole camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool, MultiLine

from dqm_app.plots.export import Column, Table
from dqm_app.plots.frame import PlotFrame
from dqm_app.plots.numbers import counted
from dqm_app.plots.options import plot_options
from dqm_app.plots.tips import tip
from dqm_app.theme import Theme


@dataclass(frozen=True)
class Curves:
    """Some curves over common positions.

    Attributes
    ----------
    ids : tuple of int
        Pixels or modules, one per curve.
    values : ndarray of float64, shape (curves, points)
    left_out : int
        How many more are picked than are drawn.
    """

    ids: tuple[int, ...]
    values: np.ndarray
    left_out: int = 0

    @classmethod
    def of(cls, rows: np.ndarray, ids: Sequence[int]) -> Curves:
        """The rows *ids* of a matrix, at most as many as are drawn."""
        drawn = tuple(ids[: plot_options().picked_curves])
        return cls(drawn, np.ascontiguousarray(rows[list(drawn)], "<f8"), len(ids) - len(drawn))

    def drawn_of(self, noun: str) -> str:
        """How many of the picked ones are drawn, in words."""
        return (
            f"{len(self.ids)} of {counted(len(self.ids) + self.left_out, f'picked {noun}')} drawn"
        )


class PickedCurves:
    """One line per picked pixel or module, named in the legend and under the pointer.

    Parameters
    ----------
    plot : PlotFrame
        Where they are drawn.
    name : str
        Of the source.
    noun : str
        What an id is: ``"pixel"`` or ``"module"``.
    position : str
        What the horizontal axis counts.
    """

    def __init__(self, plot: PlotFrame, name: str, noun: str, position: str) -> None:
        self._noun = noun
        self._position = position
        self._colours: tuple[str, ...] = plot.theme.series
        self.source = ColumnDataSource(
            name=name,
            data={"x": [], "y": [], "id": [], "label": [], "colour": []},
            tags=[noun],  # for static/plots_pointed.js
        )
        self._pointed = MultiLine(xs="x", ys="y", line_width=3.5)
        self.lines = plot.add(
            MultiLine(xs="x", ys="y", line_color="colour", line_width=1.8),
            self.source,
            hover_glyph=self._pointed,
        )
        self.hover = HoverTool(
            visible=False, renderers=[self.lines], line_policy="nearest", tooltips="", limit=1
        )
        plot.figure.toolbar.tools.append(self.hover)

    def update(self, curves: Curves | None, unit: str) -> None:
        """Draw *curves*, those with values; none takes all away."""
        if curves is None:
            if self.source.data["id"]:
                self.source.data = {key: [] for key in self.source.data}
            return
        drawn = [row for row in range(len(curves.ids)) if np.isfinite(curves.values[row]).any()]
        positions = np.arange(curves.values.shape[1], dtype="<i4")
        ids = [curves.ids[row] for row in drawn]
        few = len(ids) <= len(self._colours)
        self.lines.glyph.update(line_width=1.8 if few else 1.0, line_alpha=1.0 if few else 0.5)
        self.source.data = {
            "x": [positions for _ in drawn],
            "y": [curves.values[row] for row in drawn],
            "id": ids,
            "label": self._labels(ids),
            "colour": self._colour(len(ids)),
        }
        self.hover.tooltips = tip(
            [
                (self._noun.capitalize(), "@id"),
                (self._position, "$snap_x{0}"),
                ("Value", f"$snap_y{{0.000}} {unit}"),
            ]
        )

    def table(self, unit: str) -> Table:
        """What is saved of them: a line per curve and position."""
        columns = [
            Column("id", self._noun),
            Column("x", self._position.lower(), kind="list"),
            Column("y", "value", unit, kind="list"),
        ]
        return Table(self.source, columns, f"picked {self._noun}s")

    def style(self, theme: Theme) -> None:
        """Take the series colours of *theme*."""
        self._colours = theme.series
        self._pointed.line_color = theme["pick"]
        count = len(self.source.data["id"])
        if count:
            self.source.data["colour"] = self._colour(count)

    def _labels(self, ids: Sequence[int]) -> list[str]:
        if len(ids) <= len(self._colours):
            return [f"{self._noun.capitalize()} {number}" for number in ids]
        return [f"Picked {self._noun}s"] * len(ids)

    def _colour(self, count: int) -> list[str]:
        # more lines than colours: one colour for all says more than colours that repeat
        if count <= len(self._colours):
            return list(self._colours[:count])
        return [self._colours[1]] * count
