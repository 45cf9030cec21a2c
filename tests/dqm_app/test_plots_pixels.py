"""Plots of per-pixel values: what their sources hold, and how states of pixels are told apart."""

from __future__ import annotations

import numpy as np
import pytest
from bokeh.models import LinearColorMapper
from plot_runs import same

from dqm_app.plots.camera_map import CameraMap
from dqm_app.plots.histogram import ValueHistogram
from dqm_app.plots.options import plot_options
from dqm_app.plots.pixel_scatter import PixelScatter
from dqm_app.plots.pixels import ABSENT, BAD, GOOD, NO_VALUE, PixelSource, PixelValues
from dqm_app.theme import themes
from dqm_db.content import N_PIXELS
from dqm_db.geometry import camera_geometry
from dqm_db.quantities import describe

LIGHT = themes()["light"]
CHARGE = describe("CHARGE-INTEGRATION-IMAGE-ALL-AVERAGE-HIGH-GAIN")
FRACTION = describe("CAMERA-BADPIX-PHY-OVEREVENTS-HIGH-GAIN-FRACTION")
CHANGES = describe("CAMERA-PING-PONG-CHANGES")
NO_PIXELS = np.empty(0, np.uint16)
MODULE_3 = np.arange(21, 28, dtype=np.uint16)


def some_values(absent=NO_PIXELS, bad=(), seed=1) -> PixelValues:
    values = np.random.default_rng(seed).normal(4000, 50, N_PIXELS)
    values[absent] = np.nan
    fraction = np.zeros(N_PIXELS)
    fraction[list(bad)] = 1.0
    fraction[absent] = np.nan
    values[list(bad)] = 0.0
    return PixelValues.of(CHARGE, values, absent, fraction, "MASK")


def test_states_come_from_the_mask_and_the_absent_pixels():
    fraction = np.zeros(N_PIXELS)
    fraction[[5, 6, 7]] = 0.5, 0.5001, 1.0
    values = np.ones(N_PIXELS)
    values[MODULE_3] = fraction[MODULE_3] = np.nan
    data = PixelValues.of(CHARGE, values, MODULE_3, fraction, "MASK")
    assert data.state[[5, 6, 7, 21, 27, 28]].tolist() == [GOOD, BAD, BAD, ABSENT, ABSENT, GOOD]
    assert data.words[5] == "good"
    assert data.words[7] == "bad"
    assert "absent" in data.words[21]


def test_an_unknown_mask_makes_no_pixel_bad():
    data = PixelValues.of(CHARGE, np.ones(N_PIXELS), NO_PIXELS)
    assert not (data.state == BAD).any()
    assert np.isnan(data.bad_fraction).all()
    assert data.mask is None


def test_bad_pixels_enter_neither_statistics_nor_the_default_range():
    data = some_values(bad=range(100))
    good = data.values[100:]
    assert data.statistics.pixels == N_PIXELS - 100
    assert data.statistics.mean == good.mean()
    assert data.statistics.median == np.median(good)
    assert data.statistics.std == good.std()
    assert data.auto == tuple(np.percentile(good, [0.5, 99.5]))
    assert data.full == (0.0, data.values.max())


def test_where_badness_is_shown_bad_pixels_count():
    fraction = np.zeros(N_PIXELS)
    fraction[:3] = 1.0
    data = PixelValues.of(FRACTION, fraction, NO_PIXELS, fraction, count_bad=True)
    assert data.statistics.pixels == N_PIXELS
    assert data.auto == (0.0, 1.0), "a fraction is always coloured from none to all"


def test_without_any_good_pixel_all_finite_ones_count():
    data = some_values(bad=range(N_PIXELS))
    assert data.statistics.pixels == N_PIXELS


def test_no_value_at_all_is_no_number():
    every = np.arange(N_PIXELS, dtype=np.uint16)
    data = PixelValues.of(CHARGE, np.full(N_PIXELS, np.nan), every)
    assert data.statistics.pixels == 0
    assert np.isnan(data.statistics.mean)
    assert data.histogram.good.sum() == 0


def test_a_range_of_equal_values_falls_back_to_all_values():
    values = np.full(N_PIXELS, 3.0)
    values[0] = 9.0
    data = PixelValues.of(CHARGE, values, NO_PIXELS)
    assert data.auto == data.full == (3.0, 9.0)


def test_every_finite_pixel_is_in_the_histogram_or_counted_beside_it():
    data = some_values(absent=MODULE_3, bad=(100, 101))
    bins = data.histogram
    inside = int(bins.good.sum() + bins.bad.sum())
    assert inside + bins.below + bins.above == N_PIXELS - 7
    assert bins.below == 2, "the two dead pixels are far below the others"
    finite = data.values[np.isfinite(data.values) & (data.state == GOOD)]
    assert same(bins.good, np.histogram(finite, bins.edges)[0])


