"""Reads certificates: whose they are, for which names they are valid, and until when."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from dqm_db.errors import ConfigurationError

KEY_FILE = "key.pem"
"""What the key of a host is called, which is no certificate."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What one certificate says.

    Attributes
    ----------
    path : Path
        Its file.
    name : str
        Whose it is, in words.
    names : tuple of str
        Host names and addresses for which it is valid; none for a CA.
    is_authority : bool
        Whether it is that of a CA.
    begins, expires : float
        Between which it is valid, Unix seconds.
    """

    path: Path
    name: str
    names: tuple[str, ...]
    is_authority: bool
    begins: float
    expires: float

    def days_left(self, now: float) -> float:
        """Days until it expires, at the time *now* (Unix seconds); negative afterwards."""
        return (self.expires - now) / 86_400

    @classmethod
    def of(cls, certificate: x509.Certificate, path: Path) -> Certificate:
        """The one that was read from *path*."""
        try:
            extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except (x509.ExtensionNotFound, ValueError):  # ValueError: not readable as such
            names: tuple[str, ...] = ()
        else:
            names = (
                *extension.value.get_values_for_type(x509.DNSName),
                *map(str, extension.value.get_values_for_type(x509.IPAddress)),
            )
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return cls(
            path=path,
            name=str(common[0].value) if common else certificate.subject.rfc4514_string(),
            names=names,
            is_authority=is_authority(certificate),
            begins=certificate.not_valid_before_utc.timestamp(),
            expires=certificate.not_valid_after_utc.timestamp(),
        )


def read_certificates(path: Path) -> list[x509.Certificate]:
    """The certificates of a PEM file, at least one.

    Raises
    ------
    ConfigurationError
        The file cannot be read, or holds none.
    """
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the certificate {path} ({error.strerror})"
        ) from error
    except ValueError as error:
        raise ConfigurationError(f"{path} holds no certificate in PEM format ({error})") from error


def certificate_expiry(path: Path) -> float:
    """When the certificate in the PEM file *path*, the first of them, expires: Unix seconds.

    Raises
    ------
    ConfigurationError
        The file cannot be read, or holds none.
    """
    return read_certificates(path)[0].not_valid_after_utc.timestamp()


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it may sign other certificates."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):  # ValueError: not readable as such
        return False


def found_certificates(path: Path) -> list[Certificate]:
    """The certificates in a PEM file, or in all files ``*.pem`` below a folder, sorted by file.

    Raises
    ------
    ConfigurationError
        There are none, or a file cannot be read.
    """
    if not path.is_dir():
        return [Certificate.of(one, path) for one in read_certificates(path)]
    found = [
        Certificate.of(one, file)
        for file in sorted(path.rglob("*.pem"))
        if file.name != KEY_FILE and file.parent.name[:1] != "."
        for one in read_certificates(file)
    ]
    if not found:
        raise ConfigurationError(f"there are no certificates below {path}")
    return found
