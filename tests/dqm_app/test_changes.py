"""What changed between two runs, on made-up maps of which the answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from synthetic_runs import a_run

from dqm_app.changes import (
    by_module,
    change_options,
    growing_quantities,
    map_change,
    map_changes,
    state_changes,
)
from dqm_db.content import N_PIXELS, RunHeader
from dqm_db.reader import PixelMaps

SIGNAL = "CAMERA-AVERAGE-PHY-OVEREVENTS-OVERSAMP-HIGH-GAIN"
CHARGE = "CHARGE-INTEGRATION-IMAGE-ALL-AVERAGE-HIGH-GAIN"
SUMS = "CHARGE-INTEGRATION-IMAGE-ALL-RMS-HIGH-GAIN"
PHY = "CAMERA-BADPIX-PHY-OVEREVENTS-HIGH-GAIN-FRACTION"
PED = "CAMERA-BADPIX-PED-PHY-OVEREVENTS-HIGH-GAIN-FRACTION"


def maps(**by_name: NDArray[np.float64]) -> PixelMaps:
    names = tuple(name.replace("_", "-") for name in by_name)
    values = np.array(list(by_name.values())).reshape(len(names), N_PIXELS)
    return PixelMaps(names, values, np.zeros((len(names), 64), np.int64), np.zeros((len(names), 2)))


def named(**by_name: NDArray[np.float64]) -> PixelMaps:
    return maps(**{{"charge": CHARGE, "sums": SUMS, "phy": PHY, "ped": PED}[key]: values
                   for key, values in by_name.items()})  # fmt: skip


def noise(seed: int, sigma: float = 10.0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(4000, sigma, N_PIXELS)


def header(absent: list[int] | None = None) -> RunHeader:
    return replace(a_run().header, absent_pixels=np.array(absent or [], np.uint16))


def fractions(*bad: int) -> NDArray[np.float64]:
    values = np.zeros(N_PIXELS)
    values[list(bad)] = 0.9
    return values


def test_a_shift_of_the_whole_camera_is_told_in_spreads_and_changes_no_pixel():
    before = noise(1)
    change = map_change(CHARGE, before, before + 25)
    assert change is not None
    assert change.spread == pytest.approx(10, rel=0.1), "robust σ of the pixels"
    assert change.shift == pytest.approx(25 / change.spread)
    assert change.after - change.before == pytest.approx(25)
    assert len(change.pixels) == 0
    assert change.significance == change.shift
    assert change.strong


def test_pixels_that_leave_the_others_are_found_whatever_the_camera_does():
    before = noise(1)
    after = before + 25 + np.random.default_rng(2).normal(0, 0.5, N_PIXELS)
    after[[7, 900]] += 20
    after[1854] -= 20
    change = map_change(CHARGE, before, after)
    assert change is not None
    assert change.pixels.tolist() == [7, 900, 1854]
    few = map_change(CHARGE, before, after - 25)
    assert few is not None
    assert few.significance == len(few.pixels) / change_options().pixels


def test_runs_that_differ_by_noise_only_have_next_to_no_changed_pixel():
    change = map_change(CHARGE, noise(1), noise(2))
    assert change is not None
    assert len(change.pixels) <= 1
    assert not change.strong


def test_only_pixels_with_a_value_in_both_runs_enter():
    before, after = noise(1), noise(1)
    before[:1000] = np.nan
    after[1000:1500] = np.inf
    change = map_change(CHARGE, before, after)
    assert change is not None
    assert change.compared == 355
    assert change.shift == 0
    after[1500:] = np.nan
    assert map_change(CHARGE, before, after) is None


def test_a_camera_without_spread_that_moves_moves_infinitely():
    flat = np.full(N_PIXELS, 3.0)
    change = map_change(CHARGE, flat, flat - 1)
    assert change is not None
    assert change.shift == -np.inf
    assert change.significance == np.inf
    still = map_change(CHARGE, flat, flat * (1 + 1e-14))
    assert still is not None
    assert (still.shift, len(still.pixels)) == (0, 0), "rounding is no change"


def test_differences_below_the_least_of_their_unit_are_none():
    before, after = fractions(), fractions()
    after[5], after[6] = 0.05, 0.3
    change = map_change(PHY, before, after)
    assert change is not None
    assert change.pixels.tolist() == [6]


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_units_and_offsets_change_nothing(seed, offset, scale):
    rng = np.random.default_rng(seed)
    before = rng.normal(0, 1, N_PIXELS)
    after = before + rng.normal(0.3, 0.2, N_PIXELS)
    after[rng.integers(0, N_PIXELS, 5)] += 9
    plain = map_change(CHARGE, before, after)
    scaled = map_change(CHARGE, offset + scale * before, offset + scale * after)
    assert plain is not None
    assert scaled is not None
    assert scaled.shift == pytest.approx(plain.shift, rel=1e-3, abs=1e-3)
    assert scaled.pixels.tolist() == plain.pixels.tolist()


def test_quantities_are_ranked_and_those_that_grow_with_the_run_left_out():
    before = named(charge=noise(1), sums=noise(2), phy=fractions())
    after = named(charge=noise(1) + 5, sums=noise(2) * 3, phy=fractions(*range(50)))
    assert SUMS in growing_quantities()
    found = map_changes(before, after)
    assert [change.quantity for change in found] == [PHY, CHARGE]
    assert map_changes(before, named(charge=noise(1)))[0].quantity == CHARGE


def test_pixels_that_changed_their_state_do_not_hide_what_else_changed():
    charge = noise(1)
    charge[3] = 0.0  # dead now, and told of as such
    charge[4] += 5000
    before = named(charge=noise(1), phy=fractions())
    after = named(charge=charge, phy=fractions(3))
    states = state_changes((header(), before), (header(), after))
    assert states.became_bad.tolist() == [3]
    found = {
        change.quantity: change.pixels.tolist() for change in map_changes(before, after, states)
    }
    assert found == {CHARGE: [4], PHY: [3]}


def test_states():
    before = header([0, 1, 2, 3, 4, 5, 6, 20]), named(phy=fractions(10, 11, 30))
    after = header([20, 30, 40]), named(phy=fractions(3, 11, 12))
    states = state_changes(before, after)
    assert states.became_bad.tolist() == [3, 12]
    assert states.recovered.tolist() == [10], "pixel 30 is gone, which is not better"
    assert states.became_absent.tolist() == [30, 40]
    assert states.came_back.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert states.judged
    assert states.all.tolist() == [0, 1, 2, 3, 4, 5, 6, 10, 12, 30, 40]


def test_a_run_without_pedestals_heals_nobody():
    before = header(), named(phy=fractions(1), ped=fractions(1, 2))
    states = state_changes(before, (header(), named(phy=fractions(1))))
    assert states.all.tolist() == []
    assert states.judged
    blind = state_changes(before, (header([9]), named(charge=noise(1))))
    assert not blind.judged
    assert blind.all.tolist() == [9]


def test_whole_modules_are_named_as_such():
    assert by_module(np.array([5, 7, 8, 9, 10, 11, 12, 13, 14])) == ([1], [5, 14])
    assert by_module(np.array([], np.int64)) == ([], [])
