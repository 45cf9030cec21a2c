"""A hop between a primary and its replica that can be cut, as the network between sites can."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self

from processes import LOOPBACK, free_port

PIECE = 65_536


class FeedRelay:
    """Hands bytes on to the port *target*, both ways.

    Attributes
    ----------
    replication_port
        Where it listens; under the name that a `DatabaseServer` looks for in its source.
    """

    def __init__(self, target: int) -> None:
        self.replication_port = free_port()
        self._target = target
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._is_cut = False
        self._listener = socket.create_server((LOOPBACK, self.replication_port))

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def cut(self) -> None:
        """Hang up on everybody, and on whoever comes, until it is mended."""
        with self._lock:
            self._is_cut = True
            for connection in self._open:
                with contextlib.suppress(OSError):  # the other side was faster
                    connection.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def mend(self) -> None:
        """Connect again whoever comes."""
        with self._lock:
            self._is_cut = False

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            with self._lock:
                if self._is_cut:
                    client.close()
                    continue
                try:
                    server = socket.create_connection((LOOPBACK, self._target), 5)
                except OSError:  # the target is down: the client comes again
                    client.close()
                    continue
                server.settimeout(None)
                self._open |= {client, server}
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the connection ends, either way
            while piece := source.recv(PIECE):
                sink.sendall(piece)
        with self._lock:
            self._open -= {source, sink}
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()