@pytest.fixture
def plots():
    source = PixelSource().source("source")
    mapper = LinearColorMapper(low=0, high=1)
    return (
        CameraMap("map", LIGHT, source, mapper),
        PixelScatter("scatter", LIGHT, source),
        ValueHistogram("histogram", LIGHT, source, mapper),
    )


def test_the_map_holds_values_and_positions_in_pixel_id_order(plots):
    camera_map, *_ = plots
    data = some_values(absent=MODULE_3, bad=(100,))
    camera_map.update(data)
    source = camera_map.source.data
    assert same(source["value"], data.values)
    assert source["value"].dtype == np.dtype("<f8")
    assert same(source["x"], camera_geometry().x.astype("<f4"))
    assert same(source["pixel"], np.arange(N_PIXELS))
    assert np.isnan(source["value"][21:28]).all(), "absent is NaN, never zero"
    assert (camera_map.mapper.low, camera_map.mapper.high) == data.auto
    assert same(camera_map.bad.data["x"], camera_geometry().x[[100]].astype("<f4"))
    assert camera_map.colour_bar.title == "ADC counts"
    assert camera_map.title.text == CHARGE.title
    glyph = camera_map.pixels.glyph
    assert glyph.radius == camera_geometry().pixel_radius
    assert glyph.angle == camera_geometry().pixel_rotation


def test_bad_and_absent_pixels_differ_by_shape_not_by_colour_alone(plots):
    camera_map, scatter, _ = plots
    data = some_values(absent=MODULE_3, bad=(100, 300))
    for plot in plots:
        plot.update(data)
    assert camera_map.mapper.nan_color == "rgba(0, 0, 0, 0)", "absent pixels are empty"
    assert len(camera_map.bad.data["x"]) == 2, "bad ones carry a cross"
    assert scatter.bad.data["pixel"].tolist() == [100, 300]
    assert scatter.absent.data["from"].tolist() == [20.5]
    assert scatter.absent.data["to"].tolist() == [27.5]
    camera_map.update(some_values())
    scatter.update(some_values())
    assert len(camera_map.bad.data["x"]) == len(scatter.absent.data["from"]) == 0


def test_a_present_pixel_without_a_value_is_neither_good_nor_absent(plots):
    camera_map, scatter, _ = plots
    values = np.full(N_PIXELS, 5.0)
    values[MODULE_3] = np.nan
    values[[1, 2, 3]] = np.nan, np.inf, -np.inf
    fraction = np.zeros(N_PIXELS)
    fraction[[3, 4]] = 1.0
    data = PixelValues.of(CHARGE, values, MODULE_3, fraction, "MASK")
    assert data.state[:5].tolist() == [GOOD, NO_VALUE, NO_VALUE, NO_VALUE, BAD]
    assert (data.state[MODULE_3] == ABSENT).all()
    assert data.words[1:5] == ["no value", "no value", "no value, bad", "bad"]
    for plot in plots:
        plot.update(data)
    assert np.isnan(camera_map.source.data["value"][[1, 2, 3]]).all(), "infinity has no colour"
    marks = list(zip(camera_map.bad.data["x"], camera_map.bad.data["marker"], strict=True))
    x = camera_geometry().x.astype("<f4")
    assert marks == [(x[3], "x"), (x[4], "x"), (x[1], "dash"), (x[2], "dash"), (x[3], "dash")]
    assert scatter.bad.data["pixel"].tolist() == [4]
    assert scatter.x_axis.axis_label == "Pixel id – 3 without a value not drawn"
    for plot in plots:
        plot.update(some_values())
    assert camera_map.bad.data["marker"] == []
    assert scatter.x_axis.axis_label == "Pixel id"


def test_the_histogram_shows_counts_and_statistics(plots):
    *_, histogram = plots
    data = some_values(bad=(100,))
    histogram.update(data)
    assert same(histogram.source.data["good"], data.histogram.good)
    assert same(histogram.source.data["left"], data.histogram.edges[:-1])
    assert histogram._mean.location == data.statistics.mean
    assert histogram._median.location == data.statistics.median
    numbers = data.statistics
    assert histogram.title.text == (
        f"mean {numbers.mean:.1f}   median {numbers.median:.1f}   std {numbers.std:.1f} ADC counts"
        "   (1,854 pixels)"
    )
    assert "1 below" in histogram.x_axis.axis_label


