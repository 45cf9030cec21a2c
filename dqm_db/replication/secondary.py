"""The side that receives: a read-only storage that follows a primary."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import zc.zrs.secondary as zrs

from dqm_db.replication.addresses import Address
from dqm_db.replication.errors import UnknownTransaction
from dqm_db.replication.reactor import running_reactor

logger = logging.getLogger(__name__)

REFUSED_DELAY = 30.0
"""Longest time in seconds before a refused replica tries again, if longer than its usual delay.

A refusal mostly lasts until an admin acts, but not always: in a chain, the replica in the middle
may itself be catching up, for an instant after it was killed or for long after it was wiped. So a
refused replica waits its usual delay at first, and twice as long after each further refusal.
"""


class Protocol(zrs.SecondaryProtocol):
    """One connection to the primary."""

    def connectionMade(self) -> None:  # noqa: N802 (Twisted's name)
        """Say who we are and what we have."""
        self.factory.unreachable = False
        super().connectionMade()

    def error(self, message: str, *args: Any, **options: Any) -> None:
        """Log and hang up; a refusal is one line, not a traceback.

        zc.zrs calls this while it handles the exception.
        """
        failure = sys.exc_info()[1]
        if isinstance(failure, UnknownTransaction):
            logger.critical("refused by the primary: %s", failure)
            self.factory.refused = True
            self.factory.connector.disconnect()
        else:
            super().error(message, *args, **options)

    def connectionLost(self, reason: Any) -> None:  # noqa: N802 (Twisted's name)
        """Abort the transaction that was under way, and remove the blob that was."""
        super().connectionLost(reason)
        remove_partial_blobs(self.factory.storage)


class Factory(zrs.SecondaryFactory):
    """Connects, and connects again."""

    protocol = Protocol

    noisy = False
    refused = False
    refused_delay = 0.0  # before the next attempt after a refusal
    unreachable = False

    def clientConnectionFailed(self, connector: Any, reason: Any) -> None:  # noqa: N802
        """Try again later; say so once, not at each attempt."""
        if not self.unreachable:
            self.unreachable = True
            logger.warning(
                "cannot reach the primary at %s (%s); trying every %g s",
                Address(*self.secondary._addr),
                reason.getErrorMessage(),
                self.reconnect_delay,
            )
        super().clientConnectionFailed(connector, reason)

    def clientConnectionLost(self, _connector: Any, _reason: Any) -> None:  # noqa: N802
        """Try again later, and later still after each refusal in a row."""
        self.connector = None
        if self.closed:
            return
        delay = self.reconnect_delay
        if self.refused:
            delay = max(delay, min(2 * self.refused_delay, REFUSED_DELAY))
        self.refused_delay = delay if self.refused else 0.0
        self.refused = False
        self.reactor.callLater(delay, self.connect)


class Secondary(zrs.Secondary):
    """A read-only storage that follows the primary at *address*.

    Parameters
    ----------
    storage
        The FileStorage that is written to, or a ``Primary`` around it when replicas follow us.
    address
        Where the primary listens for replicas.
    reconnect_delay, keep_alive
        In seconds.
    """

    factoryClass = Factory  # noqa: N815 (zc.zrs's name)

    def __init__(
        self, storage: Any, address: Address, *, reconnect_delay: float, keep_alive: float
    ) -> None:
        super().__init__(
            storage,
            address,
            running_reactor(),
            reconnect_delay=reconnect_delay,
            keep_alive_delay=keep_alive,
        )


def remove_partial_blobs(storage: Any) -> None:
    """Delete the file of a blob whose transfer broke off.

    zc.zrs leaves it behind at each lost connection; with a full disk that is at each retry.
    """
    directory = Path(storage.temporaryDirectory())
    for partial in directory.glob("secondary*blob"):
        partial.unlink(missing_ok=True)
