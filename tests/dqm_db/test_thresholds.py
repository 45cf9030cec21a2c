"""Dated limits: which file and section holds for a run, and what is wrong with a file."""

from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dqm_db.checks import Judge, RunFacts, Status, ThresholdSeries, read_thresholds
from dqm_db.checks.known import known_checks
from dqm_db.codec import pack_record, unpack_record
from dqm_db.errors import ConfigurationError

RATE = ("TRIGGER-EVENTS-ALL", "rate")


def site(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)
    return folder


def rate_limits(series: ThresholdSeries, run: int, start: float | None = None) -> object:
    found = series.at(run, start).limits.get("trigger-rate")
    return None if found is None else found.warning


def rate(text: str, low: float, high: float) -> str:
    return f"[[valid]]\n{text}\n[valid.limits.trigger-rate]\nwarning = [{low}, {high}]\n"


def test_the_site_wins_over_the_release_and_the_camera_over_all(tmp_path):
    folder = site(tmp_path, default=rate("", 1, 2), NectarCAMQM=rate("", 3, 4))
    assert rate_limits(read_thresholds("NectarCAMQM", folder), 1) == (3, 4)
    assert rate_limits(read_thresholds("NectarCAM2", folder), 1) == (1, 2)
    assert rate_limits(read_thresholds("NectarCAM2", None), 1) == (1, 10000)
    assert read_thresholds("NectarCAM2", folder).at(1, None).limits["ping-pong"] is not None


def test_sections_hold_from_a_run_or_from_a_date(tmp_path):
    text = rate("from_run = 100", 1, 2) + rate("from_date = 2026-11-02", 3, 4)
    text += rate("from_date = 2026-11-02T06:00:00\nfrom_run = 200", 5, 6)
    series = read_thresholds("X", site(tmp_path, X=text))
    midnight = 1793577600.0  # 2026-11-02T00:00:00Z
    assert rate_limits(series, 99, midnight - 1) == (1, 10000)
    assert rate_limits(series, 100, midnight - 1) == (1, 2)
    assert rate_limits(series, 99, midnight) == (3, 4)
    assert rate_limits(series, 200, midnight) == (3, 4)
    assert rate_limits(series, 200, midnight + 6 * 3600) == (5, 6)
    assert rate_limits(series, 199, midnight + 6 * 3600) == (3, 4)
    assert rate_limits(series, 300, None) == (1, 2)  # no date is known: only what needs none


def test_a_check_can_be_left_out_and_come_back(tmp_path):
    text = '[[valid]]\nfrom_run = 10\noff = ["trigger-rate"]\n' + rate("from_run = 20", 1, 2)
    series = read_thresholds("X", site(tmp_path, X=text))
    assert rate_limits(series, 9) == (1, 10000)
    assert rate_limits(series, 10) is None
    assert rate_limits(series, 20) == (1, 2)
    runs = np.array([9, 10, 20])
    low, high = series.bands(*RATE, runs, np.full(3, np.nan))[Status.WARNING]
    np.testing.assert_array_equal(low, [1, np.nan, 1])
    np.testing.assert_array_equal(high, [10000, np.nan, 2])


BAD_FILES = {
    "no TOML": ("[[valid", "cannot be read"),
    "an unknown check": (
        "[[valid]]\n[valid.limits.trigger-rat]\nbad = [0, 1]",
        "section 1, limits, trigger-rat: there is no check “trigger-rat”",
    ),
    "an unknown level": ("[[valid]]\n[valid.limits.trigger-rate]\nterrible = [0, 1]", "terrible"),
    "one end": ("[[valid]]\n[valid.limits.trigger-rate]\nbad = [0]", "trigger-rate, bad"),
    "the wrong order": (
        "[[valid]]\n[valid.limits.trigger-rate]\nbad = [2, 1]",
        "[lowest, highest]",
    ),
    "nan": ("[[valid]]\n[valid.limits.trigger-rate]\nbad = [nan, 1]", "[lowest, highest]"),
    "text": ('[[valid]]\n[valid.limits.trigger-rate]\nbad = ["a", 1]', "trigger-rate, bad"),
    "none": ("[[valid]]\n[valid.limits.trigger-rate]", "has no limit"),
    "worse within better": (
        "[[valid]]\n[valid.limits.trigger-rate]\nwarning = [0, 9]\nbad = [1, 8]",
        "must be the wider ones",
    ),
    "an unknown key": ("[[valid]]\nfrom_runs = 3", "section 1, from_runs"),
    "a date that is none": ('[[valid]]\nfrom_date = "soon"', "section 1, from_date: must be a"),
    "a number for a date": ("[[valid]]\nfrom_date = 20261102", "section 1, from_date: must be a"),
    "a time for a date": ("[[valid]]\nfrom_date = 18:00:00", "section 1, from_date: must be a"),
    "text for a run": ('[[valid]]\nfrom_run = "6310"', "section 1, from_run"),
    "a run that cannot be": ("[[valid]]\nfrom_run = 99999999999999999999", "section 1, from_run"),
    "no number": (
        "[[valid]]\n[valid.limits.trigger-rate]\nbad = [false, true]",
        "must be a number",
    ),
    "an unknown check to leave out": (
        "[[valid]]\n[[valid]]\noff = ['pong']",
        "section 2, off: there is no check “pong”",
    ),
    "limits of what is left out": (
        "[[valid]]\noff = ['trigger-rate']\n[valid.limits.trigger-rate]\nbad = [0, 1]",
        "section 1: “trigger-rate” is in `off` and has limits",
    ),
    "no section": ("[limits]", "limits"),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_bad_file_is_named_with_section_and_key(tmp_path, what):
    text, words = BAD_FILES[what]
    folder = site(tmp_path, NectarCAMQM=text)
    with pytest.raises(ConfigurationError) as caught:
        Judge(folder)  # said at once, for whatever camera
    assert "NectarCAMQM.toml" in str(caught.value)
    assert words in str(caught.value)


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(ConfigurationError, match="DQM_THRESHOLDS_DIR"):
        Judge(tmp_path / "missing")


def test_a_folder_that_has_gone_is_not_taken_for_one_without_limits(tmp_path):
    folder = tmp_path / "limits"
    folder.mkdir()
    judge = Judge(site(folder, X=rate("", 1, 2)))
    folder.rename(tmp_path / "unmounted")
    with pytest.raises(ConfigurationError, match="DQM_THRESHOLDS_DIR"):
        judge.thresholds("X")


def test_a_folder_that_may_not_be_read_is_not_taken_for_an_empty_one(tmp_path, monkeypatch):
    def refused(self: Path) -> object:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refused)  # root may read everything
    with pytest.raises(ConfigurationError, match=r"cannot be read.*Permission denied"):
        Judge(site(tmp_path, X=rate("", 1, 2)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=200) | st.just("valid = 3") | st.just("[[valid]]\nfrom_date = 1979-05-27"))
