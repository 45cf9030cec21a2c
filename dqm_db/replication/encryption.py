"""TLS of the replication stream, for both of its sides.

Twisted speaks TLS through pyOpenSSL. What it offers itself trusts by other rules and does not tell
why a certificate was refused, hence our own context and callback; the rules are those of
`dqm_db.tls`.
"""

from __future__ import annotations

import ipaddress
import threading
import time
import weakref
from typing import Any

from OpenSSL import SSL, crypto
from service_identity import VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, ServiceID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from dqm_db.errors import ConfigurationError
from dqm_db.tls import OTHER_CA, WRONG_NAME, TLSFiles, explained, warn_about

HANDSHAKE_SECONDS = 5.0
"""Longest time for a handshake; whoever takes longer is hung up on."""

A_DAY = 86_400.0

_FAULTS = {  # X509_V_ERR_… of OpenSSL
    2: OTHER_CA,
    7: OTHER_CA,
    9: explained("not yet valid"),
    10: explained("has expired"),
    18: OTHER_CA,
    19: OTHER_CA,
    20: OTHER_CA,
    21: OTHER_CA,
}


class Encryption:
    """Encrypts connections of the replication stream.

    A protocol that is connected through it provides ``IHandshakeListener``: it says nothing before
    ``handshakeCompleted``, since only then it is known who is there. Its attribute ``tls_fault``
    gets the reason when the certificate of the other side is refused.

    Parameters
    ----------
    files
        Those of this host.

    Raises
    ------
    ConfigurationError
        They are not usable.
    """

    def __init__(self, files: TLSFiles) -> None:
        files.check()
        self.files = files
        self._expires = files.expires()
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        try:
            context.use_certificate_chain_file(str(files.certificate))
            context.use_privatekey_file(str(files.key))
            context.load_verify_locations(str(files.ca))
        except SSL.Error as error:
            raise ConfigurationError(
                f"{files.certificate}, {files.key} and {files.ca} cannot be used: {error}"
            ) from error
        strict = crypto.X509StoreFlags.X509_STRICT
        context.get_cert_store().set_flags(strict)  # type: ignore[union-attr]
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        self._context = context

    def serving(self, factory: Any) -> TLSMemoryBIOFactory:
        """*factory*, whose protocols are connected by replicas."""
        return _wrapped(_Connections(self._context), False, factory)

    def connecting(self, factory: Any, host: str) -> TLSMemoryBIOFactory:
        """*factory*, whose protocols connect to the name or address *host*."""
        return _wrapped(_Connections(self._context, host), True, factory)

    def watch_expiry(self) -> None:
        """Warn in the log when the certificates expire soon; now, and every day."""

        def watch() -> None:
            while True:
                warn_about(self.files, self._expires)
                time.sleep(A_DAY)

        threading.Thread(target=watch, name="expiry of certificates", daemon=True).start()


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class _Connections:
    """Begins TLS on connections; *host* is whom we connect to, None for whom we serve."""

    def __init__(self, context: SSL.Context, host: str | None = None) -> None:
        self._context = context
        self._host = host
        self._identity = None if host is None else _identity(host)

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:  # noqa: N802 (Twisted's)
        return self._connection(protocol)

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:  # noqa: N802 (Twisted's)
        connection = self._connection(protocol)
        if isinstance(self._identity, DNS_ID):
            connection.set_tlsext_host_name(self._identity.hostname)
        return connection

    def _connection(self, protocol: Any) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        ours = weakref.ref(protocol.wrappedProtocol)
        identity = self._identity

        def verified(_: Any, certificate: Any, fault: int, depth: int, ok: int) -> bool:
            reason = None
            if not ok:
                reason = _FAULTS.get(fault, f"its certificate is refused (X.509 error {fault})")
            elif depth == 0 and identity is not None:
                try:
                    verify_service_identity(extract_patterns(certificate), [identity], [])
                except VerificationError:
                    reason = WRONG_NAME
            if reason is not None and (listener := ours()) is not None:
                listener.tls_fault = reason
            return reason is None

        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verified)
        return connection


def _identity(host: str) -> ServiceID:
    try:
        return IPAddress_ID(str(ipaddress.ip_address(host)))
    except ValueError:  # a name
        return DNS_ID(host)


def _wrapped(connections: _Connections, is_client: bool, factory: Any) -> TLSMemoryBIOFactory:
    wrapped = TLSMemoryBIOFactory(connections, is_client, factory)  # type: ignore[arg-type]
    wrapped.noisy = False
    return wrapped
