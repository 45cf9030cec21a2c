"""The key numbers of a run, and how they differ from those of another; ``data/overview.toml``."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from dqm_app.views.choices import why_missing
from dqm_app.views.places import place_of, trend_of
from dqm_app.views.short import short, short_reason
from dqm_db.content import RunHeader, Statistics
from dqm_db.quantities import describe
from dqm_db.records import QuantityEntry

OF_HEADER: Mapping[str, dict[str, str]] = {
    "events": {"view": "trigger"},
    "bad_pixels": {"view": "maps", "quantity": "CAMERA-BADPIX-PHY-OVEREVENTS-HIGH-GAIN-FRACTION"},
    "absent_modules": {"view": "maps"},
}
"""What a fact of the run can be, and which view shows it."""
LEAST_PERCENT, MOST_PERCENT = 0.05, 1000.0
"""Below, a relative change is shown as none; above, it says less than the two values."""


@dataclass(frozen=True, slots=True)
class KeyNumber:
    """A table ``number`` of ``data/overview.toml``; the file says what each means."""

    title: str
    part: str = ""
    header: str = ""
    quantity: str = ""
    statistic: str = ""
    unit: str | None = None
    format: str = "g"
    relative: bool = True


@dataclass(frozen=True, slots=True)
class RunNumbers:
    """Where the numbers of a run are found."""

    header: RunHeader
    entries: Sequence[QuantityEntry]
    statistics: Statistics

    def value(self, number: KeyNumber) -> float | None:
        """The number, or None when the run has none."""
        if not number.header:
            return self.statistics.get(number.quantity, {}).get(number.statistic)
        value = {
            "events": self.header.events.total,
            "bad_pixels": self.header.bad_pixels,
            "absent_modules": len(self.header.absent_modules),
        }[number.header]
        return None if value is None else float(value)


@functools.cache
def known_numbers() -> tuple[KeyNumber, ...]:
    """The key numbers, read once."""
    text = resources.files("dqm_app").joinpath("data/overview.toml").read_text("utf-8")
    return tuple(KeyNumber(**table) for table in tomllib.loads(text)["number"])


def quantities_of_numbers() -> frozenset[str]:
    """The quantities whose statistics are needed."""
    return frozenset(number.quantity for number in known_numbers() if number.quantity)


def key_numbers(run: RunNumbers, reference: RunNumbers | None) -> list[dict[str, Any]]:
    """The numbers of *run* in words, with their change since *reference*; JSON for the page."""
    return [_line(number, run, reference) for number in known_numbers()]


def _line(number: KeyNumber, run: RunNumbers, reference: RunNumbers | None) -> dict[str, Any]:
    value = run.value(number)
    line: dict[str, Any] = {
        "title": number.title,
        "part": number.part,
        "unit": short(_unit(number)),
        "name": number.quantity and f"{number.quantity}: {number.statistic}",
        "value": None if value is None else _text(value, number.format),
        "address": OF_HEADER[number.header]
        if number.header
        else place_of(number.quantity, number.statistic),
        "trend": trend_of("RUN", number.header)
        if number.header
        else trend_of(number.quantity, number.statistic),
    }
    if value is None:
        line["reason"] = _reason(number, run)
    elif reference is not None:
        before = reference.value(number)
        line["change"] = None if before is None else _change(number, before, value)
    return line


def _change(number: KeyNumber, before: float, value: float) -> dict[str, Any]:
    """The change in words: its direction (-1, 0, 1), what it was, and how much more it is."""
    shown = _text(abs(value - before), number.format)
    nothing = shown == _text(0.0, number.format)
    percent = 100 * (value - before) / before if before else None
    told = number.relative and percent is not None and LEAST_PERCENT <= abs(percent) < MOST_PERCENT
    sign = "+" if value > before else "−"
    return {
        "direction": 0 if nothing else 1 if value > before else -1,
        "before": _text(before, number.format),
        "absolute": "" if nothing else f"{sign}{shown}",
        "relative": f"{sign}{abs(percent):.1f} %" if told and percent and not nothing else "",
    }


def _reason(number: KeyNumber, run: RunNumbers) -> str:
    """Why the run has no such number."""
    if number.header:
        return "the results file does not say"
    return short_reason(why_missing(run.entries, number.quantity))


def _unit(number: KeyNumber) -> str:
    if number.unit is not None or not number.quantity:
        return number.unit or ""
    return describe(number.quantity).unit


def _text(value: float, form: str) -> str:
    return format(value, form).replace("-", "−")
