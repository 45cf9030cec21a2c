"""Errors that every part of the system raises, each with the exit code its command ends with.

The codes follow ``sysexits.h`` where it has a fitting one; ``docs/commands.md`` lists them.
"""

from __future__ import annotations

from typing import ClassVar


class DQMError(Exception):
    """Something went wrong that the user can act on; the text says what, where and what to do."""

    exit_code: ClassVar[int] = 1


class DatabaseUnavailable(DQMError):
    """The database does not answer: its server is down, or the address is wrong."""

    exit_code = 69


class NoDataYet(DatabaseUnavailable):
    """The database answers but nothing has been written (or replicated) into it yet."""


class ForeignDatabase(DQMError):
    """The database holds something, but not what this system writes."""

    exit_code = 65


class NewerDatabase(DQMError):
    """The database was written by a newer release with a schema that this one does not know."""

    exit_code = 65


class OlderDatabase(DQMError):
    """The database was written by an older release and has not been migrated yet."""

    exit_code = 65


class DamagedDatabase(DQMError):
    """Something that was stored is missing or cannot be read any more."""

    exit_code = 65


class ReadOnlyDatabase(DQMError):
    """A write was asked of a replica, or of a database that was opened read-only."""

    exit_code = 77


class WriterLocked(DQMError):
    """Another command that writes holds the writer lock."""

    exit_code = 75


class WriteFailed(DQMError):
    """The server could not store a transaction, e.g. its disk is full; nothing of it was stored."""

    exit_code = 74


class PackFailed(DQMError):
    """A server could not pack its file, e.g. its disk is full; the file is as it was before."""

    exit_code = 74


class PackRefused(DQMError):
    """A server that is to be packed does not answer, or lacks transactions."""

    exit_code = 69


class ConfigurationError(DQMError):
    """A setting has no usable value."""

    exit_code = 78


class RunNotFound(DQMError):
    """The camera, run or quantity asked for is not in the database."""

    exit_code = 66


class RunExists(DQMError):
    """The run is already stored, from a results file with other contents."""

    exit_code = 1
