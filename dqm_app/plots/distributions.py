"""How the values of the pixels are distributed in two runs."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from bokeh.models import BasicTicker, ColumnDataSource, HoverTool, Quad, Step
from bokeh.models.annotations import Span
from numpy.typing import NDArray

from dqm_app.plots.export import Column, Table
from dqm_app.plots.frame import AxisSpec, PlotFrame
from dqm_app.plots.legend import legend
from dqm_app.plots.numbers import alike, counted
from dqm_app.plots.options import plot_options
from dqm_app.plots.pixel_numbers import pixel_histogram, widened
from dqm_app.plots.pixel_pair import PixelPair
from dqm_app.plots.pixels import NOTHING
from dqm_app.plots.tips import tip
from dqm_app.theme import Theme


class DistributionPair(PlotFrame):
    """Counts of pixels per value in the same bins: A as filled bars, B as an outline over them.

    Lines are the medians, that of B dashed. Only pixels that count in their run are drawn: not bad
    ones, unless badness itself is shown.
    """

    def __init__(self, name: str, theme: Theme) -> None:
        self.hover = HoverTool(visible=False, tooltips="", mode="vline")
        super().__init__(
            name, theme, AxisSpec(" "), AxisSpec("Pixels"), tools=[self.hover], zoom="width"
        )
        self._ticks = BasicTicker()
        self.x_axis.ticker = self._ticks
        self.y_axis.ticker = BasicTicker(min_interval=1)
        self.source = ColumnDataSource(
            name=f"{name}-bins",
            data={key: np.empty(0) for key in ("left", "right", "a", "b")},
        )
        self.outline = ColumnDataSource(
            name=f"{name}-outline", data={"edge": np.empty(0), "b": np.empty(0)}
        )
        self._a = self.add(
            Quad(left="left", right="right", bottom=0, top="a", line_color=None), self.source
        )
        self._b = self.add(
            Step(x="edge", y="b", mode="after", line_width=2, line_dash="solid"), self.outline
        )
        self._medians = [
            Span(dimension="height", line_width=1.5),
            Span(dimension="height", line_width=1.5, line_dash="dashed"),
        ]
        self.legend = legend(("A", self._a), ("B", self._b))
        self._named: list[Any] = list(self.legend.items)
        self.figure.center.extend([*self._medians, self.legend])
        self.hover.renderers = [self._a]
        self.restyle(theme)

    def update(self, pair: PixelPair, runs: tuple[str, str]) -> None:
        """Show both runs of *pair*, called *runs*; only A when there is no B."""
        a, b = pair.a, pair.b
        shown = [a] if b is None else [a, b]
        values = [run.values[run.counted] for run in shown]
        every = np.concatenate(values)
        bins = pixel_histogram(a.unit, every, np.zeros(every.size, np.bool_), pair.auto, pair.full)
        self.explain(_why_empty(every, bins.zeros))
        left_out = [int(np.count_nonzero(one == 0)) for one in values]
        if bins.zeros is not None:
            values = [one[one != 0] for one in values]
        counts = [np.histogram(one, bins.edges)[0].astype("<i4") for one in values]
        counts_b = counts[1] if b is not None else np.zeros(len(counts[0]), "<i4")
        self.source.data = {
            "left": bins.edges[:-1],
            "right": bins.edges[1:],
            "a": counts[0],
            "b": counts_b,
        }
        edges = np.concatenate([bins.edges[:1], bins.edges])
        self.outline.data = (
            {"edge": edges, "b": np.concatenate([[0], counts_b, [0]])}
            if b is not None
            else {"edge": np.empty(0), "b": np.empty(0)}
        )
        self.show_range(
            x=widened((float(bins.edges[0]), float(bins.edges[-1])), 0.02),
            y=(0.0, max(1.0, 1.12 * float(max(count.max() for count in counts)))),
        )
        self.legend.location = _corner(counts)
        self._tell(pair, runs, left_out if bins.zeros is not None else None)
        outside = bins.below + bins.above
        unit = f" [{a.unit}]" if a.unit else ""
        self.x_axis.axis_label = f"Value{unit}" + (
            f" – {counted(outside, 'pixel')} outside not drawn" if outside else ""
        )
        self._ticks.min_interval = 1 if a.unit in plot_options().counts else 0
        self.offer(
            "Distributions",
            Table(self.source, _columns(a.unit, runs, both=b is not None)),
            quantity=a.quantity,
            notes=[f"A is {runs[0]}, B is {runs[1]}"],
        )

    def style(self) -> None:
        """Colour the glyphs from ``self.theme``."""
        theme = self.theme
        # numbers, and room beside them for the tools
        self.title.update(text_font_size=theme.font["label"], text_font_style="normal")
        self._a.glyph.fill_color = theme["band"]
        self._b.glyph.line_color = theme.series[1]
        self._medians[0].line_color = theme["accent"]
        self._medians[1].line_color = theme.series[1]

    def _tell(self, pair: PixelPair, runs: tuple[str, str], zeros: list[int] | None) -> None:
        unit = f" {pair.a.unit}" if pair.a.unit else ""
        told = []
        self.legend.visible = not (pair.a.nothing and (pair.b is None or pair.b.nothing))
        for at, (run, item) in enumerate(zip((pair.a, pair.b), self._named, strict=True)):
            known = run is not None and not run.nothing
            item.visible = known
            self._medians[at].visible = known and zeros is None
            if run is None or not known:
                continue
            numbers = run.statistics
            self._medians[at].location = numbers.median
            median, std = alike(numbers.std, numbers.median, numbers.std)
            item.label = {"value": f"{'AB'[at]}: {runs[at]}"}
            told.append(
                f"{'AB'[at]}: median {median}, std {std}"
                if zeros is None
                else f"{'AB'[at]}: {counted(zeros[at], 'pixel')} at 0 not drawn"
            )
        self.title.text = "    ".join(told) or " "
        self.hover.tooltips = tip(
            [
                ("From", f"@left{{0.[00000]}}{unit}"),
                ("To", f"@right{{0.[00000]}}{unit}"),
                (f"A: {runs[0]}", "@a"),
                *([(f"B: {runs[1]}", "@b")] if pair.b is not None else []),
            ]
        )


def _why_empty(values: NDArray[np.float64], zeros: int | None) -> str | None:
    if not values.size:
        return NOTHING
    return "Every pixel with a value is at 0." if zeros == values.size else None


def _corner(counts: list[NDArray[np.int32]]) -> Literal["top_left", "top_right"]:
    """The side where the legend hides less."""
    third = len(counts[0]) // 3
    left, right = (
        max(int(count[part].max(initial=0)) for count in counts)
        for part in (slice(0, third), slice(-third, None))
    )
    return "top_left" if right > left else "top_right"


def _columns(unit: str, runs: tuple[str, str], *, both: bool) -> list[Column]:
    columns = [Column("left", "from", unit), Column("right", "to", unit)]
    columns.append(Column("a", f"pixels in A ({runs[0]})"))
    if both:
        columns.append(Column("b", f"pixels in B ({runs[1]})"))
    return columns
