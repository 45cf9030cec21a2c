"""What is measured and what it has to reach: the rows of ``bars.toml``."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of the table.

    Attributes
    ----------
    key, group : str
        Names of the measurement and of the group that makes it.
    what, unit : str
        For people.
    limit : float or None
        What has to be reached; ``None``: the value is only shown.
    direction : str
        ``"most"``: the value may be *limit* at most; ``"least"``: it must be *limit* at least.
    peer : str
        What the dashboard of nectarchain 0.4.0 reaches.
    """

    key: str
    group: str
    what: str
    unit: str
    peer: str
    limit: float | None = None
    direction: str = "most"

    def passed(self, value: float) -> bool | None:
        """Whether *value* reaches the bar; None when there is none."""
        if self.limit is None:
            return None
        return value <= self.limit if self.direction == "most" else value >= self.limit

    @property
    def words(self) -> str:
        """The bar, e.g. ``"≤ 1.5 ×"``."""
        if self.limit is None:
            return "–"
        sign = "≤" if self.direction == "most" else "≥"
        return f"{sign} {self.limit:g} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True)
class Result:
    """One measured value.

    Attributes
    ----------
    key : str
        Of its `Bar`.
    value : float
        In the bar's unit.
    detail : mapping
        How it came about: samples, parts, versions. JSON.
    """

    key: str
    value: float
    detail: Mapping[str, Any] = field(default_factory=dict)


@functools.cache
def bars() -> Mapping[str, Bar]:
    """All bars by key, in the order of the table."""
    document = tomllib.loads(Path(__file__).with_name("bars.toml").read_text("utf-8"))
    return {row["key"]: Bar(**row) for row in document["bar"]}
