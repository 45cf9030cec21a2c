"""Of a burst of wishes, only the newest is worth fulfilling."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class NewestOnly(Generic[T]):
    """Calls a coroutine function with one value after the other, never two at a time.

    Of the values that arrive while it runs, only the last one is used.

    Parameters
    ----------
    work : coroutine function
        Called with the value. An exception is logged and does not stop later calls.
    """

    def __init__(self, work: Callable[[T], Awaitable[None]]) -> None:
        self._work = work
        self._waiting: list[T] = []
        self._task: asyncio.Task[None] | None = None

    def ask(self, value: T) -> None:
        """Call with *value* as soon as the call that runs now, if any, has ended."""
        self._waiting[:] = [value]
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def overtaken(self) -> bool:
        """Whether a newer value waits: the call that runs now may give up."""
        return bool(self._waiting)

    def cancel(self) -> None:
        """Stop the call that runs now and forget what waits."""
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            while self._waiting:
                value = self._waiting.pop()
                try:
                    await self._work(value)
                except Exception:
                    log.exception("a request of a page failed")
        finally:
            self._task = None
