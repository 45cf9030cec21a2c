"""A primary, a replica behind a relay and a last link that follows the replica, for trials."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import ZODB
from feed_relay import FeedRelay
from processes import LOOPBACK, DatabaseServer, eventually
from ZODB.FileStorage import FileIterator

from dqm_db.server_answers import ServerAnswer, ask_status


def told(server: DatabaseServer) -> ServerAnswer:
    """What *server* says of itself, for which it has 10 s."""
    return asyncio.run(ask_status(LOOPBACK, server.port, 10))


class Fleet:
    """Three servers; the relay between the first two can be made to fail.

    Parameters
    ----------
    directory
        Gets their data and logs.
    environment
        Variables of all of them; for one only in the other mappings.
    """

    def __init__(
        self,
        directory: Path,
        environment: Mapping[str, str] | None = None,
        *,
        primary: Mapping[str, str] | None = None,
        replica: Mapping[str, str] | None = None,
    ) -> None:
        common = dict(environment or {})
        self.directory = directory
        self.primary = DatabaseServer(
            directory, "primary", environment=common | dict(primary or {})
        )
        self.relay = FeedRelay(self.primary.replication_port)
        self.replica = DatabaseServer(
            directory,
            "replica",
            source=self.relay,  # type: ignore[arg-type]
            feeds=True,
            environment=common | dict(replica or {}),
        )
        self.tail = DatabaseServer(directory, "tail", source=self.replica, environment=common)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for each in (self.primary, self.relay, self.replica, self.tail):
                stack.enter_context(each)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def put(self, key: str, value: object) -> None:
        """Commit on the primary, by a client of its own."""
        database = ZODB.DB(self.primary.client(blob_dir=str(self.directory / "cache of put")))
        try:
            with database.transaction() as connection:
                connection.root()[key] = value
        finally:
            database.close()

    def get(self, server: DatabaseServer, key: str) -> Any:
        """What a client of *server* reads."""
        database = ZODB.DB(server.client(read_only=True))
        try:
            with database.transaction() as connection:
                return connection.root().get(key)
        finally:
            database.close()

    def converge(self) -> None:
        """Wait until all have the same last transaction; then all must hold the same bytes."""
        self.replica.wait_for(self.primary)
        self.tail.wait_for(self.primary)
        contents = held(self.primary)
        for server in (self.replica, self.tail):
            others = held(server)
            differing = [
                f"{name}: {len(contents.get(name, b''))} and {len(others.get(name, b''))} bytes"
                for name in contents.keys() | others.keys()
                if contents.get(name) != others.get(name)
            ]
            assert not differing, f"{server.data_dir.name} has diverged: {differing}"

    def converge_since(self, before: Compared) -> Compared:
        """As `converge`, but look only at what has come since."""
        self.replica.wait_for(self.primary)
        self.tail.wait_for(self.primary)
        now = [grown(server, before) for server in (self.primary, self.replica, self.tail)]
        # What a kill has left beside the transactions is looked at by `converge` in the end.
        common = set.intersection(*(set(blobs) for _, blobs in now))
        for data, blobs in now[1:]:
            assert data == now[0][0], "Data.fs has diverged"
            assert all(blobs[name] == now[0][1][name] for name in common), "blobs have diverged"
        return Compared(before.position + len(now[0][0]), before.blobs | common)

    def follows(self) -> None:
        """Wait until the replica says that it follows."""
        eventually(lambda: told(self.replica).following == "connected", "the replica follows")


@dataclass(frozen=True)
class Compared:
    """What was found to be the same on all servers: bytes of ``Data.fs``, and names of blobs."""

    position: int = 0
    blobs: frozenset[str] = frozenset()


def grown(server: DatabaseServer, before: Compared) -> tuple[bytes, dict[str, bytes]]:
    """What follows in ``Data.fs``, and the further blobs."""
    with server.data_file.open("rb") as file:
        file.seek(before.position)
        data = file.read()
    folder = server.data_dir / "blobstorage"
    names = {str(path.relative_to(folder)): path for path in folder.glob("0x*/**/*.blob")}
    return data, {
        name: path.read_bytes() for name, path in names.items() if name not in before.blobs
    }


def held(server: DatabaseServer) -> dict[str, bytes]:
    """Its ``Data.fs`` and the blobs of the transactions in there, by name.

    A server that is killed in a commit may leave a blob to which nothing refers. The name of a
    blob says of which transaction it is.
    """
    contents = server.contents()
    finished = {f"0x{each.tid.hex()}.blob" for each in FileIterator(str(server.data_file))}
    return {
        name: data
        for name, data in contents.items()
        if name == "Data.fs" or name.rpartition("/")[2] in finished
    }


def in_background(function: Any, *arguments: Any) -> threading.Thread:
    """*function* in a thread that does not keep the tests from ending."""
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread
