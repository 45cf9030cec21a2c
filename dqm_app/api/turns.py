"""Who asks much waits for his turn, so that pages do not wait for programs."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from http import HTTPStatus

from dqm_app.api.problems import ProblemError

OF_ONE = 2
"""Questions of one user that are worked on at the same time."""
WAITING_OF_ONE = 30
"""Further ones of his that wait; then he is told to ask later."""
WAITING = 100
"""Unanswered questions of all users together; then everybody is told to ask later."""
RETRY_SECONDS = 2


class Turns:
    """Lets some questions of each user be worked on at the same time, and others wait, in order.

    Parameters
    ----------
    readers : int
        Questions of all users together for which the database is read at the same time; what is
        left of the threads that read it is for pages.

    Attributes
    ----------
    reading : asyncio.Semaphore
        To be held while the database is read, and no longer: a table that is being written, or
        waits for that, keeps nobody from reading.
    """

    def __init__(self, readers: int) -> None:
        self.reading = asyncio.Semaphore(readers)
        self._own: dict[str, asyncio.Semaphore] = {}
        self._asking: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def turn(self, who: str) -> AsyncIterator[None]:
        """Wait until *who* may; raises `ProblemError` 429 or 503 when too much waits already."""
        if self._asking[who] >= OF_ONE + WAITING_OF_ONE:
            detail = f"{self._asking[who]} of your questions are unanswered: wait for those first"
            raise ProblemError(HTTPStatus.TOO_MANY_REQUESTS, detail, RETRY_SECONDS)
        if self._asking.total() >= WAITING:
            detail = "too many programs ask at the same time: ask again in a moment"
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, RETRY_SECONDS)
        self._asking[who] += 1
        own = self._own.setdefault(who, asyncio.Semaphore(OF_ONE))
        try:
            async with own:
                yield
        finally:
            self._asking[who] -= 1
            if not self._asking[who]:
                del self._asking[who], self._own[who]
