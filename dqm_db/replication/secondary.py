"""The side that receives: a read-only storage that follows a primary."""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

import zc.zrs.secondary as zrs
import zc.zrs.sizedmessage
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHandshakeListener
from zope.interface import implementer

from dqm_db.replication.addresses import Address
from dqm_db.replication.encryption import HANDSHAKE_SECONDS, Encryption
from dqm_db.replication.errors import UnknownTransaction
from dqm_db.replication.reactor import running_reactor
from dqm_db.replication.signs import ALIVE, ASK, WHILE_RECEIVING, SignsOfLife
from dqm_db.tls import HUNG_UP, NO_TLS, VARIABLES, explained

logger = logging.getLogger(__name__)

REFUSED_DELAY = 30.0
"""Longest time in seconds before a refused replica tries again, if longer than its usual delay.

A refusal mostly lasts until an admin acts, but not always: in a chain, the replica in the middle
may itself be catching up, for an instant after it was killed or for long after it was wiped. So a
refused replica waits its usual delay at first, and twice as long after each further refusal.
"""


@implementer(IHandshakeListener)
class Protocol(zrs.SecondaryProtocol):
    """One connection to the primary."""

    tls_fault: str | None = None
    _signs: Any = None  # of life; from when it is known who is there
    _handshake: Any = None
    _was_heard = False

    def connectionMade(self) -> None:  # noqa: N802 (Twisted's name)
        """With TLS, wait until it is known who is there, for a limited time."""
        if self.factory.encryption is None:
            self._begin()
        else:
            self._handshake = self.factory.reactor.callLater(
                HANDSHAKE_SECONDS, self.transport.abortConnection
            )

    def handshakeCompleted(self) -> None:  # noqa: N802 (Twisted's name)
        """The primary has a certificate of our CA, with its name."""
        self._handshake.cancel()
        self._begin()

    def _begin(self) -> None:
        """Say who we are and what we have."""
        self._signs = SignsOfLife(
            self.factory.reactor, self.factory.keep_alive_delay, ask=self._ask, silent=self._give_up
        )
        super().connectionMade()

    def keep_alive(self) -> None:
        """Begin to ask for signs of life; zc.zrs calls this at the end of ``connectionMade``."""
        self._signs.start()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 (Twisted's name)
        """Whatever it is, the primary is alive."""
        self._was_heard = True
        self._signs.heard()
        self.factory.heard = time.time()
        if self._zrs_transaction is not None:
            self._signs.ask_again(WHILE_RECEIVING)
        super().dataReceived(data)

    def messageReceived(self, message: bytes) -> None:  # noqa: N802 (zc.zrs's name)
        """Store what was sent; an empty message between transactions asks for a sign of life."""
        if not message and self._zrs_transaction is None:
            self.transport.write(zc.zrs.sizedmessage.marshal(ALIVE))
            self.factory.follows(after_failure=self._signs.age > self.factory.keep_alive_delay)
            return
        if self._SecondaryProtocol__blob_record is None:
            self._SecondaryProtocol__blob_file_handle = None  # of an earlier blob, and closed
        receiving = self._zrs_transaction is not None
        super().messageReceived(message)
        self.factory.follows(after_failure=receiving and self._zrs_transaction is None)

    def error(self, message: str, *args: Any, **options: Any) -> None:
        """Log and hang up; what is no error of ours is one line, not a traceback.

        zc.zrs calls this while it handles the exception.
        """
        failure = sys.exc_info()[1]
        if isinstance(failure, UnknownTransaction):
            logger.critical("refused by the primary: %s", failure)
            self.factory.refuses(str(failure))
        elif isinstance(failure, OSError):
            self.factory.fails(
                f"cannot store what the primary sends: {failure.strerror or failure}"
                + (f" ({failure.filename})" if failure.filename else "")
            )
        else:
            self.factory.fails(f"{message}: {type(failure).__name__}: {failure}", log=False)
            super().error(message, *args, **options)
            return
        self.factory.connector.disconnect()

    def connectionLost(self, reason: Any) -> None:  # noqa: N802 (Twisted's name)
        """Abort the transaction that was under way, and remove the blob that was."""
        if not self._was_heard:
            self._tell_of_tls(reason)
        if self._signs is None:  # nothing was said yet
            return
        self._signs.stop()
        super().connectionLost(reason)
        blob = self._SecondaryProtocol__blob_file_handle
        if self._SecondaryProtocol__blob_record is not None and blob is not None:
            # zc.zrs leaves it open: the space stays taken although the file is removed.
            os.close(blob)
        remove_partial_blobs(self.factory.storage)

    def _tell_of_tls(self, reason: Any) -> None:
        """Say why TLS failed, for which the connection was lost before anything came."""
        factory = self.factory
        took_too_long = self._signs is None and self._handshake is not None
        if self._handshake is not None and self._handshake.active():
            self._handshake.cancel()
            took_too_long = False
        if factory.closed:
            return
        if factory.encryption is None:
            factory.loses(f"it hung up without a word; if it wants TLS, set {VARIABLES}")
        elif took_too_long:
            factory.fails_with_tls(f"it is silent; maybe {NO_TLS}")
        elif self.tls_fault is None and reason.check(ConnectionDone, ConnectionLost):
            if not factory.tls_failed:  # the better reason may have come with another attempt
                factory.fails_with_tls(HUNG_UP)
        else:
            factory.fails_with_tls(self.tls_fault or explained(reason.value))

    def _ask(self) -> None:
        self.transport.write(ASK)

    def _give_up(self) -> None:
        self.factory.loses(f"no sign of life for {self._signs.limit:g} s", "hung up; ")
        # Not in order, for which the other side would be needed.
        self.transport.abortConnection()


class Factory(zrs.SecondaryFactory):
    """Connects, and connects again.

    Attributes
    ----------
    following
        ``connected`` once the primary has said something, ``unreachable``, ``refused``, or None
        before the first attempt has ended.
    reason
        Why it is not ``connected``, for people.
    heard
        When the primary last said something, in Unix seconds.
    """

    protocol = Protocol

    noisy = False
    following: str | None = None
    reason: str | None = None
    heard: float | None = None
    refused = False
    refused_delay = 0.0  # before the next attempt after a refusal
    unreachable = False  # and this was logged
    tls_failed = False
    failed = False  # to store something, which the next connection brings again

    def follows(self, *, after_failure: bool) -> None:
        """The primary serves us.

        Parameters
        ----------
        after_failure
            Whether this also means that what failed before has been overcome.
        """
        if self.following == "connected" or (self.failed and not after_failure):
            return
        if self.unreachable or self.failed:
            logger.info("following the primary at %s again", self._source)
        self.following, self.reason = "connected", None
        self.unreachable = self.failed = self.tls_failed = False

    def refuses(self, reason: str) -> None:
        """The primary does not serve us."""
        self.refused = True
        self.following, self.reason = "refused", reason

    def fails(self, reason: str, *, log: bool = True) -> None:
        """Something cannot be stored here; said once, not at each attempt."""
        if log and reason != self.reason:
            logger.critical("%s; trying every %g s", reason, self.reconnect_delay)
        self.failed = True
        self.following, self.reason = "unreachable", reason

    def loses(self, reason: str, done: str = "") -> None:
        """The primary is not there; said once, not at each attempt."""
        if not self.unreachable:
            self.unreachable = True
            logger.warning(
                "cannot reach the primary at %s (%s); %strying every %g s",
                *(self._source, reason, done, self.reconnect_delay),
            )
        self.following, self.reason = "unreachable", reason

    def fails_with_tls(self, fault: str) -> None:
        """The primary and we do not accept each other; said once for each reason.

        As after a refusal, nothing changes before an admin acts.
        """
        reason = f"TLS failed: {fault}"
        self.tls_failed = self.unreachable = True
        if reason != self.reason:
            logger.error(
                "cannot follow the primary at %s: %s; trying again, at last every %g s",
                *(self._source, reason, max(REFUSED_DELAY, self.reconnect_delay)),
            )
        self.following, self.reason = "unreachable", reason

    @property
    def encryption(self) -> Encryption | None:
        """How to connect by TLS; None: without."""
        encryption: Encryption | None = self.secondary.encryption
        return encryption

    def connect(self) -> None:
        """Connect to the primary."""
        if self.encryption is None:
            super().connect()
            return
        host, port = self._source
        factory = self.encryption.connecting(self, host)
        self.reactor.callFromThread(self.reactor.connectTCP, host, port, factory)

    @property
    def _source(self) -> Address:
        return Address(*self.secondary._addr)

    def clientConnectionFailed(self, connector: Any, reason: Any) -> None:  # noqa: N802
        """Try again later."""
        self.loses(reason.getErrorMessage())
        super().clientConnectionFailed(connector, reason)

    def clientConnectionLost(self, _connector: Any, reason: Any) -> None:  # noqa: N802
        """Try again later, and later still after each refusal in a row."""
        self.connector = None
        if self.closed:
            return
        delay = self.reconnect_delay
        waits = self.refused or self.tls_failed
        if waits:
            delay = max(delay, min(2 * self.refused_delay, REFUSED_DELAY))
        elif self.following in (None, "connected"):  # otherwise the reason is known already
            self.following, self.reason = "unreachable", reason.getErrorMessage()
        self.refused_delay = delay if waits else 0.0
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
    reconnect_delay
        Seconds before a lost primary is tried again.
    keep_alive
        Seconds between signs of life; a primary that is silent for twice as long is taken for lost.
    encryption
        How to connect by TLS; None: without.
    """

    factoryClass = Factory  # noqa: N815 (zc.zrs's name)

    def __init__(
        self,
        storage: Any,
        address: Address,
        *,
        reconnect_delay: float,
        keep_alive: float,
        encryption: Encryption | None = None,
    ) -> None:
        self.encryption = encryption
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
