"""Scripts and style sheets, read once: a server goes on giving out those that belong to its code
after the installation below it was replaced.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "static"
ASSETS = "assets"
"""Their folder in addresses."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file for browsers.

    Attributes
    ----------
    content : bytes
    version : str
        Differs for another content; part of the address, so that browsers may keep the file.
    """

    content: bytes
    version: str


@functools.cache
def assets() -> dict[str, Asset]:
    """All files by their names, as they were when this was first called."""
    files = {file.name: file.read_bytes() for file in sorted(FOLDER.iterdir()) if file.is_file()}
    return {
        name: Asset(content, hashlib.sha256(content).hexdigest()[:12])
        for name, content in files.items()
    }


def addresses(suffix: str) -> dict[str, str]:
    """Address, relative to their folder, of the files that end in *suffix*, by name."""
    return {
        name: f"{name}?v={asset.version}"
        for name, asset in assets().items()
        if name.endswith(f".{suffix}")
    }


def caching(*, current: bool) -> str:
    """``Cache-Control`` of a file for whoever asked for its *current* version, or another one."""
    return "public, max-age=31536000, immutable" if current else "no-cache"
