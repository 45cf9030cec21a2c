"""A hop between a primary and its replica that fails as the network between sites can."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Self

from processes import LOOPBACK, free_port

PIECE = 65_536
SHORTEST_PIECE = 256
BUFFER = 16_384
"""Bytes that the kernel keeps for a connection of a relay: it must not hide that a link is slow."""

TO_PRIMARY, TO_REPLICA = "to primary", "to replica"
BOTH = (TO_PRIMARY, TO_REPLICA)


class FeedRelay:
    """Hands bytes on to the port *target*, both ways, until told otherwise.

    Attributes
    ----------
    replication_port
        Where it listens; under the name that a `DatabaseServer` looks for in its source.
    """

    def __init__(self, target: int) -> None:
        self.replication_port = free_port()
        self._target = target
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        self._is_cut = False
        self._silent: frozenset[str] = frozenset()
        self._rate: float | None = None
        self._delay = 0.0
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self._listener.bind((LOOPBACK, self.replication_port))
        self._listener.listen()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def cut(self) -> None:
        """Hang up on everybody, and on whoever comes, until it is mended."""
        with self._changed:
            self._is_cut = True
            for connection in self._open:
                with contextlib.suppress(OSError):  # the other side was faster
                    connection.shutdown(socket.SHUT_RDWR)
            self._open.clear()
            self._changed.notify_all()

    def swallow(self, *directions: str) -> None:
        """Let nothing through any more, in one direction or in both, and tell nobody.

        Not even that a side has hung up. As TCP would send it again, what was swallowed arrives
        once the relay is mended, unless the connection has ended meanwhile.
        """
        with self._changed:
            self._silent = frozenset(directions or BOTH)

    def slow_down(self, *, rate: float | None = None, delay: float = 0.0) -> None:
        """Let through *rate* bytes per second and direction, each piece *delay* seconds late."""
        with self._changed:
            self._rate, self._delay = rate, delay

    def mend(self) -> None:
        """Connect again whoever comes, and let everything through at once."""
        with self._changed:
            self._is_cut = False
            self._silent = frozenset()
            self._rate, self._delay = None, 0.0
            self._changed.notify_all()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            with self._changed:
                if self._is_cut:
                    client.close()
                    continue
                server = socket.socket()
                server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
                server.settimeout(5)
                try:
                    server.connect((LOOPBACK, self._target))
                except OSError:  # the target is down: the client comes again
                    client.close()
                    server.close()
                    continue
                server.settimeout(None)
                self._open |= {client, server}
            for source, sink, direction in (
                (client, server, TO_PRIMARY),
                (server, client, TO_REPLICA),
            ):
                threading.Thread(
                    target=self._copy, args=(source, sink, direction), daemon=True
                ).start()

    def _copy(self, source: socket.socket, sink: socket.socket, direction: str) -> None:
        with contextlib.suppress(OSError):  # the connection ends, either way
            while piece := source.recv(self._piece()):
                if self._rate or self._delay:
                    time.sleep(self._delay + len(piece) / (self._rate or float("inf")))
                self._wait_for(source, direction)
                sink.sendall(piece)
        self._wait_for(source, direction)
        with self._changed:
            self._open -= {source, sink}
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()

    def _piece(self) -> int:
        return PIECE if not self._rate else max(SHORTEST_PIECE, int(self._rate / 20))

    def _wait_for(self, source: socket.socket, direction: str) -> None:
        """Return when something comes through again in *direction*, or nothing ever will."""
        with self._changed:
            self._changed.wait_for(
                lambda: direction not in self._silent or source not in self._open
            )
