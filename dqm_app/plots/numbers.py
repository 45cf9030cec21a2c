"""Numbers as people read them."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

EARLIEST, LATEST = 63_072_000.0, 253_402_300_799.0
"""Unix seconds of 1972, when UTC became what it is, and of the end of 9999."""
MILLISECONDS = 1000.0
"""In a second: what Bokeh counts time in."""
MAD_TO_SIGMA = 1.482602218505602
"""1 / Φ⁻¹(3/4): makes the median absolute deviation the σ of a normal distribution."""
ROUNDING = 1e-12
"""Relative difference of two values that are the same."""


def significant(value: float, digits: int = 6) -> str:
    """*value* to so many significant digits, without exponent where that stays readable.

    >>> significant(4123.45678), significant(0.0215633), significant(5.0)
    ('4123.46', '0.0215633', '5')
    """
    if not math.isfinite(value):
        return "–"
    text = f"{value:.{digits}g}"
    if "e" in text and 1e-6 < abs(value) < 1e15:
        decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
        text = f"{value:.{decimals}f}"
    return text.replace("-", "−")


def alike(std: float, *values: float) -> tuple[str, ...]:
    """*values* to the same decimals: as many as give their standard deviation three digits.

    >>> alike(82.2446, 4337.6234, 4334.5912, 82.2446)
    ('4337.6', '4334.6', '82.2')
    """
    largest = max(abs(value) for value in (*values, std))
    if not 0 < std <= largest < 1e15:  # nothing varies, or nothing is known
        return tuple(significant(value) for value in values)
    most = 15 - max(0, math.ceil(math.log10(largest)))  # what float64 holds
    decimals = max(0, min(2 - math.floor(math.log10(std)), most))
    return tuple(f"{value:.{decimals}f}".replace("-", "−") for value in values)


def moments(seconds: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of these unix seconds are a moment in UTC: finite, and between 1972 and 9999."""
    with np.errstate(invalid="ignore"):
        return (seconds >= EARLIEST) & (seconds <= LATEST)


def moment(seconds: float | None) -> float | None:
    """*seconds* when they are one of `moments`, else None."""
    return seconds if seconds is not None and EARLIEST <= seconds <= LATEST else None


def utc(seconds: float, decimals: int = 3) -> str:
    """Unix seconds (UTC) as ``2025-05-02 00:30:49.006 UTC``; a dash outside 1970 to 9999."""
    if not 0 <= seconds <= LATEST:
        return "–"
    scale = 10**decimals
    whole, fraction = divmod(round(seconds * scale), scale)
    text = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{text}.{fraction:0{decimals}d} UTC" if decimals else f"{text} UTC"


def duration(seconds: float) -> str:
    """A time difference in the unit that suits it: ``27.9 µs``, ``1.46 s``, ``6 min 40 s``."""
    size = abs(seconds)
    sign = "−" if seconds < 0 else ""
    for limit, factor, unit in ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (120.0, 1.0, "s")):
        if size < limit:
            return f"{sign}{significant(size * factor, 4)} {unit}"
    minutes, rest = divmod(round(size), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{hours} h {minutes} min" if hours else f"{sign}{minutes} min {rest} s"


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """``1 pixel``, ``12 pixels``."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"
