"""Which files are worth an attempt, and what a failed one leads to."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqm_db.catalogue import COLUMNS, Catalogue
from dqm_db.content import Provenance
from dqm_db.ingestion import Failure
from ingest.attempts import (
    JITTER,
    LONGEST_DELAY,
    Decision,
    Ledger,
    Named,
    after_failure,
    removed,
)
from ingest.outcomes import FileOutcome, Status
from ingest.sources.base import RemoteFile

CAMERA = "NectarCAMQM"
NOW = 1.79e9
FILE = RemoteFile("root://x//f", "f", 1000, 1.78e9, 77)
NAMED = Named(CAMERA, 5, FILE)


def catalogue(size: int = 1000, adler32: int = 77, modified: float = 1.78e9) -> Catalogue:
    values = {"run": 5, "size": size, "adler32": adler32, "modified": modified}
    return Catalogue(
        {
            name: np.array([values.get(name, default)], dtype)
            for name, (dtype, default) in COLUMNS.items()
        }
    )


def failing(*kinds: str, file: RemoteFile = FILE, at: float = NOW) -> Failure:
    """What is remembered after attempts that ended so, one after the other."""
    failure: Failure | None = None
    for kind in kinds:
        ledger = Ledger({}, [] if failure is None else [failure])
        outcome = FileOutcome("f", Status.FAILED, CAMERA, 5, "words", kind)
        failure = after_failure(ledger, replace(NAMED, file=file), outcome, at)
    assert failure is not None
    return failure


@pytest.mark.parametrize(
    ("file", "decision"),
    [
        (FILE, Decision.KNOWN),
        (replace(FILE, adler32=78), Decision.CHANGED),
        (replace(FILE, size=999), Decision.CHANGED),
        # the checksum tells more than the time
        (replace(FILE, modified=1.79e9), Decision.KNOWN),
        (replace(FILE, adler32=None), Decision.KNOWN),
        (replace(FILE, adler32=None, modified=1.78e9 + 0.4), Decision.KNOWN),
        (replace(FILE, adler32=None, modified=1.78e9 + 1), Decision.CHANGED),
        (RemoteFile("x", "x"), Decision.KNOWN),
        (RemoteFile("x", "x", size=999), Decision.CHANGED),
    ],
)
def test_a_stored_file_is_compared_with_what_is_told(file: RemoteFile, decision: Decision) -> None:
    ledger = Ledger({CAMERA: catalogue()}, [])
    named = replace(NAMED, file=file)
    assert ledger.decide(named, NOW, update=False) is decision
    expected = Decision.FETCH if decision is Decision.CHANGED else decision
    assert ledger.decide(named, NOW, update=True) is expected


def test_runs_from_before_times_were_stored() -> None:
    ledger = Ledger({CAMERA: catalogue(modified=math.nan)}, [])
    named = replace(NAMED, file=replace(FILE, adler32=None, modified=1.79e9))
    assert ledger.decide(named, NOW, update=True) is Decision.KNOWN


def test_what_is_not_stored_is_fetched() -> None:
    assert Ledger({}, []).decide(NAMED, NOW, update=False) is Decision.FETCH
    other = replace(NAMED, run=6)
    assert Ledger({CAMERA: catalogue()}, []).decide(other, NOW, update=False) is Decision.FETCH


def test_a_spoiled_file_is_tried_twice() -> None:
    once = failing("ResultsFileError")
    assert not once.is_quarantined and once.attempts == 1
    assert Ledger({}, [once]).decide(NAMED, NOW, update=False) is Decision.FETCH
    twice = failing("ResultsFileError", "Corrupt")
    assert (twice.is_quarantined, twice.attempts) == (True, 2)
    late = NOW + 10 * 365 * 86400
    assert Ledger({}, [twice]).decide(NAMED, late, update=False) is Decision.QUARANTINE


def test_attempts_that_heal_do_not_count_as_spoiled() -> None:
    """Whatever kept it from arriving before, a spoiled file is tried once more."""
    assert not failing("Unavailable", "Unreadable", "Corrupt").is_quarantined
    assert failing("Unavailable", "Corrupt", "ResultsFileError").is_quarantined


def test_another_file_of_the_name_is_tried_at_once() -> None:
    ledger = Ledger({}, [failing("Corrupt", "Corrupt")])
    for file in (replace(FILE, size=1001), replace(FILE, adler32=1)):
        named = replace(NAMED, file=file)
        assert ledger.decide(named, NOW, update=False) is Decision.FETCH
        outcome = FileOutcome("f", Status.FAILED, CAMERA, 5, "words", "Corrupt")
        assert after_failure(ledger, named, outcome, NOW).attempts == 1


def test_a_later_parser_tries_again() -> None:
    failure = replace(failing("ResultsFileError", "ResultsFileError"), parser_version=-1)
    assert Ledger({}, [failure]).decide(NAMED, NOW, update=False) is Decision.FETCH


@given(st.integers(1, 400))
def test_what_can_heal_is_tried_later_and_later(attempts: int) -> None:
    before = replace(failing("Unavailable"), attempts=attempts - 1) if attempts > 1 else None
    ledger = Ledger({}, [] if before is None else [before])
    outcome = FileOutcome("f", Status.FAILED, CAMERA, 5, "words", "Unavailable")
    failure = after_failure(ledger, NAMED, outcome, NOW)
    assert failure.next_at is not None
    usual = min(60 * 2 ** (attempts - 1), LONGEST_DELAY)
    assert JITTER[0] * usual <= failure.next_at - NOW + 1e-3
    assert failure.next_at - NOW <= JITTER[1] * usual + 1e-3
    ledger = Ledger({}, [failure])
    assert ledger.decide(NAMED, failure.next_at - 1, update=False) is Decision.WAIT
    assert ledger.decide(NAMED, failure.next_at + 1, update=False) is Decision.FETCH


def test_times_of_first_and_last_attempt() -> None:
    first = failing("Unavailable", at=NOW)
    ledger = Ledger({}, [first])
    outcome = FileOutcome("f", Status.FAILED, CAMERA, 5, "words", "Corrupt")
    second = after_failure(ledger, NAMED, outcome, NOW + 100)
    assert (second.first_at, second.last_at) == (NOW, NOW + 100)
    assert (second.kind, second.error, second.source) == ("Corrupt", "words", "root://x//f")


def test_an_update_that_fails_leaves_the_run_known() -> None:
    changed = replace(NAMED, file=replace(FILE, size=5, adler32=6))
    failure = failing("Corrupt", "Corrupt", file=changed.file)
    ledger = Ledger({CAMERA: catalogue()}, [failure])
    assert ledger.decide(changed, NOW, update=True) is Decision.QUARANTINE
    assert ledger.decide(changed, NOW, update=False) is Decision.CHANGED
    assert ledger.decide(NAMED, NOW, update=True) is Decision.KNOWN


def test_a_deleted_run_stays_away_until_its_file_changes() -> None:
    provenance = Provenance("root://x//f", 1000, 77, "x", 1, "0" * 64, 0.0, 0, 1.78e9)
    ledger = Ledger({}, [removed(CAMERA, 5, provenance, NOW)])
    assert ledger.decide(NAMED, NOW, update=True) is Decision.QUARANTINE
    named = replace(NAMED, file=replace(FILE, adler32=5))
    assert ledger.decide(named, NOW, update=False) is Decision.FETCH
