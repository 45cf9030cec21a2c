"""What is counted while a dashboard process serves, apart from how monitors get it.

Nothing here imports Prometheus' library: it looks for its folder when it is imported.
"""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Protocol


class Meters(Protocol):
    """Counts sessions and reads; called on the event loop, some microseconds each time."""

    def session_opened(self) -> None:
        """A page has come."""

    def session_closed(self) -> None:
        """It is gone."""

    def reading(self) -> AbstractContextManager[None]:
        """The time within is that of one read of the database, with its wait for a thread."""


class NoMeters:
    """Counts nothing."""

    def session_opened(self) -> None:
        """Do nothing."""

    def session_closed(self) -> None:
        """Do nothing."""

    def reading(self) -> AbstractContextManager[None]:
        """Do nothing."""
        return contextlib.nullcontext()
