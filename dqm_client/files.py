"""Files that are fetched in pieces, and continued where they stopped.

While ``FILE`` is not complete, its beginning is in ``FILE.part``, and which file that is the
beginning of in ``FILE.part.json``.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dqm_client.connection import Connection, tried
from dqm_client.errors import ApiError

CHUNK = 1 << 20
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/=]+):")
_WHOLE = re.compile(r"bytes (?:[0-9]+-[0-9]+|\*)/([0-9]+)")
Progress = Callable[[int, int], None]


class PartialFile:
    """A file that is being fetched.

    Parameters
    ----------
    connection : Connection
    path : str
        Of the dashboard.
    file : Path
        Where to.
    """

    def __init__(self, connection: Connection, path: str, file: Path) -> None:
        self._connection = connection
        self._path = path
        self.part = file.with_name(f"{file.name}.part")
        self._note = file.with_name(f"{file.name}.part.json")

    def fetch(self, progress: Progress | None = None) -> Path:
        """Fetch what is missing and return `part`; raises `ApiError`.

        After a lost connection it goes on by itself, for as long as something comes now and then.
        """
        while True:
            before = self._size()
            try:
                tried(lambda: self._fetch(progress), functools.partial(self._is_stuck, before))
            except ApiError as error:
                if not error.may_pass or self._size() <= before:
                    raise
            else:
                self._check()
                return self.part

    def _is_stuck(self, before: int, error: ApiError) -> bool:
        """Whether nothing came, which may be otherwise after a while; else it goes on at once."""
        return error.may_pass and self._size() <= before

    def forget(self) -> None:
        """Remove what was fetched."""
        self.part.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def keep_as(self, file: Path) -> None:
        """All is there: give it its name."""
        self.part.replace(file)
        self._note.unlink(missing_ok=True)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _noted(self) -> dict[str, Any]:
        """What is known of the file; nothing when that cannot be read."""
        try:
            found = json.loads(self._note.read_text("utf-8"))
            return found if found["path"] == self._path and found["etag"] else {}
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return {}

    def _fetch(self, progress: Progress | None) -> None:
        noted = self._noted()
        had = self._size() if noted else 0
        if noted and had == noted["size"]:
            return
        headers = {"Range": f"bytes={had}-", "If-Range": noted["etag"]} if had else {}
        try:
            self._take(headers, had, progress)
        except ApiError as error:
            if error.status != 416:
                raise
            self.forget()  # more than there is: it was another one
            self._take({}, 0, progress)

    def _take(self, headers: dict[str, str], had: int, progress: Progress | None) -> None:
        with self._connection.open("GET", self._path, headers=headers) as answer:
            if answer.status == 206:
                found = _WHOLE.fullmatch(answer.headers.get("Content-Range", ""))
                size = int(found[1]) if found else had + int(answer.headers["Content-Length"])
                mode = "ab"
            else:
                had, size, mode = 0, int(answer.headers["Content-Length"]), "wb"
            with self.part.open(mode) as file:
                if mode == "wb":
                    digest = _DIGEST.search(answer.headers.get("Repr-Digest", ""))
                    self._remember(size, answer.headers.get("ETag", ""), digest and digest[1])
                while chunk := answer.read(CHUNK):
                    file.write(chunk)
                    had += len(chunk)
                    if progress is not None:
                        progress(had, size)
        if had != size:
            raise ApiError(0, f"the connection to {self._connection.url} was lost")

    def _remember(self, size: int, etag: str, sha256: str | None) -> None:
        document = {"path": self._path, "size": size, "etag": etag, "sha256": sha256}
        write_note(self._note, document)

    def _check(self) -> None:
        expected = self._noted().get("sha256")
        if expected is None:
            return
        with self.part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").digest()
        if found != base64.b64decode(expected):
            self.forget()
            raise ApiError(0, f"{self._path} came damaged and was removed: fetch it again")


def write_note(note: Path, document: dict[str, Any]) -> None:
    """Write *document* as JSON: all of it, or what was there before stays."""
    draft = note.with_name(f"{note.name}.new")
    draft.write_text(json.dumps(document), "utf-8")
    draft.replace(note)
