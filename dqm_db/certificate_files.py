"""Writes keys and certificates: whole or not at all, and keys for their owner only."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dqm_db.errors import DQMError

logger = logging.getLogger(__name__)

NEW = ".new-"
"""How names of drafts begin."""
_OLD = ".old-"

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
    descriptor, draft = tempfile.mkstemp(prefix=NEW, dir=path.parent)  # mode 600
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


@contextlib.contextmanager
def alone_in(parent: Path) -> Iterator[None]:
    """Replace folders in *parent* while no other process does; what a killed one left is put right.

    Raises
    ------
    OSError
    """
    descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # ends with the process
        _put_right(parent)
        yield
    finally:
        os.close(descriptor)


def has_leftovers(parent: Path) -> bool:
    """Whether something is, or was when it was killed, about to replace a folder in *parent*."""
    return any(any(parent.glob(f"{prefix}*")) for prefix in (_OLD, NEW))


def _put_right(parent: Path) -> None:
    """The command that was killed did not end well: the old folder is the one that counts."""
    for old in sorted(parent.glob(f"{_OLD}*")):
        for folder in old.iterdir():
            back = parent / folder.name
            if not back.exists():  # else it was killed while it removed the old one
                folder.rename(back)
                logger.warning(
                    "%s was being replaced when that was interrupted: it is as it was before", back
                )
        shutil.rmtree(old)
    for draft in parent.glob(f"{NEW}*"):
        shutil.rmtree(draft)


def replace_folder(folder: Path, draft: Path) -> None:
    """Let *draft* become *folder*, so that no certificate is ever beside the key of another.

    Killed between its two renames it leaves no *folder*; `alone_in`, in which it has to be called,
    brings that back the next time.
    """
    if not folder.exists():
        draft.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=_OLD, dir=folder.parent))
    folder.rename(old / folder.name)
    try:
        draft.rename(folder)
    except OSError:
        (old / folder.name).rename(folder)
        raise
    finally:
        shutil.rmtree(old)
