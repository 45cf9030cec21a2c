"""What can go wrong with accounts."""

from __future__ import annotations

from dqm_db.errors import DQMError


class AccountsUnavailable(DQMError):
    """The database of accounts cannot be opened, read or written."""

    exit_code = 69


class AccountsNotCopied(DQMError):
    """The accounts are not there, are damaged, or their copy cannot be written."""

    exit_code = 74


class NewerAccounts(DQMError):
    """The database of accounts belongs to a newer release."""

    exit_code = 65


class UserExists(DQMError):
    """There is a user of that name already."""

    exit_code = 73


class UserNotFound(DQMError):
    """There is no user of that name."""

    exit_code = 66


class TokenNotFound(DQMError):
    """There is no such token."""

    exit_code = 66


class BadName(DQMError):
    """That cannot be the name of a user."""

    exit_code = 2


class WeakPassword(DQMError):
    """That password would be guessed."""

    exit_code = 2


class LastAdmin(DQMError):
    """Nobody would be left who may look after the accounts."""

    exit_code = 77
