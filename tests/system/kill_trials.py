"""Kills servers at random points under load, and looks for what was lost.

A `Load` stores runs without a pause, each with its original file in a blob. A `Watch` reads them
from the replica: no run may be there by half, none may vanish again. After each kill everything
whose commit returned must be on all servers, and their files must be the same.
"""

from __future__ import annotations

import hashlib
import random
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fleet import Compared, Fleet
from processes import DatabaseServer, eventually
from synthetic_runs import a_run

from dqm_db.content import Original
from dqm_db.errors import DatabaseUnavailable, RunExists
from dqm_db.reader import Snapshot
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import open_database
from dqm_db.writer import Writer, open_writer

CAMERA = "NectarCAMQM"
LATEST = 6
"""Runs that the watch looks at each time, the newest ones."""
SPREAD = 1.5
"""A kill comes up to this many times as late as a run takes to be stored."""


def original_of(run: int) -> Original:
    """Some blocks of a blob, the last one short; other bytes for each run."""
    seed = hashlib.sha256(str(run).encode()).digest()
    return Original("tar", seed * (3_000 + run * 7919 % 9_000))


def require_whole(snapshot: Snapshot, run: int) -> None:
    """Read everything of *run*; raises whatever is wrong with it."""
    expected = a_run(run)
    assert snapshot.header(CAMERA, run).provenance == expected.header.provenance
    names = [entry.name for entry in snapshot.quantities(CAMERA, run)]
    assert names == [quantity.name for quantity in expected.quantities]
    for quantity in expected.quantities:
        if quantity.unavailable is None:
            assert snapshot.columns(CAMERA, run, quantity.name).keys() == quantity.columns.keys()
    assert snapshot.verdict(CAMERA, run) is not None
    assert snapshot.original(CAMERA, run) == original_of(run)


