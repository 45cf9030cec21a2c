"""Looks why a server does not let us in, of which ZEO's client only says that time is over."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import TypeVar

from dqm_db.server_answers import ARE_YOU_OK
from dqm_db.tls import HUNG_UP, WANTS_TLS, explained

_MOST = 65_536
_ALERT = b"\x15"
"""The first byte by which a server that speaks TLS may answer whoever does not."""

Result = TypeVar("Result")


def fault_of_server(
    host: str, port: int, context: ssl.SSLContext | None, patience: float
) -> str | None:
    """What is wrong with TLS between us and a server, as `explained`; None: nothing that shows.

    Parameters
    ----------
    host, port
        Where clients connect.
    context
        How we connect.
    patience
        Seconds for each step.
    """
    with contextlib.ExitStack() as resources:

        def connect() -> socket.socket:
            return resources.enter_context(socket.create_connection((host, port), patience))

        try:
            connection = connect()
            if context is not None:
                return _fault(_Secured(connection, context, host))
            # A server without TLS would log whoever comes with it, so it is asked in plain first.
            if not _refuses_plain(connection):
                return None
            return WANTS_TLS if _speaks_tls(connect(), host) else None
        except ConnectionResetError:  # at once; one that is not there refuses
            return None if context is None else HUNG_UP
        except (OSError, UnicodeError):  # UnicodeError: a host that can be no name
            return None  # not there, or silent, which the caller says
        except ValueError as error:  # a host that no certificate can have
            return None if context is None else explained(error)


def _fault(secured: _Secured) -> str | None:
    try:
        secured.do(secured.tls.do_handshake)
        # Only with its first words does a server of TLS 1.3 tell what it thinks of us.
        return None if secured.do(lambda: secured.tls.read(1)) else HUNG_UP
    except TimeoutError:
        return None
    except OSError as error:
        return explained(error)


def _refuses_plain(connection: socket.socket) -> bool:
    """Whether a server hangs up on what every ZEO server without TLS answers."""
    try:
        connection.sendall(ARE_YOU_OK)
        answer = connection.recv(_MOST)
    except ConnectionError:
        return True
    return not answer or answer.startswith(_ALERT)


def _speaks_tls(connection: socket.socket, host: str) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # nothing is said by it
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    secured = _Secured(connection, context, host)
    try:
        secured.do(secured.tls.do_handshake)
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    return True


class _Secured:
    """TLS over *connection*, which stays the caller's to close.

    ``SSLContext.wrap_socket`` takes it over, and leaves it open when the server has hung up.
    """

    def __init__(self, connection: socket.socket, context: ssl.SSLContext, host: str) -> None:
        self._connection = connection
        self._received, self._sent = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._received, self._sent, server_hostname=host)

    def do(self, step: Callable[[], Result]) -> Result:
        """What *step* gives, for which bytes are sent and received as OpenSSL wants."""
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._send()
                data = self._connection.recv(_MOST)
                if data:
                    self._received.write(data)
                else:
                    self._received.write_eof()
            except ssl.SSLError:
                with contextlib.suppress(OSError):  # it need not hear why
                    self._send()
                raise
            else:
                self._send()
                return result

    def _send(self) -> None:
        if self._sent.pending:
            self._connection.sendall(self._sent.read())
