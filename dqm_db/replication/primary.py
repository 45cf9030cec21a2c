"""The side that sends: listens for replicas and refuses those whose history is not ours."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

import zc.zrs.primary as zrs
import zc.zrs.sizedmessage
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHandshakeListener
from ZODB.TimeStamp import TimeStamp
from zope.interface import implementer

from dqm_db.replication.addresses import shown_address
from dqm_db.replication.encryption import HANDSHAKE_SECONDS, Encryption
from dqm_db.replication.errors import UnknownTransaction
from dqm_db.replication.reactor import running_reactor
from dqm_db.replication.refusals import Refusals
from dqm_db.replication.signs import ALIVE, ASK, SignsOfLife
from dqm_db.replication.wire import refusal
from dqm_db.tls import NO_TLS, WITHOUT_TLS, explained, is_hello
from dqm_db.volume.transactions import NO_TRANSACTION, last_transaction

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 10
"""Longest time that a stopping primary goes on sending what replicas still lack.

zc.zrs takes 60 s, all of it when a replica is frozen. What is not sent is sent after the restart.
"""


class Primary(zrs.Primary):
    """A FileStorage whose transactions are sent to the replicas that connect.

    Parameters
    ----------
    storage
        The open FileStorage.
    listeners
        Bound, listening, non-blocking sockets (a blocking one would hang the reactor). They are
        bound before the storage serves anybody, so that a busy port is an error of the start.
    keep_alive
        Seconds between signs of life; a replica that is silent for twice as long is hung up on.
    encryption
        How replicas connect by TLS; None: they do so without.
    """

    def __init__(
        self,
        storage: Any,
        listeners: Sequence[socket.socket],
        *,
        keep_alive: float,
        encryption: Encryption | None = None,
    ) -> None:
        self._listener_sockets = listeners
        self._keep_alive = keep_alive
        self._encryption = encryption
        self._ports: list[Any] = []
        addresses = ", ".join(map(shown_address, listeners))
        super().__init__(storage, addresses, running_reactor())

    def cfr_listen(self) -> None:
        """Let the reactor, in whose thread this runs, accept connections."""
        factory = self._factory
        factory.protocol = Protocol
        factory.keep_alive = self._keep_alive
        factory.encryption = self._encryption
        factory.refusals = Refusals("the replica")
        if self._encryption is not None:
            factory = self._encryption.serving(factory)
        try:
            for listener in self._listener_sockets:
                port = self._reactor.adoptStreamPort(listener.fileno(), listener.family, factory)
                self._ports.append(port)
        except Exception:
            # Raised here it would only be logged, and the server would never replicate.
            logger.critical("cannot serve replicas at %s", self._addr, exc_info=True)
            logging.shutdown()
            os._exit(os.EX_OSERR)
        for listener in self._listener_sockets:
            listener.close()  # the reactor has a duplicate

    def cfr_stop_listening(self) -> None:
        """Let the reactor, in whose thread this runs, accept no more connections."""
        for port in self._ports:
            port.stopListening()

    def close(self) -> None:
        """Stop accepting, close the file, then send what replicas lack for a limited time."""
        logger.info("closing %s at %s", self.getName(), self._addr)
        self._reactor.callFromThread(self.cfr_stop_listening)
        self._storage.close()
        for connection in list(self._factory.instances):
            connection.close()
        self._factory.threads.wait(DRAIN_SECONDS)


@implementer(IHandshakeListener)
class Protocol(zrs.PrimaryProtocol):
    """One connection of a replica."""

    tls_fault: str | None = None
    _signs: Any = None  # of life; from when it is known who is there
    _handshake: Any = None

    def connectionMade(self) -> None:  # noqa: N802 (Twisted's name)
        """With TLS, wait until it is known who is there, for a limited time."""
        if self.factory.encryption is None:
            self._begin()
        else:
            self._handshake = self.transport.reactor.callLater(
                HANDSHAKE_SECONDS, self.transport.abortConnection
            )

    def handshakeCompleted(self) -> None:  # noqa: N802 (Twisted's name)
        """The replica has a certificate of our CA."""
        self._handshake.cancel()
        self._begin()

    def _begin(self) -> None:
        """Wait for the replica to say what it has, for a limited time."""
        super().connectionMade()
        self._signs = SignsOfLife(
            self.transport.reactor, self.factory.keep_alive, ask=self._show, silent=self._drop
        )
        self._signs.start()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 (Twisted's name)
        """Whatever it is, the replica is alive."""
        if self.factory.encryption is None and self._producer is None and is_hello(data):
            self._refuse(WITHOUT_TLS)
            self.transport.abortConnection()
            return
        if self._signs is not None:
            self._signs.heard()
        super().dataReceived(data)

    def messageReceived(self, data: bytes) -> None:  # noqa: N802 (zc.zrs's name)
        """Answer the question for a sign of life; all else is zc.zrs's."""
        if self._producer is None:
            super().messageReceived(data)
        elif not data:
            self._show()
        elif data != ALIVE:
            super().messageReceived(data)

    def connectionLost(self, reason: Any) -> None:  # noqa: N802 (Twisted's name)
        """Forget the replica."""
        if self._signs is not None:
            self._signs.stop()
            super().connectionLost(reason)
            return
        if self._handshake.active():
            self._handshake.cancel()
            if not reason.check(ConnectionDone, ConnectionLost):  # which just look, or give up
                self._refuse(self.tls_fault or explained(reason.value))
        else:
            self._refuse(f"it is silent; maybe {NO_TLS}")

    def _refuse(self, reason: str) -> None:
        peer = self.transport.getPeer()
        self.factory.refusals.log(peer.host, peer.port, reason)

    @property
    def _producer(self) -> Producer | None:
        """What sends; None until the replica has said what it has."""
        producer: Producer | None = self._PrimaryProtocol__producer
        return producer

    def _show(self) -> None:
        """Give a sign of life and ask for one, unless we are in the middle of a transaction."""
        if self._producer is not None:
            self._producer.show_life()

    def _drop(self) -> None:
        peer = self.transport.getPeer()
        logger.warning(
            "no sign of life of the replica at %s:%s for %g s: hung up",
            *(peer.host, peer.port, self._signs.limit),
        )
        # Not in order: what waits to be sent to a silent replica would be waited for.
        self.transport.abortConnection()


