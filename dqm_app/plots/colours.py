"""Colours between others, all ``#rrggbb``."""

from __future__ import annotations

import numpy as np

SHADES = 21
"""Of a diverging palette."""


def mixed(start: str, end: str, share: float) -> str:
    """*start* at share 0, *end* at 1."""
    ends = [np.array(list(bytes.fromhex(colour[1:])), "<f8") for colour in (start, end)]
    return "#" + bytes(np.rint(ends[0] + share * (ends[1] - ends[0])).astype(np.uint8)).hex()


def shades(low: str, middle: str, high: str) -> list[str]:
    """A diverging palette through three colours."""
    shares = np.linspace(-1, 1, SHADES)
    return [mixed(middle, low if share < 0 else high, abs(float(share))) for share in shares]
