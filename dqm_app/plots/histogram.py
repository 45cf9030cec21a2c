"""How the values of the pixels are distributed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from bokeh.models import (
    BasicTicker,
    BoxSelectTool,
    ColumnDataSource,
    HoverTool,
    LinearColorMapper,
    Quad,
    Scatter,
)
from bokeh.models.annotations import BoxAnnotation, Span

from dqm_app.plots.export import Column, Table
from dqm_app.plots.frame import AxisSpec, PlotFrame
from dqm_app.plots.numbers import alike, counted
from dqm_app.plots.options import plot_options
from dqm_app.plots.pixel_numbers import widened
from dqm_app.plots.pixels import NOTHING, PixelValues
from dqm_app.plots.tips import tip
from dqm_app.theme import Theme


class ValueHistogram(PlotFrame):
    """Counts of pixels per value, with mean (solid), median (dashed) and one standard deviation.

    Of values by module it counts modules.

    Where most pixels are at 0 these are left out, and so are mean, median and standard deviation,
    which say little then.

    Bars have the colours of the map; bad pixels are the hatched top of a bar. Dragging a range
    picks the pixels whose values lie in it; ticks under the bars are the picked ones.

    Parameters
    ----------
    pixels : ColumnDataSource
        The source of the map.
    mapper : LinearColorMapper
        The one of the map, so that a colour means the same in both.
    """

    def __init__(
        self, name: str, theme: Theme, pixels: ColumnDataSource, mapper: LinearColorMapper
    ) -> None:
        select = BoxSelectTool(dimensions="width")
        self.hover = HoverTool(visible=False, tooltips="")
        super().__init__(
            name,
            theme,
            AxisSpec(" "),
            AxisSpec("Pixels"),
            tools=[select, self.hover],
            active_drag=select,
        )
        self._ticks = BasicTicker()
        self.x_axis.ticker = self._ticks
        self.y_axis.ticker = BasicTicker(min_interval=1)  # there is no half a pixel
        self.source = ColumnDataSource(
            name=f"{name}-bins",
            data={key: np.empty(0) for key in ("left", "right", "centre", "good", "bad", "pixels")},
        )
        shape: dict[str, Any] = {"left": "left", "right": "right"}
        self.bars = self.add(
            Quad(
                **shape,
                bottom=0,
                top="good",
                fill_color={"field": "centre", "transform": mapper},
                line_width=0.5,
            ),
            self.source,
            name=f"{name}-bars",
        )
        self._bad_bars = self.add(
            Quad(
                **shape,
                bottom="good",
                top="pixels",
                fill_color=None,
                hatch_pattern="cross",
                hatch_scale=5,
                line_width=0.8,
            ),
            self.source,
        )
        self.hover.renderers = [self.bars, self._bad_bars]
        # one invisible mark per pixel: this is what a dragged range hits
        self._picked = Scatter(
            x="value", y=0, marker="dash", angle=math.pi / 2, size=14, line_width=2
        )
        self.marks = self.add(
            Scatter(x="value", y=0, line_color=None, fill_color=None),
            pixels,
            selection_glyph=self._picked,
            nonselection_glyph=Scatter(x="value", y=0, line_color=None, fill_color=None),
        )
        select.renderers = [self.marks]
        self._mean = Span(dimension="height", line_width=1.5)
        self._median = Span(dimension="height", line_width=1.5, line_dash="dashed")
        self._spread = BoxAnnotation(fill_alpha=0.09, line_color=None, level="underlay")
        self.figure.center.extend([self._spread, self._mean, self._median])
        self.restyle(theme)

    def update(self, data: PixelValues) -> None:
        """Show the histogram and statistics of *data*."""
        bins, numbers = data.histogram, data.statistics
        if data.nothing:
            self.explain(NOTHING)
        elif bins.zeros and not (bins.good.any() or bins.bad.any()):
            self.explain(f"Every {data.noun} with a value is at 0.")
        else:
            self.explain(None)
        total = bins.good + bins.bad
        self.source.data = {
            "left": bins.edges[:-1],
            "right": bins.edges[1:],
            "centre": (bins.edges[:-1] + bins.edges[1:]) / 2,
            "good": bins.good,
            "bad": bins.bad,
            "pixels": np.where(bins.bad > 0, total, np.nan),
        }
        kinds = [("good", "Good pixels"), ("bad", "Bad pixels")]
        if data.modules is not None:
            kinds = [("good", "Modules")]
        columns = [
            Column("left", "from", data.unit),
            Column("right", "to", data.unit),
            *(Column(kind, title.lower()) for kind, title in kinds),
        ]
        self.offer("Histogram", Table(self.source, columns), quantity=data.quantity)
        self.show_range(
            x=widened((float(bins.edges[0]), float(bins.edges[-1])), 0.02),
            y=(0.0, max(1.0, 1.08 * float(total.max()))),
        )
        unit = f" {data.unit}" if data.unit else ""
        self.hover.tooltips = tip(
            [
                ("From", f"@left{{0.[00000]}}{unit}"),
                ("To", f"@right{{0.[00000]}}{unit}"),
                *((title, f"@{kind}") for kind, title in kinds),
            ]
        )
        self.x_axis.axis_label = _axis_label(data)
        self.y_axis.axis_label = f"{data.noun.capitalize()}s"
        self._ticks.min_interval = 1 if data.unit in plot_options().counts else 0
        if bins.zeros is None:
            self._place(numbers.mean, numbers.median, numbers.std)
        else:
            self._place(math.nan, math.nan, math.nan)
        self.title.text = "" if data.nothing else _summary(data)

    def style(self) -> None:
        """Colour the glyphs from ``self.theme``."""
        theme = self.theme
        self.bars.glyph.line_color = theme["axis"]
        self._bad_bars.glyph.update(hatch_color=theme["bad"], line_color=theme["bad"])
        self._picked.line_color = theme["pick"]
        # numbers, and room beside them for the tools
        self.title.update(text_font_size=theme.font["label"], text_font_style="normal")
        self._mean.line_color = theme["text"]
        self._median.line_color = theme["text"]
        self._spread.fill_color = theme["text"]

    def _place(self, mean: float, median: float, std: float) -> None:
        known = math.isfinite(mean)
        for part in (self._mean, self._median, self._spread):
            part.visible = known
        if known:
            self._mean.location = mean
            self._median.location = median
            self._spread.update(left=mean - std, right=mean + std)


def _summary(data: PixelValues) -> str:
    numbers, bins = data.statistics, data.histogram
    if bins.zeros is not None:
        drawn = int(bins.good.sum() + bins.bad.sum())
        return f"{drawn:,} of {counted(drawn + bins.zeros, data.noun)} not at 0"
    mean, median, std = alike(numbers.std, numbers.mean, numbers.median, numbers.std)
    unit = f" {data.unit}" if data.unit else ""
    return (
        f"mean {mean}   median {median}   std {std}{unit}   ({counted(numbers.pixels, data.noun)})"
    )


def _axis_label(data: PixelValues) -> str:
    if data.histogram.zeros:
        return f"Value [{data.unit}] – {counted(data.histogram.zeros, data.noun)} at 0 not drawn"
    outside = [
        f"{count} {where}"
        for count, where in ((data.histogram.below, "below"), (data.histogram.above, "above"))
        if count
    ]
    label = f"Value [{data.unit}]" if data.unit else "Value"
    return f"{label} – not drawn: {' and '.join(outside)} this range" if outside else label
