"""Is a run good? Checks of its statistics against dated thresholds, and the verdict they make."""

from __future__ import annotations

from dqm_db.checks.results import CheckResult, Limits, Status, Verdict

__all__ = ["CheckResult", "Limits", "Status", "Verdict"]
