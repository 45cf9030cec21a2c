"""Several server processes on one listening socket, and what processes owe each other.

Bokeh's own ``num_procs`` leaves its children running when the parent is stopped. `Supervisor`
passes SIGTERM and SIGINT on, waits for its children, and starts one again that ended by itself;
`stop_with_parent` ends a child whose parent is gone, however that happened. `come_last` is for
processes that work in the background.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

from dqm_db.service_manager import READY, STOPPING, notify

log = logging.getLogger(__name__)

PARENT_SECONDS = 0.5
RESTART_SECONDS = 1.0
STOP_SECONDS = 8.0
NICENESS = 10
"""What pages need comes first."""


def stop_with_parent(parent: int) -> None:
    """End this process, as by SIGTERM, soon after its *parent*; needs a running event loop."""
    loop = asyncio.get_running_loop()

    def look() -> None:
        if os.getppid() == parent:
            loop.call_later(PARENT_SECONDS, look)
        else:
            log.info("the parent process is gone: stopping")
            os.kill(os.getpid(), signal.SIGTERM)

    look()


def come_last() -> None:
    """Let all other processes have the processor first; a service may be forbidden to say so."""
    with contextlib.suppress(PermissionError):
        os.nice(NICENESS)


class Supervisor:
    """Runs a function in several child processes until told to stop.

    Parameters
    ----------
    count : int
        Number of children.
    work : callable
        Called in each child; it must end on SIGTERM. Its process then exits.
    """

    def __init__(self, count: int, work: Callable[[], None]) -> None:
        self._count = count
        self._work = work
        self._children: dict[int, float] = {}
        self._stopping: float | None = None

    def run(self) -> None:
        """Start the children and wait for the last one; returns after SIGTERM or SIGINT."""
        previous = {
            number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            for _ in range(self._count):
                self._start()
            notify(READY)
            while self._children:
                self._wait()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _start(self) -> None:
        pid = os.fork()
        if pid:
            self._children[pid] = time.monotonic()
            return
        # the child leaves by os._exit: nothing of the parent may run twice
        status = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent passes Ctrl-C on as SIGTERM
            self._work()
            status = 0
        except Exception:
            log.exception("a server process failed")
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _wait(self) -> None:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            if self._stopping is not None and time.monotonic() - self._stopping > STOP_SECONDS:
                self._send(signal.SIGKILL)
            time.sleep(0.05)
            return
        started = self._children.pop(pid, None)
        if started is None or self._stopping is not None:
            return
        log.warning("server process %d ended (status %d); starting another", pid, status)
        if time.monotonic() - started < RESTART_SECONDS:
            time.sleep(RESTART_SECONDS)
        if self._stopping is None:
            self._start()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        if self._stopping is None:
            self._stopping = time.monotonic()
            notify(STOPPING)
            self._send(signal.SIGTERM)

    def _send(self, number: signal.Signals) -> None:
        for pid in self._children:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
