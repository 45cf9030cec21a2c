"""What goes wrong with servers, and what they say about it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ZODB
from processes import COMMANDS, LOOPBACK, DatabaseServer, eventually, free_port

pytestmark = pytest.mark.system

Servers = Callable[..., DatabaseServer]

HANGING_CLIENT = """
import sys, time, ZEO.ClientStorage
from ZODB.Connection import TransactionMetaData
storage = ZEO.ClientStorage.ClientStorage(("127.0.0.1", int(sys.argv[1])))
metadata = TransactionMetaData()
storage.tpc_begin(metadata)
storage.store(storage.new_oid(), bytes(8), b"cX\\nY\\n.N.", "", metadata)
storage.tpc_vote(metadata)
print("voted", flush=True)
time.sleep(600)
"""


def put(server: DatabaseServer, key: str, value: object) -> None:
    database = ZODB.DB(server.client())
    with database.transaction() as connection:
        connection.root()[key] = value
    database.close()


@pytest.fixture
def occupied() -> Iterator[int]:
    """A port at which somebody else listens."""
    with socket.create_server((LOOPBACK, free_port())) as listener:
        yield listener.getsockname()[1]


def test_a_diverged_replica_is_refused_until_it_is_wiped(database_server: Servers) -> None:
    primary = database_server("primary").start()
    replica = database_server("replica", source=primary).start()
    put(primary, "a", "in the backup")
    replica.wait_for(primary)
    replica.stop()
    primary.stop()
    backup = primary.data_file.with_suffix(".backup")
    shutil.copy(primary.data_file, backup)
    primary.start()
    put(primary, "a", "lost with the disk")
    replica.start()
    replica.wait_for(primary)
    primary.kill()
    shutil.move(backup, primary.data_file)
    for suffix in (".index", ".tmp", ".lock"):
        Path(f"{primary.data_file}{suffix}").unlink(missing_ok=True)

    # Ahead of the primary at first, then behind it: stock zc.zrs goes on silently in the latter.
    primary.start()
    replica.wait_for_log("refused by the primary")
    primary.wait_for_log("is not in")
    put(primary, "a", "restored")
    diverged = replica.contents()
    replica.stop()
    replica.start()
    replica.wait_for_log("refused by the primary", count=2)
    assert "they have diverged" in replica.text()
    assert "Traceback" not in replica.text()
    assert "Traceback" not in primary.text()
    assert replica.contents() == diverged  # untouched, for whoever wants to rescue something

    replica.stop()
    shutil.rmtree(replica.data_dir)
    replica.start()
    replica.wait_for(primary)
    assert replica.contents() == primary.contents()


def test_a_replica_follows_across_a_pack(database_server: Servers) -> None:
    primary = database_server("primary").start()
    replica = database_server("replica", source=primary).start()
    for number in range(5):
        put(primary, "a", bytes([number]) * 10_000)
    replica.wait_for(primary)
    put_and_pack(primary, "a", b"packed")
    put(primary, "a", b"after the pack")
    replica.wait_for(primary)
    replica.stop()
    # Packed past a replica that is down: what it has last is in our file no longer.
    put_and_pack(primary, "a", b"packed again")
    replica.start()
    replica.wait_for_log("refused by the primary")
    assert "restored or packed" in replica.text()


def put_and_pack(server: DatabaseServer, key: str, value: object) -> None:
    """Store and remove every older state of what was stored."""
    put(server, key, value)
    before = server.data_file.stat().st_size
    storage = server.client()
    storage.pack(None, True)
    storage.close()
    assert server.data_file.stat().st_size < before


def test_a_replica_waits_for_its_primary(database_server: Servers) -> None:
    primary = database_server("primary")
    replica = database_server("replica", source=primary).start()
    replica.wait_for_log("cannot reach the primary")
    primary.start()
    put(primary, "a", 1)
    replica.wait_for(primary)
    # Once, not at each of its attempts.
    assert replica.text().count("cannot reach the primary") == 1


def test_a_replica_is_promoted_and_the_old_primary_follows(database_server: Servers) -> None:
    old = database_server("one").start()
    replica = database_server("two", source=old).start()
    put(old, "a", 1)
    replica.wait_for(old)
    assert (replica.stop(), old.stop()) == (0, 0)

    promoted = database_server("two").start()
    put(promoted, "b", 2)
    demoted = database_server("one", source=promoted).start()
    demoted.wait_for(promoted)
    assert demoted.contents() == promoted.contents()


def test_a_dead_replication_thread_ends_the_server() -> None:
    code = """
