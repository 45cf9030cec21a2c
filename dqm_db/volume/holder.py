"""Which process has the ``Data.fs`` of a volume open."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from dqm_db.volume.errors import DataInUse
from dqm_db.volume.layout import Volume


def is_held(volume: Volume) -> bool:
    """Whether a process holds the lock of the volume's FileStorage.

    Raises
    ------
    DataUnwritable
        The lock cannot be tried.
    """
    if not volume.data_file.parent.exists():
        return False
    try:
        with volume.locked():
            return False
    except DataInUse:
        return True


def server_of(volume: Volume) -> int | None:
    """The process that serves *volume*; None when there is none, or none that can be told to.

    ZODB writes the number of the process into the lock. It may be of another container, or of a
    process that has ended: so only one counts that has the lock open, and that SIGHUP does not
    kill, which tells a server from other commands.
    """
    lock = Path(f"{volume.data_file}.lock")
    try:
        pid = int(lock.read_text())
        opened = lock.stat()
        status = Path(f"/proc/{pid}/status").read_text()
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except (OSError, ValueError):
        return None  # no lock, no such process, or not ours to look at
    caught = next((line for line in status.splitlines() if line.startswith("SigCgt:")), "SigCgt: 0")
    if not int(caught.split()[1], 16) >> (signal.SIGHUP - 1) & 1:
        return None
    for descriptor in descriptors:
        with contextlib.suppress(OSError):  # closed meanwhile
            if os.path.samestat(descriptor.stat(), opened):
                return pid
    return None


def is_alive(pid: int) -> bool:
    """Whether the process *pid* runs; one that has ended and only waits to be noticed does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")
