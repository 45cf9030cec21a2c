"""TLS between the hosts of the system: mutual, with certificates of a private CA.

Whoever connects shows a certificate of the CA, and so does whoever is connected to; the former also
compares the name or address by which it connects with the names in the certificate. Nothing but the
private CA is trusted. `dqm certs` (`dqm_db.authority`) makes the files.
"""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
import stat
import time
from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID

from dqm_db.certificates import is_authority, read_certificates
from dqm_db.errors import ConfigurationError
from dqm_db.settings import SystemSettings

logger = logging.getLogger(__name__)

WARN_DAYS = 30
"""Days before a certificate expires from which on logs warn of it."""

VARIABLES = "DQM_TLS_CA, DQM_TLS_CERT and DQM_TLS_KEY"

WANTS_TLS = f"it wants TLS: set {VARIABLES} here, see `dqm certs`"
NO_TLS = f"it does not speak TLS: set {VARIABLES} on all hosts, or on none"
WITHOUT_TLS = f"this server has none: set {VARIABLES} on all hosts, or on none"
HUNG_UP = "it hung up: it may have no TLS, or not accept our certificate; its log says why"
NO_CERTIFICATE = "it shows no certificate: set DQM_TLS_CERT and DQM_TLS_KEY there"
OTHER_CA = "its certificate is not from our CA (DQM_TLS_CA): both sides need one of the same CA"
WRONG_NAME = (
    "its certificate is for other names than the one by which it is connected to: connect by one "
    "that `dqm certs show` lists, or make it a certificate with that name"
)

_SAYINGS = (
    # what OpenSSL says -> what it means and what to do
    ("alert certificate expired", "it says that our certificate has expired: renew it"),
    ("alert unknown ca", "it does not know our CA: both sides need certificates of the same one"),
    ("alert certificate required", WANTS_TLS),
    ("alert bad certificate", "it does not accept our certificate; its log says why"),
    ("alert certificate unknown", "it does not accept our certificate; its log says why"),
    ("alert internal error", "it does not accept our certificate; its log says why"),
    ("alert unsupported certificate", "it does not accept our certificate; its log says why"),
    ("alert handshake failure", "it does not accept our certificate; its log says why"),
    ("alert protocol version", NO_TLS),
    ("did not return a certificate", NO_CERTIFICATE),
    ("has expired", "its certificate has expired: renew it (`dqm certs host --renew`)"),
    ("not yet valid", "its certificate is not valid yet: compare the clocks of both hosts"),
    ("hostname mismatch", WRONG_NAME),
    ("ip address mismatch", WRONG_NAME),
    ("unable to get local issuer", OTHER_CA),
    ("unable to get issuer", OTHER_CA),
    ("unable to verify the first", OTHER_CA),
    ("self-signed", OTHER_CA),
    ("self signed", OTHER_CA),
    ("signature failure", OTHER_CA),
    ("wrong version number", NO_TLS),
    ("http request", NO_TLS),
    ("packet length too long", NO_TLS),
    ("record layer failure", NO_TLS),
    ("unexpected message", NO_TLS),
    ("unsupported protocol", "it speaks no TLS that is new enough, 1.2 or later"),
    ("unexpected eof", HUNG_UP),
)

_HELLO = b"\x16\x03"


@dataclass(frozen=True, slots=True)
class TLSFiles:
    """What one host needs for TLS.

    Attributes
    ----------
    ca, certificate, key : Path
        In PEM format; absolute.
    """

    ca: Path
    certificate: Path
    key: Path

    @classmethod
    def of(cls, settings: SystemSettings) -> TLSFiles | None:
        """Those of the settings, not read yet; None without TLS.

        Raises
        ------
        ConfigurationError
            Only some of the three are set.
        """
        given = {
            "DQM_TLS_CA": settings.tls_ca,
            "DQM_TLS_CERT": settings.tls_cert,
            "DQM_TLS_KEY": settings.tls_key,
        }
        paths = [path for path in given.values() if path is not None]
        if not paths:
            return None
        missing = [name for name, path in given.items() if path is None]
        if missing:
            raise ConfigurationError(
                f"TLS needs {VARIABLES}, all three: {' and '.join(missing)} not set"
            )
        return cls(*(path.absolute() for path in paths))

    def check(self) -> None:
        """Read all of them and see whether they fit together and are valid now.

        Raises
        ------
        ConfigurationError
            Says which file is wrong, and how.
        """
        authorities = read_certificates(self.ca)
        for authority in authorities:
            if not is_authority(authority):
                raise ConfigurationError(f"DQM_TLS_CA: {self.ca} is not the certificate of a CA")
        own, *chain = read_certificates(self.certificate)
        if self._private_key().public_key() != own.public_key():
            raise ConfigurationError(
                f"DQM_TLS_KEY: {self.key} is not the key of the certificate {self.certificate}"
            )
        _require_valid(own, self.certificate, "`dqm certs host --renew`")
        issuer = next((one for one in (*authorities, *chain) if _is_issuer(one, own)), None)
        if issuer is None:
            raise ConfigurationError(
                f"DQM_TLS_CERT: {self.certificate} was not issued by the CA in {self.ca}"
            )
        _require_valid(issuer, self.ca, "`dqm certs ca --renew`, and copy it to all hosts")
        try:
            usage = own.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except x509.ExtensionNotFound:  # good for everything
            return
        if not {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH} <= set(usage):
            raise ConfigurationError(
                f"DQM_TLS_CERT: {self.certificate} must be for servers and clients (extended key "
                "usage); `dqm certs host` makes such"
            )

    def expires(self) -> dict[Path, float]:
        """When the certificates expire (Unix seconds), by file.

        Of several CAs in one file, as while hosts change over, it is that which has issued the
        certificate of this host; of several certificates of that one, the last to expire.

        Raises
        ------
        ConfigurationError
            One cannot be read.
        """
        own = read_certificates(self.certificate)[0]
        authorities = read_certificates(self.ca)
        issuers = [one for one in authorities if _is_issuer(one, own)] or authorities[:1]
        end = max(one.not_valid_after_utc for one in issuers)
        return {self.certificate: own.not_valid_after_utc.timestamp(), self.ca: end.timestamp()}

    def _private_key(self) -> PrivateKeyTypes:
        try:
            return serialization.load_pem_private_key(self.key.read_bytes(), password=None)
        except OSError as error:
            raise ConfigurationError(
                f"DQM_TLS_KEY: cannot read {self.key} ({error.strerror})"
            ) from error
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: encrypted
            raise ConfigurationError(
                f"DQM_TLS_KEY: {self.key} holds no private key in PEM format without password "
                f"({error})"
            ) from error


