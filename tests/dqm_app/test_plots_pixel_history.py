"""The biography of a pixel as plain values: states, changes, and distances from the camera."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from plot_runs import same

from dqm_app.plots.colours import mixed, shades
from dqm_app.plots.deviations import COLUMNS, Columns, Deviations, DeviationStrips, distance
from dqm_app.plots.pixel_history import History, PixelHistoryPlot
from dqm_app.plots.pixel_states import KEYS, NOT_MEASURED, UNFLAGGED, WORDS, States, StateStrip
from dqm_app.plots.pixels import ABSENT, BAD, GOOD, NO_VALUE
from dqm_app.theme import themes
from dqm_app.views.by_run import aligned
from dqm_app.views.pixel_history import mean_of

NAN = np.nan
LIGHT = themes()["light"]


def states(*rows, runs=None):
    """Of rows (value, fraction, measured, flags known)."""
    value, fraction, measured, known = (np.array(column) for column in zip(*rows, strict=True))
    runs = np.arange(len(rows)) + 6120 if runs is None else np.array(runs)
    return States.of_pixel(
        runs, value.astype(float), fraction.astype(float), measured.astype(bool), known.astype(bool)
    )


GOOD_ROW, BAD_ROW = (5.0, 0.0, 1, 1), (5.0, 0.82, 1, 1)
ABSENT_ROW, NOTHING_ROW = (NAN, NAN, 1, 1), (NAN, NAN, 0, 0)


@pytest.mark.parametrize(
    ("row", "state"),
    [
        (GOOD_ROW, GOOD),
        ((5.0, 0.5, 1, 1), GOOD),
        (BAD_ROW, BAD),
        ((NAN, 0.82, 1, 1), BAD),
        (ABSENT_ROW, ABSENT),
        ((20.0, NAN, 1, 1), ABSENT),  # sensors of a module measure without its pixels
        ((NAN, 0.0, 1, 1), NO_VALUE),
        ((NAN, NAN, 1, 0), NO_VALUE),
        ((5.0, NAN, 1, 0), UNFLAGGED),
        (NOTHING_ROW, NOT_MEASURED),
        ((NAN, 0.0, 0, 1), NOT_MEASURED),
    ],
)
def test_what_is_stored_of_a_pixel_says_its_state(row, state):
    assert states(row).state.tolist() == [state]


def test_changes_are_told_run_by_run_and_runs_that_say_nothing_are_passed():
    found = states(
        GOOD_ROW, BAD_ROW, NOTHING_ROW, BAD_ROW, GOOD_ROW, ABSENT_ROW, (5.0, NAN, 1, 0), GOOD_ROW,
        (NAN, 0.0, 1, 1), GOOD_ROW,
    )  # fmt: skip
    told = [(change.run, change.text.replace("\u00a0", " ")) for change in found.changes()]
    assert told == [
        (6121, "became bad (flagged in 82 % of events)"),
        (6124, "good again"),
        (6125, "absent: not read out"),
        (6127, "read out again"),
        (6128, "no value"),
        (6129, "has a value again"),
    ]
    assert found.counts() == {
        GOOD: 4,
        BAD: 2,
        ABSENT: 1,
        NO_VALUE: 1,
        UNFLAGGED: 1,
        NOT_MEASURED: 1,
    }
    assert len(KEYS) == len(WORDS)


def test_a_module_is_bad_as_soon_as_one_of_its_pixels_is_and_absent_when_all_are():
    pixels = [states(GOOD_ROW, GOOD_ROW, ABSENT_ROW, NOTHING_ROW) for _ in range(6)]
    module = States.of_pixels([*pixels, states(GOOD_ROW, BAD_ROW, ABSENT_ROW, NOTHING_ROW)])
    assert module.state.tolist() == [GOOD, BAD, ABSENT, NOT_MEASURED]
    assert module.words(1) == "bad (1 pixel of 7)"
    assert [change.text for change in module.changes()] == [
        "became bad (1 pixel of 7)",
        "absent: not read out",
    ]
    partly = States.of_pixels([states(GOOD_ROW), states(ABSENT_ROW)])
    assert partly.state.tolist() == [GOOD]


def test_the_strip_has_a_stretch_per_state_and_none_over_a_gap():
    strip = StateStrip("s", LIGHT, PixelHistoryPlot("p", LIGHT).x_range)
    runs = [1, 2, 5, 6, 7, 900, 901]
    strip.update(states(*[GOOD_ROW] * 3, *[BAD_ROW] * 2, *[BAD_ROW] * 2, runs=runs))
    drawn = strip.source.data
    assert drawn["first"].tolist() == [1, 6, 900]
    assert drawn["last"].tolist() == [5, 7, 901]
    assert drawn["left"].tolist() == [0.5, 5.5, 899.5]
    assert drawn["right"].tolist() == [5.5, 7.5, 901.5]
    assert drawn["hatch_pattern"] == ["blank", "cross", "cross"]
    assert strip.title.text == "State: good in 3, bad in 4 of 7 runs"
    strip.restyle(themes()["dark"])
    assert strip.source.data["fill_color"][1] == themes()["dark"]["status_bad"]
    strip.update(states(GOOD_ROW))
    assert strip.source.data["first"].tolist() == [6120]


def a_history(runs=5, others=6):
    run = np.arange(runs, dtype="<i4") + 6001
    flat = np.full(runs, 100.0, "<f4")
    return History(
        title="Charge", unit="ADC counts", noun="Pixel 12", run=run, start=1.7e9 + run,
        value=flat + 3, median=flat, sigma=flat / 50,
        around=np.tile(flat, (others, 1)), ids=tuple(range(others)),
    )  # fmt: skip


def test_lines_of_the_module_ask_only_for_columns_that_are_there():
    plot = PixelHistoryPlot("p", LIGHT)
    for others in (6, 7, 6):
        plot.update(a_history(others=others))
        assert [line.visible for line in plot.around] == [True] * others + [False] * (7 - others)
        assert all(line.glyph.y in plot.source.data for line in plot.around)
        assert plot.around[5].name == "pixel 5"
    assert plot.source.data["value"].dtype == np.float32
    assert same(plot.source.data["low"], np.full(5, 98, "<f4"))
    assert plot.y_range.start < 98
    assert plot.y_range.end > 103


def test_the_band_stays_within_what_the_unit_allows():
    history = a_history()
    fraction = History(
        **{**vars(history), "unit": "fraction of events", "median": history.sigma * 0}
    )
    assert fraction.low.min() == 0.0
    assert fraction.high.max() == 1.0


def test_a_history_without_any_value_has_no_height():
    empty = a_history(3)
    nothing = np.full(3, NAN, "<f4")
    found = History(
        **{**vars(empty), "value": nothing, "median": nothing, "around": np.full((6, 3), NAN)}
    )
    assert found.height() is None
    assert found.known().size == 0


def test_distances_are_in_widths_of_the_camera():
    value = np.array([104.0, 100.0, 0.9, 0.9, 0.0, NAN])
    median = np.array([100.0, 100.0, 0.0, 0.0, 0.0, 100.0])
    sigma = np.array([2.0, 0.0, 0.0, 0.0, 0.0, 2.0])
    std = np.array([9.0, 0.0, 0.3, 0.0, 0.0, 9.0])
    assert distance(value, median, sigma, std) == pytest.approx(
        [2.0, 0.0, 3.0, NAN, 0.0, NAN], nan_ok=True
    )


def test_a_column_shows_the_farthest_of_its_runs_and_fills_the_room_to_the_next():
    runs = np.array([10, 11, 13, 200])
    columns = Columns.of(runs)
    assert (columns.first, columns.last) == (9.5, 200.5)
    row = columns.farthest(np.array([1.0, -2.0, 3.0, -4.0]))
    assert row.size == 191
    assert row[:4].tolist()[:2] == [1.0, -2.0]
    assert row[3] == 3.0
    assert row[2] in (-2.0, 3.0), "between neighbours there is no hole"
    assert np.isnan(row[50:150]).all(), "but there is where no run is near"
    assert row[-1] == -4.0


@given(
    arrays(
        np.float64,
        st.integers(1, 3000),
        elements=st.floats(-9, 9) | st.just(NAN),
    ),
    st.randoms(use_true_random=False),
)
def test_no_spike_is_lost_in_the_picture(values, random):
    runs = np.cumsum([random.choice([1, 1, 1, 2, 40]) for _ in values])
    columns = Columns.of(runs)
    row = columns.farthest(values)
    assert row.size <= COLUMNS
    known = np.abs(values[np.isfinite(values)]).astype("<f4")
    shown = np.abs(row[np.isfinite(row)])
    assert (known.max() if known.size else None) == (shown.max() if shown.size else None)


def test_the_strips_frame_the_quantity_that_is_shown_and_name_sections_with_room():
    strips = DeviationStrips("d", LIGHT, PixelHistoryPlot("p", LIGHT).x_range)
    names = tuple("abcdef")
    data = Deviations(
        names, tuple("ABCDEF"), ("One",) * 3 + ("Two", "Three", "Four"),
        np.zeros((6, 4), "<f4"), 0.5, 4.5,
    )  # fmt: skip
    strips.update(data)
    strips.choose("b")
    assert (strips.chosen.data["bottom"], strips.chosen.data["top"]) == ([4], [5])
    assert strips.source.data["y"] == [5, 4, 3, 2, 1, 0]
    assert [image.shape for image in strips.source.data["image"]] == [(1, 4)] * 6
    assert strips.y_axis.major_label_overrides == {4.5: "One", 1.5: "Three"}
    strips.clear("why")
    assert strips.source.data["y"] == []
    strips.choose("b")
    assert strips.chosen.data["bottom"] == []


def test_the_band_of_many_runs_is_no_polygon():
    plot = PixelHistoryPlot("p", LIGHT)
    for runs, many in ((700, False), (701, True), (5, False)):
        plot.update(a_history(runs))
        assert (plot._band.visible, plot._bars.visible) == (not many, many)
    assert plot._bars.glyph.width == 1.0


def test_shades_run_through_the_middle():
    assert mixed("#000000", "#ff8000", 0.5) == "#804000"
    found = shades("#0000ff", "#ffffff", "#ff0000")
    assert (found[0], found[len(found) // 2], found[-1]) == ("#0000ff", "#ffffff", "#ff0000")
    assert len(set(found)) == len(found)


def test_values_are_aligned_by_run_and_means_leave_out_what_is_missing():
    values = np.array([[1.0, 2.0, 3.0]])
    assert same(aligned(np.array([1, 2, 4]), np.array([1, 3, 4]), values), [[1.0, NAN, 3.0]])
    assert same(aligned(np.array([9]), np.empty(0, int), np.empty((1, 0))), [[NAN]])
    verdicts = aligned(np.array([0, 3]), np.array([3, 4]), np.array([2, 0], "i1"), -1)
    assert (verdicts.dtype, verdicts.tolist()) == (np.int8, [-1, 2])
    assert same(mean_of(np.array([[1.0, NAN, NAN], [3.0, 5.0, NAN]])), [2.0, 5.0, NAN])
