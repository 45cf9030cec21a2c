"""A primary with a run in it, and a replica behind a relay, which can lose it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from feed_relay import FeedRelay
from processes import DatabaseServer
from synthetic_runs import a_run

from dqm_db.content import RunContent
from dqm_db.settings import DatabaseSettings, load
from dqm_db.writer import open_writer

CAMERA = "NectarCAMQM"


class RelayedPair:
    """Both servers, in step at first; *stack* ends them.

    Parameters
    ----------
    directory
        Of their volumes and logs.
    stack
        Gets what is to be closed.
    """

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.primary = stack.enter_context(DatabaseServer(directory, "primary"))
        self.relay = stack.enter_context(FeedRelay(self.primary.replication_port))
        self.replica = stack.enter_context(
            DatabaseServer(directory, "replica", source=self.relay)  # type: ignore[arg-type]
        )
        self.settings = load(
            DatabaseSettings,
            db_url=self.primary.url,
            db_wait=20,
            lock_dir=directory / "locks",
            lock_wait=20,
        )
        self._run = 6000
        self.store()
        self.replica.wait_for(self.primary)

    def next_run(self) -> RunContent:
        """A run that is not stored yet."""
        self._run += 1
        return a_run(self._run, CAMERA)

    def store(self) -> int:
        """Store the next run and return its number."""
        run = self.next_run()
        with open_writer(self.settings) as writer:
            writer.store_run(run, None)
        return run.header.run
