"""What is checked of a run, and what is said of it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_runs import a_run

from dqm_db.checks import CheckResult, Judge, RunFacts, Status, Verdict
from dqm_db.checks.judging import evaluate
from dqm_db.checks.known import known_checks
from dqm_db.checks.thresholds import CheckLimits, read_thresholds
from dqm_db.quantities import known_quantities

NOTHING = RunFacts(6001, 1.7e9, 0, 1855, None, {})
GOOD: dict[str, dict[str, float]] = {
    "CHARGE-INTEGRATION-IMAGE-ALL-STD-HIGH-GAIN": {
        "dead": 3.0, "hot": 0.0, "count": 1855.0, "sigma": 200.0, "median": 1330.0,
    },
    "CHARGE-INTEGRATION-PED-ALL-STD-HIGH-GAIN": {"hot": 0.0, "count": 1855.0, "median": 64.0},
    "CHARGE-INTEGRATION-PED-ALL-STD-LOW-GAIN": {"median": 16.0},
    "CAMERA-AVERAGE-PED-OVEREVENTS-OVERSAMP-HIGH-GAIN": {"median": 253.0},
    "CAMERA-AVERAGE-PED-OVEREVENTS-OVERSAMP-LOW-GAIN": {"median": 248.0},
    "WF-PHY-HIGH-GAIN": {"amplitude": 96.0},
    "WF-PHY-LOW-GAIN": {"amplitude": 7.4},
    "CAMERA-TEMPERATURE-AVERAGE": {"mean": 25.0, "std": 1.1, "max": 28.0, "min": 23.0},
    "CAMERA-TEMPERATURE-TREND": {"drift_max": -0.6},
    "TRIGGER-EVENTS-ALL": {"rate": 47.0, "negative_steps": 0.0, "events": 299.0},
    "TRIGGER-STATISTICS": {"Wrong times": 0.0, "All": 299.0},
    "CAMERA-PING-PONG-CHANGES": {"max": 0.0},
}  # fmt: skip


def facts(**changes: Any) -> RunFacts:
    """A healthy run, of which *changes* are otherwise; statistics as ``"QUANTITY statistic"``."""
    statistics = {quantity: dict(values) for quantity, values in GOOD.items()}
    for column, value in changes.pop("statistics", {}).items():
        quantity, _, name = column.partition(" ")
        statistics[quantity][name] = value
    given = {"bad_pixels": 3} | changes
    return replace(NOTHING, statistics=statistics, **given)


def statuses(verdict: Verdict) -> dict[str, Status]:
    return {result.check: result.status for result in verdict.results}


def test_a_healthy_run_passes_everything_there_is():
    verdict = Judge().judge("NectarCAMQM", facts())
    assert verdict.status is Status.OK
    assert set(statuses(verdict)) == set(known_checks())
    assert set(statuses(verdict).values()) == {Status.OK}


STD = "CHARGE-INTEGRATION-IMAGE-ALL-STD-HIGH-GAIN"
PED_STD = "CHARGE-INTEGRATION-PED-ALL-STD-HIGH-GAIN"
FAULTS = [
    ("absent-modules", {"absent_modules": 1}, Status.INFO),
    ("absent-modules", {"absent_modules": 12}, Status.WARNING),
    ("absent-modules", {"absent_modules": 27}, Status.BAD),
    ("bad-pixels", {"bad_pixels": 30}, Status.INFO),
    ("bad-pixels", {"bad_pixels": 186}, Status.BAD),
    ("dead-pixels", {"statistics": {f"{STD} dead": 60.0}}, Status.WARNING),
    ("hot-pixels", {"statistics": {f"{STD} hot": 7.0}}, Status.INFO),
    ("noisy-pixels", {"statistics": {f"{PED_STD} hot": 28.0}}, Status.WARNING),
    (
        "pedestal-mean-high",
        {"statistics": {"CAMERA-AVERAGE-PED-OVEREVENTS-OVERSAMP-HIGH-GAIN median": 320.0}},
        Status.BAD,
    ),
    (
        "pedestal-mean-low",
        {"statistics": {"CAMERA-AVERAGE-PED-OVEREVENTS-OVERSAMP-LOW-GAIN median": 230.0}},
        Status.WARNING,
    ),
    ("pedestal-rms-high", {"statistics": {f"{PED_STD} median": 2.0}}, Status.BAD),
    (
        "pedestal-rms-low",
        {"statistics": {"CHARGE-INTEGRATION-PED-ALL-STD-LOW-GAIN median": 2.0}},
        Status.WARNING,
    ),
    ("charge-spread", {"statistics": {f"{STD} sigma": 600.0}}, Status.WARNING),
    ("gain-ratio", {"statistics": {"WF-PHY-LOW-GAIN amplitude": 20.0}}, Status.BAD),
    ("temperature-mean", {"statistics": {"CAMERA-TEMPERATURE-AVERAGE mean": 40.0}}, Status.WARNING),
    ("temperature-spread", {"statistics": {"CAMERA-TEMPERATURE-AVERAGE std": 7.0}}, Status.BAD),
    (
        "temperature-gradient",
        {"statistics": {"CAMERA-TEMPERATURE-AVERAGE max": 38.5}},
        Status.WARNING,
    ),
    ("temperature-drift", {"statistics": {"CAMERA-TEMPERATURE-TREND drift_max": -9.0}}, Status.BAD),
    ("trigger-rate", {"statistics": {"TRIGGER-EVENTS-ALL rate": 0.5}}, Status.WARNING),
    ("wrong-times", {"statistics": {"TRIGGER-STATISTICS Wrong times": 1.0}}, Status.INFO),
    ("backward-times", {"statistics": {"TRIGGER-EVENTS-ALL negative_steps": 25.0}}, Status.WARNING),
    ("ping-pong", {"statistics": {"CAMERA-PING-PONG-CHANGES max": 25.0}}, Status.WARNING),
]


@pytest.mark.parametrize(("check", "changes", "status"), FAULTS)
def test_a_fault_is_found_by_its_check_and_by_no_other(check, changes, status):
    verdict = Judge().judge("NectarCAMQM", facts(**changes))
    assert verdict.status is status
    first, *others = verdict.results
    assert (first.check, first.status) == (check, status)
    assert {result.status for result in others} == {Status.OK}
    assert first.text.startswith(f"{first.title}: ")
    assert first.value is not None and first.limits


def test_every_check_has_a_fault_above():
    assert {check for check, _, _ in FAULTS} == set(known_checks())


def test_the_sentence_says_value_unit_and_limit():
    verdict = Judge().judge("X", facts(absent_modules=12))
    assert verdict.results[0].text == "Absent modules: 12 modules, above 4."
    verdict = Judge().judge("X", facts(statistics={"TRIGGER-EVENTS-ALL rate": 12345.6}))
    assert verdict.results[0].text == "Trigger rate: 12,346 Hz, above 10,000."
    verdict = Judge().judge("X", facts(statistics={"TRIGGER-EVENTS-ALL rate": 10000.25}))
    assert verdict.results[0].text == "Trigger rate: 10,000.25 Hz, above 10,000."


def test_what_is_missing_is_unknown_with_the_reason_and_worsens_nothing():
    missing = {"CAMERA-TEMPERATURE-AVERAGE": "no data: the database of readings was empty"}
    statistics = {name: of for name, of in GOOD.items() if "TEMPERATURE" not in name}
    verdict = Judge().judge("X", replace(facts(missing=missing), statistics=statistics))
    assert verdict.status is Status.OK
    unknown = [result for result in verdict.results if result.status is Status.UNKNOWN]
    assert verdict.results[-len(unknown) :] == tuple(unknown)
    assert {result.check for result in unknown} == {
        "temperature-mean", "temperature-spread", "temperature-gradient", "temperature-drift",
    }  # fmt: skip
    assert "the database of readings was empty" in unknown[0].text
    assert unknown[0].value is None


def test_a_run_without_anything_is_unknown():
    verdict = Judge().judge("X", replace(NOTHING, present_pixels=0))
    counted = [r for r in verdict.results if r.status is not Status.UNKNOWN]
    assert [result.check for result in counted] == ["absent-modules"]
    nothing = Verdict.of([], "", 0.0)
    assert nothing.status is Status.UNKNOWN


def test_statistics_of_an_older_release_are_said_to_be_so():
    statistics = {**GOOD, STD: {"median": 1.0}}
    verdict = Judge().judge("X", replace(facts(missing={STD: None}), statistics=statistics))
    (result,) = [result for result in verdict.results if result.check == "dead-pixels"]
    assert result.status is Status.UNKNOWN
    assert "dqm rebuild-trends" in result.text


def test_values_without_statistics_are_not_said_to_be_missing():
    content = a_run(6001)
    of_file = RunFacts.of(content.header, content.quantities, {})
    (result,) = [r for r in Judge().judge("X", of_file).results if r.check == "wrong-times"]
    assert "TRIGGER-STATISTICS" in {quantity.name for quantity in content.quantities}
    assert "no statistic “Wrong times”" in result.text and "dqm rebuild-trends" in result.text
    without = RunFacts.of(content.header, (), {})
    (result,) = [r for r in Judge().judge("X", without).results if r.check == "wrong-times"]
    assert "rebuild" not in result.text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_unknown(value):
    verdict = Judge().judge("X", facts(statistics={"CAMERA-TEMPERATURE-AVERAGE mean": value}))
    assert statuses(verdict)["temperature-mean"] is Status.UNKNOWN


@given(
    st.floats(-1e6, 1e6),
    st.lists(st.floats(-1e5, 1e5), min_size=6, max_size=6).map(sorted),
)
def test_a_value_has_the_worst_status_whose_limits_it_leaves(value, ends):
    limits = CheckLimits(info=ends[2:4], warning=(ends[1], ends[4]), bad=(ends[0], ends[5]))
    status = limits.status(value)
    for level, (low, high) in (
        (Status.BAD, (ends[0], ends[5])),
        (Status.WARNING, (ends[1], ends[4])),
        (Status.INFO, (ends[2], ends[3])),
    ):
        if not low <= value <= high:
            assert status is level
            return
    assert status is Status.OK


def test_a_limit_itself_is_within():
    limits = CheckLimits(warning=(1.0, 2.0))
    assert [limits.status(value) for value in (1.0, 2.0)] == [Status.OK, Status.OK]
    assert limits.status(math.nextafter(2.0, 3.0)) is Status.WARNING


def test_checks_look_at_quantities_that_there_are():
    for check in known_checks().values():
        for quantity, _ in check.columns:
            assert quantity in known_quantities(), check.id


def test_every_check_has_default_limits_that_a_result_carries():
    limits = read_thresholds("X", None).at(1, None).limits
    assert set(limits) == set(known_checks())
    for check in known_checks().values():
        result = evaluate(check, limits[check.id], facts())
        assert isinstance(result, CheckResult)
        assert set(result.limits) <= {"info", "warning", "bad"} and result.limits
