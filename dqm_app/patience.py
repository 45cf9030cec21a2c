"""A question to something that may be silent for long, such as a server, or a disk on a network."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")
PATIENCE_SECONDS = 5.0


class PatientQuestion(Generic[T]):
    """Is asked again only when there was an answer: the threads that wait for it are few."""

    def __init__(self) -> None:
        self._asked: asyncio.Future[T] | None = None

    async def answer(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What *ask* gives within `PATIENCE_SECONDS`, also when it was called before.

        Raises
        ------
        TimeoutError
            There is no answer yet.
        Exception
            Whatever *ask* raises.
        """
        if self._asked is None or self._asked.done():
            self._asked = asyncio.ensure_future(ask())
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await asyncio.shield(self._asked)
