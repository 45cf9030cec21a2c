"""Quantities that are computed from others so that runs of different length compare."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dqm_db.content import EventCounts, Kind, Quantity
from dqm_db.quantities import QuantityInfo, known_quantities

FRACTION = "-FRACTION"
PER_EVENT = "-PER-EVENT"

BAD_FRACTION = 0.5
"""A pixel is bad when it is flagged in more than this fraction of the events."""


def derive(quantities: Mapping[str, Quantity], counts: EventCounts) -> list[Quantity]:
    """All derived quantities whose sources are in *quantities*, in the order of display.

    ``…-FRACTION``
        Count ÷ events of the class (`EventCounts.of_class`), at most 1: should the first event
        or one with a wrong time be a pedestal, its class has one event more than is known.
    ``…-PER-EVENT``
        √(Σq²/N) = √(mean² + std²), from the maps of mean and standard deviation of the same
        charges, which need no N: charges may be integrated over fewer events than the run has.
        Without these maps √Σq² ÷ √N.
    """
    return [
        _derive(info, quantities, counts)
        for info in known_quantities().values()
        if info.derived_from is not None and info.derived_from in quantities
    ]


def bad_pixels(derived: list[Quantity]) -> int | None:
    """Present pixels that are flagged in more than half of the events of any class or gain."""
    flagged: NDArray[np.bool_] | None = None
    for quantity in derived:
        if quantity.name.endswith(FRACTION) and quantity.columns:
            (fraction,) = quantity.columns.values()
            bad = fraction > BAD_FRACTION
            flagged = bad if flagged is None else flagged | bad
    return None if flagged is None else int(np.count_nonzero(flagged))


def _derive(
    info: QuantityInfo, quantities: Mapping[str, Quantity], counts: EventCounts
) -> Quantity:
    source = quantities[info.derived_from or ""]
    if source.unavailable is not None:
        return Quantity(info.name, info.kind, unavailable=source.unavailable)
    if source.kind is not Kind.PIXEL_MAP:
        reason = f"no data: {source.name} does not have one value per pixel"
        return Quantity(info.name, info.kind, unavailable=reason)
    events = counts.of_class(info.event_class or "")
    result: NDArray[np.float64] | None = None
    if info.name.endswith(PER_EVENT):
        result = _quadratic_mean(source, quantities)
    if result is None:
        if events is None or events <= 0:
            reason = f"no data: how many events the values of {source.name} are of is not known"
            return Quantity(info.name, info.kind, unavailable=reason)
        (values,) = source.columns.values()
        if info.name.endswith(FRACTION):
            result = np.clip(values / events, None, 1.0)
        elif info.name.endswith(PER_EVENT):
            result = values / math.sqrt(events)
        else:
            raise ValueError(f"quantities.toml derives {info.name}, but how is not known")
    return Quantity(info.name, info.kind, {info.name: result})


def _quadratic_mean(
    source: Quantity, quantities: Mapping[str, Quantity]
) -> NDArray[np.float64] | None:
    """√(mean² + std²) of the charges that *source* sums the squares of, if both are there."""
    maps: list[NDArray] = []
    for statistic in ("AVERAGE", "STD"):
        other = quantities.get(source.name.replace("-ALL-RMS-", f"-ALL-{statistic}-"))
        if other is None or other.kind is not Kind.PIXEL_MAP or not other.columns:
            return None
        maps.extend(other.columns.values())
    return np.hypot(*maps)
