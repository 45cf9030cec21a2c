"""Plots for any numbers at all: value against index, and how the values are distributed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from bokeh.models import (
    BasicTicker,
    BasicTickFormatter,
    ColumnDataSource,
    HoverTool,
    Line,
    Quad,
    Scatter,
    VArea,
)
from numpy.typing import NDArray

from dqm_app.plots.export import Column, Table
from dqm_app.plots.frame import AxisSpec, PlotFrame
from dqm_app.plots.numbers import alike
from dqm_app.plots.options import plot_options
from dqm_app.plots.pixel_numbers import widened
from dqm_app.plots.thinning import Buckets
from dqm_app.plots.tips import tip
from dqm_app.theme import Theme


@dataclass(frozen=True)
class Series:
    """Numbers in their order, thinned, and their histogram.

    Attributes
    ----------
    title, unit : str
    position, band : str
        What the horizontal axis counts, and what ``low`` and ``high`` are; ``band`` is empty when
        every number is a point of its own.
    index : ndarray of float64, shape (points,)
    low, high, mean : ndarray of float64, shape (points,)
    edges : ndarray of float64, shape (bins + 1,)
    counts : ndarray of int32, shape (bins,)
        Of all finite numbers.
    finite, total : int
        How many numbers are finite, and how many there are.
    statistics : tuple of float
        Mean, median and population standard deviation of the finite numbers.
    """

    title: str
    unit: str
    position: str
    band: str
    index: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mean: NDArray[np.float64]
    edges: NDArray[np.float64]
    counts: NDArray[np.int32]
    finite: int
    total: int
    statistics: tuple[float, float, float]

    @classmethod
    def of(
        cls, title: str, unit: str, values: NDArray, events: NDArray[np.integer] | None = None
    ) -> Series | None:
        """Of any array of numbers; None when none of them is finite.

        *events* are the places of *values* among all events of the file, one per value; without
        them the horizontal axis counts the values.

        A matrix is shown as mean, lowest and highest of each of its columns.
        """
        numbers = np.asarray(values, "<f8")
        finite = numbers[np.isfinite(numbers)]
        if not finite.size:
            return None
        band = ""
        if numbers.ndim > 1:
            rows = numbers.reshape(numbers.shape[0], -1)
            buckets = Buckets.of(rows.T.ravel(), rows.shape[1])
            position = "Column"
            band = f"lowest to highest of {rows.shape[0]} rows"
            index = np.arange(rows.shape[1], dtype="<f8")
        else:
            buckets = Buckets.of(numbers.ravel(), plot_options().exact_points)
            if buckets.starts.size < numbers.size:
                band = "lowest to highest of the values of a point"
            places = np.arange(numbers.size) if events is None else events
            index = (places[buckets.starts] + places[buckets.ends - 1]) / 2
            position = "Index" if events is None else "Event (index in the file)"
        edges = np.linspace(
            *widened((float(finite.min()), float(finite.max()))), plot_options().histogram_bins + 1
        )
        return cls(
            title=title,
            unit=unit,
            position=position,
            band=band,
            index=index,
            low=buckets.low,
            high=buckets.high,
            mean=buckets.mean,
            edges=edges,
            counts=np.histogram(finite, edges)[0].astype("<i4"),
            finite=int(finite.size),
            total=int(numbers.size),
            statistics=(float(finite.mean()), float(np.median(finite)), float(finite.std())),
        )


class SeriesPlot(PlotFrame):
    """Value against index: points, or a band and its mean when there are many."""

    def __init__(self, name: str, theme: Theme) -> None:
        self.hover = HoverTool(visible=False, tooltips="", mode="vline")
        super().__init__(name, theme, AxisSpec("Index"), AxisSpec("Value"), tools=[self.hover])
        self.source = ColumnDataSource(
            name=f"{name}-points",
            data={key: np.empty(0) for key in ("index", "low", "high", "mean")},
        )
        self.y_axis.formatter = _plain_numbers()
        self._band = self.add(VArea(x="index", y1="low", y2="high"), self.source)
        self._line = self.add(Line(x="index", y="mean", line_width=1.2), self.source)
        self._points = self.add(Scatter(x="index", y="mean", size=4, line_color=None), self.source)
        self.hover.renderers = [self._points]
        self.restyle(theme)

    def update(self, data: Series) -> None:
        """Show *data* and set the ranges to it."""
        self.source.data = {
            "index": data.index,
            "low": data.low,
            "high": data.high,
            "mean": data.mean,
        }
        self._offer(data)
        self._band.visible = bool(data.band)
        self.title.text = data.title
        self.x_axis.axis_label = data.position
        self.y_axis.axis_label = f"Value [{data.unit}]" if data.unit else "Value"
        self.hover.tooltips = tip(
            [
                (data.position, "@index"),
                *([("Lowest", "@low{0.[000000]}")] if data.band else []),
                ("Mean" if data.band else "Value", "@mean{0.[000000]}"),
                *([("Highest", "@high{0.[000000]}")] if data.band else []),
            ]
        )
        low, high = float(np.nanmin(data.low)), float(np.nanmax(data.high))
        last = float(data.index[-1])
        self.show_range(x=(-0.02 * last - 0.5, 1.02 * last + 0.5), y=widened((low, high), 0.06))

    def style(self) -> None:
        """Colour the glyphs from ``self.theme``."""
        self._band.glyph.update(fill_color=self.theme["band"], fill_alpha=0.6)
        self._line.glyph.line_color = self.theme["accent"]
        self._points.glyph.fill_color = self.theme["accent"]

    def _offer(self, data: Series) -> None:
        spread = [("low", "lowest"), ("mean", "mean"), ("high", "highest")]
        columns = [
            Column("index", data.position.lower()),
            *(
                Column(key, name, data.unit)
                for key, name in (spread if data.band else [("mean", "value")])
            ),
        ]
        notes = [data.band] if data.band else []
        self.offer("Values", Table(self.source, columns), notes=notes)


class Distribution(PlotFrame):
    """Histogram of any numbers."""

    def __init__(self, name: str, theme: Theme) -> None:
        self.hover = HoverTool(
            visible=False,
            tooltips=tip(
                [
                    ("From", "@left{0.[000000]}"),
                    ("To", "@right{0.[000000]}"),
                    ("Values", "@count"),
                ]
            ),
        )
        super().__init__(name, theme, AxisSpec("Value"), AxisSpec("Values"), tools=[self.hover])
        self.source = ColumnDataSource(
            name=f"{name}-bins", data={key: np.empty(0) for key in ("left", "right", "count")}
        )
        self.x_axis.update(formatter=_plain_numbers(), ticker=BasicTicker(desired_num_ticks=5))
        self._bars = self.add(
            Quad(left="left", right="right", bottom=0, top="count", line_width=0.5), self.source
        )
        self.hover.renderers = [self._bars]
        self.restyle(theme)

    def update(self, data: Series) -> None:
        """Show the histogram of *data*."""
        self.source.data = {
            "left": data.edges[:-1],
            "right": data.edges[1:],
            "count": data.counts,
        }
        columns = [
            Column("left", "from", data.unit),
            Column("right", "to", data.unit),
            Column("count", "values"),
        ]
        self.offer("Histogram", Table(self.source, columns))
        unit = f" {data.unit}" if data.unit else ""
        mean, median, std = alike(data.statistics[2], *data.statistics)
        self.title.text = (
            f"mean {mean}   median {median}   std {std}{unit}   ({data.finite:,} values)"
        )
        self.x_axis.axis_label = f"Value [{data.unit}]" if data.unit else "Value"
        self.show_range(
            x=widened((float(data.edges[0]), float(data.edges[-1])), 0.02),
            y=(0.0, max(1.0, 1.08 * float(data.counts.max()))),
        )

    def style(self) -> None:
        """Colour the glyphs from ``self.theme``."""
        self.title.update(text_font_size=self.theme.font["label"], text_font_style="normal")
        self._bars.glyph.update(fill_color=self.theme["band"], line_color=self.theme["accent"])


def _plain_numbers() -> BasicTickFormatter:
    # times are ten digits and more before the point; an exponent would hide what changes
    return BasicTickFormatter(power_limit_high=13, power_limit_low=-4)
