"""Certificates for hosts that make their keys themselves, so that no key ever travels.

``dqm certs request`` makes a key, which waits beside the one in use, and a request (PKCS#10, RFC
2986), in which the key signs itself; ``dqm certs sign`` reads that where the CA is; ``dqm certs
install`` puts what comes back in the place of the old certificate and key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dqm_db.certificate_files import (
    AUTHORITY_CERTIFICATE,
    HOST_CERTIFICATE,
    key_bytes,
    pem,
    write,
    writing,
)
from dqm_db.certificate_names import alternative_name
from dqm_db.certificates import KEY_FILE, Certificate, is_authority, read_certificates
from dqm_db.errors import ConfigurationError, DQMError

WAITING_KEY = "request.key"
"""The key for which a certificate was asked, until that is installed."""

LARGEST_INPUT = 100_000
"""Bytes; a request has some 500, a certificate with that of its CA some 1500."""


class UnusableRequest(DQMError):
    """What should be the request of a host for a certificate is none."""

    exit_code = 65


class RequestRefused(DQMError):
    """A host asks for a certificate with names that it was not granted."""

    exit_code = 77


class UnusableCertificate(DQMError):
    """What should be the certificate that a host has asked for is none, or another one."""

    exit_code = 65


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """What a host asks for.

    Attributes
    ----------
    key
        For which it has proved that it has the private one.
    names : tuple of str
        Host names and addresses; none leaves them to who signs.
    """

    key: ec.EllipticCurvePublicKey
    names: tuple[str, ...]

    @classmethod
    def parse(cls, data: bytes) -> SigningRequest:
        """The one in *data* (PEM).

        Raises
        ------
        UnusableRequest
            It is none of `dqm certs request`, or its signature is not that of its key.
        """
        if not data.strip():
            raise UnusableRequest("no request came in; see what `dqm certs request` said")
        try:
            if len(data) > LARGEST_INPUT:
                raise ValueError("too large")
            request = x509.load_pem_x509_csr(data)
            key = request.public_key()
            signed = request.is_signature_valid
            extensions = list(request.extensions)
        except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
            raise UnusableRequest(f"that is no request of `dqm certs request` ({error})") from error
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(
            key.curve, ec.SECP256R1
        ):
            raise UnusableRequest("the key of the request is of another kind: make it anew")
        if not signed:
            raise UnusableRequest(
                "the request is not signed by its own key: who sent it does not have that"
            )
        names: list[str] = []
        for extension in extensions:
            if not isinstance(extension.value, x509.SubjectAlternativeName):
                raise UnusableRequest(
                    f"the request asks for more than names ({extension.oid.dotted_string})"
                )
            names += map(_name_of, extension.value)
        return cls(key, tuple(names))

    def granted(self, allowed: Sequence[str], always: Sequence[str]) -> list[str]:
        """The names for the certificate: those asked for, or all that are *allowed*.

        Raises
        ------
        ConfigurationError
            An allowed one can be no name.
        RequestRefused
            One is asked for that is neither *allowed* nor one that everybody has *always*.
        """
        known = {alternative_name(name) for name in (*allowed, *always)}
        others = [name for name in self.names if alternative_name(name) not in known]
        if others:
            raise RequestRefused(
                f"the request asks for {', '.join(others)}, too: name that as well if the host may "
                "have it"
            )
        return list(self.names or allowed)


def _name_of(name: x509.GeneralName) -> str:
    if isinstance(name, x509.DNSName | x509.IPAddress):
        text = str(name.value)
        try:
            alternative_name(text)
        except ConfigurationError as error:
            raise UnusableRequest(f"the request asks for a name that is none: {error}") from error
        return text
    raise UnusableRequest("the request asks for something that is neither host name nor address")


def make_request(folder: Path, names: Sequence[str]) -> bytes:
    """Make a key for this host, and the request for its certificate (PEM).

    The key waits in *folder*; the one in use stays until `install`.

    Raises
    ------
    ConfigurationError
        A name can be none.
    CertificateUnwritable
    """
    key = ec.generate_private_key(ec.SECP256R1())
    common = x509.NameAttribute(NameOID.COMMON_NAME, "NectarCAM DQM host")
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([common]))
    if names:
        wanted = list(dict.fromkeys(map(alternative_name, names)))
        builder = builder.add_extension(x509.SubjectAlternativeName(wanted), critical=False)
    request = builder.sign(key, hashes.SHA256())
    with writing(folder):
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        write(folder / WAITING_KEY, key_bytes(key), 0o600)
    return request.public_bytes(serialization.Encoding.PEM)


def install(folder: Path, data: bytes, *, new_authority: bool = False) -> Certificate:
    """Put the certificate that came back, its key and the CA into *folder*.

    ``cert.pem`` is the last to come, for whoever waits for it.

    Parameters
    ----------
    folder
        Where this host has its certificate.
    data
        What `Authority.sign` gave (PEM).
    new_authority
        Whether it may be of another CA than the one in the folder.

    Raises
    ------
    UnusableCertificate
        It is none, has expired, is not for the key that waits here, or of another CA.
    CertificateUnwritable
    """
    certificate, authority = _parse_answer(data)
    key = _key_of(folder, certificate)
    authorities = _trusted(folder / AUTHORITY_CERTIFICATE, authority, new_authority)
    with writing(folder):
        write(folder / AUTHORITY_CERTIFICATE, b"".join(map(pem, authorities)), 0o644)
        write(folder / KEY_FILE, key, 0o600)
        write(folder / HOST_CERTIFICATE, pem(certificate), 0o644)
        (folder / WAITING_KEY).unlink(missing_ok=True)
    return Certificate.of(certificate, folder / HOST_CERTIFICATE)


def _parse_answer(data: bytes) -> tuple[x509.Certificate, x509.Certificate]:
    """Certificate of the host and that of its CA."""
    if not data.strip():
        raise UnusableCertificate("no certificate came in; see what `dqm certs sign` said")
    try:
        if len(data) > LARGEST_INPUT:
            raise ValueError("too large")
        certificate, authority = x509.load_pem_x509_certificates(data)
        if is_authority(certificate) or not is_authority(authority):
            raise ValueError("not a host's and that of a CA")
        certificate.verify_directly_issued_by(authority)
        authority.verify_directly_issued_by(authority)
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise UnusableCertificate(
            f"that is not what `dqm certs sign` prints ({error or type(error).__name__})"
        ) from error
    now = datetime.now(UTC)
    if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
        raise UnusableCertificate(
            f"the certificate is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} to "
            f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, and here it is "
            f"{now:%Y-%m-%d %H:%M}: compare the clocks of both hosts"
        )
    return certificate, authority


def _key_of(folder: Path, certificate: x509.Certificate) -> bytes:
    """The private key of the certificate: the one that waits, else the one in use."""
    found = [path for path in (folder / WAITING_KEY, folder / KEY_FILE) if path.exists()]
    for path in found:
        try:
            data = path.read_bytes()
            key = serialization.load_pem_private_key(data, password=None)
        except OSError as error:
            raise ConfigurationError(f"cannot read the key {path} ({error.strerror})") from error
        except (ValueError, TypeError, UnsupportedAlgorithm):
            continue  # it fits nothing
        if key.public_key() == certificate.public_key():
            return data
    raise UnusableCertificate(
        f"the certificate is for no key in {folder}: ask for one with `dqm certs request`, and "
        "install what comes back for that"
    )


def _trusted(path: Path, authority: x509.Certificate, new: bool) -> list[x509.Certificate]:
    """What `ca.pem` will hold: the CA of now, and others that are in it."""
    if not path.exists():
        return [authority]
    there = read_certificates(path)
    others = [one for one in there if one.public_key() != authority.public_key()]
    if len(others) == len(there) and not new:
        raise UnusableCertificate(
            f"the certificate is of another CA than the one in {path}: is it from the right host? "
            "then give --new-ca"
        )
    return [authority, *others]
