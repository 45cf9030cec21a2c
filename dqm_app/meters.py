"""What is counted while a dashboard process serves, apart from how monitors get it.

Nothing here imports Prometheus' library: it looks for its folder when it is imported.
"""

from __future__ import annotations

import contextlib
import enum
from contextlib import AbstractContextManager
from typing import Protocol


class LoginResult(enum.StrEnum):
    """How an attempt to log in ended."""

    RIGHT = "right"
    WRONG = "wrong"  # name or password, or a disabled user
    REFUSED = "refused"  # not looked at: there were too many before
    UNREACHABLE = "unreachable"  # the accounts


class Meters(Protocol):
    """Counts sessions, reads and logins; called on the event loop, some microseconds each time."""

    def session_opened(self) -> None:
        """A page has come."""

    def session_closed(self) -> None:
        """It is gone."""

    def reading(self) -> AbstractContextManager[None]:
        """The time within is that of one read of the database, with its wait for a thread."""

    def login(self, result: LoginResult) -> None:
        """Somebody tried to log in."""


class NoMeters:
    """Counts nothing."""

    def session_opened(self) -> None:
        """Do nothing."""

    def session_closed(self) -> None:
        """Do nothing."""

    def reading(self) -> AbstractContextManager[None]:
        """Do nothing."""
        return contextlib.nullcontext()

    def login(self, result: LoginResult) -> None:
        """Do nothing."""