class CheckedIterator(zrs.FileStorageIterator):
    """Iterates over the transactions after a given one, which must be in the file.

    zc.zrs looks for the first transaction *after* the replica's last one and goes on from there.
    When the primary was restored from an older backup and has moved on, the replica's last
    transactions are not in our file at all, and both would differ for ever without a word.

    Raises
    ------
    UnknownTransaction, zc.zrs.primary.TidTooHigh
        The given transaction is not in the file.
    """

    _checked = False
    sent: Callable[[], None] | None = None
    """Called when all messages of a transaction have been handed over to be sent."""

    def __next__(self) -> Any:
        """The next transaction, which is waited for."""
        if self.sent is not None:
            self.sent()
        return super().__next__()

    def _open(self) -> None:
        # Called again after each pack, which may remove what was sent long ago: checked once.
        check = not self._checked and self._ltid > NO_TRANSACTION
        self._checked = True
        try:
            super()._open()
            if check and last_transaction(self._file, self._pos) != self._ltid:
                raise UnknownTransaction(repr(self._ltid))
        except BaseException:
            self._file.close()
            raise


class Producer(zrs.PrimaryProducer):
    """Sends transactions to one replica; tells it when and why it is refused."""

    iterator_args: tuple[Any, ...]
    since = 0.0
    """When the replica came, in Unix seconds."""

    # Numbers of messages. Each is changed by one thread only: the last one by the reactor's.
    _handed_over = _complete = _written = 0

    def run(self) -> None:
        """Send until the connection or the server is closed; runs in a thread of its own."""
        self.since = time.time()
        try:
            iterator = CheckedIterator(*self.iterator_args)
        except UnknownTransaction:
            self._refuse()
        except zrs.TidTooHigh:
            self._refuse("when that server is itself a replica, wait until it has caught up; else ")
        except Exception:
            logger.exception("%scannot read the transactions to send", self.peer)
            self.callFromThread(self.cfr_close)
        else:
            iterator.sent = self._transaction_is_complete
            self.iterator_args = (iterator,)  # see opened_iterator
            super().run()

    def write(self, data: bytes) -> None:
        """Hand a message over to the reactor."""
        self._handed_over += 1
        super().write(data)

    def cfr_write(self, data: Any) -> None:
        """Send a message."""
        self._written += 1
        super().cfr_write(data)

    def show_life(self) -> None:
        """Send an empty message, if it can be told from a record without data.

        That is between transactions. A replica that does not read gets no more of them: it would
        fill the memory of the primary by asking.
        """
        if self._written == self._complete and self.consumer_event.is_set() and not self.stopped:
            self.transport.write(ASK)

    def _transaction_is_complete(self) -> None:
        self._complete = self._handed_over

    def _refuse(self, first: str = "") -> None:
        tid = self.start_tid
        reason = (
            f"the replica's last transaction {tid.hex()} ({TimeStamp(tid)} UTC) is not in "
            f"{self.storage._file_name} of the primary: they have diverged, or the primary was "
            f"restored or packed; {first}`dqm resync` on the replica's host begins it anew and "
            "deletes nothing"
        )
        logger.error("%srefused: %s", self.peer, reason)
        self.callFromThread(self.cfr_write, zc.zrs.sizedmessage.marshals(refusal(reason)))
        self.callFromThread(self.cfr_close)


def opened_iterator(iterator: CheckedIterator) -> CheckedIterator:
    """Takes the place of ``zc.zrs.primary.FileStorageIterator``.

    ``PrimaryProducer.run`` opens the iterator itself; :meth:`Producer.run` has opened it already,
    because only there can a refusal be told from an accident.
    """
    return iterator
