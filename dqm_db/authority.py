"""The private CA of the system and the certificates that it gives to hosts.

The folder of the CA, which stays on one machine:

    ca.pem  ca.key              the CA
    hosts/NAME/ca.pem           what is copied to the host NAME, as a whole:
    hosts/NAME/cert.pem         its certificate, for all its names and addresses, as server and as
    hosts/NAME/key.pem          client; and the private key of that

Keys are ECDSA P-256 in PKCS#8, readable by their owner only. The extensions are those that RFC 5280
asks for and that OpenSSL insists on with ``X509_V_FLAG_X509_STRICT``.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dqm_db.certificates import KEY_FILE, Certificate, read_certificates
from dqm_db.errors import ConfigurationError, DQMError

AUTHORITY_CERTIFICATE = "ca.pem"
AUTHORITY_KEY = "ca.key"
HOSTS = "hosts"
HOST_CERTIFICATE = "cert.pem"

AUTHORITY_DAYS = 3650
HOST_DAYS = 730
ORGANISATION = "NectarCAM DQM"

HERE = ("localhost", "127.0.0.1", "::1")
"""Names of every host, for the commands and servers that connect to their own machine."""

CLOCKS_DIFFER = timedelta(hours=1)
"""A new certificate is valid since that long, for hosts whose clock is behind."""

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_LONGEST_NAME = 253
_LONGEST_COMMON_NAME = 64

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class CertificateExists(DQMError):
    """A certificate or key would be overwritten."""

    exit_code = 73


class CertificateUnwritable(DQMError):
    """A certificate or key cannot be written where it should be."""

    exit_code = 73


class NoAuthority(DQMError):
    """There is no CA in the folder."""

    exit_code = 66


class Authority:
    """The CA in a folder.

    Parameters
    ----------
    directory
        Where it is, or will be.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.certificate_file = directory / AUTHORITY_CERTIFICATE
        self.key_file = directory / AUTHORITY_KEY

    def create(self, name: str, days: int) -> Certificate:
        """Make the key and the certificate.

        Raises
        ------
        ConfigurationError
            *name* cannot be one.
        CertificateExists
            There is a CA already.
        CertificateUnwritable
        """
        subject = _subject(name)
        there = [path for path in (self.certificate_file, self.key_file) if path.exists()]
        if len(there) == 1:
            raise CertificateExists(
                f"{there[0]} exists, but not the other one of {AUTHORITY_CERTIFICATE} and "
                f"{AUTHORITY_KEY}: put that back, or move this one away to make another CA"
            )
        if there:
            raise CertificateExists(
                f"{there[0]} exists; to make the CA valid for longer, with the same key, "
                "give --renew"
            )
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _sign_authority(subject, key, days)
        with _writing(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
            _write(self.key_file, _key_bytes(key), 0o600)
            _write(self.certificate_file, _pem(certificate), 0o644)
        return Certificate.of(certificate, self.certificate_file)

    def renew(self, days: int) -> Certificate:
        """Replace the certificate by one of the same name and key: those of hosts stay valid.

        Hosts need the new one before the old one expires.

        Raises
        ------
        NoAuthority, ConfigurationError, CertificateUnwritable
        """
        old, key = self._read()
        certificate = _sign_authority(old.subject, key, days)
        with _writing(self.directory):
            _write(self.certificate_file, _pem(certificate), 0o644)
        return Certificate.of(certificate, self.certificate_file)

    def issue(self, names: Sequence[str], days: int, *, renew: bool = False) -> Certificate:
        """Make the folder of a host, which has everything that is copied to it.

        Parameters
        ----------
        names
            Host names and addresses under which others connect to it; the first one names the
            folder. Those of `HERE` are added.
        days
            For which it is valid, but not longer than the CA.
        renew
            Replace what is there by a new certificate and key. Names are those of the old
            certificate when only the first one is given.

        Raises
        ------
        NoAuthority
            There is no CA in the folder.
        ConfigurationError
            A name can be none, or the files of the CA cannot be read.
        CertificateExists
            The host has a certificate, and this is no renewal.
        CertificateUnwritable
        """
        authority, authority_key = self._read()
        for name in names:
            _alternative_name(name)
        folder = self.directory / HOSTS / names[0].lower()
        if folder.exists() and not renew:
            raise CertificateExists(
                f"{folder} exists; to replace its certificate and key, give --renew"
            )
        if renew and len(names) == 1 and (folder / HOST_CERTIFICATE).exists():
            old = Certificate.of(read_certificates(folder / HOST_CERTIFICATE)[0], folder)
            names = [names[0], *old.names]
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _sign_host([*names, *HERE], key.public_key(), authority, authority_key, days)
        with _writing(folder):
            folder.parent.mkdir(exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))  # mode 700
            try:
                _write(draft / AUTHORITY_CERTIFICATE, _pem(authority), 0o644)
                _write(draft / HOST_CERTIFICATE, _pem(certificate), 0o644)
                _write(draft / KEY_FILE, _key_bytes(key), 0o600)
                _replace_folder(folder, draft)
            except BaseException:
                shutil.rmtree(draft, ignore_errors=True)
                raise
        return Certificate.of(certificate, folder / HOST_CERTIFICATE)

    def _read(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        if not self.certificate_file.exists():
            raise NoAuthority(
                f"there is no CA in {self.directory}: make one with "
                f"`dqm certs ca --dir {self.directory}`"
            )
        certificate = read_certificates(self.certificate_file)[0]
        try:
            data = self.key_file.read_bytes()
        except OSError as error:
            raise ConfigurationError(
                f"cannot read the key of the CA, {self.key_file} ({error.strerror})"
            ) from error
        try:
            key = serialization.load_pem_private_key(data, password=None)
        except (ValueError, TypeError) as error:  # TypeError: encrypted
            raise ConfigurationError(
                f"{self.key_file} holds no private key in PEM format without password ({error})"
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigurationError(f"{self.key_file} is no key of `dqm certs ca`")
        if key.public_key() != certificate.public_key():
            raise ConfigurationError(f"{self.key_file} is not the key of {self.certificate_file}")
        return certificate, key


def _sign_authority(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.Certificate:
    usage = _key_usage(key_cert_sign=True, crl_sign=True)
    now = datetime.now(UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_DIFFER)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )


def _sign_host(
    names: Sequence[str],
    key: ec.EllipticCurvePublicKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    days: int,
) -> x509.Certificate:
    now = datetime.now(UTC)
    if authority.not_valid_after_utc <= now:
        raise ConfigurationError(
            f"the CA has expired on {authority.not_valid_after_utc:%Y-%m-%d}: renew it with "
            "`dqm certs ca --renew`"
        )
    valid_for = list(dict.fromkeys(map(_alternative_name, names)))
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        x509.CertificateBuilder()
        .subject_name(_subject(names[0].lower()))
        .issuer_name(authority.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(now - CLOCKS_DIFFER, authority.not_valid_before_utc))
        .not_valid_after(min(now + timedelta(days=days), authority.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(valid_for), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(name: str) -> x509.Name:
    """The X.500 name; one that is too long for it (64 characters) is cut: nobody compares it."""
    if not name.isprintable() or not name.strip():
        raise ConfigurationError(f"{name!r} cannot be the name of a certificate")
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, name.strip()[:_LONGEST_COMMON_NAME]),
        ]
    )


def _alternative_name(name: str) -> x509.GeneralName:
    """A host name or an IP address as certificates have it.

    Raises
    ------
    ConfigurationError
        *name* is neither.
    """
    with contextlib.suppress(ValueError):  # not an address, but maybe a name
        return x509.IPAddress(_address(name))
    lower = name.lower()
    labels = lower.split(".")
    if (
        len(lower) > _LONGEST_NAME
        or not all(map(_LABEL.fullmatch, labels))
        or labels[-1].isdigit()  # 10.0.0.256
    ):
        raise ConfigurationError(
            f"{name!r} is neither a host name nor an IP address; names have letters, digits, "
            "hyphens and dots (international ones begin with xn--)"
        )
    return x509.DNSName(lower)


def _address(text: str) -> IPAddress:
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise ValueError(text)
    return address


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CertificateUnwritable(
            f"cannot write {error.filename or path} ({error.strerror})"
        ) from error


def _write(path: Path, data: bytes, mode: int) -> None:
    """Put *data* into *path*, whole or not at all, and never readable by more than *mode* says."""
    descriptor, draft = tempfile.mkstemp(prefix=".new-", dir=path.parent)  # mode 600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def _replace_folder(folder: Path, draft: Path) -> None:
    """Let *draft* become *folder*, so that no certificate is ever beside the key of another."""
    if not folder.exists():
        draft.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=".old-", dir=folder.parent))
    folder.rename(old / folder.name)
    try:
        draft.rename(folder)
    except OSError:
        (old / folder.name).rename(folder)
        raise
    finally:
        shutil.rmtree(old)
