"""Runs that should be stored and are not, and what is known about why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqm_app.nights import UNKNOWN_NIGHT
from dqm_app.run_list import ListedRuns
from dqm_db.ingestion import Failure

MISSING, QUARANTINE, DELETED, RETRIED = "missing", "quarantine", "deleted", "retried"
LONGEST_REASON = 160
"""Characters of a reason that are told at most."""
MOST_REASONS = 500
"""Different reasons that are told at most; further ones are told without their text."""

Gap = tuple[int, int, int, int]
"""First and last run, index of the reason, night."""


@dataclass(frozen=True, slots=True)
class Gaps:
    """The runs of a camera that are not stored, neighbours of one reason together.

    Attributes
    ----------
    first, last : ndarray of int64, shape (n,)
        Run numbers, ascending; no run between them is stored.
    reason : ndarray of int16, shape (n,)
        Index into *reasons*.
    night : ndarray of int32, shape (n,)
        As the run list says; else `UNKNOWN_NIGHT`.
    reasons : tuple of (str, str)
        `MISSING`, `QUARANTINE`, `DELETED` or `RETRIED`, and what went wrong in words; the first one
        is `MISSING`.
    listed : int or None
        Number of runs on the list; None when there is none for this camera.
    unlisted : ndarray of int64, shape (m,)
        Stored runs that are not on the list.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    reason: NDArray[np.int16]
    night: NDArray[np.int32]
    reasons: tuple[tuple[str, str], ...]
    listed: int | None
    unlisted: NDArray[np.int64]

    @classmethod
    def of(
        cls, runs: NDArray[np.int64], failures: Iterable[Failure], listed: ListedRuns | None
    ) -> Gaps:
        """Find them.

        Parameters
        ----------
        runs : ndarray of int64, shape (n,)
            The stored runs, ascending.
        failures : iterable of Failure
            Files of the camera that could not be stored, and runs that were deleted.
        listed : ListedRuns or None
            The runs that should be there; None: every number between the first and the last stored.
        """
        reasons: dict[tuple[str, str], int] = {(MISSING, ""): 0}
        failed = {failure.run: _reason(failure, reasons) for failure in failures}
        for run in np.intersect1d(runs, np.fromiter(failed, np.int64, len(failed))).tolist():
            del failed[run]  # an older state of the file is stored
        if listed is None:
            nights: dict[int, int] = {}
            found = sorted([*_between(runs, failed), *_single(failed, nights)])
            unlisted = np.empty(0, np.int64)
        else:
            nights = dict(zip(listed.runs.tolist(), listed.nights.tolist(), strict=True))
            missing = np.setdiff1d(listed.runs, runs, assume_unique=True).tolist()
            found = list(_single({run: failed.get(run, 0) for run in {*missing, *failed}}, nights))
            unlisted = np.setdiff1d(runs, listed.runs, assume_unique=True)
        first, last, reason, night = zip(*found, strict=True) if found else ((), (), (), ())
        return cls(
            first=np.array(first, np.int64),
            last=np.array(last, np.int64),
            reason=np.array(reason, np.int16),
            night=np.array(night, np.int32),
            reasons=tuple(reasons),
            listed=None if listed is None else len(listed.runs),
            unlisted=unlisted,
        )

    def told(self) -> dict[str, Any]:
        """For the page; run numbers as float64, which JavaScript has."""
        return {
            "first": self.first.astype(np.float64),
            "last": self.last.astype(np.float64),
            "reason": self.reason,
            "night": self.night,
            "reasons": [list(reason) for reason in self.reasons],
            "listed": self.listed,
            "unlisted": self.unlisted.astype(np.float64),
        }

    def same_as(self, other: Gaps | None) -> bool:
        """Whether *other* says the same."""
        return (
            other is not None
            and (self.reasons, self.listed) == (other.reasons, other.listed)
            and all(
                np.array_equal(getattr(self, name), getattr(other, name))
                for name in ("first", "last", "reason", "night", "unlisted")
            )
        )


def _reason(failure: Failure, reasons: dict[tuple[str, str], int]) -> int:
    kind = RETRIED
    if failure.is_removed:
        kind = DELETED
    elif failure.is_quarantined:
        kind = QUARANTINE
    words = " ".join((failure.error or failure.kind).split())
    if len(words) > LONGEST_REASON:
        words = f"{words[: LONGEST_REASON - 1]}…"
    if kind == DELETED or ((kind, words) not in reasons and len(reasons) >= MOST_REASONS):
        words = ""
    return reasons.setdefault((kind, words), len(reasons))


def _between(runs: NDArray[np.int64], failed: Iterable[int]) -> Iterator[Gap]:
    """The numbers between stored runs, but for those that *failed*."""
    if not len(runs):
        return
    within = [run for run in failed if runs[0] < run < runs[-1]]
    known = np.union1d(runs, np.array(within, np.int64))
    for at in np.flatnonzero(np.diff(known) > 1).tolist():
        yield int(known[at]) + 1, int(known[at + 1]) - 1, 0, UNKNOWN_NIGHT


def _single(reason_of: dict[int, int], nights: dict[int, int]) -> Iterator[Gap]:
    """Runs one by one, those that follow each other with the same reason and night together."""
    gaps = (
        (run - at, reason_of[run], nights.get(run, UNKNOWN_NIGHT), run)
        for at, run in enumerate(sorted(reason_of))
    )
    for (_, reason, night), members in groupby(gaps, lambda gap: gap[:3]):
        together = [run for *_, run in members]
        yield together[0], together[-1], reason, night
