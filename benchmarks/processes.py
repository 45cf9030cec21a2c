"""CPU time and memory of a server and everything it has started, as the kernel counts them."""

from __future__ import annotations

import abc
import contextlib
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

SAMPLING_SECONDS = 0.05


class ProcessGroup:
    """A process and its descendants.

    Parameters
    ----------
    pid : int
        Of the process that started the others.
    """

    def __init__(self, pid: int) -> None:
        self._top = psutil.Process(pid)

    def members(self) -> list[psutil.Process]:
        """Those that exist now, the first one first."""
        return [self._top, *self._top.children(recursive=True)]

    def workers(self) -> list[psutil.Process]:
        """The processes that serve: the children, or the process itself when it has none."""
        return self._top.children(recursive=True) or [self._top]

    def cpu(self) -> float:
        """User and system seconds that all of them have used, ended children included.

        The kernel counts in steps of 10 ms per process; steps do not add up over time.
        """
        total = 0.0
        for member in self.members():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = member.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def rss(self) -> dict[int, int]:
        """Resident bytes of each worker by process id."""
        return {worker.pid: worker.memory_info().rss for worker in self.workers()}


def peak_rss(pid: int) -> int:
    """Largest resident size that a process has had (``VmHWM``), bytes; 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0  # a zombie has no memory


class Watch(abc.ABC):
    """Calls `look` in a thread every `SAMPLING_SECONDS` while its block runs."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @abc.abstractmethod
    def look(self) -> None:
        """Take a sample now."""

    def _watch(self) -> None:
        while not self._done.wait(SAMPLING_SECONDS):
            self.look()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()


class PeakWatch(Watch):
    """The largest size of each process that is seen, also of those that end meanwhile.

    Parameters
    ----------
    groups : dict of str to ProcessGroup
        By the name that `peaks` gives them.
    """

    def __init__(self, groups: dict[str, ProcessGroup]) -> None:
        super().__init__()
        self._groups = groups
        self._peaks: dict[str, dict[int, int]] = {name: {} for name in groups}

    @property
    def peaks(self) -> dict[str, int]:
        """Bytes of the largest process of each group."""
        return {name: max(found.values(), default=0) for name, found in self._peaks.items()}

    def look(self) -> None:
        """Take a sample now."""
        for name, group in self._groups.items():
            with contextlib.suppress(psutil.NoSuchProcess):
                for member in group.members():
                    known = self._peaks[name]
                    known[member.pid] = max(known.get(member.pid, 0), peak_rss(member.pid))


class RssWatch(Watch):
    """The largest resident size of all workers of a server together, in `peak` (bytes)."""

    def __init__(self, group: ProcessGroup) -> None:
        super().__init__()
        self.peak = 0
        self._group = group

    def look(self) -> None:
        """Take a sample now."""
        self.peak = max(self.peak, sum(self._group.rss().values()))
