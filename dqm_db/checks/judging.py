"""The verdict on a run: all checks, applied with the thresholds that hold for it."""

from __future__ import annotations

import functools
import math
import time
from pathlib import Path

from dqm_db.checks.facts import NotMeasured, RunFacts
from dqm_db.checks.kinds import Check
from dqm_db.checks.known import known_checks
from dqm_db.checks.results import CheckResult, Status, Verdict
from dqm_db.checks.thresholds import (
    LEVELS,
    CheckLimits,
    ThresholdSeries,
    cameras_of,
    read_thresholds,
)


class Judge:
    """Makes verdicts.

    Parameters
    ----------
    folder : Path or None
        The site's own thresholds, beside those of this release; read once per camera.

    Attributes
    ----------
    own : tuple of str
        Cameras, ``default`` perhaps among them, that have a file in *folder*.

    Raises
    ------
    ConfigurationError
        Any of the files in *folder* cannot be used, so that this is said before anything is stored.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self.own = () if folder is None else tuple(cameras_of(folder))
        for camera in self.own:
            read_thresholds(camera, folder)
        self.thresholds = functools.cache(self._thresholds)

    def _thresholds(self, camera: str) -> ThresholdSeries:
        return read_thresholds(camera, self._folder)

    def judge(self, camera: str, facts: RunFacts) -> Verdict:
        """The verdict on a run of *camera*, made now.

        Raises
        ------
        ConfigurationError
            The thresholds cannot be read.
        """
        thresholds = self.thresholds(camera).at(facts.run, facts.start)
        results = [
            evaluate(check, thresholds.limits[check.id], facts)
            for check in known_checks().values()
            if check.id in thresholds.limits
        ]
        return Verdict.of(results, thresholds.label, time.time())


def evaluate(check: Check, limits: CheckLimits, facts: RunFacts) -> CheckResult:
    """What *check* says of a run."""
    quantity, statistic = check.columns[0] if check.columns else (None, None)
    try:
        value = check.measure(facts)
        if not math.isfinite(value):
            raise NotMeasured(f"its value is {value}")
    except NotMeasured as reason:
        status, text, known = Status.UNKNOWN, f"{check.title}: {reason}.", None
    else:
        status, known = limits.status(value), value
        text = _sentence(check, limits, value, status)
    return CheckResult(
        check=check.id,
        title=check.title,
        status=status,
        text=text,
        value=known,
        unit=check.unit,
        limits=limits.plain(),
        quantity=quantity,
        statistic=statistic,
    )


def _sentence(check: Check, limits: CheckLimits, value: float, status: Status) -> str:
    digits, edge = _digits(value), ""
    level = next((level for level, of in LEVELS.items() if of is status), None)
    if level is not None:
        low, high = getattr(limits, level)
        side, limit = ("above", high) if value > high else ("below", low)
        if digits == _digits(limit):
            digits = f"{value:,.9g}"  # else it would be said to be above itself
        if status is not Status.INFO or limit != 0:  # there, that there is any is all to be said
            edge = f", {side} {_digits(limit)}"
    return f"{check.title}: {digits} {check.unit}".rstrip() + f"{edge}."


def _digits(value: float) -> str:
    size = abs(value)
    return f"{value:.3g}" if size < 100 else f"{value:.4g}" if size < 1e4 else f"{value:,.0f}"
