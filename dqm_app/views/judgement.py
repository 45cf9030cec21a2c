"""The verdict of a run and its reasons, in words for the page."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from dqm_app.plots.numbers import significant
from dqm_app.views.places import place_of, trend_of
from dqm_app.views.short import short_reason
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
    unknown = result.status is Status.UNKNOWN
    why = short_reason(result.text.removeprefix(f"{result.title}: ").removesuffix("."))
    low, high = _passed(result)
    return {
        "title": result.title,
        "status": int(result.status),
        "text": result.text,
        "reason": why if unknown else None,
        "value": None if result.value is None else f"{significant(result.value, 3)}{unit}",
        "limits": _words(low, high),
        "between": low is not None and high is not None,
        "name": " ".join(filter(None, (result.quantity, result.statistic))),
        **_places(result),
    }


def _places(result: CheckResult) -> dict[str, Any]:
    """Addresses of where to look at what was found, and of its trend, None without one."""
    quantity, statistic = result.quantity, result.statistic
    if quantity is None:
        return {"address": {"view": "maps"}, "trend": None, **_known().get(result.check, {})}
    return {
        "address": place_of(quantity, statistic),
        "trend": None if statistic is None else trend_of(quantity, statistic),
    }


@functools.cache
def _known() -> Mapping[str, Mapping[str, Any]]:
    """The table ``checks`` of ``data/overview.toml``."""
    text = resources.files("dqm_app").joinpath("data/overview.toml").read_text("utf-8")
    return tomllib.loads(text)["checks"]


def _passed(result: CheckResult) -> tuple[float | None, float | None]:
    """The limits that were passed, else those that come first."""
    names = [LIMIT_OF.get(result.status, ""), *FIRST_LIMITS]
    return next((result.limits[name] for name in names if name in result.limits), (None, None))


def _words(low: float | None, high: float | None) -> str:
    """``240 to 260``, ``at most 5``, ``at least 5``, or nothing."""
    if low is not None and high is not None:
        return f"{significant(low, 4)} to {significant(high, 4)}"
    if high is not None:
        return f"at most {significant(high, 4)}"
    return "" if low is None else f"at least {significant(low, 4)}"
