"""The numbers of a simulated run agree with each other."""

import io
from collections.abc import Mapping

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from dqm.simulation import Condition, FrontEnd, condition_named, simulate_results

START = 1746145800
Run = Mapping[str, Mapping[str, np.ndarray]]


def columns(results: bytes) -> dict[str, dict[str, np.ndarray]]:
    quantities = {}
    for hdu in fits.open(io.BytesIO(results))[1:]:
        if hdu.is_image:
            quantities[hdu.name] = {hdu.name: np.asarray(hdu.data)}
        else:
            quantities[hdu.name] = {c.name: np.asarray(hdu.data[c.name]) for c in hdu.columns}
    return quantities


def values(run: Run, name: str) -> np.ndarray:
    (column,) = run[name].values()
    return column


def simulated(condition: Condition, events: int | None = None, run: int = 1) -> Run:
    return columns(
        simulate_results("NectarCAMQM", run, start=START, events=events, condition=condition)
    )


@pytest.fixture(scope="module")
def complete() -> Run:
    return simulated(condition_named("complete"))


def check_charges(run: Run) -> None:
    classes = {"IMAGE": 0, "PED": 0}
    for event_class in classes:
        for gain in ("HIGH", "LOW"):
            for kind in ("CHARGE", "PED"):
                prefix = f"{kind}-INTEGRATION-{event_class}-ALL-"
                if f"{prefix}RMS-{gain}-GAIN" not in run:
                    continue
                average, median, std, rms = (
                    values(run, f"{prefix}{statistic}-{gain}-GAIN")
                    for statistic in ("AVERAGE", "MEDIAN", "STD", "RMS")
                )
                assert np.all(std >= 0)
                # √Σq² = √(N·(mean² + std²)), with one N for all pixels.
                count = rms**2 / (average**2 + std**2)
                np.testing.assert_allclose(count, np.round(count[0]), rtol=1e-9)
                assert classes[event_class] in (0, round(count[0]))
                classes[event_class] = round(count[0])
                assert np.all(np.abs(average - median) <= std + 1e-3)


def test_charge_statistics_agree(complete):
    check_charges(complete)


def test_camera_averages_are_those_of_the_waveforms(complete):
    for event_class in ("PHY", "PED"):
        for gain in ("HIGH", "LOW"):
            waveforms = values(complete, f"WF-{event_class}-{gain}-GAIN")
            averages = values(
                complete, f"CAMERA-AVERAGE-{event_class}-OVEREVENTS-OVERSAMP-{gain}-GAIN"
            )
            camera = values(complete, f"WF-{event_class}-AVERAGE-PIX-{gain}-GAIN")
            np.testing.assert_allclose(averages, waveforms.mean(axis=1), atol=1e-4)
            np.testing.assert_allclose(camera, waveforms.mean(axis=0), atol=1e-4)


def test_charges_are_integrals_of_the_waveforms(complete):
    waveforms = values(complete, "WF-PHY-HIGH-GAIN")
    charge = values(complete, "CHARGE-INTEGRATION-IMAGE-ALL-AVERAGE-HIGH-GAIN")
    windows = np.lib.stride_tricks.sliding_window_view(waveforms, 16, axis=1).sum(axis=2)
    np.testing.assert_allclose(np.abs(windows - charge[:, None]).min(axis=1), 0.0, atol=1e-6)
    assert waveforms.mean(axis=0).argmax() in range(26, 31)


def test_gains_differ_by_the_ratio(complete):
    def amplitude(gain: str) -> np.ndarray:
        signal = values(complete, f"WF-PHY-{gain}-GAIN") - values(complete, f"WF-PED-{gain}-GAIN")
        return signal.mean(axis=0).max()

    assert amplitude("HIGH") / amplitude("LOW") == pytest.approx(13.0, rel=0.1)


def test_pedestals_are_near_250_counts_and_spread(complete):
    for gain in ("HIGH", "LOW"):
        pedestals = values(complete, f"CAMERA-AVERAGE-PED-OVEREVENTS-OVERSAMP-{gain}-GAIN")
        assert pedestals.mean() == pytest.approx(250.0, abs=10.0)
        assert 2.0 < pedestals.std() < 8.0


def check_events(run: Run, events: int) -> None:
    statistics = {name: int(count[0]) for name, count in run["TRIGGER-STATISTICS"].items()}
    start = run["START-TIMES"]
    first = start["First event"].item()
    names = {"ALL": "All", "PHY": "Physical", "PED": "Pedestals", "OTHERS": "Others"}
    for part, title in names.items():
        table = run.get(f"TRIGGER-EVENTS-{part}")
        assert statistics[title] == (0 if table is None else len(table["IDs"]))
        if table is not None:
            assert np.all(table["Timestamps"] > first)
            assert np.all(np.diff(table["IDs"]) > 0)
    parts = [
        run[f"TRIGGER-EVENTS-{part}"]["IDs"]
        for part in ("PHY", "PED", "OTHERS")
        if f"TRIGGER-EVENTS-{part}" in run
    ]
    merged = np.sort(np.concatenate([*parts, np.zeros(0, np.int64)]))
    everything = run.get("TRIGGER-EVENTS-ALL", {"IDs": np.zeros(0, np.int64)})["IDs"]
    assert np.array_equal(merged, everything)
    wrong = run.get("TRIGGER-EVENTS-WRONG", {"Timestamps": np.zeros(0)})["Timestamps"]
    assert statistics["Wrong times"] == len(wrong)
    assert np.all(wrong < first)
    assert statistics["All"] + len(wrong) + 1 == events
    assert 37 + 5 <= first - start["Run start time"].item() <= 37 + 20


