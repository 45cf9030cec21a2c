"""What programs say that they take: the headers ``Accept`` and ``Accept-Encoding``."""

from __future__ import annotations

from collections.abc import Mapping


def weights(header: str) -> Mapping[str, float]:
    """What *header* names, each with its weight from 0 (not at all) to 1 (RFC 9110, 12.4.2).

    The heaviest first, and those of the same weight in the order of the header; parameters other
    than the weight are not looked at, and a weight that is none is 0.
    """
    found: dict[str, float] = {}
    for part in header.split(","):
        name, *parameters = (text.strip().lower() for text in part.split(";"))
        if not name:
            continue
        weight = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                weight = _weight(value.strip())
        found.setdefault(name, weight)
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def accepts_gzip(header: str) -> bool:
    """Whether an ``Accept-Encoding`` lets an answer be compressed by gzip."""
    found = weights(header)
    return found.get("gzip", found.get("*", 0)) > 0


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