class Load:
    """Stores one run after the other in a thread of its own, until it is stopped."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._may_run = threading.Event()
        self._idle = threading.Event()
        self._stopped = False
        self._took: list[float] = []
        self.begun = 0
        self.confirmed: list[int] = []
        self.in_doubt = 0
        """Commits of which it only turned out later whether they were stored."""
        self.found_stored = 0
        """How many of them were."""
        self.problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._may_run.set()
        self._thread.start()

    def pause(self) -> None:
        """Return when no commit is under way; none begins until `go_on`."""
        self._may_run.clear()
        eventually(lambda: self._idle.is_set() or self.problem, "the load pauses")
        self.require_fine()

    def go_on(self) -> None:
        self._may_run.set()

    def stop(self) -> None:
        self._stopped = True
        self._may_run.set()
        self._thread.join(30)

    def require_fine(self) -> None:
        assert self.problem is None, repr(self.problem)

    def wait_for(self, runs: int) -> None:
        """Return when *runs* more are stored."""
        goal = len(self.confirmed) + runs
        eventually(lambda: self.problem or len(self.confirmed) >= goal, "the load goes on")
        self.require_fine()

    def usual(self) -> float:
        """Seconds that a run takes to be stored."""
        return statistics.median(self._took[-30:])

    def _run(self) -> None:
        run = 1
        try:
            while not self._stopped:
                if not self._may_run.is_set():
                    self._idle.set()
                    self._may_run.wait()
                    self._idle.clear()
                    continue
                if self._store(run):
                    self.confirmed.append(run)
                    run += 1
        except BaseException as error:
            self.problem = error

    def _store(self, run: int) -> bool:
        content, original = a_run(run), original_of(run)
        self.begun += 1
        begin = time.monotonic()
        try:
            self._writer.store_run(content, original)
        except DatabaseUnavailable:
            self.in_doubt += 1
            time.sleep(0.02)
            return False
        except RunExists:
            # Only right after a commit whose answer was lost.
            assert self.in_doubt > self.found_stored
            self.found_stored += 1
        self._took.append(time.monotonic() - begin)
        return True


class Watch:
    """Reads from a server without a pause, in a thread of its own, until it is stopped."""

    def __init__(self, server: DatabaseServer, directory: Path) -> None:
        self._settings = load(
            DatabaseSettings,
            db_url=server.url,
            db_wait=1,
            db_patience=5,
            lock_dir=directory / "locks",
            blob_cache_dir=directory / "cache of the watch",
        )
        self._stopped = threading.Event()
        self._seen: set[int] = set()
        self.looks = 0
        self.problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(30)

    def require_fine(self) -> None:
        assert self.problem is None, repr(self.problem)

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                try:
                    with open_database(self._settings, read_only=True) as database:
                        while not self._stopped.is_set():
                            with database.snapshot() as snapshot:
                                self._look(snapshot)
                            self._stopped.wait(0.02)
                except DatabaseUnavailable:  # it was killed, or has nothing yet
                    self._stopped.wait(0.05)
        except BaseException as error:
            self.problem = error

    def _look(self, snapshot: Snapshot) -> None:
        runs = set(snapshot.runs(CAMERA)) if CAMERA in snapshot.cameras() else set()
        assert runs >= self._seen, f"vanished: {sorted(self._seen - runs)}"
        for run in sorted(runs)[-LATEST:]:
            require_whole(snapshot, run)
        self._seen = runs
        self.looks += 1


@dataclass
class Trials:
    """Kills, and what came of them."""

    fleet: Fleet
    load: Load
    watch: Watch
    seed: int
    kills: dict[str, int] = field(default_factory=dict)
    compared: Compared = field(default_factory=Compared)

    def run(self, victims: Sequence[str], number: int) -> None:
        """Kill the servers with these names at *number* random points, one after the other."""
        print(f"random points from TRIAL_SEED={self.seed}")
        points = random.Random(f"{self.seed} {victims}")
        servers: list[DatabaseServer] = [getattr(self.fleet, victim) for victim in victims]
        for _ in range(number):
            self.load.go_on()
            self.load.wait_for(1)
            begun = self.load.begun
            eventually(lambda begun=begun: self.load.begun > begun, "a commit begins")
            time.sleep(points.uniform(0, SPREAD) * self.load.usual())
            for server in points.sample(servers, len(servers)):
                server.kill()
            if self.fleet.primary not in servers:
                self.load.wait_for(1)  # nobody waits for a replica
            for server in points.sample(servers, len(servers)):
                server.start()
            for victim in victims:
                self.kills[victim] = self.kills.get(victim, 0) + 1
            self.load.wait_for(1)
            self.load.pause()
            self.require_nothing_lost()
        self.fleet.converge()

    def require_nothing_lost(self) -> None:
        """All that was confirmed is on all servers, whose files are the same."""
        self.compared = self.fleet.converge_since(self.compared)
        self.watch.require_fine()
        for server in (self.fleet.primary, self.fleet.replica, self.fleet.tail):
            settings = load(
                DatabaseSettings,
                db_url=server.url,
                db_wait=20,
                lock_dir=self.fleet.directory / "locks",
                blob_cache_dir=self.fleet.directory / f"cache {server.data_dir.name}",
            )
            with (
                open_database(settings, read_only=True) as database,
                database.snapshot() as snapshot,
            ):
                assert snapshot.runs(CAMERA) == self.load.confirmed
                for run in self.load.confirmed[-LATEST:]:
                    require_whole(snapshot, run)

    def summary(self) -> str:
        """How it went."""
        kills = ", ".join(f"{name} {number}" for name, number in sorted(self.kills.items()))
        return (
            f"TRIAL_SEED={self.seed}: killed: {kills}; {len(self.load.confirmed)} runs confirmed, "
            f"{self.load.in_doubt} commits in doubt of which {self.load.found_stored} were stored; "
            f"{self.watch.looks} looks at the replica; 0 lost, 0 diverged, 0 seen by half"
        )


@contextmanager
def trials(directory: Path, seed: int) -> Iterator[Trials]:
    """Servers, load and watch."""
    with ExitStack() as stack:
        fleet = stack.enter_context(Fleet(directory))
        settings = load(
            DatabaseSettings,
            db_url=fleet.primary.url,
            db_wait=20,
            db_patience=5,
            lock_dir=directory / "locks",
            blob_cache_dir=directory / "cache of the load",
        )
        work = Load(stack.enter_context(open_writer(settings)))
        stack.callback(work.stop)
        watch = Watch(fleet.replica, directory)
        stack.callback(watch.stop)
        yield Trials(fleet, work, watch, seed)
