"""``dqm pack`` on real servers: what it gives back, what stays, and when it refuses."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from processes import COMMANDS, LOOPBACK, DatabaseServer, eventually
from synthetic_runs import a_run
from ZODB.TimeStamp import TimeStamp

from dqm_db.content import Original
from dqm_db.errors import DatabaseUnavailable
from dqm_db.operations import Operation, OperationName
from dqm_db.peers import ask_servers
from dqm_db.replication.addresses import Address
from dqm_db.server_packing import look_at, mark, pack_servers
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import open_database
from dqm_db.volume.layout import Volume
from dqm_db.volume.maintenance import maintaining
from dqm_db.writer import open_writer

pytestmark = pytest.mark.system

Servers = Callable[..., DatabaseServer]
CAMERA = "NectarCAMQM"
SIZE = 300_000


def original(run: int) -> bytes:
    return np.random.default_rng(run).bytes(SIZE)


@dataclass(frozen=True)
class Pair:
    primary: DatabaseServer
    replica: DatabaseServer
    folder: Path

    @property
    def settings(self) -> DatabaseSettings:
        locks = self.folder / "locks"
        return load(DatabaseSettings, db_url=self.primary.url, lock_dir=locks, db_wait=10)

    @property
    def addresses(self) -> tuple[Address, Address]:
        return Address(LOOPBACK, self.primary.port), Address(LOOPBACK, self.replica.port)

    def store(self, *runs: int) -> None:
        with open_writer(self.settings) as writer:
            for run in runs:
                writer.store_run(a_run(run), Original("tar", original(run)))

    def delete(self, *runs: int) -> None:
        with open_writer(self.settings) as writer:
            for run in runs:
                writer.delete_run(CAMERA, run)

    def dqm(self, *words: str) -> subprocess.CompletedProcess[str]:
        own = {"DQM_DB_URL": self.primary.url, "DQM_LOCK_DIR": str(self.folder / "locks")}
        return subprocess.run(
            [COMMANDS / "dqm", *words],
            env=self.primary.environment | own | {"DQM_STATE_DIR": str(self.folder / "state")},
            capture_output=True,
            text=True,
            check=False,
        )

    def pack(self, *arguments: str, servers: bool = True) -> subprocess.CompletedProcess[str]:
        named = ["--servers", ",".join(map(str, self.addresses))] if servers else []
        return self.dqm("pack", *named, *arguments)

    def start_pack(self) -> threading.Thread:
        """Pack the primary in a thread, whether or not that comes to an end."""

        def work() -> None:
            with contextlib.suppress(DatabaseUnavailable), open_database(self.settings) as database:
                database.pack(time.time())

        thread = threading.Thread(target=work)
        thread.start()
        return thread

    def pack_to(self, until: float, *servers: Address) -> None:
        """As the command, at a time of which it knows days only."""
        with open_writer(self.settings) as writer:
            fit = look_at(servers, until, mark(writer))
            for packed in pack_servers(self.settings, fit, until):
                assert packed.error is None


@pytest.fixture
def pair(database_server: Servers, tmp_path: Path) -> Iterator[Pair]:
    primary = database_server("primary").start()
    replica = database_server("replica", source=primary).start()
    yield Pair(primary, replica, tmp_path)


def everything(server: DatabaseServer) -> dict[int, tuple[bytes, bytes]]:
    """All runs with all that they hold; fails when any of it cannot be read."""
    found = {}
    settings = load(DatabaseSettings, db_url=server.url, db_wait=10)
    with open_database(settings) as database, database.snapshot() as snapshot:
        for run in snapshot.runs(CAMERA):
            values = b"".join(
                array.tobytes()
                for entry in snapshot.quantities(CAMERA, run)
                for _, array in sorted(snapshot.columns(CAMERA, run, entry.name).items())
                if array.dtype.kind != "O"
            )
            found[run] = (values, snapshot.original(CAMERA, run).data)
        assert list(found) == snapshot.catalogue(CAMERA).columns["run"].tolist()
        snapshot.trends(CAMERA, [("TRIGGER-STATISTICS", "All")])
    return found


def blobs(server: DatabaseServer) -> list[Path]:
    return list((server.data_dir / "blobstorage").rglob("*.blob"))


def test_what_was_deleted_leaves_all_disks_and_the_rest_stays(pair: Pair) -> None:
    pair.store(1, 2, 3, 4)
    pair.delete(2, 3)
    with open_writer(pair.settings) as writer:
        writer.store_run(a_run(4, seed=1), Original("tar", original(44)), replace=True)
    pair.replica.wait_for(pair.primary)
    before = everything(pair.primary)
    assert list(before) == [1, 4]
    sizes = [server.data_file.stat().st_size for server in (pair.primary, pair.replica)]
    assert [len(blobs(server)) for server in (pair.primary, pair.replica)] == [5, 5]

    kept = pair.pack("--days", "1")
    assert kept.returncode == 0, kept.stderr
    assert [len(blobs(server)) for server in (pair.primary, pair.replica)] == [5, 5]

    done = pair.pack("--days", "0")
    assert done.returncode == 0, done.stderr
    first, second, summary = done.stdout.splitlines()
    assert first.startswith(f"{pair.addresses[1]} (replica): Data.fs ")
    assert second.startswith(f"{pair.addresses[0]} (primary): Data.fs ")
    assert "originals 1.5 → 0.6 MB" in first
    assert summary.startswith("pack: 2 servers packed, up to ")
    assert "no backup is known" in done.stderr
    for server, size in zip((pair.primary, pair.replica), sizes, strict=True):
        assert server.data_file.stat().st_size < size
        assert sorted(path.read_bytes() for path in blobs(server)) == sorted(
            (original(1), original(44))
        )
        assert not list(server.data_dir.rglob("*.old"))
        assert everything(server) == before
    packed = [answer.packed for answer in ask_servers(pair.addresses).values()]
    assert all(moment is not None for moment in packed)

    pair.store(5)
    pair.replica.wait_for(pair.primary)
    assert everything(pair.replica) == before | {5: everything(pair.primary)[5]}
    with open_database(pair.settings) as database, database.snapshot() as snapshot:
        operation = snapshot.operations()[OperationName.PACK]
    assert operation.ok
    assert operation.facts["servers"] == 2
    before_bytes, after_bytes = (operation.facts[f"bytes_{when}"] for when in ("before", "after"))
    assert isinstance(before_bytes, int)
    assert isinstance(after_bytes, int)
    assert before_bytes > after_bytes
    pair.primary.stop()
    pair.primary.start()
    assert everything(pair.primary) == everything(pair.replica)
    again = ask_servers(pair.addresses[:1])[pair.addresses[0]]
    assert again.packed == pytest.approx(packed[0], abs=60)


def test_a_replica_that_is_down(pair: Pair) -> None:
    pair.store(1, 2)
    pair.delete(1)
    pair.replica.wait_for(pair.primary)
    pair.replica.stop()
    refused = pair.pack("--days", "0")
    assert refused.returncode == 69
    assert f"{pair.addresses[1]} does not answer" in refused.stderr
    assert "--anyway" in refused.stderr
    assert len(blobs(pair.primary)) == 2

    # It has a transaction that is later than the time: it follows.
    last = TimeStamp(pair.primary.last_transaction()).timeTime()
    pair.store(3)
    pair.pack_to(last - 0.001, pair.addresses[0])
    pair.replica.start()
    pair.replica.wait_for(pair.primary)
    assert everything(pair.replica) == everything(pair.primary)
    pair.replica.stop()

    # Its last one is packed away: only now is it left behind, and says so.
    pair.delete(3)
    pair.store(4)
    with open_writer(pair.settings) as writer:
        mark(writer)
    forced = pair.pack("--days", "0", "--anyway")
    assert forced.returncode == 0, forced.stderr
    assert f"warning: {pair.addresses[1]} does not answer" in forced.stderr
    pair.replica.start()
    pair.replica.wait_for_log("refused by the primary")
    assert list(everything(pair.primary)) == [2, 4]


@pytest.mark.parametrize("trials", [4, pytest.param(60, marks=pytest.mark.soak)])
def test_a_server_that_ends_while_it_packs(pair: Pair, trials: int) -> None:
    """By kill -9 and by SIGTERM, which does not wait: whatever it leaves, nothing is lost."""
    primary, replica = pair.primary, pair.replica
    points = random.Random(trials)
    kept = list(range(1, 13))
    pair.store(*kept)
    took = 0.0
    cut_off = []
    for trial in range(trials):
        doomed = range(100 * trial + 100, 100 * trial + 104)
        pair.store(*doomed)
        pair.delete(*doomed)
        replica.wait_for(primary)
        before = everything(primary)
        packer = pair.start_pack()
        if not took:  # undisturbed, to see how long it takes
            started = time.monotonic()
            packer.join(60)
            took = time.monotonic() - started
            continue
        time.sleep(points.uniform(0, took))
        primary.send(signal.SIGKILL if trial % 2 else signal.SIGTERM)
        primary.wait()
        cut_off.append(packer)  # its client looks for the server for some seconds
        primary.start()
        assert everything(primary) == before
        replica.wait_for(primary)
    for packer in cut_off:
        packer.join(60)
    pair.store(99)
    pair.pack("--days", "0")
    assert sorted(everything(primary)) == [*kept, 99]
    assert everything(primary) == everything(replica)
    assert len(blobs(primary)) == len(blobs(replica)) == len(kept) + 1
    left = [path for path in primary.data_dir.rglob("*") if path.suffix in (".old", ".pack")]
    assert left == []
    verified = pair.dqm("verify", "--servers", ",".join(map(str, pair.addresses)))
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_no_pack_while_a_backup_is_made(pair: Pair) -> None:
    pair.store(1)
    pair.delete(1)
    pair.store(2)
    pair.replica.wait_for(pair.primary)
    with maintaining(Volume(pair.replica.data_dir), "a backup"):
        done = pair.pack("--days", "0")
        stock = subprocess.run(
            [COMMANDS / "zeopack", "-d", "0", f"{LOOPBACK}:{pair.replica.port}"],
            env=pair.replica.environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 75
    assert "a backup is under way (process " in done.stdout
    assert "pack: 1 server packed, 1 not" in done.stdout
    assert "a backup is under way" in stock.stdout + stock.stderr
    assert [len(blobs(server)) for server in (pair.primary, pair.replica)] == [1, 2]
    with open_database(pair.settings) as database, database.snapshot() as snapshot:
        assert not snapshot.operations()[OperationName.PACK].ok


def test_what_is_worth_a_warning(pair: Pair) -> None:
    pair.store(1)
    with open_writer(pair.settings) as writer:
        yesterday = time.time() - 86_400
        done_well = Operation(OperationName.BACKUP, yesterday, yesterday, True, "", "here")
        writer.note_operation(done_well)
    pair.replica.wait_for(pair.primary)
    older = pair.pack("--days", "0")
    assert "the last backup is of " in older.stderr
    done = pair.pack("--days", "2", servers=False)
    assert done.returncode == 0, done.stderr
    assert "backup" not in done.stderr
    assert "1 replicas follow, 0 of them are listed" in done.stderr
    only = pair.pack("--servers", str(pair.addresses[1]), servers=False)
    assert only.returncode == 69
    assert "no primary is among the servers" in only.stderr


def test_originals_that_clients_have_fetched_are_bounded(pair: Pair, tmp_path: Path) -> None:
    megabytes = 3_000_000
    with open_writer(pair.settings) as writer:
        for run in range(1, 9):
            data = np.random.default_rng(run).bytes(megabytes)
            writer.store_run(a_run(run), Original("tar", data))
    cache = tmp_path / "cache"
    limit = 10_000_000
    settings = pair.settings.model_copy(
        update={"blob_cache_dir": cache, "blob_cache_bytes": limit, "db_url": pair.primary.url}
    )
    with open_database(settings) as database:
        for run in range(1, 9):
            with database.snapshot() as snapshot:
                assert len(snapshot.original(CAMERA, run).data) == megabytes
        # ZEO looks when a tenth of the limit has come, also in the middle of a file: the last one
        # can come on top.
        eventually(
            lambda: sum(path.stat().st_size for path in cache.rglob("*.blob")) <= limit + megabytes,
            "the cache of originals within its limit",
        )
