"""Errors of the servers, beside those in :mod:`dqm_db.errors`."""

from __future__ import annotations

from dqm_db.errors import DQMError


class AddressInUse(DQMError):
    """Another process listens at the address where this server should."""

    exit_code = 75


class UnknownTransaction(DQMError):
    """The last transaction of a replica is not in the file of its primary: they have diverged."""

    exit_code = 65
