"""The downloads of one dashboard process."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tornado.ioloop import PeriodicCallback

from dqm_app.downloads.basket import Basket, State
from dqm_app.downloads.errors import DownloadsUnusable
from dqm_app.downloads.facts import ShelfFacts, judge_baskets
from dqm_app.downloads.queue import BasketQueue
from dqm_app.downloads.settings import DownloadSettings
from dqm_app.downloads.shelf import Shelf
from dqm_app.downloads.worker import WorkerOnDemand
from dqm_app.patience import PATIENCE_SECONDS, PatientQuestion
from dqm_db.status.limits import Limits
from dqm_db.status.model import Item, Level
from dqm_db.status.words import duration

log = logging.getLogger(__name__)

T = TypeVar("T")
TIDY_SECONDS = 600.0
SILENT_SECONDS = 20.0
"""A basket with which nothing happened for so long needs a word; workers speak more often."""


class Downloads:
    """Begins baskets and finds them.

    Parameters
    ----------
    settings : DownloadSettings
        Nothing is opened before somebody chooses a basket.
    limits : Limits

    Attributes
    ----------
    facts : ShelfFacts or None
        As of a few seconds ago; None: nobody has ever chosen a basket.
    """

    def __init__(self, settings: DownloadSettings, limits: Limits) -> None:
        self.facts: ShelfFacts | None = None
        self.shelf = Shelf(settings)
        self._limits = limits
        self._settings = settings
        self._queue: BasketQueue | None = None
        self._worker = WorkerOnDemand(settings)
        # one, so that the queue is opened once; what it does takes milliseconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="dqm-downloads")
        self._question: PatientQuestion[ShelfFacts | None] = PatientQuestion()
        self._tidying: PeriodicCallback | None = None

    def begin(self, owner: str, camera: str, runs: Sequence[int], size: int) -> Basket:
        """Let a basket be built; raises as `Shelf.make`, and `DownloadsUnusable`."""
        basket = self.shelf.make(owner, camera, runs, size)
        try:
            if self._queue is None:
                self._queue = BasketQueue(self._settings)
            self._queue.put(basket)
            self._worker.see_to_it()
        except BaseException:
            self.shelf.remove(basket)  # nobody would ever build it
            raise
        return basket

    def of(self, owner: str) -> list[Basket]:
        """The baskets of *owner*, the newest first; a worker that is lost is replaced."""
        return [self._watched(one) for one in self.shelf.of(owner)]

    def stuck(self, basket: Basket) -> str:
        """Why nothing happens with an unfinished basket, and what to do; empty: it goes on."""
        progress = basket.progress()
        silent = time.time() - progress.at
        if progress.state.is_over or silent < SILENT_SECONDS:
            return ""
        if progress.state is State.BUILDING:
            return "its worker is not heard of; the next one builds it anew, else tell the admin"
        idle = self.shelf.facts().idle_seconds()
        if idle > self._limits.baskets_warning:
            return f"no worker has taken it for {duration(idle)}; tell the admin"
        before = self.shelf.before(basket)
        if before == 1:
            return "1 archive of somebody else is built first"
        if before:
            return f"{before:,} archives of others are built first"
        return "no worker has taken it yet; should that go on, tell the admin"

    def find(self, basket_id: str, owner: str) -> Basket | None:
        """One of them, likewise."""
        found = self.shelf.find(basket_id, owner)
        return None if found is None else self._watched(found)

    def _watched(self, basket: Basket) -> Basket:
        if not basket.progress().state.is_over:
            with _logged():
                self._worker.see_that_it_lives()
        return basket

    def start(self) -> None:
        """Look now, and every few minutes, after what nobody asks for; needs the event loop."""
        self._tidying = PeriodicCallback(lambda: self.run(self._tidy_again), TIDY_SECONDS * 1e3)
        self._tidying.start()
        self._thread.submit(self.tidy)

    def tidy(self) -> None:
        """Forget baskets whose time is over, and go on with those that a restart interrupted."""
        with _logged():
            if not self._is_used():
                return
            self.shelf.clear()
            if self.shelf.unfinished():
                self._worker.see_that_it_lives()

    def _tidy_again(self) -> None:
        self.tidy()
        # not at the start: after a night without power workers may be about to start, too
        with _logged():
            if self._settings.downloads_queue and self._is_used():
                self.shelf.give_up()

    async def items(self) -> list[Item]:
        """Look at the shelf, and judge it."""
        try:
            self.facts = await self._question.answer(lambda: self.run(self._look))
        except TimeoutError:  # which is an OSError, too
            reason = f"no answer within {PATIENCE_SECONDS:.0f} s"
        except OSError as error:
            reason = error.strerror or str(error)
        else:
            return [] if self.facts is None else [judge_baskets(self.facts, self._limits)]
        text = f"{self.shelf.folder} cannot be read ({reason}): see its disk."
        return [Item(Level.WARNING, "baskets", "Baskets of runs", text)]

    def _look(self) -> ShelfFacts | None:
        return self.shelf.facts() if self._is_used() else None

    def _is_used(self) -> bool:
        """Whether anybody has ever chosen a basket."""
        return self.shelf.folder.is_dir()

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """What *work* returns, run in the thread of the downloads."""
        call = functools.partial(work, *arguments)
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def close(self) -> None:
        """Stop what was started."""
        if self._tidying is not None:
            self._tidying.stop()
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._worker.close()


@contextlib.contextmanager
def _logged() -> Iterator[None]:
    """Nobody has asked for it, and it is tried again: the log alone is told."""
    try:
        yield
    except (DownloadsUnusable, OSError) as error:
        log.error("%s", error)
