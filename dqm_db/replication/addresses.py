"""HOST:PORT addresses and the sockets that listen there."""

from __future__ import annotations

import errno
import socket
from typing import NamedTuple

from dqm_db.errors import ConfigurationError
from dqm_db.replication.errors import AddressInUse

BACKLOG = 100
"""Connections that wait to be accepted; the default of asyncio."""


class Address(NamedTuple):
    """A TCP address; ``host`` is a name or a number without brackets.

    Or a UNIX socket: ``host`` is its absolute path, ``port`` is 0.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, purpose: str) -> Address:
        """The address written as ``HOST:PORT``; an IPv6 number needs brackets, ``[::1]:8100``.

        Parameters
        ----------
        text
            What the user wrote.
        purpose
            Where it was written, for the error: an option or a setting.

        Raises
        ------
        ConfigurationError
            *text* is no such address.
        """
        host, colon, port = text.strip().rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        host = host[1:-1] if bracketed else host
        usable = (
            colon
            and host
            and (bracketed or ":" not in host)
            and not host.startswith("/")
            and not any(letter.isspace() or not letter.isprintable() for letter in host)
            and port.isascii()
            and port.isdigit()
            and 0 < int(port) < 65536
        )
        if not usable:
            raise ConfigurationError(
                f"{purpose}: {text!r} is not HOST:PORT, such as 127.0.0.1:8100 or [::1]:8100"
            )
        return cls(host, int(port))

    @classmethod
    def read(cls, text: str, purpose: str) -> Address:
        """As `parse`, but also the path of a UNIX socket: what ``str`` gives.

        Raises
        ------
        ConfigurationError
            *text* is neither.
        """
        return cls.of_socket(text) if text.startswith("/") else cls.parse(text, purpose)

    @classmethod
    def of_socket(cls, path: str) -> Address:
        """That of the UNIX socket at the absolute *path*."""
        return cls(path, 0)

    @property
    def path(self) -> str | None:
        """Of a UNIX socket; None for a TCP address."""
        return self.host if self.host.startswith("/") else None

    def __str__(self) -> str:
        if self.path is not None:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def is_loopback(self) -> bool:
        """Whether only processes of this machine can connect."""
        return (
            self.path is not None
            or self.host in ("localhost", "::1")
            or self.host.startswith("127.")
        )


def shown_address(listener: socket.socket) -> str:
    """Where *listener* listens, for people."""
    where = listener.getsockname()
    return str(where if listener.family == socket.AF_UNIX else Address(*where[:2]))


def listen(address: Address, purpose: str) -> socket.socket:
    """A non-blocking socket that listens at *address*.

    Bound here, in the caller's thread, so that a failure ends the server: zc.zrs binds in its
    reactor, logs the failure there and serves on without ever replicating.

    Raises
    ------
    AddressInUse
        Another process listens there.
    ConfigurationError
        The host is unknown or not of this machine, or the port may not be used.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ConfigurationError(
            f"{purpose}: host of {address} is unknown ({error.strerror})"
        ) from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressInUse(
                f"{purpose}: another process listens at {address}; end it or choose another port"
            ) from error
        raise ConfigurationError(
            f"{purpose}: cannot listen at {address} ({error.strerror})"
        ) from error
    listener.setblocking(False)
    return listener
