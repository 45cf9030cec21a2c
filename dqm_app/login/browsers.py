"""What a browser calls itself, in words."""

from __future__ import annotations

import re

BROWSERS = {"Edg": "Edge", "OPR": "Opera", "Firefox": "Firefox", "Chrome": "Chrome",
            "HeadlessChrome": "Chrome", "Version": "Safari"}  # fmt: skip
"""Product in ``User-Agent`` and name; the first that is there is it, since they all claim to be the
later ones, too."""
SYSTEMS = {"Android": "Android", "iPhone": "iPhone", "iPad": "iPad", "Windows": "Windows",
           "Mac OS X": "macOS", "CrOS": "ChromeOS", "Linux": "Linux"}  # fmt: skip


def browser_in_words(text: str) -> str:
    """E.g. ``Firefox 128, Linux``; *text* itself for programs and browsers that are not known."""
    for product, name in BROWSERS.items():
        version = re.search(rf"\b{product}/(\d+)", text)
        if version is not None:
            system = next((word for sign, word in SYSTEMS.items() if sign in text), "")
            return f"{name} {version[1]}" + (f", {system}" if system else "")
    return text
