"""What one client may use of a server process: for ``dqm serve`` and ``bokeh serve`` alike.

Bokeh makes its HTTP server itself and lets nobody say how. Tornado's ``configure`` says it for all
that are made after it.
"""

from __future__ import annotations

import logging
import resource
import socket
import time
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream

log = logging.getLogger(__name__)

# Forms are small, a basket names a thousand runs.
HEADER_BYTES = 65_536
BODY_BYTES = 1_000_000
MESSAGE_BYTES = 100_000
"""Of the websocket, from a page; it sends addresses and selections."""
BODY_SECONDS = 20.0
IDLE_SECONDS = 20.0
"""For the header of a request, and between two; longer than nginx keeps connections to us."""
UNREAD_SECONDS = 60.0
"""For which a client may take nothing of what is sent to it."""
FILES_KEPT = 100
"""Open files that clients do not get: the database, the accounts and downloads need some."""
SAID_SECONDS = 60.0
"""Between two lines in the log about that."""


class BoundedServer(HTTPServer):
    """Tornado's server, which leaves the process some of the files that it may open.

    One that has none left cannot accept connections, nor open its database, and says so without a
    pause until somebody hangs up.
    """

    _said: float = -SAID_SECONDS

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Serve a connection, or close it at once when there are too many."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = max(files - FILES_KEPT, files // 2)
        # the kernel gives the lowest number that is free
        if stream.socket.fileno() < most:
            _hang_up_on_who_does_not_read(stream.socket)
            super().handle_stream(stream, address)
            return
        stream.close()
        if time.monotonic() - self._said >= SAID_SECONDS:
            self._said = time.monotonic()
            log.warning("more than %d connections: new ones are closed; see LimitNOFILE", most)


def _hang_up_on_who_does_not_read(connection: socket.socket) -> None:
    """Tornado waits for such a client as long as it lives; who reads slowly is left alone.

    The kernel closes a connection of which nothing arrives or is taken, see ``tcp(7)``. Clients
    with a UNIX socket are a web server on this host, which has limits of its own.
    """
    option = getattr(socket, "TCP_USER_TIMEOUT", None)  # of Linux
    if option is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, option, int(UNREAD_SECONDS * 1000))


def limit_clients() -> None:
    """Set the limits for all HTTP servers that this process makes from now on."""
    HTTPServer.configure(
        BoundedServer,
        max_header_size=HEADER_BYTES,
        max_body_size=BODY_BYTES,
        max_buffer_size=2 * BODY_BYTES,
        idle_connection_timeout=IDLE_SECONDS,
        body_timeout=BODY_SECONDS,
    )
