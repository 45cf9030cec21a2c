"""The limits in ``dqm_db/data/status.toml``, and those that are settings."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from dqm_db.operations import OperationName
from dqm_db.settings import WatchSettings
from dqm_db.status.model import Level

MINUTE = 60.0
HOUR = 3600.0
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class OperationLimits:
    """How old the last backup, verification or pack may be.

    Attributes
    ----------
    title : str
    advice : str
        What to do about it.
    warning, critical : float or None
        Seconds since it ended; None: never too old.
    never, failed : Level
        When there was none, and when the last one failed.
    """

    title: str
    advice: str
    warning: float | None
    critical: float | None
    never: Level
    failed: Level


@dataclass(frozen=True, slots=True)
class Limits:
    """From when on something is a warning, or critical.

    Attributes
    ----------
    lag_warning, lag_critical : float
        Seconds behind the primary.
    pull_warning, pull_critical : float
        Seconds since the last pull.
    disk_warning, disk_critical : float
        Part of the file system that is free.
    aside_warning : float
        Part of the file system that files set aside take.
    certificate_warning, certificate_critical : float
        Seconds until it ends.
    token_warning : float
        Seconds until the token of a monitor ends.
    baskets_warning : float
        Seconds for which a basket may wait while no worker builds any.
    clock_warning : float
        Seconds between two clocks.
    operations : mapping of OperationName to OperationLimits
    """

    lag_warning: float
    lag_critical: float
    pull_warning: float
    pull_critical: float
    disk_warning: float
    disk_critical: float
    aside_warning: float
    certificate_warning: float
    certificate_critical: float
    token_warning: float
    baskets_warning: float
    clock_warning: float
    operations: Mapping[OperationName, OperationLimits]

    @classmethod
    def of(cls, settings: WatchSettings) -> Limits:
        """Those of the file, with the ones that are *settings*."""
        data = _data()
        return cls(
            lag_warning=settings.lag_warn,
            lag_critical=max(settings.lag_warn, settings.lag_alert),
            pull_warning=settings.pull_stale,
            pull_critical=settings.pull_stale * data["pull"]["critical"],
            disk_warning=data["disk"]["warning"],
            disk_critical=data["disk"]["critical"],
            aside_warning=data["aside"]["warning"],
            certificate_warning=data["certificate"]["warning"] * DAY,
            certificate_critical=data["certificate"]["critical"] * DAY,
            token_warning=data["token"]["warning"] * DAY,
            baskets_warning=data["baskets"]["warning"] * MINUTE,
            clock_warning=data["clock"]["warning"],
            operations={
                name: OperationLimits(
                    title=found["title"],
                    advice=found["advice"],
                    warning=_seconds(found.get("warning")),
                    critical=_seconds(found.get("critical")),
                    never=Level(found["never"]),
                    failed=Level(found["failed"]),
                )
                for name in OperationName
                if (found := data["operations"].get(str(name)))
            },
        )


@functools.cache
def _data() -> dict:
    text = resources.files("dqm_db").joinpath("data/status.toml").read_text("utf-8")
    return tomllib.loads(text)


def _seconds(hours: float | None) -> float | None:
    return None if hours is None else hours * HOUR
