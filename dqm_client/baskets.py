"""Baskets: the files of many runs as one archive, ordered, waited for, fetched.

The order is in ``FILE.part.basket`` until ``FILE`` is complete, so that whoever asks again for the
same gets the same basket.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dqm_client.connection import Connection, tried
from dqm_client.errors import ApiError
from dqm_client.files import CHUNK, PartialFile, write_note

LOOK_SECONDS = 0.5
SUMS = "SHA256SUMS"
Progress = Callable[[str, int, int], None]


class Order:
    """A basket for one file.

    Parameters
    ----------
    connection : Connection
    camera : str
    runs : sequence of int
    file : Path
        Where the archive will be.
    """

    def __init__(
        self, connection: Connection, camera: str, runs: Sequence[int], file: Path
    ) -> None:
        self._connection = connection
        self._wanted = {"camera": camera, "runs": sorted(set(runs))}
        self._file = file
        self._note = file.with_name(f"{file.name}.part.basket")

    def fetch(self, progress: Progress | None) -> Path:
        """Order it, or find what was ordered; wait; fetch; raises `ApiError`."""
        basket = self._built(self._known() or self._new(), progress)
        where = f"/downloads/{basket['id']}"
        partial = PartialFile(self._connection, f"{where}/file", self._file)
        told = None if progress is None else lambda done, of: progress("fetching", done, of)
        wrong = wrong_in(partial.fetch(told))
        if wrong:
            partial.forget()
            raise ApiError(0, f"the archive came damaged and was removed, fetch it again: {wrong}")
        partial.keep_as(self._file)
        self._note.unlink(missing_ok=True)
        try:
            self._connection.delete(where)
        except ApiError as error:
            text = f"{self._file} is complete; its basket is still on the dashboard: {error}"
            warnings.warn(text, stacklevel=3)
        return self._file

    def _known(self) -> dict[str, Any] | None:
        """What was ordered for this file before, if it is the same and has not failed or ended."""
        try:
            noted = json.loads(self._note.read_text("utf-8"))
            same = noted["wanted"] == self._wanted and noted["url"] == self._connection.url
            where = f"/downloads/{noted['id']}"
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        if not same:
            return None
        try:
            found = self._look(where)
            if found["state"] != "failed":
                return found
            self._connection.delete(where)
        except ApiError as error:
            if error.status != 404:
                raise
        return None

    def _new(self) -> dict[str, Any]:
        try:
            found = self._connection.post("/downloads", self._wanted)
        except ApiError as error:
            if error.status == 409:
                raise ApiError(409, f"{error.detail}{self._others()}") from error
            raise
        document = {"id": found["id"], "url": self._connection.url, "wanted": self._wanted}
        write_note(self._note, document)
        return found

    def _others(self) -> str:
        """A word about the basket that is in the way."""
        for one in self._connection.get("/downloads")["baskets"]:
            if one["state"] in ("waiting", "building"):
                return (
                    f" (basket {one['id']} with {one['runs']} runs, {one['first']} to "
                    f"{one['last']} of {one['camera']}: {one['runs_done']} are in it)"
                )
        return ""

    def _built(self, found: dict[str, Any], progress: Progress | None) -> dict[str, Any]:
        where = f"/downloads/{found['id']}"
        while found["state"] in ("waiting", "building"):
            if progress is not None:
                progress("building", found["bytes_done"], found["bytes"])
            time.sleep(LOOK_SECONDS)
            found = self._look(where)
        if found["state"] != "done":
            raise ApiError(0, f"the basket could not be built: {found['text']}")
        return found

    def _look(self, where: str) -> dict[str, Any]:
        # a dashboard that is restarted costs nobody a basket
        return tried(lambda: self._connection.get(where), lambda error: error.may_pass)


def wrong_in(archive: Path) -> str:
    """What is wrong in the archive of a basket; empty when each file has its digest."""
    found: dict[str, str] = {}
    listed: list[str] | None = None
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                stream = tar.extractfile(member)
                if stream is None:
                    continue
                if member.name == SUMS:
                    listed = stream.read().decode().splitlines()
                    continue
                digest = hashlib.sha256()
                while chunk := stream.read(CHUNK):
                    digest.update(chunk)
                found[member.name] = digest.hexdigest()
    except (tarfile.TarError, ValueError) as error:
        return str(error)
    if listed is None:
        return f"{SUMS} is missing"
    for line in listed:
        digest_of, _, name = line.partition("  ")
        if found.get(name) != digest_of:
            return f"{name} is not what it was"
    return ""
