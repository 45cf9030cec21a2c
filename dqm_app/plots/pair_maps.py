"""Three camera maps side by side: run A, run B, and how they differ."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, LinearColorMapper

from dqm_app.plots.camera_map import CameraMap, MapColumns
from dqm_app.plots.export import Column, Table
from dqm_app.plots.pixel_pair import PixelPair
from dqm_app.plots.pixels import ABSENT, GOOD, NO_VALUE, NOTHING, PLACE, put_columns
from dqm_app.plots.tips import tip
from dqm_app.theme import Theme
from dqm_db.content import N_PIXELS

OUTLINE = 2.0


class PairMaps:
    """Maps of A and B in the same colours, and of A − B or A / B in colours with two sides.

    They zoom and pan together and share one source, so that a pixel picked in one is picked in all.

    Parameters
    ----------
    name : str
        The maps are called ``NAME-a``, ``NAME-b`` and ``NAME-comparison``, their colour mappers
        ``NAME-mapper`` and ``NAME-comparison-mapper``.
    source : ColumnDataSource
        From `PixelSource.source`; gets columns for the second run.
    """

    def __init__(self, name: str, theme: Theme, source: ColumnDataSource) -> None:
        self.source = source
        for run in "ab":
            source.data[f"value_{run}"] = np.full(N_PIXELS, np.nan)
            source.data[f"state_{run}"] = np.full(N_PIXELS, ABSENT, np.uint8)
        self.mapper = LinearColorMapper(name=f"{name}-mapper", low=0, high=1)
        self.comparison_mapper = LinearColorMapper(name=f"{name}-comparison-mapper", low=-1, high=1)
        self.a = CameraMap(
            f"{name}-a",
            theme,
            source,
            self.mapper,
            columns=MapColumns("value_a", "state_a"),
            outline=OUTLINE,
        )
        self.b = CameraMap(
            f"{name}-b",
            theme,
            source,
            self.mapper,
            columns=MapColumns("value_b", "state_b"),
            beside=self.a,
            outline=OUTLINE,
        )
        self.comparison = CameraMap(
            f"{name}-comparison",
            theme,
            source,
            self.comparison_mapper,
            palette="difference",
            beside=self.a,
            outline=OUTLINE,
        )

        for camera in self.maps:
            camera.message_width = 34

    @property
    def maps(self) -> tuple[CameraMap, CameraMap, CameraMap]:
        """From the left."""
        return self.a, self.b, self.comparison

    def update(self, pair: PixelPair, runs: tuple[str, str], missing: str | None) -> None:
        """Show *pair*.

        Parameters
        ----------
        pair : PixelPair
            Values of both runs, and their comparison.
        runs : tuple of str
            What A and B are, e.g. ``("run 6003", "run 6001")``.
        missing : str or None
            Why there is no B.
        """
        a, b = pair.a, pair.b
        nothing = np.full(N_PIXELS, np.nan), np.full(N_PIXELS, GOOD, np.uint8)  # draws nothing
        put_columns(
            self.source,
            {
                "value_a": a.values,
                "value_b": nothing[0] if b is None else b.values,
                "value": pair.values,
                "state_a": a.state,
                "state_b": nothing[1] if b is None else b.state,
                "state": nothing[1] if b is None else pair.state,
            },
            pair.words,
        )
        tooltips = _tooltips(pair, runs)
        table = _table(self.source, pair, runs)
        shown: dict[str, Any] = {"limits": pair.auto, "unit": a.unit, "tooltips": tooltips}
        self.a.dress(
            **shown,
            title=f"A: {runs[0]}",
            bad=a.flagged,
            valueless=a.state == NO_VALUE,
            reason=NOTHING if a.nothing else None,
        )
        other = a if b is None else b
        self.b.dress(
            **shown,
            title=f"B: {runs[1]}",
            bad=other.flagged & (b is not None),
            valueless=other.state == NO_VALUE,
            reason=missing if b is None else NOTHING if b.nothing else None,
        )
        self.comparison.dress(
            title=pair.mode.sign,
            unit=pair.unit,
            limits=pair.limits,
            tooltips=tooltips,
            bad=pair.flagged & (b is not None),
            valueless=pair.state == NO_VALUE,
            reason=_why(pair) if pair.nothing else None,
        )
        notes = [f"A is {runs[0]}, B is {runs[1]}"]
        for camera, title in zip(self.maps, ("A", "B", pair.mode.sign), strict=True):
            known = b is not None or camera is self.a
            camera.offer(
                f"Map of {title}", *([table] if known else []), quantity=a.quantity, notes=notes
            )

    def restyle(self, theme: Theme) -> None:
        """Take the look of *theme*."""
        for camera in self.maps:
            camera.restyle(theme)


def _why(pair: PixelPair) -> str:
    if pair.b is None:
        return "There is nothing to compare with."
    return "No pixel has a value in both runs that can be compared."


def _tooltips(pair: PixelPair, runs: tuple[str, str]) -> str:
    unit = f" {pair.a.unit}" if pair.a.unit else ""
    own = f" {pair.unit}" if pair.unit else ""
    both = [
        (f"B: {runs[1]}", f"@value_b{{0.[00000]}}{unit}"),
        (pair.mode.sign, f"@value{{0.[00000]}}{own}"),
    ]
    return tip(
        [
            ("Pixel", "@pixel"),
            ("Module", "@module"),
            (f"A: {runs[0]}", f"@value_a{{0.[00000]}}{unit}"),
            *(both if pair.b is not None else []),
            ("State", "@words"),
        ]
    )


def _table(source: ColumnDataSource, pair: PixelPair, runs: tuple[str, str]) -> Table:
    both = [
        Column("value_b", f"B: {runs[1]}", pair.a.unit),
        Column("value", pair.mode.sign, pair.unit),
    ]
    columns = [
        *PLACE,
        Column("value_a", f"A: {runs[0]}", pair.a.unit),
        *(both if pair.b is not None else []),
        Column("words", "state"),
    ]
    return Table(source, columns)
