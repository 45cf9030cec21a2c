"""Disks that are full, on the primary and on a replica.

Once with a small file system, where the tests may mount one, and always with a limit of the size
of files, which takes the same paths through the servers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from fleet import Fleet, told
from full_disk import Disk, LimitedFiles, SmallVolume, small_volume
from processes import DatabaseServer, eventually
from synthetic_runs import a_run
from ZODB.Connection import TransactionMetaData

from dqm_db.content import Original
from dqm_db.errors import WriteFailed
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import open_database
from dqm_db.writer import Writer, open_writer

pytestmark = pytest.mark.system

CAMERA = "NectarCAMQM"
ORIGINAL = Original("tar", bytes(range(250)) * 4000)
KINDS = ["volume", "files"]


@dataclass
class Site:
    fleet: Fleet
    volumes: dict[DatabaseServer, SmallVolume | None]
    writer: Writer
    runs: Iterator[int]

    def disk(self, server: DatabaseServer, kind: str) -> Disk:
        if kind == "files":
            return LimitedFiles(server)
        volume = self.volumes[server]
        if volume is None:
            pytest.skip("NO FULL VOLUME WAS TRIED: mounting one needs root with CAP_SYS_ADMIN")
        return volume

    def store(self, original: Original | None) -> int:
        run = next(self.runs)
        self.writer.store_run(a_run(run), original)
        return run

    def original(self, server: DatabaseServer, run: int) -> Original:
        settings = load(
            DatabaseSettings,
            db_url=server.url,
            db_wait=20,
            blob_cache_dir=self.fleet.directory / f"cache {server.data_dir.name}",
        )
        with (
            open_database(settings, read_only=True) as database,
            database.snapshot() as snapshot,
        ):
            return snapshot.original(CAMERA, run)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("disks")
    fleet = Fleet(directory)
    with ExitStack() as stack:
        both = (fleet.primary, fleet.replica)
        volumes = {server: stack.enter_context(small_volume(server)) for server in both}
        stack.enter_context(fleet)
        settings = load(
            DatabaseSettings, db_url=fleet.primary.url, db_wait=20, lock_dir=directory / "locks"
        )
        writer = stack.enter_context(open_writer(settings))
        yield Site(fleet, volumes, writer, count(1))


@pytest.fixture
def site(servers: Site) -> Iterator[Site]:
    servers.store(ORIGINAL)
    servers.fleet.converge()
    yield servers
    for server, volume in servers.volumes.items():
        LimitedFiles(server).make_room()
        if volume is not None:
            volume.make_room()


def temporary_files(server: DatabaseServer) -> list[Path]:
    folder = server.data_dir / "blobstorage" / "tmp"
    return [path for path in folder.iterdir() if path.is_file()]


def open_files(server: DatabaseServer) -> int:
    return sum(1 for _ in Path(f"/proc/{server.pid}/fd").iterdir())


@pytest.mark.parametrize("original", [None, ORIGINAL], ids=["objects", "blob"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_primary_with_a_full_disk_refuses_and_goes_on(
    site: Site, kind: str, original: Original | None
) -> None:
    fleet = site.fleet
    disk = site.disk(fleet.primary, kind)
    last = fleet.primary.last_transaction()
    disk.fill()
    for _ in range(2):  # the second one shows what the first one has left behind
        with pytest.raises(WriteFailed, match="the disk of the server is full") as refused:
            site.store(original)
        assert disk.words in str(refused.value)
    assert fleet.primary.last_transaction() == last == fleet.replica.last_transaction()
    assert temporary_files(fleet.primary) == []
    disk.make_room()
    run = site.store(ORIGINAL)
    fleet.converge()
    assert site.original(fleet.primary, run) == ORIGINAL == site.original(fleet.replica, run)


@pytest.mark.parametrize("kind", KINDS)
def test_a_replica_with_a_full_disk_serves_and_catches_up(site: Site, kind: str) -> None:
    fleet, replica = site.fleet, site.fleet.replica
    disk = site.disk(replica, kind)
    held = replica.last_transaction()
    disk.fill()
    runs = [site.store(ORIGINAL) for _ in range(3)]  # the primary does not mind
    eventually(lambda: disk.words in (told(replica).reason or ""), "the replica says why")
    files = open_files(replica)
    starts = fleet.primary.text().count(": start ")
    eventually(lambda: fleet.primary.text().count(": start ") > starts + 5, "it tries again")
    answer = told(replica)
    assert answer.following == "unreachable"
    assert disk.words in (answer.reason or "")
    assert replica.last_transaction() == held
    assert open_files(replica) <= files + 3  # of the attempt under way, not one of each
    assert replica.text().count(f"cannot store what the primary sends: {disk.words}") <= 2
    disk.make_room()
    fleet.converge()
    fleet.follows()
    assert temporary_files(replica) == []
    for run in runs:
        assert site.original(replica, run) == ORIGINAL


@pytest.mark.parametrize("name", ["primary", "replica"])
def test_a_blob_that_nearly_fits_is_not_cut_short(site: Site, name: str) -> None:
    """The system takes a part of its last block without an error."""
    fleet = site.fleet
    server: DatabaseServer = getattr(fleet, name)
    large = Original("tar", bytes(range(250)) * 14_000)
    assert server.data_file.stat().st_size < len(large.data)
    disk = LimitedFiles(server)
    disk.limit(len(large.data) - 10)
    if name == "primary":
        with pytest.raises(WriteFailed, match="the disk of the server is full"):
            site.store(large)
        disk.make_room()
        run = site.store(large)
    else:
        run = site.store(large)
        eventually(lambda: disk.words in (told(server).reason or ""), "the replica says why")
        disk.make_room()
    fleet.converge()
    assert site.original(server, run) == large


def test_half_a_blob_of_a_lost_client_leaves_nothing(site: Site) -> None:
    primary = site.fleet.primary
    client = primary.client()
    eventually(lambda: temporary_files(primary) == [], "no blob is under way")
    files = open_files(primary)
    metadata = TransactionMetaData()
    client.tpc_begin(metadata)
    client._async("storeBlobStart")
    client._async("storeBlobChunk", bytes(1000))
    eventually(lambda: temporary_files(primary), "the primary receives a blob")
    metadata.data(client).close()  # the client keeps its objects in a file of its own
    client.close()
    eventually(lambda: temporary_files(primary) == [], "it is forgotten")
    eventually(lambda: open_files(primary) < files, "its file is closed, and the connection")
