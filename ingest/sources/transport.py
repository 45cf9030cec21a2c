"""What a protocol must do to be a remote folder, on top of a file system of fsspec."""

from __future__ import annotations

import importlib
import posixpath
import threading
from abc import ABC, abstractmethod
from datetime import datetime
from typing import Any, ClassVar, Protocol

from dqm_db.errors import ConfigurationError
from ingest.errors import one_line
from ingest.sources.address import Address

CHUNK = 2**22
"""Bytes that a stream of files holds in memory."""

Entry = dict[str, Any]
"""What fsspec says of a file: *name* (here always the path), *type*, *size* and others."""


class Output(Protocol):
    """Where the bytes of a file go."""

    def write(self, data: bytes, /) -> int:
        """Write all of *data*."""


class Transport(ABC):
    """The file system of one server. Raises whatever its libraries raise.

    Attributes
    ----------
    extra : str
        Optional dependencies of this project that it needs.
    module : str
        The one of them that is imported.
    """

    extra: ClassVar[str]
    module: ClassVar[str]

    def __init__(self, address: Address, timeout: int) -> None:
        self.address = address
        self.timeout = timeout
        try:
            self.library = importlib.import_module(self.module)
        except ImportError as error:
            raise ConfigurationError(
                f"{address.server}: {address.scheme}:// needs libraries that are not installed "
                f"({one_line(error)}): pip install 'nectarcam-dqm[{self.extra}]'"
            ) from error
        self._filesystem: Any = None
        self._connecting = threading.Lock()

    @property
    def filesystem(self) -> Any:
        """The fsspec file system, connected when it is first used."""
        with self._connecting:
            if self._filesystem is None:
                self._filesystem = self.connect()
            return self._filesystem

    @abstractmethod
    def connect(self) -> Any:
        """A new fsspec file system that caches nothing."""

    def path(self, url: str) -> str:
        """What the file system calls *url*."""
        return url.removeprefix(self.address.server)

    def url(self, path: str) -> str:
        """The opposite of `path`."""
        return self.address.server + path

    def name(self, path: str) -> str:
        """The last part of *path*, for people."""
        return posixpath.basename(path.rstrip("/"))

    def entries(self, path: str) -> list[Entry]:
        """What the directory *path* holds."""
        found: list[Entry] = self.filesystem.ls(path, detail=True)
        # What is no directory, or cannot be opened, is listed as its own and only content.
        inside = [entry for entry in found if entry["name"].strip("/") != path.strip("/")]
        if found and not inside:
            self.explain_itself(found[0])
        return inside

    def explain_itself(self, entry: Entry) -> None:
        """Raise what is wrong with a path that is listed as its own content, if anything is."""
        if entry["type"] == "file":
            raise NotADirectoryError(entry["name"])

    def copy(self, path: str, output: Output) -> int | None:
        """Write a file to *output*; how many bytes it has if one can be sure of that, else None."""
        length = 0
        with self.filesystem.open(path, "rb", block_size=CHUNK) as remote:
            while chunk := remote.read(CHUNK):
                output.write(chunk)
                length += len(chunk)
        return length

    def adler32(self, path: str) -> int | None:  # noqa: ARG002 (for those that can)
        """Checksum of a file, if the server computes it."""
        return None

    def lost(self) -> None:  # noqa: B027 (most connect again by themselves)
        """The server did not answer, or broke off."""

    def close(self) -> None:
        """End the connections; another use makes new ones."""
        with self._connecting:
            filesystem, self._filesystem = self._filesystem, None
        if filesystem is not None:
            self.disconnect(filesystem)

    def disconnect(self, filesystem: Any) -> None:  # noqa: B027 (most end with their last user)
        """End the connections of *filesystem*."""


def modified(entry: Entry) -> float | None:
    """Unix seconds of an entry's last modification, under whichever name it has."""
    for key in ("mtime", "modified", "LastModified"):
        value = entry.get(key)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return None
