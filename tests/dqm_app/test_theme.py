"""The look as data: complete, readable, and safe for colour-blind eyes."""

from __future__ import annotations

import numpy as np
import pytest
from bokeh.models import LinearAxis, Plot
from numpy.typing import NDArray

from dqm_app.theme import THEME_NAMES, themes
from dqm_app.verdicts import words


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb`` (WCAG 2.1)."""
    channels = [part / 255 for part in bytes.fromhex(colour.removeprefix("#"))]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", THEME_NAMES)
@pytest.mark.parametrize("token", ["text", "muted", "accent", "alert", "ok", "pick"])
def test_words_are_readable(name, token):
    theme = themes()[name]
    for background in ("surface", "page"):
        assert contrast(theme[token], theme[background]) >= 4.5


@pytest.mark.parametrize("name", THEME_NAMES)
@pytest.mark.parametrize("background", ["surface", "page", "late", "stale"])
def test_verdicts_and_what_stands_in_the_top_bar_are_readable(name, background):
    theme = themes()[name]
    tokens = {wording.colour for wording in words().values()}
    assert len(tokens) == 5
    for token in (*tokens, "text", "muted", "accent", "alert"):
        assert contrast(theme[token], theme[background]) >= 4.5, token


@pytest.mark.parametrize("name", THEME_NAMES)
def test_lines_and_marks_can_be_seen(name):
    theme = themes()[name]
    for colour in (theme["axis"], theme["absent"], theme["bad"], *theme.series):
        assert contrast(colour, theme["surface"]) >= 3
    # the edges of entries, which nothing else shows
    assert contrast(theme["axis"], theme["page"]) >= 3


@pytest.mark.parametrize("name", THEME_NAMES)
def test_the_palette_rises_evenly_in_lightness(name):
    # neighbours may differ by less than colours of 8 bits can say
    lightness = [luminance(colour) for colour in themes()[name].palettes["value"][::4]]
    assert lightness == sorted(lightness)


# what red-green blind eyes make of linear red, green and blue (Machado, Oliveira, Fernandes 2009)
EYES = {
    "usual": np.eye(3),
    "protanopic": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopic": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) / [
    [0.9505],
    [1.0],
    [1.089],
]


def seen(colour: str, eyes: str) -> NDArray[np.float64]:
    """CIE L*a*b* of ``#rrggbb`` for these eyes."""
    channels = np.array(list(bytes.fromhex(colour.removeprefix("#")))) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt(XYZ @ np.clip(EYES[eyes] @ linear, 0, 1))  # near black only a little off
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("name", THEME_NAMES)
@pytest.mark.parametrize("eyes", EYES)
def test_bad_pixels_of_small_maps_are_told_from_all_values(name, eyes):
    theme = themes()[name]
    others = (*theme.palettes["value"], theme["absent"], theme["outline"])
    bad = seen(theme["bad_fill"], eyes)
    apart = [float(np.linalg.norm(bad - seen(other, eyes))) for other in others]
    assert min(apart) > 20, "2 is the least that can be told side by side"


@pytest.mark.parametrize("name", THEME_NAMES)
def test_the_palette_of_differences_has_two_sides_and_a_middle_that_can_be_seen(name):
    theme = themes()[name]
    palette = theme.palettes["difference"]
    middle = len(palette) // 2
    assert len(palette) % 2 == 1
    sign = 1 if name == "light" else -1
    lightness = [sign * luminance(colour) for colour in palette]
    assert lightness[: middle + 1] == sorted(lightness[: middle + 1])
    assert lightness[middle:] == sorted(lightness[middle:], reverse=True)
    red, _, blue = bytes.fromhex(palette[middle // 2][1:])
    assert blue > red, "negative is blue"
    red, _, blue = bytes.fromhex(palette[-middle // 2][1:])
    assert red > blue, "positive is orange"
    assert contrast(palette[middle], theme["surface"]) > 1.2


def test_both_themes_have_the_same_tokens():
    light, dark = (themes()[name] for name in THEME_NAMES)
    assert light.colours.keys() == dark.colours.keys()
    assert len(light.series) == len(dark.series)


def test_the_page_gets_every_token():
    theme = themes()["dark"]
    css = theme.css_variables()
    assert f"--dqm-bad-halo:{theme['bad_halo']};" in css
    assert f"--dqm-series-1:{theme.series[0]};" in css
    assert "--dqm-font-mono:" in css
    assert "--dqm-palette:linear-gradient(" in css
    assert (
        f"--dqm-palette-difference:linear-gradient(to right, {theme.palettes['difference'][0]}"
        in css
    )


def test_a_figure_takes_the_theme():
    figure = Plot(left=[LinearAxis()])
    for name in THEME_NAMES:
        theme = themes()[name]
        theme.apply(figure)
        assert figure.background_fill_color == theme["surface"]
        assert figure.left[0].axis_label_text_color == theme["text"]
