"""Mean waveforms of two runs on top of each other, and those of picked pixels in both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool, Line, MultiLine, VArea

from dqm_app.plots.curves import Curves
from dqm_app.plots.export import Column, Table
from dqm_app.plots.frame import AxisSpec, PlotFrame
from dqm_app.plots.legend import legend
from dqm_app.plots.pixel_numbers import widened
from dqm_app.plots.tips import tip
from dqm_app.plots.waveform import Waveforms
from dqm_app.theme import Theme

SOLID, DASHED = "solid", "dashed"


@dataclass(frozen=True)
class WaveformsOfTwo:
    """The same waveforms in two runs.

    Attributes
    ----------
    a, b : Waveforms or None
        None where a run has none.
    reason : str or None
        Why there is nothing at all to show, in words.
    """

    a: Waveforms | None
    b: Waveforms | None
    reason: str | None = None

    @property
    def known(self) -> tuple[Waveforms, ...]:
        """Those that there are."""
        return tuple(waves for waves in (self.a, self.b) if waves is not None)


class WaveformPair(PlotFrame):
    """Camera means and 95 % bands: A solid with a filled band, B dashed with the edges of its band.

    Picked pixels have one colour each, and likewise a solid line in A and a dashed one in B.
    """

    def __init__(self, name: str, theme: Theme) -> None:
        self.hover = HoverTool(visible=False, tooltips="", mode="vline", line_policy="nearest")
        super().__init__(name, theme, AxisSpec("Sample"), AxisSpec("Value"), tools=[self.hover])
        self.sources = [
            ColumnDataSource(
                name=f"{name}-{run}",
                data={key: np.empty(0) for key in ("sample", "mean", "low", "high")},
            )
            for run in "ab"
        ]
        self.picked = ColumnDataSource(
            name=f"{name}-pixels",
            data={key: [] for key in ("x", "y", "id", "run", "colour", "dash", "label")},
        )
        a, b = self.sources
        self._band = self.add(VArea(x="sample", y1="low", y2="high"), a)
        self._edges = [
            self.add(Line(x="sample", y=edge, line_width=1, line_dash="dotted"), b)
            for edge in ("low", "high")
        ]
        self._picked = self.add(
            MultiLine(xs="x", ys="y", line_color="colour", line_dash="dash", line_width=1.8),
            self.picked,
        )
        self._means = [
            self.add(Line(x="sample", y="mean", line_width=2.5), a),
            self.add(Line(x="sample", y="mean", line_width=2.5, line_dash="dashed"), b),
        ]
        self.legend = legend(("A", self._means[0]), ("B", self._means[1]), picked=self._picked)
        self._named: list[Any] = list(self.legend.items[:2])
        self.figure.center.append(self.legend)
        self.hover.renderers = [self._means[0]]
        self.picked_hover = HoverTool(
            visible=False, renderers=[self._picked], line_policy="nearest", tooltips="", limit=2
        )
        self.figure.toolbar.tools.append(self.picked_hover)
        self._shown = WaveformsOfTwo(None, None)
        self._runs = "A", "B"
        self.restyle(theme)

    def update(self, waves: WaveformsOfTwo, runs: tuple[str, str]) -> None:
        """Show the camera's waveforms of the runs called *runs*, without those of any pixel."""
        self._shown, self._runs = waves, runs
        self.explain(waves.reason)
        self.legend.visible = waves.reason is None
        for at, (source, shown) in enumerate(zip(self.sources, (waves.a, waves.b), strict=True)):
            item = self._named[at]
            item.visible = shown is not None
            item.label = {"value": f"{'AB'[at]}: {runs[at]}"}
            source.data = _columns(shown)
        self.title.text = waves.known[0].title if waves.known else " "
        unit = waves.known[0].unit if waves.known else ""
        self.y_axis.axis_label = f"Mean [{unit}]" if unit else "Mean"
        self.hover.renderers = [self._means[0 if waves.a is not None else 1]]
        named = runs[0 if waves.a is not None else 1]
        self.hover.tooltips = tip(
            [
                ("Sample", "@sample"),
                (f"Camera mean, {named}", f"@mean{{0.000}} {unit}"),
                ("95 % of the pixels", f"@low{{0.000}} to @high{{0.000}} {unit}"),
            ]
        )
        self.picked_hover.tooltips = tip(
            [("Pixel", "@id"), ("In", "@run"), ("Value", f"$snap_y{{0.000}} {unit}")]
        )
        self._offer(unit)
        if waves.known:
            samples = max(shown.mean.size for shown in waves.known)
            self.show_range(x=(-0.5, samples - 0.5))
        self.show_picked(None, None)

    def show_picked(self, a: Curves | None, b: Curves | None) -> None:
        """Draw the curves of the picked pixels in both runs, or none."""
        drawn = [
            (curves.ids[row], curves.values[row], at)
            for at, curves in enumerate((a, b))
            if curves is not None
            for row in range(len(curves.ids))
            if np.isfinite(curves.values[row]).any()
        ]
        # more lines than colours: one colour for all says more than colours that repeat
        several = len({pixel for pixel, _, _ in drawn}) > len(self._free)
        self._picked.glyph.update(
            line_width=1.0 if several else 1.8, line_alpha=0.5 if several else 1
        )
        if drawn or self.picked.data["id"]:
            self.picked.data = {
                "x": [np.arange(values.size, dtype="<i4") for _, values, _ in drawn],
                "y": [values for _, values, _ in drawn],
                "id": [pixel for pixel, _, _ in drawn],
                "run": [self._runs[at] for _, _, at in drawn],
                "colour": self._colours([pixel for pixel, _, _ in drawn]),
                "dash": [(SOLID, DASHED)[at] for _, _, at in drawn],
                "label": [
                    "Picked pixels" if several else f"Pixel {pixel}" for pixel, _, _ in drawn
                ],
            }
        self._fit([values for _, values, _ in drawn])

    def style(self) -> None:
        """Colour the glyphs from ``self.theme``."""
        theme = self.theme
        self._band.glyph.update(fill_color=theme["band"], fill_alpha=0.5)
        self._means[0].glyph.line_color = theme["accent"]
        self._means[1].glyph.line_color = theme.series[1]
        for edge in self._edges:
            edge.glyph.line_color = theme.series[1]
        if self.picked.data["id"]:
            self.picked.data["colour"] = self._colours(list(self.picked.data["id"]))

    def _colours(self, ids: list[int]) -> list[str]:
        order = sorted(set(ids))
        free = self._free
        return [free[order.index(pixel) if len(order) <= len(free) else 0] for pixel in ids]

    @property
    def _free(self) -> tuple[str, ...]:
        """Colours of pixels: the first two are those of the runs."""
        return self.theme.series[2:]

    def _fit(self, curves: list[np.ndarray]) -> None:
        shown = [edge for waves in self._shown.known for edge in (waves.low, waves.high)]
        every = np.concatenate([*shown, *curves]) if shown or curves else np.empty(0)
        every = every[np.isfinite(every)]
        if every.size:
            self.show_range(y=widened((float(every.min()), float(every.max())), 0.06))

    def _offer(self, unit: str) -> None:
        camera = [
            Column("sample", "sample"),
            Column("mean", "mean of the camera", unit),
            Column("low", "2.5 % of the pixels below", unit),
            Column("high", "2.5 % of the pixels above", unit),
        ]
        pixels = [
            Column("id", "pixel"),
            Column("run", "run"),
            Column("x", "sample", kind="list"),
            Column("y", "value", unit, kind="list"),
        ]
        known = [
            Table(source, camera, f"camera in {name}")
            for source, name, waves in zip(
                self.sources, "AB", (self._shown.a, self._shown.b), strict=True
            )
            if waves is not None
        ]
        self.offer(
            "Waveforms",
            *known,
            *([Table(self.picked, pixels, "picked pixels")] if known else []),
            quantity=self._shown.known[0].quantity if known else None,
            notes=[f"A is {self._runs[0]}, B is {self._runs[1]}"],
        )


def _columns(waves: Waveforms | None) -> dict[str, np.ndarray]:
    if waves is None:
        return {key: np.empty(0) for key in ("sample", "mean", "low", "high")}
    return {
        "sample": np.arange(waves.mean.size, dtype="<i4"),
        "mean": waves.mean,
        "low": waves.low,
        "high": waves.high,
    }
