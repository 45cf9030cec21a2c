"""What was acknowledged is on the disk, on the primary and on a replica: the order of system calls.

Both are real servers, whose interpreters note each ``fsync`` and ``rename`` that they do.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import ZODB
import ZODB.blob
from processes import DatabaseServer

pytestmark = pytest.mark.system

NOTING = '''
"""Python imports this module when it starts."""
import json, os

fsync, rename = os.fsync, os.rename
notes = os.open(os.environ["NOTES"], os.O_CREAT | os.O_WRONLY | os.O_APPEND)

def note(*what):
    os.write(notes, json.dumps(what).encode() + b"\\n")

def noted_fsync(file):
    descriptor = file if isinstance(file, int) else file.fileno()
    fsync(descriptor)
    note("fsync", os.readlink(f"/proc/self/fd/{descriptor}"))

def noted_rename(old, new, **options):
    rename(old, new, **options)
    note("rename", os.fspath(old), os.fspath(new))

os.fsync, os.rename = noted_fsync, noted_rename
'''
"""As ``sitecustomize.py``, before ZODB takes ``os.fsync`` for its own."""

Call = tuple[str, ...]


class Noted:
    """What a server has done with its disk."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self.path = directory / f"{name}.calls"

    @property
    def environment(self) -> dict[str, str]:
        folder = self.directory / "noting"
        folder.mkdir(exist_ok=True)
        (folder / "sitecustomize.py").write_text(NOTING)
        return {"PYTHONPATH": str(folder), "NOTES": str(self.path)}

    def calls(self) -> list[Call]:
        return [tuple(json.loads(line)) for line in self.path.read_text().splitlines()]


def store_blob(server: DatabaseServer, caches: Path, name: str, data: bytes) -> None:
    database = ZODB.DB(server.client(blob_dir=str(caches)))
    try:
        with database.transaction() as connection:
            connection.root()[name] = ZODB.blob.Blob(data)
    finally:
        database.close()


def around(calls: list[Call], blob: Path, data_file: Path) -> tuple[list[Call], str, list[Call]]:
    """What came before *blob* got its name, what it was called, and what came up to Data.fs."""
    (at,) = [number for number, call in enumerate(calls) if call[-1] == str(blob)]
    what, draft, _ = calls[at]
    assert what == "rename"
    end = calls.index(("fsync", str(data_file)), at)
    return calls[:at], draft, calls[at + 1 : end]


def test_a_blob_its_name_and_new_folders_are_on_the_disk_before_the_transaction(
    tmp_path: Path, database_server: Callable[..., DatabaseServer]
) -> None:
    notes = {name: Noted(tmp_path, name) for name in ("primary", "replica")}
    primary = database_server("primary", environment=notes["primary"].environment).start()
    replica = database_server(
        "replica", source=primary, environment=notes["replica"].environment
    ).start()
    seen: set[str] = set()
    added: list[str] = []
    for name in ("first", "second"):
        store_blob(primary, tmp_path / "cache", name, name.encode() * 1000)
        (blob,) = set(primary.contents()) - seen - {"Data.fs"}
        seen.add(blob)
        added.append(blob)
    replica.wait_for(primary)
    assert replica.contents() == primary.contents()

    for server in (primary, replica):
        calls = notes[server.data_dir.name].calls()
        blobs = server.data_dir / "blobstorage"
        before, draft, after = around(calls, blobs / added[0], server.data_file)
        assert before[-1] == ("fsync", draft)
        assert Path(draft).parent == blobs / "tmp"
        levels = len(Path(added[0]).parents)  # one of them is the folder of all
        folders = (blobs / added[0]).parents[:levels]
        assert folders[-1] == blobs
        assert after == [("fsync", str(folder)) for folder in folders]
        # the second one, beside it, has one new folder
        before, draft, after = around(calls, blobs / added[1], server.data_file)
        assert before[-1] == ("fsync", draft)
        assert after == [("fsync", str(folder)) for folder in (blobs / added[1]).parents[:2]]
        # and what a new volume begins with
        own = (server.data_dir.parent, server.data_dir, server.data_file.parent, blobs)
        assert {("fsync", str(folder)) for folder in own} <= set(calls)
