"""A clock of a process that a test sets forward and back.

``sitecustomize`` is imported by Python before anything else, and replaces ``time.time`` by one that
adds what stands in a file. Every module of Python gets that one, also by ``from time import time``.
What asks the system in another way does not: ``datetime.now``, ``time.time_ns``, ``time.gmtime()``
without an argument, the times of files. Neither ZODB, ZEO, zc.zrs nor Twisted takes the time of a
transaction, a delay or a deadline from those; lines of the log show the real time as they do.
"""

from __future__ import annotations

import struct
from pathlib import Path

SITE = """
import mmap, struct, time

_real = time.time
with open({path!r}, "r+b") as _file:
    _shift = mmap.mmap(_file.fileno(), 8)

def _time():
    return _real() + struct.unpack("=d", _shift[:8])[0]

time.time = _time
"""


class ShiftedClock:
    """The clock of the processes that get `environment`."""

    def __init__(self, directory: Path, name: str) -> None:
        folder = directory / f"clock of {name}"
        folder.mkdir()
        self._file = folder / "shift"
        self.set(0.0)
        (folder / "sitecustomize.py").write_text(SITE.format(path=str(self._file)))
        self.environment = {"PYTHONPATH": str(folder)}

    def set(self, shift: float) -> None:
        """Let the clock show *shift* seconds more than it is."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("=d", shift))