def test_pixels_at_zero_are_left_out_where_most_are(plots):
    *_, histogram = plots
    changes = np.zeros(N_PIXELS)
    changes[:7] = 1.0
    changes[7:10] = 4.0
    fraction = np.zeros(N_PIXELS)
    fraction[3] = 1.0
    data = PixelValues.of(CHANGES, changes, NO_PIXELS, fraction, "MASK", count_bad=True)
    histogram.update(data)
    bins = data.histogram
    assert bins.zeros == N_PIXELS - 10
    assert same(bins.edges, np.arange(-0.5, 5.0)), "a bar for every whole number"
    assert same(bins.good, [0, 6, 0, 0, 3])
    assert same(bins.bad, [0, 1, 0, 0, 0])
    assert histogram.title.text == "10 of 1,855 pixels not at 0"
    assert histogram.x_axis.axis_label == "Value [changes] – 1,845 pixels at 0 not drawn"
    assert not histogram._mean.visible and not histogram._spread.visible
    assert histogram.y_range.end < 10

    rare = np.zeros(N_PIXELS)
    rare[:20] = 0.01
    histogram.update(PixelValues.of(FRACTION, rare, NO_PIXELS, rare, "MASK", count_bad=True))
    assert histogram.source.data["right"][-1] == 0.01, "over the values that are drawn"

    histogram.update(PixelValues.of(CHANGES, np.zeros(N_PIXELS), NO_PIXELS))
    assert histogram._message.visible
    assert histogram._message.text == "Every pixel with a value is at 0."
    histogram.update(some_values())
    assert not histogram._message.visible
    assert histogram._mean.visible
    assert some_values(bad=(3,)).histogram.zeros is None, "a charge of 0 is not left out"


@pytest.mark.parametrize("highest", [1, 63, 64, 100, 20_000])
def test_every_count_is_in_a_bin_of_equal_width(highest):
    changes = np.zeros(N_PIXELS)
    changes[:3] = 1, highest, highest
    bins = PixelValues.of(CHANGES, changes, NO_PIXELS).histogram
    assert (bins.good.sum(), bins.below, bins.above) == (3, 0, 0)
    assert bins.good.size <= plot_options().histogram_bins + 1
    assert np.ptp(np.diff(bins.edges)) == 0
    assert (bins.edges % 1 == 0.5).all()


def test_module_boundaries_line_up_with_pixels(plots):
    _, scatter, _ = plots
    pixels, modules = scatter.figure.x_range, scatter.figure.extra_x_ranges["module"]
    per_module = (pixels.end - pixels.start) / (modules.end - modules.start)
    assert per_module == pytest.approx(7)
    # the left edge of pixel 7·m, the first of module m
    assert (6.5 - pixels.start) / per_module + modules.start == pytest.approx(1)


def test_only_columns_that_changed_are_sent_again(plots):
    camera_map, *_ = plots
    first = some_values(bad=(100,))
    camera_map.update(first)
    before = dict(camera_map.source.data)
    second = some_values(bad=(100,), seed=2)
    camera_map.update(second)
    after = camera_map.source.data
    changed = {name for name in after if after[name] is not before[name]}
    assert changed == {"value"}


def test_sessions_share_the_geometry_but_not_what_is_picked():
    one, other = PixelSource(), PixelSource()
    sources = one.source("a"), one.source("b"), other.source("c")
    assert sources[0].selected is sources[1].selected
    assert sources[0].selected is not sources[2].selected
    assert sources[0].data["x"] is sources[2].data["x"]


def test_picked_pixels_are_sorted_and_belong_to_modules():
    pixels = PixelSource()
    calls = []
    pixels.on_pick(lambda: calls.append(pixels.picked))
    pixels.selection.indices = [14, 3, 15, 3]
    assert pixels.picked == (3, 14, 15)
    assert pixels.picked_modules == (0, 2)
    pixels.pick([7])
    assert calls == [(3, 14, 15), (7,)]


def test_restyling_takes_the_colours_of_the_theme(plots):
    dark = themes()["dark"]
    for plot in plots:
        plot.restyle(dark)
        assert plot.figure.background_fill_color == dark["surface"]
    scatter = plots[1]
    assert scatter.pixels.glyph.fill_color == dark["accent"]
    assert scatter.y_axis.major_label_text_color == dark["muted"]


def test_a_plot_says_in_words_why_it_shows_nothing(plots):
    camera_map, *_ = plots
    camera_map.update(some_values(bad=(3,)))
    camera_map.clear("No pedestal events in this run.")
    assert np.isnan(camera_map.source.data["value"]).all()
    assert len(camera_map.bad.data["x"]) == 0
    message = camera_map._message
    assert message.visible
    assert message.text == "No pedestal events in this run."
    camera_map.update(some_values())
    assert not message.visible
