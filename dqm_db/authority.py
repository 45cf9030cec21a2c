"""The private CA of the system and the certificates that it gives to hosts.

The folder of the CA, which stays on one machine:

    ca.pem  ca.key              the CA
    hosts/NAME/ca.pem           what is copied to the host NAME, as a whole:
    hosts/NAME/cert.pem         its certificate, for all its names and addresses, as server and as
    hosts/NAME/key.pem          client; and the private key of that
    signed/NAME.pem             the last certificate for the host NAME that has made its key itself

Keys are ECDSA P-256 in PKCS#8, readable by their owner only. The extensions are those that RFC 5280
asks for and that OpenSSL insists on with ``X509_V_FLAG_X509_STRICT``.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dqm_db.certificate_files import (
    AUTHORITY_CERTIFICATE,
    HOST_CERTIFICATE,
    NEW,
    CertificateExists,
    alone_in,
    has_leftovers,
    key_bytes,
    pem,
    replace_folder,
    write,
    writing,
)
from dqm_db.certificate_names import alternative_name
from dqm_db.certificates import KEY_FILE, Certificate, read_certificates
from dqm_db.errors import ConfigurationError, DQMError
from dqm_db.signing_requests import SigningRequest

AUTHORITY_KEY = "ca.key"
HOSTS = "hosts"
SIGNED = "signed"

AUTHORITY_DAYS = 3650
HOST_DAYS = 730
ORGANISATION = "NectarCAM DQM"

HERE = ("localhost", "127.0.0.1", "::1")
"""Names of every host, for the commands and servers that connect to their own machine."""

CLOCKS_DIFFER = timedelta(hours=1)
"""A new certificate is valid since that long, for hosts whose clock is behind."""

_LONGEST_COMMON_NAME = 64


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
        with writing(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
            write(self.key_file, key_bytes(key), 0o600)
            write(self.certificate_file, pem(certificate), 0o644)
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
        with writing(self.directory):
            write(self.certificate_file, pem(certificate), 0o644)
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
            alternative_name(name)
        folder = self.directory / HOSTS / names[0].lower()
        with writing(folder):
            folder.parent.mkdir(exist_ok=True)
            with alone_in(folder.parent):
                if folder.exists() and not renew:
                    raise CertificateExists(
                        f"{folder} exists; to replace its certificate and key, give --renew"
                    )
                if renew and len(names) == 1 and (folder / HOST_CERTIFICATE).exists():
                    old = Certificate.of(read_certificates(folder / HOST_CERTIFICATE)[0], folder)
                    names = [names[0], *old.names]
                key = ec.generate_private_key(ec.SECP256R1())
                certificate = _sign_host(
                    [*names, *HERE], key.public_key(), authority, authority_key, days
                )
                draft = Path(tempfile.mkdtemp(prefix=NEW, dir=folder.parent))  # mode 700
                try:
                    write(draft / AUTHORITY_CERTIFICATE, pem(authority), 0o644)
                    write(draft / HOST_CERTIFICATE, pem(certificate), 0o644)
                    write(draft / KEY_FILE, key_bytes(key), 0o600)
                    replace_folder(folder, draft)
                except BaseException:
                    shutil.rmtree(draft, ignore_errors=True)
                    raise
        return Certificate.of(certificate, folder / HOST_CERTIFICATE)

    def sign(
        self, request: SigningRequest, names: Sequence[str], days: int
    ) -> tuple[bytes, Certificate]:
        """Make the certificate that a host asks for which has made its key itself.

        Parameters
        ----------
        request
            What the host sent. Of that only key and names are taken.
        names
            Host names and addresses that it may have; when it asks for none, it gets them all.
            Those of `HERE` are added.
        days
            For which it is valid, but not longer than the CA.

        Returns
        -------
        bytes, Certificate
            What goes back to the host: the certificate and that of the CA (PEM). And what it says.

        Raises
        ------
        NoAuthority, ConfigurationError, CertificateUnwritable
        RequestRefused
            The host asks for other names.
        """
        authority, authority_key = self._read()
        granted = [*request.granted(names, HERE), *HERE]
        certificate = _sign_host(granted, request.key, authority, authority_key, days)
        kept = self.directory / SIGNED / f"{names[0].lower()}.pem"
        with writing(kept):
            kept.parent.mkdir(exist_ok=True)
            write(kept, pem(certificate), 0o644)
        return pem(certificate) + pem(authority), Certificate.of(certificate, kept)

    def put_right(self) -> None:
        """Undo what a command left that was killed while it made the folder of a host.

        Raises
        ------
        CertificateUnwritable
        """
        hosts = self.directory / HOSTS
        if has_leftovers(hosts):
            with writing(hosts), alone_in(hosts):
                pass

    def _read(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        if not self.certificate_file.exists():
            raise NoAuthority(
                f"there is no CA in {self.directory}: make one with "
                f"`dqm certs ca --dir {self.directory}`"
            )
        self.put_right()
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
    valid_for = list(dict.fromkeys(map(alternative_name, names)))
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
