"""Errors of the servers, beside those in :mod:`dqm_db.errors`."""

from __future__ import annotations

from dqm_db.errors import DQMError


class AddressInUse(DQMError):
    """Another process listens at the address where this server should."""

    exit_code = 75


class UnknownTransaction(DQMError):
    """The last transaction of a replica is not in the file of its primary: they have diverged."""

    exit_code = 65


class Fenced(DQMError):
    """Another server of the database has a higher epoch: this one is primary no more."""

    exit_code = 77


class RoleContradiction(DQMError):
    """``zeo.conf`` says otherwise than ``volume.json``, which counts more."""

    exit_code = 78


class RoleRefused(DQMError):
    """A server cannot be promoted, demoted or resynchronised as things are; nothing was changed."""

    exit_code = 77


class RoleNotTaken(DQMError):
    """It was decided and written down, but the server has not done it yet."""

    exit_code = 75
