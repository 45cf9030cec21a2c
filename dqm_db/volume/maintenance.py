"""Packing and backups of a volume never happen at the same time.

A backup copies ``Data.fs`` first and then the blobs that it names; a pack in between would take
them away. So both hold a lock on the same file, which also says who holds it. It is a lock of the
kernel (``flock``): it ends with its holder, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from dqm_db.volume.errors import DataUnwritable, MaintenanceUnderWay
from dqm_db.volume.layout import Volume

LOOK_SECONDS = 0.1
_LONGEST = 4096


@contextlib.contextmanager
def maintaining(volume: Volume, what: str, *, wait: float = 0.0) -> Iterator[None]:
    """Hold the maintenance lock of *volume*.

    Parameters
    ----------
    volume
        Of a server that may be running.
    what : str
        What is done meanwhile, for whoever finds it locked: "a backup", "a pack".
    wait : float
        Seconds to wait for whoever holds it.

    Raises
    ------
    MaintenanceUnderWay
        Somebody else holds it for longer; the text says who.
    DataUnwritable
        The file of the lock cannot be made.
    """
    path = volume.maintenance
    try:
        lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise DataUnwritable(
            f"cannot use {path} ({error.strerror}): make the volume writable for this user"
        ) from error
    try:
        if not _locked(lock, time.monotonic() + wait):
            raise MaintenanceUnderWay(
                f"{_holder(lock)} on {volume.root}: try again when it has ended"
            )
        _write(lock, what)
        yield
    finally:
        os.close(lock)


def _locked(lock: int, end: float) -> bool:
    """Whether it could be locked until *end* (monotonic seconds)."""
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(LOOK_SECONDS)
        else:
            return True


def _write(lock: int, what: str) -> None:
    holder = {
        "what": what,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": time.time(),
    }
    with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps(holder).encode(), 0)


def _holder(lock: int) -> str:
    """Who holds it, as far as that can be told."""
    try:
        holder = json.loads(os.pread(lock, _LONGEST, 0))
        since = datetime.fromtimestamp(holder["since"], UTC).isoformat(" ", "seconds")
        return (
            f"{holder['what']} is under way (process {holder['pid']} on {holder['host']}, since "
            f"{since.removesuffix('+00:00')} UTC)"
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return "a pack or a backup is under way"  # that has not written yet who it is