def test_events_are_counted_once(complete):
    check_events(complete, 300)


def test_times_are_those_of_a_poisson_process():
    run = simulated(Condition(rate=500.0), events=5000)
    steps = np.diff(values({"t": {"t": run["TRIGGER-EVENTS-ALL"]["Timestamps"]}}, "t"))
    assert np.all(steps > 0)
    assert steps.mean() == pytest.approx(1 / 500.0, rel=0.1)
    assert steps.std() == pytest.approx(steps.mean(), rel=0.1)


def check_bad_pixels(run: Run, absent: int = 0) -> None:
    for event_class, name in (("PHY", "PHY"), ("PED", "PED-PHY")):
        for gain in ("HIGH", "LOW"):
            if f"CAMERA-BADPIX-{name}-OVEREVENTS-{gain}-GAIN" not in run:
                continue
            counts = values(run, f"CAMERA-BADPIX-{name}-OVEREVENTS-{gain}-GAIN")
            timeline = values(run, f"CAMERA-BADPIXTIMELINE-{event_class}-{gain}-GAIN")
            # The first `absent` entries repeat pixels that come again at their place.
            assert counts[absent:].sum() <= round(timeline.sum() * 1855) <= counts.sum()
            assert np.all(counts <= np.count_nonzero(timeline)) or not timeline.any()


def test_bad_pixels_agree_with_the_timelines(complete):
    check_bad_pixels(complete)
    timelines = [values(complete, f"CAMERA-BADPIXTIMELINE-{c}-HIGH-GAIN") for c in ("PHY", "PED")]
    assert np.all((timelines[0] > 0) ^ (timelines[1] > 0))  # dead pixels are in every event
    high, low = (
        values(complete, f"CAMERA-BADPIX-PHY-OVEREVENTS-{gain}-GAIN") for gain in ("HIGH", "LOW")
    )
    assert np.all(low <= high)
    assert high.sum() > low.sum()


def test_dead_pixels_are_flat_and_flagged(complete):
    flat = values(complete, "WF-PHY-HIGH-GAIN").std(axis=1) == 0
    flagged = values(complete, "CAMERA-BADPIX-PED-PHY-OVEREVENTS-LOW-GAIN")
    assert np.count_nonzero(flat) == 9 + 3 * 7
    assert np.all(flagged[flat] == flagged.max())
    assert np.all(values(complete, "CHARGE-INTEGRATION-IMAGE-ALL-STD-HIGH-GAIN")[flat] == 0)


def test_temperatures_agree(complete):
    trend = values(complete, "CAMERA-TEMPERATURE-TREND")
    average = values(complete, "CAMERA-TEMPERATURE-AVERAGE").reshape(265, 7)
    np.testing.assert_allclose(average, trend.mean(axis=1)[:, None].repeat(7, 1))
    assert np.ptp(trend.mean(axis=1)) > 2.0
    assert np.all(values(complete, "CAMERA-TEMPERATURE-STD") > 0)


def test_ping_pong_changes_are_at_events(complete):
    changes = values(complete, "CAMERA-PING-PONG-CHANGES").reshape(265, 7)
    times = values(complete, "CAMERA-PING-PONG-CHANGES-TIMES")
    assert np.all(changes == changes[:, :1])
    assert len(times) == changes[:, 0].sum() == 4
    accepted = complete["TRIGGER-EVENTS-ALL"]["Timestamps"]
    wrong = complete["TRIGGER-EVENTS-WRONG"]["Timestamps"]
    assert np.isin(times, [*accepted, *wrong, complete["START-TIMES"]["First event"].item()]).all()


@settings(max_examples=40, deadline=None)
@given(
    events=st.integers(1, 60),
    pedestals=st.floats(0, 1),
    flatfields=st.floats(0, 1),
    absent=st.integers(0, 40),
    front_end=st.sampled_from(FrontEnd),
    mistimed=st.tuples(st.integers(0, 70), st.integers(0, 70)),
    subtracted=st.booleans(),
)
def test_any_condition_gives_a_consistent_file(
    events, pedestals, flatfields, absent, front_end, mistimed, subtracted
):
    condition = Condition(
        pedestal_fraction=pedestals,
        flatfield_fraction=flatfields * (1 - pedestals),
        absent_modules=absent,
        failing_modules=2,
        front_end=front_end,
        wrong_times=mistimed[0],
        negative_steps=mistimed[1],
        pedestal_subtracted=subtracted,
    )
    run = simulated(condition, events)
    check_charges(run)
    check_events(run, events)
    check_bad_pixels(run, 7 * absent)
