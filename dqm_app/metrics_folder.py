"""The folder in which the processes of one dashboard leave their counts for each other.

Whichever process a monitor asks has to answer for all. Prometheus' library does so through files
that every process maps into its memory, in the folder ``PROMETHEUS_MULTIPROC_DIR``. That has to be
set before the library is imported, and before the processes part.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import importlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
SUMMED = ("counter", "histogram")
"""What goes on to count when its process has ended."""
ENDED = "0"
"""In place of a process id, the sum of those that have ended; no process has it."""


class MetricsFolder:
    """A private temporary folder.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def make(cls) -> MetricsFolder:
        """That of this process, removed when it ends; to be called before the processes part.

        The same one however often it is called: Bokeh runs ``app_hooks.py`` twice.
        """
        owner = os.getpid()
        prefix = f"dqm-metrics-{owner}-"
        before = Path(os.environ.get(VARIABLE, ""))
        if before.name.startswith(prefix) and before.is_dir():
            return cls(before)
        folder = cls(Path(tempfile.mkdtemp(prefix=prefix)))
        atexit.register(lambda: folder.remove() if os.getpid() == owner else None)
        os.environ[VARIABLE] = str(folder.path)  # a value of somebody else is that of other files
        importlib.import_module("prometheus_client")  # in memory that all processes share
        return folder

    def remove(self) -> None:
        """Delete it; processes that are about to end go on to count into files without a name."""
        shutil.rmtree(self.path, ignore_errors=True)  # another process may be doing the same

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else reads all files meanwhile, makes new ones, or removes those of the dead."""
        lock = os.open(self.path / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def bury(self) -> None:
        """Add up what processes have counted that have ended; within `locked`.

        Their sums stay, or rates would be wrong; what they had open is gone with them.
        """
        for pid in {path.stem.rpartition("_")[2] for path in self.path.glob("*.db")} - {ENDED}:
            if not _lives(int(pid)):
                self._bury(pid)

    def _bury(self, pid: str) -> None:
        from prometheus_client.mmap_dict import MmapedDict

        for kind in SUMMED:
            left = self.path / f"{kind}_{pid}.db"
            if not left.exists():
                continue
            total = MmapedDict(str(self.path / f"{kind}_{ENDED}.db"))
            try:
                for key, value, _, _ in MmapedDict.read_all_values_from_file(str(left)):
                    total.write_value(key, total.read_value(key)[0] + value, 0.0)
            finally:
                total.close()
            left.unlink()
        for path in self.path.glob(f"gauge_*_{pid}.db"):
            path.unlink()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # the number is that of somebody else's process by now
        return False
    return True
