"""Functions that test workers run; importable by name in another process."""

from __future__ import annotations

import os
import time
from pathlib import Path


def double(number: int) -> int:
    return 2 * number


def fail_on_odd(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


def die_on_three(number: int) -> int:
    if number == 3:
        os._exit(9)
    time.sleep(0.02)
    return number


def die_or_hang(paths: tuple[Path, Path]) -> str:
    """Job of (own marker, other's marker): the one named "die" does so once the other hangs."""
    own, other = paths
    if own.exists():
        return f"{own.name} again"
    own.touch()
    while not other.exists():
        time.sleep(0.01)
    if own.name == "die":
        os._exit(9)
    while True:
        time.sleep(1)


def blocked_signals(number: int) -> tuple[int, int]:
    """Masks of this process and of the one that it was forked from."""

    def mask(process: int) -> int:
        status = Path(f"/proc/{process}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("SigBlk:"))
        return int(line.split()[1], 16)

    return mask(os.getpid()), mask(os.getppid())


def process_id(number: int) -> tuple[int, int]:
    time.sleep(0.02)
    return number, os.getpid()


def note_start(path: Path) -> Path:
    path.touch()
    return path
