"""Times and sizes in words for people."""

from __future__ import annotations

import time

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def duration(seconds: float) -> str:
    """``12 s``, ``5 min``, ``3.5 h`` or ``12 days``."""
    if seconds < 100:
        return f"{max(0.0, seconds):.0f} s"
    if seconds < 100 * MINUTE:
        return f"{seconds / MINUTE:.0f} min"
    if seconds < 2 * DAY:
        return f"{seconds / HOUR:.1f} h"
    return f"{seconds / DAY:.0f} days"


def size(count: float) -> str:
    """``812 B``, ``1.3 MB`` and so on, by powers of 1000."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"


def utc(moment: float) -> str:
    """``2026-05-03 23:12:05``; UTC.

    A time that no calendar has is shown as a number.
    """
    return _in_utc(moment, "%Y-%m-%d %H:%M:%S")


def utc_minute(moment: float) -> str:
    """``2026-05-03 23:12``, likewise."""
    return _in_utc(moment, "%Y-%m-%d %H:%M")


def _in_utc(moment: float, form: str) -> str:
    try:
        return time.strftime(form, time.gmtime(moment))
    except (ValueError, OverflowError, OSError):
        return f"{moment:g}"
