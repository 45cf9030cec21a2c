"""A database that can be taken down at will, for the tests of the dashboard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dqm_app.settings import DashboardSettings
from dqm_db.reader import Snapshot
from dqm_db.writer import Writer

SETTINGS = DashboardSettings(watch_interval=0.01)

FIRST_READS = 3
"""Snapshots that a service takes when it starts: catalogues, last pull, and what the system page
says of the database."""


class FakeDatabase:
    """The database of a writer in this process, with a switch that takes it down."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.up = True
        self.error: Exception | None = None
        self.snapshots = 0
        self.closed = False

    def is_connected(self) -> bool:
        return self.up

    def last_transaction(self) -> bytes:
        return self.writer.database.last_transaction()

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        self.snapshots += 1
        if self.error is not None:
            raise self.error
        with self.writer.database.snapshot() as snapshot:
            yield snapshot

    def close(self) -> None:
        self.closed = True


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)
