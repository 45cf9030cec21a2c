"""Is a run good? Checks of its statistics against dated thresholds, and the verdict they make."""

from __future__ import annotations

from dqm_db.checks.facts import RunFacts
from dqm_db.checks.judging import Judge
from dqm_db.checks.results import CheckResult, Limits, Status, Verdict
from dqm_db.checks.thresholds import Thresholds, ThresholdSeries, read_thresholds

__all__ = [
    "CheckResult",
    "Judge",
    "Limits",
    "RunFacts",
    "Status",
    "ThresholdSeries",
    "Thresholds",
    "Verdict",
    "read_thresholds",
]
