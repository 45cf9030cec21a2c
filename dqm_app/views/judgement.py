"""The verdict of a run and its reasons, in words for the page."""

from __future__ import annotations

from typing import Any

from dqm_app.plots.numbers import significant
from dqm_app.views.places import place_of, trend_of
from dqm_db.checks import CheckResult, Status, Verdict

LIMIT_OF = {Status.INFO: "info", Status.WARNING: "warning", Status.BAD: "bad"}
FIRST_LIMITS = ("info", "warning", "bad")
"""From the one that is left first."""


def judgement(verdict: Verdict) -> dict[str, Any]:
    """*verdict* as JSON: status, when and by which thresholds, and all checks, the worst first."""
    return {
        "status": int(verdict.status),
        "thresholds": verdict.thresholds,
        "checkedAt": verdict.checked_at,
        "results": [_result(result) for result in verdict.results],
    }


def _result(result: CheckResult) -> dict[str, Any]:
    unit = f" {result.unit}" if result.unit else ""
    return {
        "check": result.check,
        "title": result.title,
        "status": int(result.status),
        "text": result.text,
        "value": None if result.value is None else f"{significant(result.value, 4)}{unit}",
        "limits": _limits(result),
        "name": " ".join(filter(None, (result.quantity, result.statistic))),
        "address": _address(result),
        "trend": trend_of(result.quantity, result.statistic)
        if result.quantity is not None and result.statistic is not None
        else None,
    }


def _address(result: CheckResult) -> dict[str, str]:
    if result.quantity is None:
        return {"view": "maps"}
    return place_of(result.quantity, result.statistic)


def _limits(result: CheckResult) -> str:
    """The limits that were passed, else those that come first: ``240 to 260``, ``at most 5``."""
    names = [LIMIT_OF.get(result.status, ""), *FIRST_LIMITS]
    found = next((result.limits[name] for name in names if name in result.limits), None)
    if found is None:
        return ""
    low, high = found
    if low is not None and high is not None:
        return f"{significant(low, 4)} to {significant(high, 4)}"
    if high is not None:
        return f"at most {significant(high, 4)}"
    return "" if low is None else f"at least {significant(low, 4)}"
