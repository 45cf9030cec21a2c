"""A folder that fsspec reaches: index pages of the web, WebDAV, XRootD, S3, SFTP."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dqm_db.settings import load
from ingest.sources.address import parse
from ingest.sources.base import Listing, RemoteFile, Source
from ingest.sources.errors import Corrupt, Unavailable
from ingest.sources.explained import explain
from ingest.sources.protocols import BY_SCHEME
from ingest.sources.settings import SourceSettings
from ingest.sources.transport import Transport, modified


class RemoteFolder(Source):
    """Files below a URL of one of the schemes of `ingest.sources.protocols`.

    Its paths are URLs without a password, and so is `root`. Nothing is connected before the first
    listing or fetch.

    Raises
    ------
    ConfigurationError
        The URL is none, a library is not installed, or credentials cannot be read.
    """

    def __init__(self, url: str) -> None:
        address = parse(url)
        self._secret = address.password
        self._timeout = load(SourceSettings).source_timeout
        self._transport: Transport = BY_SCHEME[address.scheme](address, self._timeout)
        self.root = self._transport.url(self._transport.path(address.server + address.path))

    def list(self, folder: str) -> Listing:
        """Files, with size and time of modification where the protocol has them; by name."""
        files, folders, unread = [], [], []
        with self._translated(folder):
            entries = self._transport.entries(self._transport.path(folder))
        for entry in sorted(entries, key=lambda entry: str(entry["name"])):
            url = self._transport.url(entry["name"].rstrip("/"))
            name = self._transport.name(entry["name"])
            if name in ("", ".", "..") or {"/", "\0"} & set(name):
                # It would lead out of the folder that it is fetched into.
                unread.append((url, "its name is none of a file"))
            elif entry["type"] == "directory":
                folders.append(url)
            elif entry["type"] == "file":
                files.append(RemoteFile(url, name, entry.get("size"), modified(entry)))
            else:
                unread.append((url, "neither a file nor a directory"))
        return Listing(tuple(files), tuple(folders), tuple(unread))

    def fetch(self, file: RemoteFile, target: Path) -> Path:
        """Stream *file* to *target*, which exists afterwards only if all of it has arrived."""
        output = _Target(target)
        try:
            with output, self._translated(file.path, output):
                length = self._transport.copy(self._transport.path(file.path), output)
            _check_length(file, length, output.written)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        return target

    def adler32(self, file: RemoteFile) -> int | None:
        """Asked of XRootD servers; others do not compute it."""
        with self._translated(file.path):
            return self._transport.adler32(self._transport.path(file.path))

    def close(self) -> None:
        """End connections."""
        self._transport.close()

    @contextmanager
    def _translated(self, url: str, output: _Target | None = None) -> Iterator[None]:
        """Whatever the libraries raise, as an error of ours that says where and why."""
        try:
            yield
        except Exception as error:
            if output is not None and output.failure is not None:
                raise output.failure from None
            kind, text = explain(error, self._timeout)
            if kind is Unavailable:
                self._transport.lost()
            if self._secret:
                text = text.replace(self._secret, "…")
            raise kind(f"{url}: {text}") from error


class _Target(io.BufferedWriter):
    """A new file; keeps apart what fails here from what fails at the source."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path, "xb"))
        self.written = 0
        self.failure: OSError | None = None

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        try:
            super().write(data)
        except OSError as error:
            self.failure = error
            raise
        self.written += len(data)
        return len(data)


def _check_length(file: RemoteFile, length: int | None, written: int) -> None:
    """Refuse what may be only the beginning of a file; *length* is what its transfer announced."""
    if length is None and file.size is None:
        raise Corrupt(
            f"{file.path}: the server does not say how long it is, so that nobody can tell whether "
            "all of it has arrived"
        )
    if length != written and (length is not None or written != file.size):
        raise Unavailable(
            f"{file.path}: broke off after {written:,} of {length or file.size:,} bytes"
        )
    if file.size is not None and file.size != written:
        raise Corrupt(f"{file.path}: {file.size:,} bytes were listed, {written:,} have arrived")
