"""Files of backups: copied with a digest, compressed, safe on the disk."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import zstandard

from backup.errors import BackupFailed, BackupUnwritable, DamagedBackup

PIECE = 1 << 20
LEVEL = 1
"""Zstandard level: what is stored is compressed already, so a higher one only takes time."""

DIGEST_BYTES = 32
"""Of BLAKE2b: what ``b2sum -l 256`` prints."""

_PLACE_IS_WRONG = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENOENT}
)

Advance = Callable[[int], None]
"""Is told how many bytes were done."""


def new_digest() -> hashlib.blake2b:
    """The digest of all files of backups."""
    return hashlib.blake2b(digest_size=DIGEST_BYTES)


def copy(source: BinaryIO, target: BinaryIO | None, advance: Advance) -> tuple[int, str]:
    """Read *source* to its end, write it to *target* unless that is None; its size and digest."""
    digest = new_digest()
    size = 0
    buffer = memoryview(bytearray(PIECE))
    while count := source.readinto(buffer):  # type: ignore[attr-defined]
        digest.update(buffer[:count])
        if target is not None:
            target.write(buffer[:count])
        size += count
        advance(count)
    return size, digest.hexdigest()


def compress(source: Path, target: Path, advance: Advance) -> tuple[int, str]:
    """Write the file *target*, *source* as a Zstandard frame; size and digest of *source*."""
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
    with source.open("rb") as plain, target.open("xb") as file:
        with compressor.stream_writer(file, closefd=False) as stream:
            done = copy(plain, stream, advance)
        file.flush()
        os.fsync(file.fileno())
    return done


def decompress(
    source: Path, target: BinaryIO | None, size: int, digest: str, advance: Advance
) -> None:
    """Append what *source* holds to *target*, unless that is None.

    Raises
    ------
    DamagedBackup
        It is not of *size* and *digest*, or cannot be read.
    """
    decompressor = zstandard.ZstdDecompressor()
    try:
        with source.open("rb") as file, decompressor.stream_reader(file) as stream:
            found = copy(stream, target, advance)
    except zstandard.ZstdError as error:
        raise DamagedBackup(f"{source} is damaged ({error})") from error
    except FileNotFoundError as error:
        raise DamagedBackup(f"{source} is missing") from error
    if found != (size, digest):
        raise DamagedBackup(
            f"{source} is damaged: it holds {found[0]} bytes with the digest {found[1]}, not "
            f"{size} bytes with {digest}"
        )


def sync(path: Path) -> None:
    """Have a file or folder on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_all(path: Path) -> None:
    """Have all that was written to the file system of *path* on the disk.

    For thousands of files at once; Python has this only for all file systems together.
    """
    library = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if library.syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)


def write_whole(path: Path, data: bytes) -> None:
    """Make the file *path*, or replace it, all or nothing and on the disk at return."""
    draft = path.with_name(f".{path.name}.new")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync(path.parent)


def require_room(folder: Path, size: int, what: str) -> None:
    """Check that *folder* has room for *size* bytes.

    Raises
    ------
    BackupUnwritable
    """
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if free < size:
        raise BackupUnwritable(
            f"{what} takes {size / 1e6:.0f} MB, but the disk of {folder} has only "
            f"{free / 1e6:.0f} MB left: make room, or choose another folder"
        )


@contextlib.contextmanager
def writing(what: str, folder: Path) -> Iterator[None]:
    """What goes wrong with disks, in words.

    Raises
    ------
    BackupUnwritable
        *folder* is not ours to write.
    BackupFailed
        A disk is full or broken.
    """
    try:
        yield
    except OSError as error:
        place = error.filename or folder
        reason = error.strerror or error
        if error.errno in _PLACE_IS_WRONG:
            raise BackupUnwritable(
                f"{what}: cannot use {place} ({reason}): make it accessible for this user, or "
                "choose another folder"
            ) from error
        raise BackupFailed(f"{what} failed at {place} ({reason}): nothing of it is kept") from error
