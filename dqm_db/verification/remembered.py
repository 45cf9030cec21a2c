"""Where the last verification of a pair of servers ended, in a small file per pair."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dqm_db.errors import DQMError
from dqm_db.verification.pairs import Verified


class StateUnusable(DQMError):
    """What `dqm verify` remembers cannot be read or written."""

    exit_code = 73


class Memory:
    """What is remembered in a folder.

    Parameters
    ----------
    directory
        Made when something is remembered.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _path(self, one: str, other: str) -> Path:
        """The file of a pair, whichever of both is the primary."""
        names = (re.sub(r"[^A-Za-z0-9.-]", "_", name) for name in sorted((one, other)))
        return self._directory / f"verified-{'-'.join(names)}.json"

    def recall(self, one: str, other: str) -> Verified | None:
        """What is remembered of the servers *one* and *other* (HOST:PORT), None for nothing.

        Raises
        ------
        StateUnusable
            The file is there, but not what was written.
        """
        path = self._path(one, other)
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            tid, digest = bytes.fromhex(known["tid"]), bytes.fromhex(known["digest"])
            if len(tid) != 8:
                raise ValueError("its transaction is none")
            return Verified(tid, digest, float(known["at"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StateUnusable(
                f"cannot use {path} ({error}): everything is verified, and it is written anew"
            ) from error

    def remember(self, one: str, other: str, verified: Verified) -> None:
        """Remember that both are the same up to *verified*.

        Raises
        ------
        StateUnusable
            The file cannot be written.
        """
        path = self._path(one, other)
        document = {
            "tid": verified.tid.hex(),
            "digest": verified.digest.hex(),
            "at": verified.at,
            "servers": sorted((one, other)),
        }
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with _draft(path) as draft:
                draft.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
                draft.replace(path)
        except OSError as error:
            raise StateUnusable(
                f"cannot remember what was verified in {path} ({error.strerror}): make "
                "DQM_STATE_DIR a folder that can be written, else --new verifies everything"
            ) from error


@contextlib.contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """A new file beside *path*, removed unless it was renamed."""
    number, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    os.close(number)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