import time
from dqm_db.replication.reactor import running_reactor
reactor = running_reactor()
assert running_reactor() is reactor
reactor.callFromThread(reactor.stop)
time.sleep(60)
"""
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == os.EX_SOFTWARE
    assert "the replication thread ended" in ended.stderr


def test_listening_beyond_loopback_needs_tls_or_a_word(database_server: Servers) -> None:
    primary = database_server("primary")
    for address in ("--address", "--replication-address"):
        place = primary.command.index(address) + 1
        loopback = primary.command[place]
        primary.command[place] = loopback.replace(LOOPBACK, "0.0.0.0")
        assert primary.start(wait=False).wait() == 78
        [line] = primary.text().splitlines()
        assert line.startswith(f"dqm: {primary.command[place]} is not loopback: without TLS")
        assert "--network-is-private" in line
        assert not primary.data_file.exists()
        primary.command[place] = loopback
        primary.log.unlink()
    primary.command = [word.replace(LOOPBACK, "0.0.0.0") for word in primary.command]
    primary.command.append("--network-is-private")
    primary.start()
    assert f"warning: 0.0.0.0:{primary.port} is not loopback" in primary.text()
    assert f"warning: 0.0.0.0:{primary.replication_port} is not loopback" in primary.text()


@pytest.mark.parametrize("stock", [False, True], ids=["dqm", "runzeo"])
def test_a_busy_replication_port_ends_the_server(
    database_server: Servers, occupied: int, stock: bool
) -> None:
    primary = database_server("primary", replication_port=occupied, stock=stock)
    code = primary.start(wait=False).wait()
    assert code == (1 if stock else 75)
    assert f"another process listens at {LOOPBACK}:{occupied}" in primary.text()
    if not stock:
        assert "Traceback" not in primary.text()


def test_a_busy_client_port_ends_the_server(database_server: Servers, occupied: int) -> None:
    primary = database_server("primary", port=occupied)
    assert primary.start(wait=False).wait() == 75
    assert primary.text().splitlines() == [
        f"dqm: address: another process listens at {LOOPBACK}:{occupied}; "
        "end it or choose another port"
    ]


def test_two_servers_cannot_share_data(database_server: Servers) -> None:
    first = database_server("primary").start()
    configuration = first.data_dir / "zeo.conf"
    before = configuration.read_bytes()
    others: list[DatabaseServer] = []
    for number, options in enumerate(({}, {"source": database_server("elsewhere")})):
        second = database_server("primary", **options)
        second.log = second.log.with_name(f"second-{number}.log")
        others.append(second.start(wait=False))  # both at once: they wait a while for the lock
    for second in others:
        assert second.wait() == 75
        assert "dqm: another server uses the same data" in second.text()
        assert "Traceback" not in second.text()
        # whoever starts runzeo with it later must not get a server of another role
        assert configuration.read_bytes() == before
        put(first, "still", "serving")


def test_damaged_data_are_not_served(database_server: Servers) -> None:
    primary = database_server("primary")
    primary.data_file.parent.mkdir(parents=True)
    primary.data_file.write_bytes(b"this is not a FileStorage")
    assert primary.start(wait=False).wait() == 65
    assert "dqm: Data.fs is damaged" in primary.text()
    assert primary.data_file.read_bytes() == b"this is not a FileStorage"


def test_a_client_that_hangs_after_its_vote_blocks_nobody(database_server: Servers) -> None:
    primary = database_server("primary", environment={"DQM_TRANSACTION_TIMEOUT": "1"}).start()
    hanging = subprocess.Popen(
        [sys.executable, "-c", HANGING_CLIENT, str(primary.port)], stdout=subprocess.PIPE
    )
    try:
        assert hanging.stdout is not None
        assert hanging.stdout.readline() == b"voted\n"
        hanging.send_signal(signal.SIGSTOP)
        others = threading.Thread(target=put, args=(primary, "written", "by others"), daemon=True)
        others.start()
        eventually(lambda: not others.is_alive(), "the commit of another client")
        assert "Transaction timeout after 1 seconds" in primary.text()
        put(primary, "written", "twice")
    finally:
        hanging.kill()
        hanging.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_signals_end_the_servers_with_code_0(database_server: Servers, number: int) -> None:
    primary = database_server("primary").start()
    replica = database_server("replica", source=primary, feeds=True).start()
    put(primary, "a", 1)
    replica.wait_for(primary)
    for server in (primary, replica):  # the replica has lost its primary by then
        server.send(number)
        if server.is_running():
            server.send(number)  # as a terminal and a service manager together do
        assert server.wait() == 0
        assert "Traceback" not in server.text()
        # The index is saved at a clean end only.
        assert Path(f"{server.data_file}.index").exists()


def test_unverified_releases_are_refused(tmp_path: Path) -> None:
    """With a distribution of ZODB that claims to be of another release, found first."""
    fake = tmp_path / "ZODB-7.0.dist-info"
    fake.mkdir()
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: ZODB\nVersion: 7.0\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [COMMANDS / "dqm", "primary", "--data-dir", tmp_path / "data"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 78
    assert "dqm: replication was not verified with ZODB 7.0" in ended.stderr
    assert not (tmp_path / "data").exists()

    configuration = tmp_path / "zeo.conf"
    configuration.write_text(
        f"%import dqm_db.replication\n<zeo>\naddress {LOOPBACK}:{free_port()}\n</zeo>\n"
        f"<replicated>\nreplicate-to {LOOPBACK}:{free_port()}\n"
        f"<filestorage>\npath {tmp_path}/Data.fs\nblob-dir {tmp_path}/blobs\n</filestorage>\n"
        "</replicated>\n"
    )
    command = [COMMANDS / "runzeo", "-C", configuration]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "replication was not verified with ZODB 7.0" in ended.stderr
    assert not (tmp_path / "Data.fs").exists()


def test_unverified_releases_are_served_when_told(database_server: Servers, tmp_path: Path) -> None:
    fake = tmp_path / "ZODB-7.0.dist-info"
    fake.mkdir()
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: ZODB\nVersion: 7.0\n")
    environment = {"PYTHONPATH": str(tmp_path), "DQM_UNVERIFIED_VERSIONS": "true"}
    primary = database_server("primary", environment=environment).start()
    eventually(primary.last_transaction, "an answer")
    assert "not verified: ZODB 7.0" in primary.text()
