"""Nights of observation: from noon to noon UTC, named by the day on which they begin.

The site is at 18° W, so that its noon is within an hour and a quarter of that of UTC, and no night
is ever cut in two.
"""

from __future__ import annotations

import math

DAY = 86_400
BEGINS = DAY // 2
"""When a night begins: seconds after midnight UTC."""
UNKNOWN_NIGHT = -(2**31)
"""In the place of a night: nobody knows. Fits into an int32."""


def night_of(seconds: float) -> int:
    """The night of a moment (Unix s, UTC): days from 1970-01-01 to the one on which it began."""
    return math.floor((seconds - BEGINS) / DAY)
