"""The sample files, number by number, against the raw file read by astropy alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from results_files import build_fits, raw_columns, raw_values, run_content, sample_fits

from dqm_db.content import EventCounts, Kind, Provenance, Quantity, RunContent
from dqm_db.quantities import describe, known_quantities
from ingest import PARSER_VERSION
from ingest.parse import parse_results

PROVENANCE = Provenance("x", 1, 1, "x.fits", 1, "0" * 64, 5.0, 0)


def parse(data: bytes) -> tuple[RunContent, dict[str, Quantity]]:
    run = parse_results(data, camera="NectarCAMQM", run=77, provenance=PROVENANCE)
    return run, {quantity.name: quantity for quantity in run.quantities}


def values(quantity: Quantity) -> np.ndarray:
    assert quantity.unavailable is None, quantity.unavailable
    return next(iter(quantity.columns.values()))


def test_identity_counts_and_times(samples: Path) -> None:
    data = sample_fits(samples, 6001)
    run, _ = parse(data)
    header = run.header
    assert (header.camera, header.run) == ("NectarCAMQM", 77)
    assert header.events == EventCounts(298, 254, 24, 20, 1)
    raw = raw_columns(data)["START-TIMES"]
    assert header.times.tai_minus_utc == 37.0
    assert header.times.run_start == raw["Run start time"].item() == 1746145800
    assert header.times.first_event == raw["First event"].item() - 37
    assert header.times.last_event == raw["Last event"].item() - 37
    assert header.provenance.parser_version == PARSER_VERSION
    assert header.provenance.ingested_at == 5.0
    assert header.notes == ()


def test_a_complete_file_is_kept_bit_for_bit(samples: Path) -> None:
    data = sample_fits(samples, 6001)
    _, quantities = parse(data)
    for name, columns in raw_columns(data).items():
        found = quantities[name]
        assert found.unavailable is None
        for key, expected in columns.items():
            assert found.columns[key].dtype == expected.dtype.newbyteorder("<")
            assert (
                found.columns[key].tobytes()
                == expected.astype(expected.dtype.newbyteorder("<")).tobytes()
            ), f"{name} {key}"
        added = set(found.columns) - set(columns)
        assert added == ({"of_class"} if found.kind is Kind.EVENT_TIMELINE else set())


def test_order_of_quantities(samples: Path) -> None:
    data = sample_fits(samples, 6001)
    run, _ = parse(data)
    names = [quantity.name for quantity in run.quantities]
    in_file = list(raw_columns(data))
    assert names[: len(in_file)] == in_file
    assert all(describe(name).derived_from for name in names[len(in_file) :])
    assert set(names) == set(known_quantities())


def test_bad_pixels(samples: Path) -> None:
    data = sample_fits(samples, 6001)
    run, quantities = parse(data)
    raw = raw_values(data)
    flagged = np.zeros(1855, bool)
    # 276 = 298 − 24 + the first event and one with a wrong time, which the counts leave out
    for events, count in (("PHY", 276), ("PED-PHY", 24)):
        for gain in ("HIGH", "LOW"):
            name = f"CAMERA-BADPIX-{events}-OVEREVENTS-{gain}-GAIN"
            fraction = values(quantities[f"{name}-FRACTION"])
            np.testing.assert_array_equal(fraction, raw[name] / count)
            assert fraction.max() == 1
            flagged |= fraction > 0.5
            statistics = run.statistics[f"{name}-FRACTION"]
            assert statistics["bad"] == np.count_nonzero(fraction > 0.5) == 30
    assert run.header.bad_pixels == flagged.sum() == 30
    high = values(quantities["CAMERA-BADPIX-PHY-OVEREVENTS-HIGH-GAIN-FRACTION"])
    low = values(quantities["CAMERA-BADPIX-PHY-OVEREVENTS-LOW-GAIN-FRACTION"])
    assert np.count_nonzero(high) == 49 and np.count_nonzero(low) == 37


def test_rms_per_event(samples: Path) -> None:
    data = sample_fits(samples, 6001)
    _, quantities = parse(data)
    raw = raw_values(data)
    for events, count in (("IMAGE", 276), ("PED", 24)):
        for gain in ("HIGH", "LOW"):
            name = f"CHARGE-INTEGRATION-{events}-ALL-RMS-{gain}-GAIN"
            per_event = values(quantities[f"{name}-PER-EVENT"])
            np.testing.assert_allclose(per_event, raw[name] / np.sqrt(count), rtol=1e-9)
            assert (per_event >= np.abs(raw[name.replace("RMS", "AVERAGE")])).all()


def test_rms_per_event_without_the_maps_it_is_computed_from() -> None:
    content = run_content()
    for name in list(content):
        if "-ALL-STD-" in name:
            del content[name]
    _, quantities = parse(build_fits(content))
    name = "CHARGE-INTEGRATION-IMAGE-ALL-RMS-HIGH-GAIN"
    counts = content["TRIGGER-STATISTICS"]
    events = int(counts["All"][0] - counts["Pedestals"][0] + counts["Wrong times"][0] + 1)
    np.testing.assert_allclose(
        values(quantities[f"{name}-PER-EVENT"]), values(quantities[name]) / np.sqrt(events)
    )


def test_timelines_know_their_events(samples: Path) -> None:
    for run, pedestals in ((6001, 24), (8001, 22), (8003, 0)):
        data = sample_fits(samples, run)
        _, quantities = parse(data)
        raw = raw_columns(data)
        for gain in ("HIGH", "LOW"):
            quantity = quantities[f"CAMERA-BADPIXTIMELINE-PHY-{gain}-GAIN"]
            timeline, of_class = quantity.columns.values()
            assert of_class.dtype == np.bool_
            assert np.count_nonzero(~of_class) == pedestals
            assert (timeline[~of_class] == 0).all() and (timeline[of_class] > 0).all()
            if not pedestals:
                continue
            ids = raw["TRIGGER-EVENTS-PED"]["IDs"]
            assert np.flatnonzero(~of_class).tolist() == (ids - 1).tolist()
            own = quantities[f"CAMERA-BADPIXTIMELINE-PED-{gain}-GAIN"].columns["of_class"]
            np.testing.assert_array_equal(own, ~of_class)


def test_absent_modules(samples: Path) -> None:
    data = sample_fits(samples, 8001)
    run, quantities = parse(data)
    raw = raw_values(data)
    modules = [48, 89, 123, 163, 182, 211, 212, 235, 241, 261, 262, 264]
    absent = [7 * module + pixel for module in modules for pixel in range(7)]
    present = np.setdiff1d(np.arange(1855), absent)
    assert run.header.absent_pixels.tolist() == absent
    assert run.header.absent_modules.tolist() == modules
    assert run.header.notes == ()
    for events in ("PHY", "PED"):
        for gain in ("HIGH", "LOW"):
            waveforms = values(quantities[f"WF-{events}-{gain}-GAIN"])
            expected = raw[f"WF-{events}-{gain}-GAIN"]
            np.testing.assert_array_equal(waveforms[present], expected[present])
            assert np.isnan(waveforms[absent]).all() and np.isposinf(expected[absent]).all()
            name = f"CAMERA-AVERAGE-{events}-OVEREVENTS-OVERSAMP-{gain}-GAIN"
            signal = values(quantities[name])
            assert np.isnan(signal[absent]).all()
            # the mean signal of a pixel is the mean of its waveform: proof that it is in place
            np.testing.assert_allclose(signal[present], expected[present].mean(axis=1), atol=2e-3)
            assert np.abs(raw[name][present] - expected[present].mean(axis=1)).max() > 10
            mean = values(quantities[f"WF-{events}-AVERAGE-PIX-{gain}-GAIN"])
            np.testing.assert_allclose(mean, expected[present].mean(axis=0), rtol=1e-12)
            charge = "IMAGE" if events == "PHY" else "PED"
            for statistic in ("AVERAGE", "MEDIAN", "STD", "RMS"):
                name = f"CHARGE-INTEGRATION-{charge}-ALL-{statistic}-{gain}-GAIN"
                assert raw[name].shape == (1771,)
                placed = values(quantities[name])
                np.testing.assert_array_equal(placed[present], raw[name])
                assert np.isnan(placed[absent]).all()
            bad = "PHY" if events == "PHY" else "PED-PHY"
            name = f"CAMERA-BADPIX-{bad}-OVEREVENTS-{gain}-GAIN"
            np.testing.assert_array_equal(values(quantities[name])[present], raw[name][84:])
    # whole modules fail together only when they are in place
    always = values(quantities["CAMERA-BADPIX-PHY-OVEREVENTS-HIGH-GAIN"]) == 178
    failing, pixels = np.unique(np.flatnonzero(always) // 7, return_counts=True)
    assert 7 in pixels.tolist(), (failing, pixels)
    # sensors of absent modules are read all the same
    trend = values(quantities["CAMERA-TEMPERATURE-TREND"])
    np.testing.assert_array_equal(trend, raw["CAMERA-TEMPERATURE-TREND"])
    for name in ("CAMERA-TEMPERATURE-AVERAGE", "CAMERA-TEMPERATURE-STD"):
        np.testing.assert_array_equal(values(quantities[name]), raw[name])
    changes = values(quantities["CAMERA-PING-PONG-CHANGES"])
    assert np.flatnonzero(np.isnan(changes)).tolist() == absent


def test_no_pedestals(samples: Path) -> None:
    data = sample_fits(samples, 8003)
    run, quantities = parse(data)
    assert run.header.events == EventCounts(198, 186, 0, 12, 1)
    in_file = set(raw_columns(data))
    missing = set(known_quantities()) - in_file
    for name in missing:
        info = describe(name)
        quantity = quantities[name]
        if info.derived_from in in_file:
            assert quantity.unavailable is None
            continue
        assert quantity.columns == {}
        expected = (
            "no data: the results file has no such list"
            if name == "TRIGGER-EVENTS-PED"
            else "no data: the run has no pedestal events"
        )
        assert quantity.unavailable == expected
        assert name not in run.statistics
    fraction = values(quantities["CAMERA-BADPIX-PHY-OVEREVENTS-HIGH-GAIN-FRACTION"])
    assert fraction.max() == 1
    assert run.header.bad_pixels == 30


def test_empty_tables_say_why() -> None:
    names = [f"CAMERA-TEMPERATURE-{suffix}" for suffix in ("AVERAGE", "STD", "TREND")]
    _, quantities = parse(build_fits({**run_content(), **dict.fromkeys(names)}))
    for name in names:
        assert quantities[name].unavailable == ("no data: temperature readings were not available")
    reason = quantities["CAMERA-BADPIXTIMELINE-PED-HIGH-GAIN"].unavailable
    assert reason == "no data: the run has no pedestal events"
    # ping-pong is in the file, and its list of times is not: nothing to explain away
    assert "ping-pong state" in str(quantities["CAMERA-PING-PONG-CHANGES-TIMES"].unavailable)


def test_an_empty_list_of_times_is_no_occurrence() -> None:
    name = "CAMERA-PING-PONG-CHANGES-TIMES"
    for empty in (None, np.empty(0)):
        run, quantities = parse(build_fits({**run_content(), name: empty}))
        assert quantities[name].unavailable is None
        assert quantities[name].summary["count"].tolist() == [0]
        assert run.statistics[name] == {"count": 0}


def test_only_pedestals() -> None:
    content = run_content()
    pedestals = {
        "TRIGGER-STATISTICS": {
            "All": np.array([49]),
            "Physical": np.array([0]),
            "Pedestals": np.array([49]),
            "Others": np.array([0]),
            "Wrong times": np.array([0]),
        },
        "WF-PHY-HIGH-GAIN": np.zeros((1855, 12)),
        "WF-PHY-AVERAGE-PIX-HIGH-GAIN": None,
        "WF-PED-HIGH-GAIN": content["WF-PHY-HIGH-GAIN"],
        "WF-PED-AVERAGE-PIX-HIGH-GAIN": content["WF-PHY-AVERAGE-PIX-HIGH-GAIN"],
    }
    run, quantities = parse(build_fits(pedestals))
    for name in ("WF-PHY-HIGH-GAIN", "WF-PHY-AVERAGE-PIX-HIGH-GAIN"):
        assert quantities[name].unavailable == "no data: the run has no non-pedestal events"
    assert values(quantities["WF-PED-HIGH-GAIN"]).shape == (1855, 12)
    assert not len(run.header.absent_pixels)


def test_class_with_events_but_without_values() -> None:
    content = run_content()
    content["CAMERA-BADPIXTIMELINE-PHY-HIGH-GAIN"] = None
    _, quantities = parse(build_fits(content))
    assert quantities["CAMERA-BADPIXTIMELINE-PHY-HIGH-GAIN"].unavailable == (
        "no data: this part of the results file is empty"
    )
    assert quantities["CAMERA-BADPIXTIMELINE-PHY-LOW-GAIN"].unavailable == (
        "no data: the results file does not hold it"
    )


@pytest.mark.parametrize("counts", [None, 0])
def test_unknown_number_of_events(counts: int | None) -> None:
    content = run_content()
    if counts is None:
        del content["TRIGGER-STATISTICS"]
    else:
        content["TRIGGER-STATISTICS"] = {"All": np.array([0]), "Pedestals": np.array([0])}
    for name in list(content):
        if "-ALL-STD-" in name:
            del content[name]
    run, quantities = parse(build_fits(content))
    for name in (
        "CAMERA-BADPIX-PHY-OVEREVENTS-HIGH-GAIN-FRACTION",
        "CHARGE-INTEGRATION-IMAGE-ALL-RMS-HIGH-GAIN-PER-EVENT",
    ):
        assert "how many events" in str(quantities[name].unavailable)
    assert run.header.bad_pixels is None
    assert run.header.events.total == counts


def test_unknown_quantities_are_kept() -> None:
    table = {"text": np.array(["a", "bb"]), "vector": np.arange(6.0).reshape(2, 3)}
    image = np.arange(24).reshape(2, 3, 4)
    _, quantities = parse(
        build_fits({**run_content(), "NEW-TABLE": table, "NEW-IMAGE": image, "NOTHING": None})
    )
    assert quantities["NEW-TABLE"].kind is Kind.GENERIC
    for key, expected in table.items():
        np.testing.assert_array_equal(quantities["NEW-TABLE"].columns[key], expected)
    np.testing.assert_array_equal(values(quantities["NEW-IMAGE"]), image)
    assert quantities["NOTHING"].unavailable == "no data: this part of the results file is empty"


def test_a_second_hdu_of_a_name_is_kept_and_said() -> None:
    content = [*run_content().items(), ("CAMERA-PING-PONG-CHANGES", np.arange(4.0))]
    run, quantities = parse(build_fits(content))
    second = quantities["CAMERA-PING-PONG-CHANGES#2"]
    assert second.kind is Kind.GENERIC
    np.testing.assert_array_equal(values(second), np.arange(4.0))
    assert any(note.startswith("CAMERA-PING-PONG-CHANGES#2") for note in run.header.notes)


def test_many_notes_are_cut() -> None:
    content = [*run_content().items(), *[("X", np.arange(2.0))] * 60]
    run, _ = parse(build_fits(content))
    assert len(run.header.notes) == 41
    assert run.header.notes[-1] == "… and 19 more"
