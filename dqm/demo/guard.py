"""Ends process groups, and outlives a killed parent to do so.

Run as a script, it reads `+GROUP` and `-GROUP` lines from its standard input. The other end of that
pipe is held by the process that starts the stack alone: when it dies, by whatever signal, the pipe
ends and the groups that were not taken off the list are ended. Neither the end of the parent nor
`PR_SET_PDEATHSIG` does that for grandchildren, such as the workers of a Bokeh server.

A folder that is given as an argument is then removed, unless the last line was `keep`: the parent
has come to its end by itself and decides what becomes of the folder.

Only the standard library is imported, so that it starts at once: `python -I -S guard.py`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

GRACE = 5.0
KEEP = "keep"
PROCESSES = Path("/proc")


def group_lives(group: int) -> bool:
    """Whether the process group *group* still has a member that runs.

    One that has ended but whose end nobody has taken note of does not count: orphans may stay like
    that for as long as the first process of a container cares little.
    """
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):  # PermissionError: macOS, of what has just ended
        return False
    return not PROCESSES.exists() or any(runs_in(group, process) for process in processes())


def processes() -> Iterator[Path]:
    """Folders of all processes, where there is `/proc`."""
    return (folder for folder in PROCESSES.iterdir() if folder.name.isdecimal())


def runs_in(group: int, process: Path) -> bool:
    """Whether a process is of the process group *group* and has not ended (proc(5), `stat`)."""
    try:
        # The second field is the name in parentheses, which may hold anything.
        fields = (process / "stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):  # it ended between the two looks
        return False
    state, _, its_group = fields[:3]
    return int(its_group) == group and state not in (b"Z", b"X")


def signal_group(group: int, number: signal.Signals) -> None:
    """Send a signal to a process group that may have ended meanwhile."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def end_group(group: int, grace: float = GRACE) -> bool:
    """Ask all members of *group* to end, and kill those that have not after *grace* seconds.

    Returns whether it had to kill.
    """
    signal_group(group, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while group_lives(group):
        if time.monotonic() > deadline:
            signal_group(group, signal.SIGKILL)
            return True
        time.sleep(0.02)
    return False


def watched_groups(lines: Iterable[str]) -> list[int]:
    """The groups that are still on the list when *lines* end, in the order they came."""
    groups: list[int] = []
    for line in lines:
        if line.startswith("+"):
            groups.append(int(line[1:]))
        elif line.startswith("-") and int(line[1:]) in groups:
            groups.remove(int(line[1:]))
    return groups


def main() -> None:
    """Wait for the end of the standard input, then end what is still listed, last one first."""
    lines = sys.stdin.readlines()
    for group in reversed(watched_groups(lines)):
        end_group(group)
    if lines[-1:] != [f"{KEEP}\n"]:
        for folder in sys.argv[1:]:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
