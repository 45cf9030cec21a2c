"""Lets files, and the names of files, be on the disk before something is said to be stored."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_CANNOT = frozenset({errno.EINVAL, errno.EBADF})
"""What file systems say that know no such thing for folders, e.g. some of the network."""


def sync_file(path: Path) -> None:
    """Return when what is in the file *path* is on the disk.

    Raises
    ------
    OSError
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Return when the names in the folder *path* are on the disk: new, renamed and removed ones.

    A file system that cannot do that for folders does it by itself, or not at all.

    Raises
    ------
    OSError
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
    finally:
        os.close(descriptor)
