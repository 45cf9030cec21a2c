"""The look of the dashboard, from ``data/theme.toml``: colours, fonts and palettes as data.

Plots ask the theme for colours and let it style their axes; the page gets the same tokens as CSS
custom properties, so that a figure and the text beside it never disagree.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import bokeh.palettes
import numpy as np
from bokeh.models import Axis, Grid, Plot
from bokeh.models.annotations import ColorBar, Legend, Title

THEME_NAMES = ("light", "dark")
SHADES = 255
"""Of the palette of differences; odd, so that one of them is that of no difference."""


@dataclass(frozen=True)
class Theme:
    """One table of ``theme.toml``.

    Attributes
    ----------
    name : str
        ``"light"`` or ``"dark"``.
    colours : mapping of str to str
        Token to CSS colour, e.g. ``colours["alert"]``.
    series : tuple of str
        Colours of lines that must be told apart, in the order in which they are used.
    font : mapping of str to str
        ``family``, ``mono`` and the sizes ``title``, ``label``, ``tick``.
    palettes : mapping of str to tuple of str
        ``value`` (sequential) and ``difference`` (diverging).
    """

    name: str
    colours: Mapping[str, str]
    series: tuple[str, ...]
    font: Mapping[str, str]
    palettes: Mapping[str, tuple[str, ...]]

    def __getitem__(self, token: str) -> str:
        """The colour of *token*."""
        return self.colours[token]

    def apply(self, figure: Plot) -> None:
        """Style the parts that every figure has: background, title, axes, grids, legend."""
        figure.update(
            background_fill_color=self["surface"],
            border_fill_color=self["surface"],
            outline_line_color=self["outline"],
        )
        if isinstance(figure.title, Title):
            figure.title.update(
                text_color=self["text"],
                text_font=self.font["family"],
                text_font_size=self.font["title"],
            )
        for model in (*figure.left, *figure.right, *figure.above, *figure.below, *figure.center):
            self._style(model)

    def css_variables(self) -> str:
        """The tokens as CSS declarations, ``--dqm-text:#17212b;…``."""
        tokens: dict[str, str] = {name.replace("_", "-"): c for name, c in self.colours.items()}
        tokens |= {f"series-{number}": colour for number, colour in enumerate(self.series, 1)}
        tokens |= {f"font-{name}": value for name, value in self.font.items()}
        for name, use in (("palette", "value"), ("palette-difference", "difference")):
            palette = self.palettes[use]
            stops = [palette[round(at)] for at in np.linspace(0, len(palette) - 1, 17)]
            tokens[name] = f"linear-gradient(to right, {', '.join(stops)})"
        return "".join(f"--dqm-{name}:{value};" for name, value in tokens.items())

    def _style(self, model: Any) -> None:
        if isinstance(model, Axis):
            model.update(
                axis_line_color=self["axis"],
                major_tick_line_color=self["axis"],
                minor_tick_line_color=None,
                major_label_text_color=self["muted"],
                major_label_text_font=self.font["family"],
                major_label_text_font_size=self.font["tick"],
                axis_label_text_color=self["text"],
                axis_label_text_font=self.font["family"],
                axis_label_text_font_size=self.font["label"],
                axis_label_text_font_style="normal",
            )
        elif isinstance(model, Grid):
            model.grid_line_color = self["grid"]
        elif isinstance(model, ColorBar):
            model.update(
                background_fill_color=self["surface"],
                major_label_text_color=self["muted"],
                major_label_text_font=self.font["family"],
                major_label_text_font_size=self.font["tick"],
                title_text_color=self["text"],
                title_text_font=self.font["family"],
                title_text_font_size=self.font["label"],
                title_text_font_style="normal",
                bar_line_color=self["outline"],
                major_tick_line_color=self["surface"],
            )
        elif isinstance(model, Legend):
            model.update(
                background_fill_color=self["surface"],
                background_fill_alpha=0.85,
                border_line_color=None,
                label_text_color=self["text"],
                label_text_font=self.font["family"],
                label_text_font_size=self.font["tick"],
                inactive_fill_color=self["surface"],
            )


@functools.cache
def themes() -> Mapping[str, Theme]:
    """All themes by name, read once."""
    text = resources.files("dqm_app").joinpath("data/theme.toml").read_text("utf-8")
    document = tomllib.loads(text)
    palettes = {use: _palette(name) for use, name in document["palette"].items()}
    return {
        name: Theme(
            name=name,
            colours={k: v for k, v in document[name].items() if isinstance(v, str)},
            series=tuple(document[name]["series"]),
            font=document["font"],
            palettes={**palettes, "difference": _through(document[name]["diverging"])},
        )
        for name in THEME_NAMES
    }


def _through(stops: list[str]) -> tuple[str, ...]:
    """A palette through colours ``#rrggbb`` at equal distances."""
    channels = np.array([list(bytes.fromhex(stop.removeprefix("#"))) for stop in stops], "<f8")
    at = np.linspace(0, len(stops) - 1, SHADES)
    mixed = np.stack([np.interp(at, range(len(stops)), channel) for channel in channels.T], axis=1)
    return tuple(f"#{bytes(row).hex()}" for row in np.rint(mixed).astype(np.uint8))


def _palette(name: str) -> tuple[str, ...]:
    palette = getattr(bokeh.palettes, name, None)
    if palette is None:
        raise ValueError(f"theme.toml names the palette {name!r}, which Bokeh does not have")
    return tuple(palette)
