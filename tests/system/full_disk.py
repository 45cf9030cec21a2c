"""A disk that is full when a test says so, for one server."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Iterator
from typing import Protocol

from processes import DatabaseServer

SIZE = "64m"
PIECE = 4096


class Disk(Protocol):
    """What the volume of a server lies on."""

    words: str
    """What the system says when it is full."""

    def fill(self) -> None: ...

    def make_room(self) -> None: ...


class SmallVolume:
    """A small file system, whose rest a filler takes; see `small_volume`."""

    words = "No space left on device"

    def __init__(self, server: DatabaseServer) -> None:
        self._filler = server.data_dir / "filler"

    def fill(self) -> None:
        with self._filler.open("ab", buffering=0) as filler, contextlib.suppress(OSError):
            while True:  # until the disk is full
                filler.write(bytes(PIECE))

    def make_room(self) -> None:
        self._filler.unlink(missing_ok=True)


class LimitedFiles:
    """No file of a running server may grow beyond a limit: the kernel says so in other words."""

    words = "File too large"

    def __init__(self, server: DatabaseServer) -> None:
        self._server = server

    def fill(self) -> None:
        """Let nothing be appended to ``Data.fs``; the log, which is shorter, can still grow."""
        self.limit(self._server.data_file.stat().st_size)

    def make_room(self) -> None:
        self.limit(resource.RLIM_INFINITY)

    def limit(self, size: int) -> None:
        """Let no file grow beyond *size* bytes."""
        resource.prlimit(self._server.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@contextlib.contextmanager
def small_volume(server: DatabaseServer) -> Iterator[SmallVolume | None]:
    """A file system in memory for *server*, which runs only within; None without such a right."""
    server.data_dir.mkdir(parents=True)
    path = str(server.data_dir)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "dqm-test", path]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        yield None
        return
    try:
        yield SmallVolume(server)
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)
