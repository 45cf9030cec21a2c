"""The quantities of a DQM results file: titles, units and kinds, read from ``quantities.toml``."""

from __future__ import annotations

import functools
import itertools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from dqm_db.content import Kind

NO_DATA = "no data: the results file holds none"
"""Why a quantity has no values when nothing more is known."""


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
        expanded.append(
            QuantityInfo(
                name=family["name"].format(**code),
                kind=Kind(family["kind"]),
                title=family["title"].format(**word),
                unit=family.get("unit", ""),
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
            )
        )
    return expanded
