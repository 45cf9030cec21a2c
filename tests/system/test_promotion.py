"""Real servers change roles: promoted, demoted, fenced, resynchronised."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tls_hosts
import ZODB
from processes import COMMANDS, LOOPBACK, DatabaseServer, eventually, frame, free_port, read_frame
from small_transactions import runs_in, write
from ZEO.Exceptions import ClientDisconnected
from ZODB.POSException import ConflictError

from dqm_db.errors import DatabaseUnavailable, ReadOnlyDatabase
from dqm_db.settings import DatabaseSettings
from dqm_db.storage import open_database
from dqm_db.volume.layout import Volume
from dqm_db.volume.state import PRIMARY, PROMOTED, REPLICA, VolumeState

pytestmark = pytest.mark.system

Servers = Callable[..., DatabaseServer]


class Pair:
    """A primary and a replica that know each other by ``DQM_SERVERS``."""

    def __init__(self, make: Servers, *, two_feeds: bool = True, **variables: str) -> None:
        ports = {name: (free_port(), free_port()) for name in ("one", "two")}
        self.servers = ",".join(f"{LOOPBACK}:{port}" for port, _ in ports.values())
        self.environment = {"DQM_SERVERS": self.servers, **variables}
        common: dict[str, Any] = {"environment": self.environment}
        (port, feeds) = ports["one"]
        self.one = make("one", port=port, replication_port=feeds, **common)
        (port, feeds) = ports["two"]
        self.two = make(
            "two", source=self.one, port=port, replication_port=feeds, feeds=two_feeds, **common
        )

    def start(self) -> Pair:
        self.one.start()
        self.two.start()
        return self

    @property
    def url(self) -> str:
        return f"zeo://{self.servers}"

    def run(self, server: DatabaseServer, *arguments: str) -> subprocess.CompletedProcess[str]:
        command, *rest = arguments
        return subprocess.run(
            [COMMANDS / "dqm", command, "--data-dir", server.data_dir, *rest],
            capture_output=True,
            text=True,
            env={k: v for k, v in os.environ.items() if not k.startswith("DQM_")}
            | self.environment,
            timeout=150,
            check=False,
        )

    def done(self, server: DatabaseServer, *arguments: str) -> str:
        result = self.run(server, *arguments)
        assert result.returncode == 0, f"{arguments}: {result.stderr}\n{server.text()[-2000:]}"
        return result.stdout

    def refused(self, server: DatabaseServer, *arguments: str) -> str:
        result = self.run(server, *arguments)
        assert result.returncode == 77, f"{arguments}: {result.stdout}{result.stderr}"
        return result.stderr


@pytest.fixture
def pair(database_server: Servers) -> Pair:
    return Pair(database_server)


def told_by(server: DatabaseServer) -> dict[str, Any]:
    with socket.create_connection((LOOPBACK, server.port), 5) as connection:
        connection.sendall(frame(b"ruok"))
        with connection.makefile("rb") as stream:
            read_frame(stream)
            answer = read_frame(stream)
    if not answer:
        raise ConnectionError("no answer")
    return json.loads(answer)["1"]["dqm"]


def role_of(server: DatabaseServer) -> tuple[str, int, str]:
    told = told_by(server)
    return told["role"], told["epoch"], told["fence_state"]


def source(server: DatabaseServer) -> str:
    return f"{LOOPBACK}:{server.replication_port}"


@pytest.fixture
def settings(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatabaseSettings:
    """Those of a client that has all servers in its list."""
    monkeypatch.setenv("DQM_SERVERS", pair.servers)
    return DatabaseSettings(db_url=pair.url, db_wait=5, lock_dir=tmp_path / "locks")


def at(settings: DatabaseSettings, server: DatabaseServer) -> DatabaseSettings:
    return settings.model_copy(update={"db_url": server.url})


@contextlib.contextmanager
def raw_root(server: DatabaseServer) -> Iterator[Any]:
    """The root of a server that one connects to whatever its epoch, as older writers do."""
    database = ZODB.DB(server.client())
    with contextlib.closing(database), database.transaction() as connection:
        yield connection.root()


def test_a_planned_switch_and_back_loses_nothing_and_clients_follow(
    pair: Pair, settings: DatabaseSettings, database_server: Servers
) -> None:
    one, two = pair.start().one, pair.two
    three = database_server("three", source=one, environment=pair.environment).start()
    write(settings, 1)
    reader = open_database(settings)

    assert "answers as the primary" in pair.refused(two, "promote")
    assert "is a primary" in pair.refused(one, "resync")
    pair.done(one, "demote", "--follow", source(two))
    with pytest.raises(ReadOnlyDatabase):
        write(settings, 99)
    eventually(lambda: role_of(two) == ("replica", 0, "demoted"), "the replica hears of it")
    assert "epoch 1" in pair.done(two, "promote")
    assert role_of(two) == ("primary", 1, "serving")
    assert "already" in pair.done(two, "promote")

    write(settings, 2)
    one.wait_for(two)
    assert role_of(one) == ("replica", 1, "serving")
    assert one.contents() == two.contents()
    three.wait_for(two)  # through the demoted one, …
    assert "follows" in pair.done(three, "demote", "--follow", source(two))
    assert "already" in pair.done(three, "demote", "--follow", source(two))
    assert told_by(three)["source"] == source(two)  # … or without it
    three.kill()

    def followed() -> bool:
        with reader.snapshot() as snapshot:
            return {failure.run for failure in snapshot.failures()} == {1, 2}

    def retried() -> bool:
        with contextlib.suppress(DatabaseUnavailable):  # between two servers
            return followed()
        return False

    eventually(retried, "the reader sees what was written since")

    # And back, by the same commands; both are still started as they were at first.
    pair.done(two, "demote", "--follow", source(one))
    eventually(lambda: role_of(one) == ("replica", 1, "demoted"), "the replica hears of it")
    assert "epoch 2" in pair.done(one, "promote")
    write(settings, 3)
    two.wait_for(one)
    eventually(lambda: runs_in(settings) == {1, 2, 3}, "all is there")
    assert one.contents() == two.contents()
    reader.close()
    assert one.stop() == 0
    assert two.stop() == 0


def test_a_forced_promotion_fences_the_old_primary_which_is_resynchronised(
    pair: Pair, settings: DatabaseSettings
) -> None:
    one, two = pair.start().one, pair.two
    write(settings, 1)
    two.wait_for(one)
    refusal = pair.refused(two, "promote", "--old-primary-is-off")
    assert f"{LOOPBACK}:{one.port}" in refusal
    two.stop()
    write(at(settings, one), 2)  # never gets to the replica
    one.kill()
    two.start()

    assert "--old-primary-is-off" in pair.refused(two, "promote")
    pair.done(two, "promote", "--old-primary-is-off")
    assert role_of(two) == ("primary", 1, "serving")
    write(settings, 3)

    # The old primary does not start any more …
    one.start(wait=False)
    assert one.wait() == 77
    assert "epoch 1" in one.text()
    assert "answers as the primary" in pair.refused(one, "promote", "--old-primary-is-off")
    # … it follows, but has a transaction of its own, …
    assert "next start" in pair.done(one, "demote", "--follow", source(two))
    one.start()
    eventually(lambda: told_by(one)["following"] == "refused", "it is refused")
    assert "dqm resync" in told_by(one)["reason"]
    assert role_of(one)[:2] == ("replica", 0)
    # … and begins anew.
    printed = pair.done(one, "resync")
    one.wait_for(two)
    assert one.contents() == two.contents()
    assert runs_in(at(settings, one)) == {1, 3}
    (aside,) = one.data_dir.glob("aside-*")
    assert f"dqm ingest volume:{aside}" in printed
    old = at(settings, one).model_copy(
        update={"db_url": f"file://{aside}/filestorage/Data.fs", "db_wait": 1}
    )
    assert runs_in(old) == {1, 2}


def test_an_old_primary_that_still_runs_is_ended_and_not_written_to(
    pair: Pair, settings: DatabaseSettings
) -> None:
    one, two = pair.start().one, pair.two
    write(settings, 1)
    two.wait_for(one)
    # As after a partition: frozen, it neither answers nor hears that another one was promoted.
    one.send(signal.SIGSTOP)
    VolumeState(role=PRIMARY, begin_epoch=PROMOTED, at=5.0, why="test").write(Volume(two.data_dir))
    two.send(signal.SIGHUP)
    eventually(lambda: role_of(two) == ("primary", 1, "serving"), "it is promoted")
    one.send(signal.SIGCONT)
    write(settings, 2)  # although the old one is the first of the list
    assert runs_in(at(settings, two)) == {1, 2}
    assert one.wait() == 77
    assert "epoch 1" in one.text()


def test_of_two_primaries_in_one_epoch_the_later_one_ends(
    pair: Pair, settings: DatabaseSettings
) -> None:
    """As when both were forced, each while the other one could not be reached."""
    one, two = pair.start().one, pair.two
    write(settings, 1)
    two.wait_for(one)
    two.stop()
    VolumeState(role=PRIMARY, begin_epoch=PROMOTED, at=9.0, why="test").write(Volume(one.data_dir))
    one.send(signal.SIGHUP)
    eventually(lambda: role_of(one) == ("primary", 1, "serving"), "the first is forced")
    one.send(signal.SIGSTOP)
    VolumeState(role=PRIMARY, begin_epoch=PROMOTED, at=5.0, why="test").write(Volume(two.data_dir))
    two.start()
    eventually(lambda: role_of(two) == ("primary", 1, "serving"), "the second is forced, too")
    one.send(signal.SIGCONT)
    assert one.wait() == 77
    assert "serves as primary in epoch 1, too, and has for longer" in one.text()
    write(settings, 2)
    assert runs_in(at(settings, two)) == {1, 2}
    assert two.is_running()


def test_a_client_refuses_an_old_primary_that_knows_of_no_other(
    database_server: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without DQM_SERVERS on its side, nothing ends it: writers have to look.
    one = database_server("one").start()
    two = database_server("two").start()
    with raw_root(one), raw_root(two):
        pass
    two.stop()
    VolumeState(begin_epoch=PROMOTED, at=5.0, why="test").write(Volume(two.data_dir))
    two.start()
    monkeypatch.delenv("DQM_SERVERS", raising=False)
    both = DatabaseSettings(
        db_url=f"zeo://{LOOPBACK}:{one.port},{LOOPBACK}:{two.port}",
        db_wait=5,
        lock_dir=tmp_path / "locks",
    )
    before = one.last_transaction()
    write(both, 1)
    assert runs_in(at(both, two)) == {1}
    assert one.last_transaction() == before
    monkeypatch.setenv("DQM_SERVERS", f"{LOOPBACK}:{one.port},{LOOPBACK}:{two.port}")
    with pytest.raises(DatabaseUnavailable, match="epoch 1"):
        write(at(both, one), 2)
    assert one.last_transaction() == before


def test_what_was_cut_short_is_finished_by_the_next_start(
    pair: Pair, settings: DatabaseSettings
) -> None:
    one, two = pair.start().one, pair.two
    write(settings, 1)
    two.wait_for(one)
    # kill -9 after volume.json was written, before the server heard of it
    one.kill()
    VolumeState(role=REPLICA, source=source(two), demote=True, at=7.0, why="test").write(
        Volume(one.data_dir)
    )
    one.start()
    eventually(lambda: role_of(two) == ("replica", 0, "demoted"), "the replica hears of it")
    assert not VolumeState.read(Volume(one.data_dir)).demote
    # and after the epoch was begun, before that was noted in volume.json
    two.kill()
    promoted = VolumeState(role=PRIMARY, begin_epoch=PROMOTED, at=9.0, why="test")
    promoted.write(Volume(two.data_dir))
    two.start()
    assert role_of(two) == ("primary", 1, "serving")
    two.kill()
    promoted.write(Volume(two.data_dir))
    two.start()
    assert role_of(two) == ("primary", 1, "serving")
    assert VolumeState.read(Volume(two.data_dir)).begin_epoch is None
    # and between the moves of what is set aside
    one.wait_for(two)
    one.kill()
    VolumeState(role=REPLICA, source=source(two), set_aside=True, at=0.0, why="test").write(
        Volume(one.data_dir)
    )
    aside = one.data_dir / "aside-19700101T000000.000000Z"
    aside.mkdir()
    (one.data_dir / "filestorage").rename(aside / "filestorage")
    one.start()
    one.wait_for(two)
    assert sorted(path.name for path in aside.iterdir()) == ["blobstorage", "filestorage"]
    assert one.contents() == two.contents()


def until_done(pair: Pair, server: DatabaseServer, choice: random.Random, *command: str) -> None:
    """Give *command* again and again, with kill -9 of command and server, until it has ended well.

    The last time nothing is killed.
    """
    for _ in range(choice.randrange(3)):
        with subprocess.Popen(
            [COMMANDS / "dqm", command[0], "--data-dir", server.data_dir, *command[1:]],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=server.environment,
        ) as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(choice.uniform(0.2, 2.0))
            if choice.random() < 0.7:
                server.kill()
            process.kill()
        if not server.is_running():
            server.kill()  # take note of it
            server.start()
    pair.done(server, *command)


def switch_under_fire(pair: Pair, settings: DatabaseSettings, rounds: int) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # shown when it fails
    choice = random.Random(seed)
    old, new = pair.start().one, pair.two
    for number in range(1, rounds + 1):
        write(settings, number)
        until_done(pair, old, choice, "demote", "--follow", source(new))
        eventually(lambda new=new: role_of(new)[2] == "demoted", "the replica has everything")
        until_done(pair, new, choice, "promote")
        assert role_of(new)[0::2] == ("primary", "serving")
        eventually(lambda old=old, new=new: role_of(old)[1] == role_of(new)[1], "it follows")
        old.wait_for(new)
        assert runs_in(at(settings, new)) == set(range(1, number + 1))
        assert old.contents() == new.contents()
        old, new = new, old


def test_a_switch_survives_kills_at_any_moment(pair: Pair, settings: DatabaseSettings) -> None:
    switch_under_fire(pair, settings, 2)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_many_switches_survive_kills_at_any_moment(pair: Pair, settings: DatabaseSettings) -> None:
    switch_under_fire(pair, settings, 50)


def test_roles_change_and_fences_hold_with_tls(
    database_server: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates = tls_hosts.variables(
        tls_hosts.host(tls_hosts.new_authority(tmp_path / "ca"), "server")
    )
    pair = Pair(database_server, two_feeds=False, **certificates)
    for name, value in pair.environment.items():
        monkeypatch.setenv(name, value)
    settings = DatabaseSettings(db_url=pair.url, db_wait=5, lock_dir=tmp_path / "locks")
    one, two = pair.start().one, pair.two
    write(settings, 1)
    assert f"{LOOPBACK}:{two.port}" in pair.done(one, "demote", "--follow", source(two))
    assert "epoch 1" in pair.done(two, "promote", "--replication-address", source(two))
    write(settings, 2)
    eventually(lambda: runs_in(at(settings, one)) == {1, 2}, "the old primary follows")
    one.stop()
    (one.data_dir / "volume.json").unlink()  # as a volume that was restored, or tampered with
    one.start(wait=False)
    assert one.wait() == 77


def test_runzeo_does_not_serve_against_volume_json(pair: Pair) -> None:
    one, two = pair.start().one, pair.two
    two.wait_for(one)
    two.stop()
    VolumeState(role=PRIMARY, begin_epoch=PROMOTED, at=5.0, why="test").write(Volume(two.data_dir))
    stock = subprocess.run(
        [COMMANDS / "runzeo", "-C", two.data_dir / "zeo.conf"],
        capture_output=True,
        text=True,
        env=two.environment,
        timeout=60,
        check=False,
    )
    assert stock.returncode != 0
    assert "volume.json says otherwise" in stock.stderr


def test_commits_at_a_restart_are_whole_or_not_there(pair: Pair) -> None:
    one = pair.one.start()
    database = ZODB.DB(one.client())
    stored: set[int] = set()
    unknown: set[int] = set()
    stopping = threading.Event()

    def write_on() -> None:
        number = 0
        while not stopping.is_set():
            number += 1
            try:
                with database.transaction() as connection:
                    connection.root()[number] = connection.root()[-number] = number
                stored.add(number)
            except (ClientDisconnected, ConflictError):
                unknown.add(number)

    with contextlib.closing(database):
        writing = threading.Thread(target=write_on)
        writing.start()
        for _ in range(3):
            before = len(stored)
            eventually(lambda before=before: len(stored) > before + 20, "it is written")
            started = told_by(one)["started"]
            one.send(signal.SIGHUP)
            eventually(lambda started=started: told_by(one)["started"] > started, "it begins anew")
        stopping.set()
        writing.join()
    with raw_root(one) as root:
        kept = {number for number in root if number > 0}
        assert kept == {-number for number in root if number < 0}
    assert stored <= kept <= stored | unknown


def test_a_restart_by_sighup_keeps_process_and_data_and_stops_when_told(
    pair: Pair, settings: DatabaseSettings
) -> None:
    one = pair.one
    one.command = [str(COMMANDS / "python"), "-m", "dqm", *one.command[1:]]
    one.start()
    write(at(settings, one), 1)
    started = told_by(one)["started"]
    for _ in range(3):
        one.send(signal.SIGHUP)
    eventually(lambda: told_by(one)["started"] > started, "it begins anew")
    write(at(settings, one), 2)
    assert runs_in(at(settings, one)) == {1, 2}
    one.send(signal.SIGHUP)
    # Told to stop while it begins anew: also in the moments before it has set up its signals.
    assert one.stop() in (0, 128 + signal.SIGTERM, -signal.SIGTERM)


def test_a_server_ends_with_the_terminal_in_which_it_runs(pair: Pair) -> None:
    terminal, inside = os.openpty()
    server = subprocess.Popen(
        pair.one.command,
        stdin=subprocess.DEVNULL,
        stdout=inside,
        stderr=inside,
        env=pair.one.environment,
        cwd=pair.one.cwd,
    )
    try:
        os.close(inside)
        eventually(lambda: told_by(pair.one), "it serves")
        os.close(terminal)
        server.send_signal(signal.SIGHUP)  # the kernel's to whoever has it as its terminal
        server.wait(30)
        with pytest.raises(OSError, match="refused"):
            told_by(pair.one)
    finally:
        server.kill()
        server.wait()


def test_a_server_that_does_not_run_changes_at_its_next_start(
    pair: Pair, settings: DatabaseSettings
) -> None:
    one = pair.one
    refused = pair.refused(one, "promote")
    assert "no server ever ran" in refused
    pair.start()
    assert "holds nothing" in pair.refused(pair.two, "promote", "--old-primary-is-off")
    write(settings, 1)
    pair.two.wait_for(one)
    pair.two.stop()
    one.stop()
    assert "next start" in pair.done(pair.two, "promote", "--old-primary-is-off")
    assert "address of this server itself" in pair.refused(one, "demote", "--follow", source(one))
    pair.two.start()
    assert role_of(pair.two) == ("primary", 1, "serving")
