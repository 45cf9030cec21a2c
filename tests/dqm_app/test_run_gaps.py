"""Runs that are not stored, and why."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dqm_app.nights import UNKNOWN_NIGHT
from dqm_app.run_gaps import (
    DELETED,
    LONGEST_REASON,
    MISSING,
    MOST_REASONS,
    QUARANTINE,
    RETRIED,
    Gaps,
)
from dqm_app.run_list import ListedRuns
from dqm_db.ingestion import REMOVED, Failure

CORRUPT = "the gzip stream ends early"
NUMBERS = st.sets(st.integers(1, 60), max_size=40)


def failure(
    run: int, kind: str = "CorruptFile", error: str = CORRUPT, next_at: float | None = None
):
    return Failure("c", run, "/grid/x", kind, error, 1, 1.0, 2.0, next_at)


def listed(*runs: int, night: int = UNKNOWN_NIGHT) -> ListedRuns:
    return ListedRuns(np.array(runs, np.int64), np.full(len(runs), night, np.int32))


def told(gaps: Gaps) -> list[tuple[int, int, str, str]]:
    return [
        (first, last, *gaps.reasons[reason])
        for first, last, reason in zip(
            gaps.first.tolist(), gaps.last.tolist(), gaps.reason.tolist(), strict=True
        )
    ]


def stored(*runs: int) -> np.ndarray:
    return np.array(runs, np.int64)


def test_numbers_between_runs_are_missing():
    gaps = Gaps.of(stored(5, 6, 9, 11), [], None)
    assert told(gaps) == [(7, 8, MISSING, ""), (10, 10, MISSING, "")]
    assert gaps.listed is None


def test_what_is_known_of_a_run_explains_why_it_is_missing():
    failures = [
        failure(8),
        failure(9),
        failure(11, REMOVED, "deleted by dqm rm"),
        failure(13, "SourceUnavailable", "timeout", 3.0),
        failure(21),
    ]
    gaps = Gaps.of(stored(5, 14, 20), failures, None)
    assert told(gaps) == [
        (6, 7, MISSING, ""),
        (8, 9, QUARANTINE, CORRUPT),
        (10, 10, MISSING, ""),
        (11, 11, DELETED, ""),
        (12, 12, MISSING, ""),
        (13, 13, RETRIED, "timeout"),
        (15, 19, MISSING, ""),
        (21, 21, QUARANTINE, CORRUPT),
    ]


def test_a_newer_file_that_failed_does_not_make_a_stored_run_missing():
    assert told(Gaps.of(stored(5, 6), [failure(6)], None)) == []


def test_against_a_list_only_what_is_on_it_is_missing():
    gaps = Gaps.of(stored(5, 9, 30), [failure(12), failure(40)], listed(5, 10, 11, 12, 13, 30))
    assert told(gaps) == [
        (10, 11, MISSING, ""),
        (12, 12, QUARANTINE, CORRUPT),
        (13, 13, MISSING, ""),
        (40, 40, QUARANTINE, CORRUPT),
    ]
    assert gaps.listed == 6
    assert gaps.unlisted.tolist() == [9]


def test_neighbours_of_two_nights_are_apart():
    nights = ListedRuns(stored(10, 11, 12), np.array([7, 7, 8], np.int32))
    gaps = Gaps.of(stored(1), [], nights)
    assert (gaps.first.tolist(), gaps.last.tolist()) == ([10, 12], [11, 12])
    assert gaps.night.tolist() == [7, 8]


def test_reasons_are_short_and_few():
    failures = [
        failure(run, error=f"{run}  \n " + "x" * 1000) for run in range(2, MOST_REASONS + 50)
    ]
    gaps = Gaps.of(stored(1), failures, None)
    assert len(gaps.reasons) <= MOST_REASONS + 1
    assert max(len(words) for _, words in gaps.reasons) == LONGEST_REASON
    assert {kind for kind, _ in gaps.reasons[1:]} == {QUARANTINE}
    assert len(gaps.first) > 1


def test_no_runs_have_no_gaps():
    assert told(Gaps.of(stored(), [], None)) == []


@given(NUMBERS, NUMBERS, st.none() | NUMBERS.map(sorted))
def test_every_run_that_should_be_there_is_stored_or_in_one_gap(runs, failed, on_list):
    listing = None if not on_list else listed(*on_list)
    gaps = Gaps.of(stored(*sorted(runs)), [failure(run) for run in sorted(failed)], listing)
    if listing is not None:
        expected = (set(listing.runs.tolist()) | failed) - runs
    elif runs:
        expected = (set(range(min(runs), max(runs))) | failed) - runs
    else:
        expected = failed
    found = [run for a, b in zip(gaps.first, gaps.last, strict=True) for run in range(a, b + 1)]
    assert found == sorted(expected)
    assert gaps.same_as(gaps)
