"""Which view shows a quantity, as keys of an address."""

from __future__ import annotations

from collections.abc import Mapping

from dqm_db.content import Kind
from dqm_db.quantities import describe

OF_KIND: Mapping[Kind, str] = {
    Kind.PIXEL_MAP: "maps",
    Kind.PIXEL_WAVEFORMS: "waveforms",
    Kind.EVENT_TIMELINE: "timelines",
    Kind.TRIGGER_EVENTS: "trigger",
}
"""Views in which these are chosen."""


def place_of(quantity: str, statistic: str | None = None) -> dict[str, str]:
    """Where *quantity* is shown: the view, and the quantity where that has a choice of them.

    A number of the whole camera is shown as its trend, in which *statistic* is chosen.
    """
    info = describe(quantity)
    match info.kind:
        case Kind.EVENT_TIMES if info.section == "Ping-pong":
            return {"view": "pingpong"}
        case Kind.EVENT_TIMES:
            return {"view": "trigger"}
        case Kind.COUNTERS if info.section == "Trigger":
            return {"view": "trigger"}
        case Kind.DRAWER_TREND:
            return {"view": "temperature"}
        case Kind.MEAN_WAVEFORM:  # drawn with those of the pixels
            return {"view": "waveforms", "quantity": quantity.replace("-AVERAGE-PIX-", "-")}
        case Kind.CAMERA_SCALAR if statistic:
            return trend_of(quantity, statistic)
    return {"view": OF_KIND.get(info.kind, "contents"), "quantity": quantity}


def trend_of(quantity: str, statistic: str) -> dict[str, str]:
    """Where a statistic is shown over all runs."""
    return {"view": "trends", "quantity": quantity, "statistic": statistic}
