"""What changed since another run, in words for the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqm_app.changes import (
    MapChange,
    StateChanges,
    by_module,
    change_options,
    growing_quantities,
    map_changes,
    state_changes,
)
from dqm_app.plots.numbers import alike
from dqm_db.content import RunHeader
from dqm_db.quantities import describe
from dqm_db.reader import PixelMaps


def differences(
    before: tuple[RunHeader, PixelMaps], after: tuple[RunHeader, PixelMaps]
) -> dict[str, Any]:
    """Quantities by significance, and pixels that changed their state; JSON for the page.

    Keys
    ----
    quantities
        The changes worth a line, the most significant first.
    strong
        Names of those that differ much.
    quiet
        How many others hardly differ.
    unpaired
        How many maps only one of the runs has.
    states
        Lists of pixels, none of them empty.
    judged
        Whether badness could be compared.
    outlier
        Beyond how many sigmas a pixel counts as changed on its own.
    """
    options = change_options()
    states = state_changes(before, after)
    changes = map_changes(before[1], after[1], states)
    told = [change for change in changes if change.significance >= options.worth]
    lonely = (set(before[1].names) ^ set(after[1].names)) - growing_quantities()
    return {
        "quantities": [_line(change) for change in told],
        "strong": [change.quantity for change in told if change.strong],
        "quiet": len(changes) - len(told),
        "unpaired": len(lonely),
        "states": _states(states),
        "judged": states.judged,
        "outlier": options.outlier,
    }


LINKED = 150
"""Pixels and whole modules up to which a link picks them: more make a long address and no sense."""


def _line(change: MapChange) -> dict[str, Any]:
    info = describe(change.quantity)
    before, after = alike(change.spread, change.before, change.after)
    return {
        "quantity": change.quantity,
        "title": info.title,
        "unit": info.unit,
        "before": before,
        "after": after,
        "shift": _shift(change.shift),
        "strong": change.strong,
        "count": len(change.pixels),
        "picks": _picks(*by_module(change.pixels)),
    }


def _shift(shift: float) -> str:
    """In spreads: ``+0.4``, ``−12``; empty for none that could be seen."""
    if math.isinf(shift):
        return "+∞" if shift > 0 else "−∞"
    text = f"{abs(shift):.1f}" if abs(shift) < 10 else f"{abs(shift):.0f}"
    if text == "0.0":
        return ""
    return f"{'+' if shift > 0 else '−'}{text}"


def _states(states: StateChanges) -> list[dict[str, Any]]:
    lists: Sequence[tuple[str, str, NDArray[np.int64]]] = (
        ("absent", "became absent", states.became_absent),
        ("bad", "became bad", states.became_bad),
        ("back", "came back", states.came_back),
        ("recovered", "recovered", states.recovered),
    )
    return [_state(kind, title, pixels) for kind, title, pixels in lists if len(pixels)]


def _state(kind: str, title: str, pixels: NDArray[np.int64]) -> dict[str, Any]:
    modules, rest = by_module(pixels)
    return {
        "kind": kind,
        "title": title,
        "modules": modules,
        "pixels": rest,
        "picks": _picks(modules, rest),
    }


def _picks(modules: list[int], pixels: list[int]) -> str:
    """For the address: these are picked; empty when they are too many."""
    names = [*(f"m{module}" for module in modules), *map(str, pixels)]
    return ",".join(names) if len(names) <= LINKED else ""
