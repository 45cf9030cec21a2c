"""Lets ZEO's clients in, by TLS and at inherited sockets, and says why one is not let in.

asyncio serves TLS by itself, but of a handshake that failed it tells nobody: neither the log, nor
the client, whose connection just ends.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ZEO.asyncio.server

from dqm_db.replication.addresses import shown_address
from dqm_db.replication.refusals import Refusals
from dqm_db.tls import NO_TLS, explained

logger = logging.getLogger(__name__)

STOCK_ACCEPTOR = ZEO.asyncio.server.Acceptor

HANDSHAKE_SECONDS = 5.0
"""Longest time for a handshake; whoever takes longer is hung up on."""

_SPEAKS_NO_TLS = frozenset({"HTTP_REQUEST", "WRONG_VERSION_NUMBER"})
"""After which OpenSSL has nothing to say."""


@dataclass(slots=True)
class Handshake:
    """How one goes.

    Attributes
    ----------
    steps : int
        How often there was something to do; once before the client has said anything.
    error : ssl.SSLError or None
        Why it failed.
    """

    steps: int = 0
    error: ssl.SSLError | None = None


_handshake: contextvars.ContextVar[Handshake] = contextvars.ContextVar("handshake")


class TalkingSSLObject(ssl.SSLObject):
    """TLS of one connection, which tells the client why it fails.

    OpenSSL has written that for the client, but asyncio hangs up on an error without sending it.
    It sends it when more is said to be needed from the client, who then hangs up by itself, or is
    hung up on when its time is over.
    """

    def do_handshake(self) -> None:
        """Go on with the handshake."""
        handshake = _handshake.get(None)
        if handshake is not None:
            handshake.steps += 1
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLSyscallError):
            raise
        except ssl.SSLError as error:
            if handshake is None or handshake.error is not None:
                raise
            handshake.error = error
            if error.reason in _SPEAKS_NO_TLS:
                raise
            raise ssl.SSLWantReadError from error


class Door(asyncio.Protocol):
    """A connection that was just accepted; it goes on as another one, with TLS."""

    def __init__(self, acceptor: Acceptor) -> None:
        self._acceptor = acceptor

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing was read yet, so that nothing is lost."""
        accepted = transport.get_extra_info("socket")
        connection = socket.socket(fileno=os.dup(accepted.fileno()))
        connection.setblocking(False)
        transport.close()  # its own descriptor only
        self._acceptor.welcome(connection)


class ClosedTogether:
    """Several of asyncio's servers, for ZEO, which knows one."""

    def __init__(self, servers: Sequence[asyncio.Server]) -> None:
        self._servers = servers

    def close(self) -> None:
        """Accept no more."""
        for server in self._servers:
            server.close()

    async def wait_closed(self) -> None:
        """Return when all are closed."""
        await asyncio.gather(*(server.wait_closed() for server in self._servers))


class Acceptor(STOCK_ACCEPTOR):  # type: ignore[misc, valid-type]
    """ZEO's, with TLS of our own when there is any.

    Parameters
    ----------
    listeners
        Where clients connect, in the place of *addr*, which is then only a name: sockets that
        listen already. What comes by a UNIX socket is without TLS: who may come says its mode.
    """

    def __init__(
        self,
        storage_server: Any,
        addr: Any,
        context: ssl.SSLContext | None,
        msgpack: bool,
        *,
        listeners: Sequence[socket.socket] = (),
    ) -> None:
        self._tls = context  # at first: connections come as soon as ZEO listens
        if context is not None:
            context.sslobject_class = TalkingSSLObject
        self._refusals = Refusals("the client")
        self._welcoming: set[asyncio.Task[None]] = set()
        if listeners:
            self._serve(storage_server, addr, msgpack, listeners)
        else:
            super().__init__(storage_server, addr, None, msgpack)
        self.ssl_context = context

    def _serve(
        self, storage_server: Any, addr: Any, msgpack: bool, listeners: Sequence[socket.socket]
    ) -> None:
        """As `__init__` of ZEO's, which would bind."""
        self.storage_server, self.addr, self.msgpack = storage_server, addr, msgpack
        loop = self.event_loop = ZEO.asyncio.server.new_event_loop()
        plain = super().factory
        self.server = ClosedTogether(
            [
                loop.run_until_complete(
                    loop.create_server(
                        plain if listener.family == socket.AF_UNIX else self.factory,
                        sock=listener,
                        backlog=socket.SOMAXCONN,  # not less than the service manager gave it
                    )
                )
                for listener in listeners
            ]
        )
        for listener in listeners:
            logger.info("clients connect to %s", shown_address(listener))

    def factory(self) -> asyncio.Protocol:
        """The protocol of a connection that was just accepted."""
        return super().factory() if self._tls is None else Door(self)

    def welcome(self, connection: socket.socket) -> None:
        """Shake hands, then serve."""
        task = self.event_loop.create_task(self._welcome(connection))
        self._welcoming.add(task)  # asyncio alone would forget it
        task.add_done_callback(self._welcoming.discard)

    def _close(self) -> None:
        for task in self._welcoming:
            task.cancel()
        super()._close()

    async def _welcome(self, connection: socket.socket) -> None:
        handshake = Handshake()
        _handshake.set(handshake)
        try:
            host, port = connection.getpeername()[:2]
        except OSError:  # it has gone already
            connection.close()
            return
        try:
            await self.event_loop.connect_accepted_socket(
                super().factory,
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
            )
        except (OSError, ValueError) as error:
            if handshake.error is not None:
                self._refusals.log(host, port, explained(handshake.error))
            elif isinstance(error, ConnectionAbortedError):  # what asyncio calls a timeout
                self._refusals.log(host, port, f"it is silent; maybe {NO_TLS}")
            elif handshake.steps > 1:
                self._refusals.log(host, port, explained(error))
            # else it just looked whether somebody listens