def test_whatever_a_file_holds_is_read_or_refused(tmp_path, text):
    (tmp_path / "X.toml").write_text(text, "utf-8", newline="")
    try:
        series = read_thresholds("X", tmp_path)
    except ConfigurationError as error:
        assert "X.toml" in str(error)
    else:
        tomllib.loads((tmp_path / "X.toml").read_text("utf-8"))
        assert series.at(1, 0.0).limits


SECTIONS = st.lists(
    st.tuples(
        st.none() | st.integers(0, 12),
        st.none() | st.integers(0, 12),
        st.booleans(),
        st.lists(st.sampled_from([-math.inf, 0.0, 1.0, 5.0, math.inf]), min_size=2, max_size=2),
    ),
    max_size=5,
)


@settings(deadline=None)
@given(SECTIONS)
def test_bands_are_the_limits_that_are_applied(sections):
    text = ""
    for run, day, is_off, ends in sections:
        text += "[[valid]]\n"
        text += "" if run is None else f"from_run = {run}\n"
        text += "" if day is None else f"from_date = 1970-01-{day + 1:02d}\n"
        if is_off:
            text += 'off = ["trigger-rate"]\n'
        else:
            low, high = sorted(ends)
            text += f"[valid.limits.trigger-rate]\nwarning = [{low}, {high}]\n"
    from dqm_db.checks.thresholds import _File

    packaged = read_thresholds("X", None).document()["files"]
    document = [
        *packaged,
        [
            "X.toml",
            [s.model_dump(mode="json") for s in _File.model_validate(tomllib.loads(text)).valid],
        ],
    ]
    # as it is stored and read again
    series = ThresholdSeries.of_document(unpack_record(pack_record({"files": document})))
    runs = np.arange(1, 13)
    starts = np.where(runs % 5 == 0, np.nan, 86400.0 * (13 - runs))
    bands = series.bands(*RATE, runs, starts)
    for at, run in enumerate(runs.tolist()):
        start = None if math.isnan(starts[at]) else float(starts[at])
        limits = series.at(run, start).limits.get("trigger-rate")
        for status, level in ((Status.WARNING, "warning"), (Status.BAD, "bad")):
            limit = None if limits is None else getattr(limits, level)
            low, high = bands.get(status, (np.full(12, np.nan), np.full(12, np.nan)))
            expected = [math.nan if limit is None or math.isinf(e) else e for e in limit or (1, 1)]
            if limit is None:
                expected = [math.nan, math.nan]
            np.testing.assert_array_equal([low[at], high[at]], expected)


def test_bands_agree_with_what_is_judged():
    series = read_thresholds("X", None)
    values = np.array([0.01, 0.5, 47.0, 10_000.0, 10_000.5, 30_000.0])
    runs, starts = np.arange(len(values)), np.full(len(values), np.nan)
    bands = series.bands(*RATE, runs, starts)
    judge = Judge()
    for at, value in enumerate(values):
        facts = RunFacts(at, None, 0, 1855, 0, {RATE[0]: {RATE[1]: float(value)}})
        (result,) = [r for r in judge.judge("X", facts).results if r.check == "trigger-rate"]
        outside = [
            status for status, (low, high) in bands.items() if value < low[at] or value > high[at]
        ]
        assert result.status is max(outside, default=Status.OK)


def test_nothing_checks_this():
    series = read_thresholds("X", None)
    assert series.bands("TRIGGER-EVENTS-ALL", "step_max", np.array([1]), np.array([0.0])) == {}


def test_a_check_that_this_release_does_not_know_is_left_out():
    document = {"files": [["new.toml", [{"limits": {"new-one": {"bad": [0, 1]}}, "off": ["x"]}]]]}
    assert ThresholdSeries.of_document(document).at(1, None).limits == {}


def test_the_label_tells_files_and_contents_apart(tmp_path):
    one = read_thresholds("X", site(tmp_path, X=rate("", 1, 2))).label
    two = read_thresholds("X", site(tmp_path, X=rate("", 1, 3))).label
    assert one != two and "X.toml" in one and one.startswith("default.toml, ")
    assert set(known_checks())


def test_the_example_of_the_documents_can_be_used(tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "checks.md").read_text("utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    series = read_thresholds("NectarCAMQM", site(tmp_path, NectarCAMQM=example))
    friday = 1795197600.0  # 2026-11-20T18:00:00Z
    before, after = series.at(6309, friday - 1).limits, series.at(6310, friday).limits
    assert before["pedestal-mean-high"].warning == (235, 270) and "ping-pong" in before
    assert after["pedestal-mean-high"].warning == (240, 265) and "ping-pong" not in after
