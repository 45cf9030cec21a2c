"""A folder on this machine, or on a file system that is mounted here."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote

from ingest.errors import one_line
from ingest.sources.base import Listing, RemoteFile, Source
from ingest.sources.errors import AccessDenied, NotFound, SourceError, Unavailable


class LocalFolder(Source):
    """Files are read where they are. Links to folders are not followed."""

    streams = 1

    def __init__(self, root: str) -> None:
        self.root = unquote(root.removeprefix("file://")) if root.startswith("file://") else root

    def list(self, folder: str) -> Listing:
        """Files with size and time of modification, and folders, sorted by name."""
        files, folders, unread = [], [], []
        try:
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif entry.is_symlink() and os.path.isdir(entry.path):  # noqa: PTH112 (see there)
                        unread.append((entry.path, "it is a link: give it by its name"))
                    else:
                        files.append(_described(entry))
        except OSError as error:
            raise _translated(error, folder) from error
        return Listing(tuple(files), tuple(folders), tuple(unread))

    def fetch(self, file: RemoteFile, target: Path) -> Path:  # noqa: ARG002 (nothing is copied)
        """The file itself."""
        return Path(file.path)


def _described(entry: os.DirEntry[str]) -> RemoteFile:
    try:
        status = entry.stat()
    except OSError:  # gone, or a link that leads nowhere: reading it will say so
        return RemoteFile(entry.path, entry.name)
    return RemoteFile(entry.path, entry.name, status.st_size, status.st_mtime)


def _translated(error: OSError, folder: str) -> SourceError:
    kind: type[SourceError] = Unavailable
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        kind = NotFound
    elif isinstance(error, PermissionError):
        kind = AccessDenied
    return kind(f"{folder}: {error.strerror or one_line(error)}")
