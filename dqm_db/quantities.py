"""The quantities of a DQM results file: titles, units and kinds, read from ``quantities.toml``."""

from __future__ import annotations

import enum
import functools
import itertools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from dqm_db.content import Kind

NO_DATA = "no data: the results file holds none"
"""Why a quantity has no values when nothing more is known."""


@enum.unique
class TimeScale(enum.StrEnum):
    """What moments, in Unix seconds, are counted in."""

    TAI = "tai"  # as astropy's unix_tai
    UTC = "utc"


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    """What is known about a column of a quantity.

    Attributes
    ----------
    title, unit : str
        For people. ``unit`` is empty for pure numbers.
    time_scale : TimeScale or None
        Of moments; None for all else.
    """

    title: str
    unit: str
    time_scale: TimeScale | None = None


@dataclass(frozen=True, slots=True)
class QuantityInfo:
    """What is known about a quantity before any file is read.

    Attributes
    ----------
    name : str
        EXTNAME, upper case.
    kind : Kind
    title, unit, section, description : str
        For people. ``unit`` is empty for pure numbers.
    event_class : str or None
        ``"PHY"`` (everything that is not a sky pedestal), ``"PED"``, or None.
    gain : str or None
        ``"HIGH"`` or ``"LOW"``, or None.
    pixel_order : str or None
        How the file orders a pixel map when modules are absent: ``"pixel_id"`` (all 1855),
        ``"present"`` (only present pixels) or ``"shifted"`` (first the pixels 0…k−1, then the
        present ones); see ``ingest.pixel_order``.
    derived_from : str or None
        EXTNAME of the source for quantities that ingestion computes.
    unavailable : str
        Why there are no values when a file has none, in words for the user.
    of_sensors : bool
        Measured by sensors of the module whether or not its pixels are read out.
    time_scale : TimeScale or None
        When the values are moments.
    columns : mapping of str to ColumnInfo
        By name, what differs in single columns; see `column`.
    """

    name: str
    kind: Kind
    title: str
    unit: str
    section: str
    description: str
    event_class: str | None = None
    gain: str | None = None
    pixel_order: str | None = None
    derived_from: str | None = None
    unavailable: str = NO_DATA
    of_sensors: bool = False
    time_scale: TimeScale | None = None
    columns: Mapping[str, ColumnInfo] = field(default_factory=dict, hash=False)

    def column(self, name: str) -> ColumnInfo:
        """What is known about one column; by default what is known of the quantity."""
        return self.columns.get(name) or ColumnInfo(self.title, self.unit, self.time_scale)


@functools.cache
def known_quantities() -> Mapping[str, QuantityInfo]:
    """All quantities that this release knows, by EXTNAME, in the order in which they are shown."""
    text = resources.files("dqm_db").joinpath("data/quantities.toml").read_text("utf-8")
    document = tomllib.loads(text)
    words: Mapping[str, Mapping[str, str]] = document["words"]
    known: dict[str, QuantityInfo] = {}
    for family in document["family"]:
        for info in _expand(family, words):
            known[info.name] = info
    return known


def describe(name: str) -> QuantityInfo:
    """What is known about *name*; an unknown EXTNAME is described as a generic quantity."""
    info = known_quantities().get(name)
    if info is not None:
        return info
    return QuantityInfo(
        name=name,
        kind=Kind.GENERIC,
        title=name,
        unit="",
        section="Other",
        description="This release does not know this part of the results file.",
    )


def _expand(
    family: Mapping[str, Any], words: Mapping[str, Mapping[str, str]]
) -> list[QuantityInfo]:
    placeholders = list(dict.fromkeys(re.findall(r"{(\w+)}", family["name"])))
    choices = [family.get(key) or list(words[key]) for key in placeholders]
    expanded = []
    for values in itertools.product(*choices):
        code = dict(zip(placeholders, values, strict=True))
        word = {key: words[key][value] for key, value in code.items()}
        events = code.get("events", family.get("event_class"))
        title, unit = family["title"].format(**word), family.get("unit", "")
        scale = _time_scale(family, None)
        expanded.append(
            QuantityInfo(
                name=family["name"].format(**code),
                kind=Kind(family["kind"]),
                title=title,
                unit=unit,
                section=family["section"],
                description=family["description"],
                event_class="PHY" if events == "IMAGE" else events,
                gain=code.get("gain"),
                pixel_order=family.get("pixel_order"),
                derived_from=family["derived_from"].format(**code)
                if "derived_from" in family
                else None,
                unavailable=family.get("unavailable", NO_DATA).format(**word),
                of_sensors=family.get("of_sensors", False),
                time_scale=scale,
                columns={
                    name: ColumnInfo(
                        title=column.get("title", title).format(**word),
                        unit=column.get("unit", unit),
                        time_scale=_time_scale(column, scale),
                    )
                    for name, column in family.get("columns", {}).items()
                },
            )
        )
    return expanded


def _time_scale(table: Mapping[str, Any], default: TimeScale | None) -> TimeScale | None:
    return TimeScale(table["time_scale"]) if "time_scale" in table else default
