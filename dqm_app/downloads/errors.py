"""What can go wrong with downloads."""

from __future__ import annotations

from dqm_db.errors import DQMError


class DownloadsUnusable(DQMError):
    """The folder of baskets, or the queue, cannot be used."""

    exit_code = 73


class BasketNotFound(DQMError):
    """There is no such basket."""

    exit_code = 66


class BasketRefused(DQMError):
    """That basket is not built: another one is, it is too large, or there is no room."""

    exit_code = 75
