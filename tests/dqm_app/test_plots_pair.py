"""Two runs compared pixel by pixel: values, states, ranges, and how the plots tell A from B."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plot_runs import same

from dqm_app.plots.curves import Curves
from dqm_app.plots.distributions import DistributionPair
from dqm_app.plots.pair_maps import PairMaps
from dqm_app.plots.pixel_pair import Mode, PixelPair, beyond
from dqm_app.plots.pixels import ABSENT, BAD, GOOD, NO_VALUE, PixelSource, PixelValues
from dqm_app.plots.waveform import Waveforms
from dqm_app.plots.waveform_pair import WaveformPair, WaveformsOfTwo
from dqm_app.theme import themes
from dqm_db.content import N_PIXELS
from dqm_db.quantities import describe

CHARGE = describe("CHARGE-INTEGRATION-IMAGE-ALL-AVERAGE-HIGH-GAIN")
FRACTION = describe("CAMERA-BADPIX-PHY-OVEREVENTS-HIGH-GAIN-FRACTION")
CHANGES = describe("CAMERA-PING-PONG-CHANGES")
LIGHT, DARK = themes()["light"], themes()["dark"]
NOBODY = np.empty(0, int)
RUNS = "run 2", "run 1"


def values(seed: int, middle: float = 4000.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(middle, 50, N_PIXELS)


def one(array: np.ndarray, absent=NOBODY, bad=(), mask: str | None = "MASK") -> PixelValues:
    fraction = np.zeros(N_PIXELS)
    fraction[list(bad)] = 0.9
    return PixelValues.of(CHARGE, array, np.asarray(absent), fraction if mask else None, mask)


def groups(pair: PixelPair) -> dict[str, list[int]]:
    return {group.words: group.pixels.tolist() for group in pair.changes}


def test_a_difference_is_a_minus_b_and_its_outliers_are_found():
    b = values(1)
    a = b + 20 + np.random.default_rng(2).normal(0, 1, N_PIXELS)
    a[[5, 6]] += (30, -30)
    pair = PixelPair.of(one(a), one(b), Mode.DIFFERENCE)
    assert same(pair.values, a - b)
    assert pair.middle == pytest.approx(np.median(a - b))
    assert pair.sigma == pytest.approx(1, rel=0.1)
    assert pair.outliers.tolist() == [5, 6]
    assert pair.limits[0] == -pair.limits[1] < 0
    assert pair.whole == pytest.approx(np.abs(a - b).max())
    assert pair.unit == CHARGE.unit
    assert beyond(pair, 5) == "2 beyond 5 σ"
    assert pair.changes == ()


def test_a_ratio_has_no_value_where_b_is_not_above_zero_and_says_so():
    a, b = np.full(N_PIXELS, 3.0), np.full(N_PIXELS, 2.0)
    b[:4] = (0.0, -1.0, 5e-324, np.nan)
    a[4] = -3.0
    pair = PixelPair.of(one(a), one(b), Mode.RATIO)
    assert np.isnan(pair.values[:4]).all()
    assert pair.values[4:6].tolist() == [-1.5, 1.5]
    assert (pair.state[:4] == NO_VALUE).all()
    assert pair.words[0] == "good; no ratio: B is 0"
    assert pair.words[1] == "good; no ratio: B is negative"
    assert pair.words[2] == "good; no ratio: B is too small"
    assert pair.words[3] == "A: good; B: no value"
    assert pair.words[5] == "good"
    assert pair.unit == ""
    assert pair.limits[0] + pair.limits[1] == pytest.approx(2.0)
    assert pair.outliers.tolist() == [4]
    assert groups(pair) == {"without value in B only": [3]}


def test_states_of_both_runs_are_kept_apart():
    a, b = values(1), values(2)
    a[[0, 1]] = np.nan  # absent in A
    b[[1, 2]] = np.nan  # absent in B
    b[9] = np.nan
    pair = PixelPair.of(
        one(a, absent=[0, 1], bad=[3, 4]), one(b, absent=[1, 2], bad=[0, 4, 5]), Mode.DIFFERENCE
    )
    assert pair.state[:6].tolist() == [ABSENT, ABSENT, ABSENT, BAD, BAD, BAD]
    assert pair.state[9] == NO_VALUE
    assert (np.delete(pair.state, [0, 1, 2, 3, 4, 5, 9]) == GOOD).all()
    assert groups(pair) == {
        "absent in A only": [0],
        "absent in B only": [2],
        "bad in A only": [3],
        "bad in B only": [5],
        "without value in B only": [9],
    }, "of pixel 0, absent in A, nobody can tell whether it became good"
    assert pair.words[3] == "A: bad; B: good"
    assert pair.compared == N_PIXELS - 7


def test_badness_that_only_one_run_knows_is_no_change():
    pair = PixelPair.of(one(values(1), bad=[3]), one(values(2), mask=None), Mode.DIFFERENCE)
    assert not pair.judged
    assert groups(pair) == {}


def test_both_maps_have_the_colours_of_all_values():
    pair = PixelPair.of(one(values(1, 1000)), one(values(2, 2000)), Mode.DIFFERENCE)
    every = np.concatenate([values(1, 1000), values(2, 2000)])
    assert pair.auto == pytest.approx(np.percentile(every, [0.5, 99.5]))
    assert pair.full == (every.min(), every.max())


def test_runs_that_are_alike_have_a_scale_and_no_outliers():
    for mode in Mode:
        pair = PixelPair.of(one(values(1)), one(values(1)), mode)
        assert pair.limits[0] < mode.centre < pair.limits[1]
        assert pair.middle == mode.centre
        assert pair.sigma == 0
        assert pair.outliers.size == 0
        assert beyond(pair, 5) == "0 off the median"


def test_differences_below_the_least_one_are_none():
    b = np.zeros(N_PIXELS)
    a = b.copy()
    a[:7], a[7] = 1.0, 5.0
    runs = [PixelValues.of(CHANGES, run, NOBODY) for run in (a, b)]
    pair = PixelPair.of(*runs, Mode.DIFFERENCE, least=2.0)
    assert pair.outliers.tolist() == [7]
    assert pair.limits == (-5.0, 5.0), "all counts are within the colours"


def test_fractions_are_compared_on_their_whole_range():
    fraction = np.zeros(N_PIXELS)
    fraction[3] = 1.0
    runs = [
        PixelValues.of(FRACTION, run, NOBODY, run, "MASK", count_bad=True)
        for run in (fraction, np.zeros(N_PIXELS))
    ]
    pair = PixelPair.of(*runs, Mode.DIFFERENCE, least=0.1)
    assert pair.limits == (-1.0, 1.0)
    assert pair.outliers.tolist() == [3], "where badness is compared bad pixels count"


FLOATS = st.floats(-1e300, 1e300) | st.sampled_from((np.nan, np.inf, 0.0))


@given(st.lists(FLOATS, min_size=20, max_size=20), st.sampled_from(Mode))
def test_whatever_the_values_are_ranges_are_ranges(numbers, mode):
    a, b = np.resize(numbers[:10], N_PIXELS), np.resize(numbers[10:], N_PIXELS)
    pair = PixelPair.of(one(a), one(b), mode)
    assert np.isfinite(pair.values[~np.isnan(pair.values)]).all()
    assert pair.reach > 0
    assert pair.whole > 0
    assert set(pair.state.tolist()) <= {GOOD, BAD, ABSENT, NO_VALUE}
    assert pair.nothing == (pair.compared == 0)


# ---- the plots ----------------------------------------------------------------------------------


def maps_of(pair: PixelPair, missing: str | None = None) -> PairMaps:
    plots = PairMaps("compare", LIGHT, PixelSource().source("any"))
    plots.update(pair, RUNS, missing)
    return plots


def test_the_maps_share_source_ranges_and_the_colours_of_values():
    plots = maps_of(PixelPair.of(one(values(1)), one(values(2)), Mode.DIFFERENCE))
    data = plots.source.data
    assert same(data["value_a"], values(1))
    assert same(data["value_b"], values(2))
    assert same(data["value"], values(1) - values(2))
    assert {id(camera.source) for camera in plots.maps} == {id(plots.source)}
    assert {camera.figure.x_range.id for camera in plots.maps} == {plots.a.x_range.id}
    assert plots.a.mapper is plots.b.mapper is not plots.comparison.mapper
    assert plots.mapper.palette == list(LIGHT.palettes["value"])
    assert plots.comparison_mapper.palette == list(LIGHT.palettes["difference"])
    assert plots.comparison_mapper.low == -plots.comparison_mapper.high
    assert [camera.title.text for camera in plots.maps] == ["A: run 2", "B: run 1", "A − B"]
    for camera in plots.maps:
        assert "@value_a" in camera.hover.tooltips
        assert "@value_b" in camera.hover.tooltips
    plots.restyle(DARK)
    assert plots.comparison_mapper.palette == list(DARK.palettes["difference"])


def test_without_b_the_map_of_a_stays_and_the_others_say_why():
    b_known = PixelPair.of(one(values(1)), one(values(2), absent=[3]), Mode.DIFFERENCE)
    plots = maps_of(b_known)
    plots.update(PixelPair.of(one(values(1), bad=[7]), None, Mode.RATIO), RUNS, "Run 1 is a ghost.")
    assert plots.a.bad.data["x"].size == 1
    assert plots.b.bad.data["x"].size == plots.comparison.bad.data["x"].size == 0
    assert same(plots.source.data["value_a"], values(1))
    for column in ("value_b", "value"):
        assert np.isnan(plots.source.data[column]).all()
    texts = [camera.figure.center[-1].text for camera in (plots.b, plots.comparison)]
    assert texts == ["Run 1 is a ghost.", "There is nothing to compare with."]
    assert plots.a.colour_bar.visible
    assert not plots.b.colour_bar.visible
    assert plots.b.figure.tags[0]["export"]["tables"] == []


def test_distributions_have_the_same_bins_and_differ_in_shape():
    plot = DistributionPair("any", LIGHT)
    a, b = one(values(1), bad=[3]), one(values(2, 4100))
    plot.update(PixelPair.of(a, b, Mode.DIFFERENCE), RUNS)
    bins = plot.source.data
    edges = np.append(bins["left"], bins["right"][-1])
    assert same(bins["a"], np.histogram(np.delete(values(1), 3), edges)[0])
    assert same(bins["b"], np.histogram(values(2, 4100), edges)[0])
    assert plot.outline.data["edge"].size == plot.outline.data["b"].size == edges.size + 1
    assert same(plot.outline.data["b"][1:-1], bins["b"])
    kinds = [type(renderer.glyph).__name__ for renderer in plot.figure.renderers]
    assert kinds == ["Quad", "Step"], "filled and outline"
    assert [item.label.value for item in plot.legend.items] == ["A: run 2", "B: run 1"]
    assert "A: median" in plot.title.text
    assert "B: median" in plot.title.text
    plot.update(PixelPair.of(a, None, Mode.DIFFERENCE), RUNS)
    assert plot.outline.data["b"].size == 0
    assert [item.visible for item in plot.legend.items] == [True, False]
    assert "B:" not in plot.title.text


def test_pixels_at_zero_are_left_out_of_distributions_of_counts():
    a, b = np.zeros(N_PIXELS), np.zeros(N_PIXELS)
    a[:7] = 4.0
    runs = [PixelValues.of(CHANGES, run, NOBODY) for run in (a, b)]
    plot = DistributionPair("any", LIGHT)
    plot.update(PixelPair.of(*runs, Mode.DIFFERENCE), RUNS)
    assert plot.source.data["a"].sum() == 7
    assert plot.source.data["b"].sum() == 0
    assert "A: 1,848 pixels at 0 not drawn" in plot.title.text
    assert "B: 1,855 pixels at 0 not drawn" in plot.title.text


def waves(level: float, samples: int = 60) -> Waveforms:
    mean = level + np.sin(np.arange(samples) / 5)
    return Waveforms(
        "WF-PHY-HIGH-GAIN", "Pixel waveforms", "ADC", "", mean, mean, mean - 5, mean + 5
    )


def test_waveforms_of_two_runs_differ_in_dash_and_pixels_in_colour():
    plot = WaveformPair("any", LIGHT)
    plot.update(WaveformsOfTwo(waves(250), waves(260, 40)), RUNS)
    assert [source.data["mean"].size for source in plot.sources] == [60, 40]
    assert plot.y_range.start < 245 < 266 < plot.y_range.end
    rows = [np.full((N_PIXELS, size), 250.0) for size in (60, 40)]
    rows[1][8] = np.nan  # absent in B
    plot.show_picked(*(Curves.of(run, [7, 8]) for run in rows))
    drawn = plot.picked.data
    assert drawn["id"] == [7, 8, 7]
    assert drawn["dash"] == ["solid", "solid", "dashed"]
    assert drawn["run"] == ["run 2", "run 2", "run 1"]
    assert drawn["colour"][0] == drawn["colour"][2] != drawn["colour"][1]
    assert not set(drawn["colour"]) & set(LIGHT.series[:2]), "those are the runs'"
    plot.restyle(DARK)
    assert set(plot.picked.data["colour"]) <= set(DARK.series)
    plot.show_picked(*(Curves.of(run, range(20)) for run in rows))
    assert set(plot.picked.data["label"]) == {"Picked pixels"}
    plot.show_picked(None, None)
    assert plot.picked.data["id"] == []


def test_a_run_without_waveforms_leaves_those_of_the_other():
    plot = WaveformPair("any", LIGHT)
    plot.update(WaveformsOfTwo(None, waves(260)), RUNS)
    assert [item.visible for item in plot.legend.items[:2]] == [False, True]
    assert len(plot.figure.tags[0]["export"]["tables"]) == 2
    plot.update(WaveformsOfTwo(None, None, "No waveforms."), RUNS)
    assert not plot.legend.visible
    assert plot.figure.tags[0]["export"]["tables"] == []
