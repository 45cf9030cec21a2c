"""A source whose files are in memory, and which fails as it is told."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable
from pathlib import Path

from ingest.sources.base import Listing, RemoteFile, Source

Behaviour = Callable[[RemoteFile, Path], None]


class MemorySource(Source):
    """Files by name.

    Attributes
    ----------
    files : dict
        Name to contents.
    checksums : bool
        Whether listings have adler32.
    behaviours : dict
        Name to what happens instead of a download.
    fetched : list of str
        Names, in the order in which they were asked for.
    most_at_once : int
        Fetches that were under way together.
    """

    root = "memory://dqm"

    def __init__(self, files: dict[str, bytes], *, checksums: bool = True) -> None:
        self.files = dict(files)
        self.checksums = checksums
        self.modified: dict[str, float] = {}
        self.behaviours: dict[str, Behaviour] = {}
        self.fetched: list[str] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()

    def described(self, name: str) -> RemoteFile:
        data = self.files[name]
        adler32 = zlib.adler32(data) if self.checksums else None
        modified = self.modified.get(name, 1.7e9)
        return RemoteFile(f"{self.root}/{name}", name, len(data), modified, adler32)

    def list(self, folder: str) -> Listing:
        return Listing(tuple(self.described(name) for name in sorted(self.files)))

    def fetch(self, file: RemoteFile, target: Path) -> Path:
        with self._lock:
            self.fetched.append(file.name)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            behaviour = self.behaviours.get(file.name)
            if behaviour is None:
                target.write_bytes(self.files[file.name])
            else:
                behaviour(file, target)
        finally:
            with self._lock:
                self._at_once -= 1
        return target
