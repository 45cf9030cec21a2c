"""Builds baskets, in a process of its own, so that pages never wait for it.

``dqm worker`` runs until it is told to stop. Where nobody runs one, the dashboard starts a worker
when a basket is chosen, which ends when there is nothing left to do.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from dqm_app.downloads.basket import Basket, Progress, State
from dqm_app.downloads.building import Archive, BuildingStopped
from dqm_app.downloads.errors import DownloadsUnusable
from dqm_app.downloads.queue import BasketQueue
from dqm_app.downloads.settings import DownloadSettings
from dqm_app.downloads.shelf import Shelf
from dqm_app.processes import come_last
from dqm_app.settings import DashboardSettings
from dqm_db.errors import DQMError
from dqm_db.storage import open_database

log = logging.getLogger(__name__)

IDLE_SECONDS = 20.0
"""After so long without a basket a worker that the dashboard started ends."""
LOOK_SECONDS = 0.2
QUEUE_SECONDS = 2.0
"""Between two looks for a queue that does not answer."""
START_SECONDS = 5.0
"""Between two workers that are started, should they end at once."""
CLEAR_SECONDS = 600.0
"""Between two looks for baskets whose time is over."""
LOCK = "worker.lock"
"""In the folder of baskets: held by the worker that a dashboard has started; in the folder of a
basket: by whoever builds it."""


class Worker:
    """Takes baskets from the queue and builds them, one after the other.

    Parameters
    ----------
    settings : DownloadSettings
    """

    def __init__(self, settings: DownloadSettings) -> None:
        self._shelf = Shelf(settings)
        self._queue = BasketQueue(settings, self._build)
        self._stopping = False

    def run(self) -> None:
        """Build baskets until SIGTERM or SIGINT; the one at hand is left to the next worker.

        Raises
        ------
        DownloadsUnusable
            The folder, or the queue, does not answer at the start; later it is waited for.
        """
        self._listen()
        self._take_up()
        cleared = time.monotonic()
        while not self._stopping:
            try:
                if self._queue.work():
                    continue
                if time.monotonic() - cleared > CLEAR_SECONDS:
                    self._take_up()
                    cleared = time.monotonic()
                time.sleep(LOOK_SECONDS)
            except DownloadsUnusable as error:
                log.error("%s", error)
                cleared = -CLEAR_SECONDS  # it may come back with nothing in it
                time.sleep(QUEUE_SECONDS)

    def run_until_idle(self, lock: int | None = None) -> None:
        """The same, for whoever started this process: ends when idle, or when the parent is gone.

        Only one such worker runs at a time; whoever started this one has taken the *lock* for it.
        """
        self._listen()
        come_last()
        parent = os.getppid()
        if lock is None:
            lock = _open_lock(self._shelf.folder)
        try:
            while not self._stopping and _take(lock):
                self._take_up()
                busy = time.monotonic()
                while not self._stopping and os.getppid() == parent:
                    if self._queue.work():
                        busy = time.monotonic()
                    elif time.monotonic() - busy > IDLE_SECONDS:
                        break
                    else:
                        time.sleep(LOOK_SECONDS)
                fcntl.flock(lock, fcntl.LOCK_UN)
                # who put a basket there just now has seen the lock, and started nobody
                if self._queue.is_empty() or os.getppid() != parent:
                    return
        finally:
            os.close(lock)

    def _listen(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def _take_up(self) -> None:
        """Queue again what a worker that was killed has left; it is built from its beginning.

        Whether it had begun or just taken it from the queue; what is there twice is built once.
        """
        self._shelf.clear()
        for basket in self._shelf.unfinished():
            self._queue.put(basket)

    def _build(self, basket_id: str) -> None:
        basket = self._shelf.get(basket_id)
        if basket is None:
            return  # removed meanwhile
        try:
            lock = os.open(basket.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            return
        try:
            if not _take(lock) or basket.progress().state.is_over:
                return
            self._fill(basket)
        except BuildingStopped:
            os.close(lock)
            lock = -1  # before another worker can look
            self._queue.put(basket)
        finally:
            if lock >= 0:
                os.close(lock)

    def _fill(self, basket: Basket) -> None:
        try:
            with open_database(DashboardSettings.database(), must_answer=False) as database:
                Archive(basket, database, lambda: self._stopping).build()
        except DQMError as error:
            log.error("basket %s: %s", basket.id, error)
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                basket.note(Progress(State.FAILED, 0, len(basket.runs), 0, basket.size, str(error)))

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True


class WorkerOnDemand:
    """Starts a worker below this process when there is none.

    Parameters
    ----------
    settings : DownloadSettings
    """

    COMMAND = (
        sys.executable,
        "-c",
        "from dqm_app.downloads.commands import worker; worker()",
        "--until-idle",
    )

    def __init__(self, settings: DownloadSettings) -> None:
        self._settings = settings
        self._processes: list[subprocess.Popen[bytes]] = []
        self._started = -math.inf

    def see_to_it(self) -> None:
        """Make sure that somebody takes baskets from the queue.

        Raises
        ------
        DownloadsUnusable
            No process could be started.
        """
        self._processes = [one for one in self._processes if one.poll() is None]
        if self._settings.downloads_queue:
            return
        try:
            lock = _open_lock(self._settings.folder)
        except OSError as error:
            raise DownloadsUnusable(
                f"{self._settings.folder} cannot be used ({error.strerror}): see its disk"
            ) from error
        try:
            if not _take(lock):
                return
            self._started = time.monotonic()
            # a worker needs seconds to begin: it has the lock from now on, so that no other is
            # started meanwhile
            command = [*self.COMMAND, "--lock", str(lock)]
            self._processes.append(
                subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(lock,))
            )
        except OSError as error:
            raise DownloadsUnusable(
                f"no worker for baskets could be started ({error.strerror}): has this host memory, "
                "and may this service have more processes?"
            ) from error
        finally:
            os.close(lock)

    def see_that_it_lives(self) -> None:
        """The same where somebody waits for a basket: unless one was started that is not gone.

        One that ends at once is not started again and again.
        """
        if time.monotonic() - self._started < START_SECONDS:
            return
        if all(one.poll() is not None for one in self._processes):
            self.see_to_it()

    def close(self) -> None:
        """Stop those that were started here; a basket at hand is finished by the next one."""
        for process in self._processes:
            process.terminate()


def _open_lock(folder: Path) -> int:
    return os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
