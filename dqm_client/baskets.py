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
UNFINISHED = ("waiting", "building")
SUMS = "SHA256SUMS"
UNKNOWN = (0, 502, 504)
"""After these a basket may have been begun all the same: its answer was lost on the way."""
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
        self._is_ours = True

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
        if not self._is_ours:
            return self._file  # who began it may want it, too
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
            self._is_ours = noted.get("ours", True)
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
        before = {one["id"] for one in self._connection.get("/downloads")["baskets"]}
        try:
            found = self._connection.post("/downloads", self._wanted)
            self._is_ours = True
        except ApiError as error:
            found = self._begun_already(error, before)
            self._is_ours = found["id"] not in before
        document = {"id": found["id"], "url": self._connection.url, "wanted": self._wanted}
        write_note(self._note, document | {"ours": self._is_ours})
        return found

    def _begun_already(self, error: ApiError, before: set[str]) -> dict[str, Any]:
        """The basket of these runs that there is although *error* is the answer; else raises it.

        It is the one that is being built, or, after an answer that was lost, one that was not there
        *before*.
        """
        if error.status != 409 and error.status not in UNKNOWN:
            raise error
        for one in self._look("/downloads")["baskets"]:
            is_built = one["state"] in UNFINISHED
            if (is_built or one["id"] not in before) and self._is_wanted(one):
                found: dict[str, Any] = one
                return found
            if is_built and error.status == 409:
                text = (
                    f" (basket {one['id']} with {one['runs']} runs, {one['first']} to "
                    f"{one['last']} of {one['camera']}: {one['runs_done']} are in it)"
                )
                raise ApiError(409, f"{error.detail}{text}") from error
        raise error

    def _is_wanted(self, basket: dict[str, Any]) -> bool:
        camera, runs = self._wanted["camera"], self._wanted["runs"]
        span = basket["camera"], basket["runs"], basket["first"], basket["last"]
        if span != (camera, len(runs), runs[0], runs[-1]):
            return False
        # older dashboards do not say the numbers: then it may be another one
        return self._look(f"/downloads/{basket['id']}").get("numbers") == runs

    def _built(self, found: dict[str, Any], progress: Progress | None) -> dict[str, Any]:
        where = f"/downloads/{found['id']}"
        while found["state"] in UNFINISHED:
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
