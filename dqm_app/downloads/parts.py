"""The downloads of one dashboard process."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from dqm_app.downloads.basket import Basket
from dqm_app.downloads.queue import BasketQueue
from dqm_app.downloads.settings import DownloadSettings
from dqm_app.downloads.shelf import Shelf
from dqm_app.downloads.worker import WorkerOnDemand

T = TypeVar("T")


class Downloads:
    """Begins baskets and finds them.

    Parameters
    ----------
    settings : DownloadSettings
        Nothing is opened before somebody chooses a basket.
    """

    def __init__(self, settings: DownloadSettings) -> None:
        self.shelf = Shelf(settings)
        self._settings = settings
        self._queue: BasketQueue | None = None
        self._worker = WorkerOnDemand(settings)
        # one, so that the queue is opened once; what it does takes milliseconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="dqm-downloads")

    def begin(self, owner: str, camera: str, runs: Sequence[int], size: int) -> Basket:
        """Let a basket be built; raises as `Shelf.make`, and `DownloadsUnusable`."""
        basket = self.shelf.make(owner, camera, runs, size)
        try:
            if self._queue is None:
                self._queue = BasketQueue(self._settings)
            self._queue.put(basket)
        except BaseException:
            self.shelf.remove(basket)  # nobody would ever build it
            raise
        self._worker.see_to_it()
        return basket

    def of(self, owner: str) -> list[Basket]:
        """The baskets of *owner*, the newest first; a worker that is lost is replaced."""
        return [self._watched(one) for one in self.shelf.of(owner)]

    def find(self, basket_id: str, owner: str) -> Basket | None:
        """One of them, likewise."""
        found = self.shelf.find(basket_id, owner)
        return None if found is None else self._watched(found)

    def _watched(self, basket: Basket) -> Basket:
        if not basket.progress().state.is_over:
            self._worker.see_that_it_lives()
        return basket

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """What *work* returns, run in the thread of the downloads."""
        call = functools.partial(work, *arguments)
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def close(self) -> None:
        """Stop what was started."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._worker.close()
