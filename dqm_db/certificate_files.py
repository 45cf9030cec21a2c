"""Writes keys and certificates: whole or not at all, and keys for their owner only."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dqm_db.errors import DQMError

AUTHORITY_CERTIFICATE = "ca.pem"
HOST_CERTIFICATE = "cert.pem"


class CertificateExists(DQMError):
    """A certificate or key would be overwritten."""

    exit_code = 73


class CertificateUnwritable(DQMError):
    """A certificate or key cannot be written where it should be."""

    exit_code = 73


def pem(certificate: x509.Certificate) -> bytes:
    """The certificate in PEM format."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key in PKCS#8, PEM format, without password."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Have errors of the disk say what cannot be written: the file, else *path*.

    Raises
    ------
    CertificateUnwritable
    """
    try:
        yield
    except OSError as error:
        raise CertificateUnwritable(
            f"cannot write {error.filename or path} ({error.strerror})"
        ) from error


def write(path: Path, data: bytes, mode: int) -> None:
    """Put *data* into *path*, whole or not at all, and never readable by more than *mode* says.

    What root writes belongs to whom the folder belongs to.
    """
    descriptor, draft = tempfile.mkstemp(prefix=".new-", dir=path.parent)  # mode 600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if os.geteuid() == 0:
                folder = path.parent.stat()
                os.fchown(file.fileno(), folder.st_uid, folder.st_gid)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def replace_folder(folder: Path, draft: Path) -> None:
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
