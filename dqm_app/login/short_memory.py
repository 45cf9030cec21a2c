"""Remembers for a moment what a database has said."""

from __future__ import annotations

import time
from typing import Generic, TypeVar

V = TypeVar("V")


class ShortMemory(Generic[V]):
    """Values by key, each for so many *seconds*.

    A page asks for many things at once, and the database only once who that is. What has ended is
    therefore ended everywhere after that time; at once in the process that ended it, by `forget`.
    """

    SECONDS = 2.0
    MOST = 2000

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._known: dict[str, tuple[float, V]] = {}

    def get(self, key: str) -> V | None:
        """What was put there less than so many seconds ago; None otherwise."""
        found = self._known.get(key)
        if found is None or time.monotonic() - found[0] > self._seconds:
            return None
        return found[1]

    def put(self, key: str, value: V) -> None:
        """Remember *value*."""
        if len(self._known) >= self.MOST:
            self._known.clear()
        self._known[key] = (time.monotonic(), value)

    def forget(self, key: str | None = None) -> None:
        """Forget one, or all."""
        if key is None:
            self._known.clear()
        else:
            self._known.pop(key, None)
