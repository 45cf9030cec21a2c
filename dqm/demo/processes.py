"""Processes that are started, watched and stopped together.

Each runs in a session of its own: Ctrl-C in the terminal reaches only the process that supervises
them, which then stops them in an order that makes sense. What they write goes into a file.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from dqm.demo import guard
from dqm_db.errors import DQMError

logger = logging.getLogger(__name__)

TAIL_LINES = 25
TAIL_BYTES = 20_000


class ProcessFailed(DQMError):
    """A process of the stack ended by itself, or did not come up in time."""

    exit_code: ClassVar[int] = 70


class Guard:
    """The process that ends the others should this one be killed (see `dqm.demo.guard`).

    Parameters
    ----------
    transient
        Folder of this process's own making that goes with it when it is killed.
    """

    def __init__(self, transient: Path | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, *([transient] if transient else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )

    def watch(self, group: int) -> None:
        """End *group* when this process dies."""
        try:
            print(f"+{group}", file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise ProcessFailed("the guard of the processes has been ended by someone") from None

    def forget(self, group: int) -> None:
        """*group* has ended; its number may be given to others."""
        with contextlib.suppress(BrokenPipeError):  # a guard that has gone remembers nothing
            print(f"-{group}", file=self._process.stdin, flush=True)

    def close(self) -> None:
        """End what is still watched, and the guard itself; the folder is the caller's again."""
        self._process.communicate(f"{guard.KEEP}\n")


class Supervised:
    """One process of a stack: a command, its environment and the file that takes what it writes.

    Parameters
    ----------
    name
        What messages call it.
    command
        Program and arguments.
    environment
        The complete environment of the process.
    log
        File that its output is appended to.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.command = list(command)
        self.environment = dict(environment)
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None

    @property
    def pid(self) -> int:
        """Process id, which is also the id of its process group.

        Raises
        ------
        ProcessFailed
            When it was not started.
        """
        if self._process is None:
            raise ProcessFailed(f"{self.name} was not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How it ended by itself: exit code, or minus the signal; None while it runs."""
        return None if self._process is None else self._process.poll()

    def start(self, guard: Guard) -> None:
        """Start it; *guard* ends it should we be killed."""
        if self.running:
            raise ProcessFailed(f"{self.name} runs already (process {self.pid})")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._guard = guard
        guard.watch(self.pid)

    def check(self) -> None:
        """Raise ProcessFailed, with the tail of the log, when it has ended by itself."""
        code = self.exit_code
        if code is not None:
            how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
            raise ProcessFailed(f"{self.name} ended by itself ({how})\n{self.tail()}")

    def wait_until(
        self, ready: Callable[[], bool], timeout: float, *, poll: Callable[[], None] | None = None
    ) -> None:
        """Return when *ready* says so.

        Parameters
        ----------
        ready
            Asked every 50 ms.
        timeout
            Seconds.
        poll
            Called between the questions; may raise to stop waiting.

        Raises
        ------
        ProcessFailed
            When the process ends before, or when it is not ready in time.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            self.check()
            if poll is not None:
                poll()
            if time.monotonic() > deadline:
                raise ProcessFailed(
                    f"{self.name} was not ready within {timeout:.0f} s\n{self.tail()}"
                )
            time.sleep(0.05)

    def stop(self, timeout: float = 15.0) -> None:
        """Ask it and all that it started to end, as systemd does; after *timeout* seconds kill."""
        if self._process is None:
            return
        guard.signal_group(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            logger.warning("%s did not stop within %.0f s and was killed", self.name, timeout)
            guard.signal_group(self._process.pid, signal.SIGKILL)
        self._finish(self._process)

    def kill(self) -> None:
        """End it and all that it started at once, as a power cut does (for trials)."""
        if self._process is not None:
            guard.signal_group(self._process.pid, signal.SIGKILL)
            self._finish(self._process)

    def _finish(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for its end, and see to it that nothing it started stays."""
        group = process.pid
        process.wait()
        if guard.end_group(group, grace=1.0):
            logger.warning("processes that %s had started were killed", self.name)
        self._process = None
        if self._guard is not None:
            self._guard.forget(group)

    def tail(self, lines: int = TAIL_LINES) -> str:
        """The last *lines* of its log, indented, under a line that names the file."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, os.fstat(log.fileno()).st_size - TAIL_BYTES))
                last = log.read().decode(errors="replace").splitlines()[-lines:]
        except FileNotFoundError:
            return f"it wrote no log ({self.log})"
        return "\n".join([f"the end of its log, {self.log}:", *(f"    {line}" for line in last)])
