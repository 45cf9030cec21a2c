"""What can go wrong at a source, each with the exit code of a command that ends with it.

Whether a file is tried again, when, and whether it is quarantined, follows from the class
(`ingest.attempts`).
"""

from __future__ import annotations

from typing import ClassVar

from dqm_db.errors import DQMError


class SourceError(DQMError):
    """A source did not give what it was asked for; the text says what, from where, and why."""


class NotFound(SourceError):
    """The directory or file is not there (any more)."""

    exit_code: ClassVar[int] = 66


class AccessDenied(SourceError):
    """The source knows who asks, or does not want to know, and refuses."""

    exit_code: ClassVar[int] = 77


class AuthExpired(SourceError):
    """Credentials are missing, expired or not accepted; to be renewed."""

    exit_code: ClassVar[int] = 77


class Unavailable(SourceError):
    """The source does not answer, or breaks off; later it may."""

    exit_code: ClassVar[int] = 69


class Corrupt(SourceError):
    """What arrived is not what the source says it has: another size or checksum."""