def client_context(settings: SystemSettings) -> ssl.SSLContext | None:
    """How to connect to servers; None without TLS.

    Whoever uses it says by which name or address it connects (``server_hostname``; asyncio takes
    the host itself), and that is compared with the certificate.

    Raises
    ------
    ConfigurationError
        The files are not usable, see `TLSFiles`.
    """
    files = TLSFiles.of(settings)
    return None if files is None else _context(files, ssl.PROTOCOL_TLS_CLIENT)


def server_context(settings: SystemSettings) -> ssl.SSLContext | None:
    """How to serve clients, who must have a certificate of the CA; None without TLS.

    Raises
    ------
    ConfigurationError
        The files are not usable, see `TLSFiles`.
    """
    files = TLSFiles.of(settings)
    return None if files is None else _context(files, ssl.PROTOCOL_TLS_SERVER)


def _context(files: TLSFiles, protocol: int) -> ssl.SSLContext:
    files.check()
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(files.ca)
        context.load_cert_chain(files.certificate, files.key)
    except OSError as error:  # what `check` did not see, e.g. a curve that OpenSSL lacks
        raise ConfigurationError(
            f"{files.certificate}, {files.key} and {files.ca} cannot be used: {error}"
        ) from error
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if protocol == ssl.PROTOCOL_TLS_CLIENT:
        context.check_hostname = True
    return context


def warn_about(files: TLSFiles, expires: Mapping[Path, float] | None = None) -> None:
    """Log what will be wrong with the files one day, or is wrong but stops nothing.

    That is a certificate that expires within `WARN_DAYS`, and a key that too many can read. A key
    may be readable by its group where root has given it to that of a service, as 0640
    root:nectarcam, or where this process is in the group; everybody else may not.

    Parameters
    ----------
    files
        Those of this host.
    expires
        What `TLSFiles.expires` said when they were loaded, if that was not just now: a renewed file
        is not used before the next start.

    Raises
    ------
    ConfigurationError
        One cannot be read.
    """
    with contextlib.suppress(OSError):  # of which others tell
        found = files.key.stat()
        if found.st_mode & stat.S_IROTH:
            logger.warning("everybody can read the private key %s: chmod 600", files.key)
        elif _is_of_a_strange_group(found, {os.getegid(), *os.getgroups()}):
            logger.warning(
                "group %d, in which this service is not, can read the private key %s: chmod 600",
                found.st_gid,
                files.key,
            )
    for path, end in (files.expires() if expires is None else expires).items():
        days = (end - time.time()) / 86_400
        if days < WARN_DAYS:
            logger.warning(
                "the certificate %s %s on %s: renew it (`dqm certs`), then restart what uses it",
                path,
                "has expired" if days < 0 else "expires",
                f"{datetime.fromtimestamp(end, UTC):%Y-%m-%d}",
            )


def _is_of_a_strange_group(key: os.stat_result, own_groups: Set[int]) -> bool:
    """Whether a group can read the *key* that neither root chose nor this process is in."""
    return bool(key.st_mode & stat.S_IRGRP) and key.st_uid != 0 and key.st_gid not in own_groups


def explained(error: BaseException | str) -> str:
    """Why TLS failed, as "it …" of the other side, and what to do.

    Parameters
    ----------
    error
        Of ssl, of pyOpenSSL (a list of library, function and reason), of the connection, or words.
    """
    if isinstance(error, str):
        words = error
    elif isinstance(error, ssl.SSLError):
        words = f"{error.reason} {getattr(error, 'verify_message', '')} {error}"
    elif isinstance(error, ConnectionError | EOFError):
        return HUNG_UP
    elif error.args and isinstance(error.args[0], list):
        words = " ".join(str(entry[-1]) for entry in error.args[0])
    else:
        words = f"{type(error).__name__} {error}"
    plain = words.lower().replace("_", " ")
    for saying, meaning in _SAYINGS:
        if saying in plain:
            return meaning
    return words.strip()


def is_hello(start: bytes) -> bool:
    """Whether these first bytes are those of a client that speaks TLS."""
    return start[:2] == _HELLO


def _require_valid(certificate: x509.Certificate, path: Path, renewal: str) -> None:
    now = datetime.now(UTC)
    if now > certificate.not_valid_after_utc:
        raise ConfigurationError(
            f"{path} has expired on {certificate.not_valid_after_utc:%Y-%m-%d}: renew it with "
            f"{renewal}"
        )
    if now < certificate.not_valid_before_utc:
        raise ConfigurationError(
            f"{path} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC: "
            "is the clock of this host right?"
        )


def _is_issuer(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False  # another name, another kind of key, another key
    return True
