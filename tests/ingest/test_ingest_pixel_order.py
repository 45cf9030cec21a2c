"""Per-pixel values in the place of their pixel, or no values at all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from results_files import N_PIXELS, build_fits, run_content, truth_maps

from dqm_db.content import Kind, Provenance, Quantity, RunContent
from ingest.parse import parse_results

PROVENANCE = Provenance("x", 1, 1, "x.fits", 1, "0" * 64, 0.0, 0)
SIGNAL = "CAMERA-AVERAGE-PHY-OVEREVENTS-OVERSAMP-HIGH-GAIN"
CHARGE = "CHARGE-INTEGRATION-IMAGE-ALL-AVERAGE-HIGH-GAIN"
RMS = "CHARGE-INTEGRATION-IMAGE-ALL-RMS-HIGH-GAIN"
BAD = "CAMERA-BADPIX-PHY-OVEREVENTS-HIGH-GAIN"
WAVEFORMS = "WF-PHY-HIGH-GAIN"
MEAN_WAVEFORM = "WF-PHY-AVERAGE-PIX-HIGH-GAIN"
TRUTH = {SIGNAL: "signal", CHARGE: "charge", RMS: "rms", BAD: "bad"}

# modules at the start, in the middle and at the end of the camera; also single pixels
ABSENT = {
    "none": [],
    "first modules": list(range(14)),
    "later modules": [*range(700, 707), *range(1848, 1855)],
    "some below k, some above": [*range(3, 10), *range(700, 721)],
    "single pixels": [0, 5, 1000],
    "nearly all": list(range(5, N_PIXELS)),
}


def parse(content: dict[str, object]) -> tuple[RunContent, dict[str, Quantity]]:
    run = parse_results(build_fits(content), camera="C", run=1, provenance=PROVENANCE)
    return run, {quantity.name: quantity for quantity in run.quantities}


def values(quantity: Quantity) -> np.ndarray:
    assert quantity.unavailable is None, quantity.unavailable
    (found,) = quantity.columns.values()
    return found


def expected(name: str, absent: list[int], seed: int = 0) -> np.ndarray:
    truth = truth_maps(seed)[TRUTH[name]].copy()
    truth[absent] = np.nan
    return truth


@pytest.mark.parametrize("fill", [np.inf, 65535.0])
@pytest.mark.parametrize("absent", ABSENT.values(), ids=ABSENT)
def test_everything_is_put_back(absent: list[int], fill: float) -> None:
    run, quantities = parse(run_content(absent=absent, fill=fill))
    assert run.header.absent_pixels.tolist() == absent
    assert run.header.absent_pixels.dtype == np.uint16
    assert run.header.notes == ()
    for name in TRUTH:
        np.testing.assert_array_equal(values(quantities[name]), expected(name, absent))
    waveforms = truth_maps()["waveforms"].copy()
    waveforms[absent] = np.nan
    np.testing.assert_array_equal(values(quantities[WAVEFORMS]), waveforms)
    np.testing.assert_allclose(
        values(quantities[MEAN_WAVEFORM]), np.nanmean(waveforms, axis=0), rtol=1e-12
    )


def test_mean_waveform_is_the_files_when_nothing_is_absent() -> None:
    content = run_content()
    content[MEAN_WAVEFORM] = np.asarray(content[MEAN_WAVEFORM]) + 0.25
    _, quantities = parse(content)
    np.testing.assert_array_equal(values(quantities[MEAN_WAVEFORM]), content[MEAN_WAVEFORM])


def test_sensors_measure_absent_modules_and_ping_pong_does_not() -> None:
    absent = list(range(70, 84))
    _, quantities = parse(run_content(absent=absent))
    temperature = values(quantities["CAMERA-TEMPERATURE-AVERAGE"])
    np.testing.assert_array_equal(temperature, truth_maps()["temperature"])
    changes = values(quantities["CAMERA-PING-PONG-CHANGES"])
    assert np.flatnonzero(np.isnan(changes)).tolist() == absent


def test_without_waveforms_a_shifted_map_tells_when_all_absent_are_low() -> None:
    absent = list(range(14))
    content = run_content(absent=absent)
    del content[WAVEFORMS], content[MEAN_WAVEFORM]
    for with_charges in (True, False):
        if not with_charges:
            del content[CHARGE], content[RMS]
        run, quantities = parse(content)
        assert run.header.absent_pixels.tolist() == absent
        np.testing.assert_array_equal(values(quantities[BAD]), expected(BAD, absent))
        np.testing.assert_array_equal(values(quantities[SIGNAL]), expected(SIGNAL, absent))


@pytest.mark.parametrize("with_charges", [True, False])
@pytest.mark.parametrize("absent", [ABSENT["later modules"], ABSENT["some below k, some above"]])
def test_without_waveforms_nothing_is_guessed(absent: list[int], with_charges: bool) -> None:
    content = run_content(absent=absent)
    del content[WAVEFORMS]
    if not with_charges:
        del content[CHARGE], content[RMS]
    run, quantities = parse(content)
    reason = f"{len(absent)} pixels are absent and the file does not tell which"
    assert any(reason in note for note in run.header.notes)
    for name in (SIGNAL, BAD, f"{BAD}-FRACTION", *((CHARGE, RMS) if with_charges else ())):
        assert reason in str(quantities[name].unavailable)
    assert "absent pixels entered the mean" in str(quantities[MEAN_WAVEFORM].unavailable)
    # what does not depend on the order of pixels is still there
    assert quantities["CAMERA-TEMPERATURE-AVERAGE"].unavailable is None
    assert run.header.bad_pixels is None


def test_without_any_evidence_all_pixels_are_present() -> None:
    content = run_content()
    for name in (WAVEFORMS, SIGNAL, CHARGE, RMS):
        del content[name]
    run, quantities = parse(content)
    assert not len(run.header.absent_pixels)
    np.testing.assert_array_equal(values(quantities[BAD]), expected(BAD, []))


def test_charges_and_waveforms_that_disagree() -> None:
    absent = list(range(700, 714))
    content = run_content(absent=absent)
    for name in (CHARGE, RMS):
        content[name] = np.asarray(content[name])[:-1]
    run, quantities = parse(content)
    assert run.header.absent_pixels.tolist() == absent
    assert "the charges list 1840 pixels, but by the waveforms 1841" in run.header.notes[0]
    for name in (CHARGE, SIGNAL, BAD):
        assert "the charges list 1840" in str(quantities[name].unavailable)
    assert values(quantities[WAVEFORMS]).shape[0] == N_PIXELS


def test_another_order_of_the_mean_signal_is_noticed() -> None:
    absent = list(range(700, 714))
    content = run_content(absent=absent)
    content[SIGNAL] = truth_maps()["signal"]  # in place, as a corrected writer might
    run, quantities = parse(content)
    for name in (SIGNAL, BAD):
        assert "not in the order known" in str(quantities[name].unavailable)
    assert any("not in the order known" in note for note in run.header.notes)
    np.testing.assert_array_equal(values(quantities[CHARGE]), expected(CHARGE, absent))


def test_pixels_absent_from_one_gain_only() -> None:
    content = run_content()
    low = np.array(content[WAVEFORMS])
    low[10] = np.inf
    content["WF-PHY-LOW-GAIN"] = low
    run, quantities = parse(content)
    assert not len(run.header.absent_pixels)
    assert np.isnan(values(quantities["WF-PHY-LOW-GAIN"])[10]).all()
    assert np.isfinite(values(quantities[WAVEFORMS])[10]).all()
    assert "1 pixels have no waveforms in some classes or gains" in run.header.notes


def test_charge_of_unexpected_length() -> None:
    content = run_content()
    content[CHARGE] = np.asarray(content[CHARGE])[:100]
    run, quantities = parse(content)
    # the two charge maps differ in length, so neither tells the number of pixels
    assert "100 values for 1855 present pixels" in str(quantities[CHARGE].unavailable)
    np.testing.assert_array_equal(values(quantities[RMS]), expected(RMS, []))
    assert any(note.startswith(f"{CHARGE} cannot be shown") for note in run.header.notes)


def test_wrong_shapes_are_kept_as_they_are() -> None:
    content = run_content()
    content[BAD] = np.arange(12.0).reshape(3, 4)
    content["CAMERA-TEMPERATURE-TREND"] = np.ones((3, 5))
    run, quantities = parse(content)
    for name in (BAD, "CAMERA-TEMPERATURE-TREND"):
        assert quantities[name].kind is Kind.GENERIC
        np.testing.assert_array_equal(values(quantities[name]), content[name])
        assert any(note.startswith(f"{name}: not the shape expected") for note in run.header.notes)
    assert "does not have one value per pixel" in str(quantities[f"{BAD}-FRACTION"].unavailable)


@settings(max_examples=15, deadline=None)
@given(
    absent=st.sets(st.integers(0, N_PIXELS - 1), max_size=300).map(sorted),
    fill=st.sampled_from([np.inf, 65535.0]),
    waveforms=st.booleans(),
)
def test_placed_right_or_not_at_all(absent: list[int], fill: float, waveforms: bool) -> None:
    content = run_content(absent=absent, fill=fill)
    if not waveforms:
        del content[WAVEFORMS]
    run, quantities = parse(content)
    placed = quantities[CHARGE].unavailable is None
    if waveforms:
        assert placed
    for name in TRUTH:
        if placed:
            np.testing.assert_array_equal(values(quantities[name]), expected(name, absent))
        else:
            assert quantities[name].unavailable
    if placed:
        assert run.header.absent_pixels.tolist() == absent
