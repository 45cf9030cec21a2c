"""The look as data: complete, readable, and safe for colour-blind eyes."""

from __future__ import annotations

import pytest
from bokeh.models import LinearAxis, Plot

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


@pytest.mark.parametrize("name", THEME_NAMES)
def test_the_palette_rises_evenly_in_lightness(name):
    # neighbours may differ by less than colours of 8 bits can say
    lightness = [luminance(colour) for colour in themes()[name].palettes["value"][::4]]
    assert lightness == sorted(lightness)


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
