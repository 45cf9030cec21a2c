"""Servers of the database at inherited sockets: begun by a connection, promoted, cut off."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import tls_hosts
from activation import ActivatedServer
from handing_on import handing_on
from processes import COMMANDS, LOOPBACK, eventually, free_port
from small_transactions import runs_in, write

from dqm_db.errors import DatabaseUnavailable, ReadOnlyDatabase
from dqm_db.settings import DatabaseSettings
from dqm_db.storage import open_database

pytestmark = pytest.mark.system

OWN_NETWORK = ["unshare", "--map-root-user", "--net"]
PROMPT = 30.0
"""Seconds for a server that a client has just started, on a busy machine."""

Made = Callable[..., ActivatedServer]


@pytest.fixture
def activated(tmp_path: Path) -> Iterator[Made]:
    """Makes servers that listen; all are killed at the end."""
    servers: list[ActivatedServer] = []

    def make(name: str, **options: object) -> ActivatedServer:
        servers.append(ActivatedServer(tmp_path, name, **options))
        servers[-1].listen()
        return servers[-1]

    yield make
    for server in servers:
        server.kill()


@pytest.fixture
def at(tmp_path: Path) -> Callable[[str], DatabaseSettings]:
    """Settings of a client of a URL."""
    return lambda url: DatabaseSettings(db_url=url, db_wait=PROMPT, lock_dir=tmp_path / "locks")


def has(settings: DatabaseSettings, *runs: int) -> Callable[[], bool]:
    """Whether a server, which may not have anything yet, has all of these."""

    def look() -> bool:
        try:
            return runs_in(settings) == set(runs)
        except DatabaseUnavailable:
            return False

    return look


def test_a_first_connection_starts_primary_and_replica(activated, at):
    primary = activated("primary")
    write(at(primary.socket_url), 1)
    assert primary.has_started()
    assert runs_in(at(primary.url)) == {1}

    replica = activated("replica", source=primary.feeds_at)
    eventually(has(at(replica.socket_url), 1), "the replica has it")
    assert replica.has_started()
    with pytest.raises(ReadOnlyDatabase):
        write(at(replica.url).model_copy(update={"db_wait": 1.0}), 2)
    for server in (replica, primary):
        # the sockets are systemd's: they stay when the server ends
        assert server.stop() == 0, server.text()
        assert server.socket.exists()
    assert f"inherited the socket {primary.feeds_at} (zrs)" in primary.text()


def test_a_replica_connects_first(activated, at):
    primary = activated("primary")
    replica = activated("replica", source=primary.feeds_at)
    with socket.create_connection((LOOPBACK, replica.port)):
        eventually(primary.has_started, "the replica has started its primary")
    write(at(primary.url), 7)
    eventually(has(at(replica.url), 7), "the replica has it")


def test_a_client_finds_a_server_that_begins_anew(activated, at):
    primary = activated("primary")
    write(at(primary.socket_url), 1)
    with open_database(at(primary.socket_url)) as database:
        for run in (2, 3):
            primary.send(signal.SIGHUP)
            primary.wait_for_log("beginning anew", count=run - 1)
            write(at(primary.url), run)

            def seen(run: int = run) -> bool:
                try:
                    with database.snapshot() as snapshot:
                        return run in {failure.run for failure in snapshot.failures()}
                except DatabaseUnavailable:
                    return False

            eventually(seen, "the same client reads on by the same UNIX socket")
    assert primary.stop() == 0


def test_roles_change_at_inherited_sockets(activated, at):
    one = activated("one")
    two = activated("two", source=one.feeds_at)
    write(at(one.url), 1)
    eventually(has(at(two.url), 1), "in sync")

    def done(*arguments: str | Path) -> str:
        result = subprocess.run(
            [COMMANDS / "dqm", *arguments],
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
            env={name: value for name, value in os.environ.items() if not name.startswith("DQM_")},
        )
        assert result.returncode == 0, result.stderr + one.text() + two.text()
        return result.stdout

    done("demote", "--follow", two.feeds_at, "--data-dir", one.data_dir)
    said = done("promote", "--data-dir", two.data_dir)
    assert f"{LOOPBACK}:{two.port} is the primary" in said
    assert f"--follow {two.feeds_at}" in said
    write(at(two.socket_url), 2)
    eventually(has(at(one.socket_url), 1, 2), "the former primary follows at its sockets")
    with pytest.raises(ReadOnlyDatabase):
        write(at(one.socket_url).model_copy(update={"db_wait": 1.0}), 3)
    assert "SERVES AS PRIMARY" in two.text()


def test_tls_holds_for_tcp_and_permissions_for_unix(activated, at, tmp_path, monkeypatch):
    authority = tls_hosts.new_authority(tmp_path / "ca")
    certificates = dict(tls_hosts.variables(tls_hosts.host(authority, "one.example")))
    primary = activated("primary", environment=certificates)
    primary.socket.chmod(0o600)
    write(at(primary.socket_url), 1)
    plain = DatabaseSettings(db_url=primary.url, db_wait=2)
    with pytest.raises(DatabaseUnavailable, match="TLS"), open_database(plain):
        pass
    for name, value in certificates.items():
        monkeypatch.setenv(name, value)
    assert runs_in(at(primary.url)) == {1}
    assert runs_in(at(primary.socket_url)) == {1}, "no certificate is asked for"
    said = subprocess.run(
        [COMMANDS / "dqm", "status", "--json"],
        env=os.environ | {"DQM_DB_URL": primary.socket_url},
        capture_output=True,
        check=False,
        text=True,
    )
    (server,) = json.loads(said.stdout)["servers"]
    assert server["address"] == str(primary.socket)
    assert server["answers"]


def test_a_socket_for_everybody_is_warned_of(tmp_path):
    authority = tls_hosts.new_authority(tmp_path / "ca")
    environment = tls_hosts.variables(tls_hosts.host(authority, "one.example"))
    with tempfile.TemporaryDirectory() as name:  # those of pytest are in one that is closed
        folder = Path(name)
        primary = ActivatedServer(folder, "primary", environment=environment)
        try:
            primary.listen()
            folder.chmod(0o711)
            primary.socket.chmod(0o666)
            with socket.create_connection((LOOPBACK, primary.port)):
                warning = f"every user of this host may connect to {primary.socket}"
                primary.wait_for_log(warning)
        finally:
            primary.kill()


def test_replicas_connect_at_several_sockets(tmp_path, database_server, at):
    with contextlib.ExitStack() as stack:
        ports = free_port(), free_port(), free_port()
        sockets = [stack.enter_context(socket.create_server((LOOPBACK, port))) for port in ports]
        command = [str(COMMANDS / "dqm"), "primary", "--data-dir", str(tmp_path / "data")]
        log = stack.enter_context((tmp_path / "log").open("wb"))
        primary = subprocess.Popen(
            handing_on(command, sockets, "zeo:zrs:zrs"),
            pass_fds=[one.fileno() for one in sockets],
            stdout=log,
            stderr=log,
        )
        stack.callback(primary.wait, PROMPT)
        stack.callback(primary.terminate)
        write(at(f"zeo://{LOOPBACK}:{ports[0]}"), 4)
        for port in ports[1:]:
            replica = database_server(f"of-{port}", source=SimpleNamespace(replication_port=port))
            replica.start()
            eventually(has(at(replica.url), 4), "the replica has it")


BEYOND = """
import os, socket, sys
with socket.create_server(("0.0.0.0", 8100)) as listener:
    os.dup2(listener.fileno(), 3)
    os.set_inheritable(3, True)  # also when it was 3 already
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "zeo"}
    os.execv(sys.argv[1], sys.argv[1:])
"""


def in_own_network(command: list[str]) -> list[str]:
    """*command* with nothing but a loopback interface, which is down."""
    probe = subprocess.run([*OWN_NETWORK, "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("this machine lets nobody make a network namespace")
    return [*OWN_NETWORK, *command]


def test_beyond_loopback_an_inherited_socket_needs_tls_too(tmp_path):
    server = [str(COMMANDS / "dqm"), "primary", "--data-dir", str(tmp_path / "data")]
    done = subprocess.run(
        in_own_network([sys.executable, "-c", BEYOND, *server]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 78, done.stderr
    assert "0.0.0.0:8100 is not loopback" in done.stderr


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("http", "'http'"),
        ("zeo:zrs:zeo", "another number of names"),
        ("zrs", "replicas connect by TCP"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, names, said):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        command = [str(COMMANDS / "dqm"), "primary", "--data-dir", str(tmp_path / "data")]
        done = subprocess.run(
            handing_on(command, [listener], names),
            pass_fds=[listener.fileno()],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 78, done.stderr
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_primary_without_a_network(tmp_path, at):
    """As in a container with ``--network=none``; what ends is told to the service manager."""
    own_port = free_port()
    place = tmp_path / "notify"
    with (
        socket.create_server((LOOPBACK, 0)) as clients,
        socket.create_server((LOOPBACK, 0)) as replicas,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        (tmp_path / "log").open("wb") as log,
    ):
        manager.bind(str(place))
        manager.settimeout(PROMPT)
        command = [str(COMMANDS / "dqm"), "primary", "--data-dir", str(tmp_path / "data")]
        command += ["--address", f"{LOOPBACK}:{own_port}"]
        sockets = [clients, replicas]
        server = subprocess.Popen(
            handing_on(["/usr/bin/env", *in_own_network(command)], sockets, "zeo:zrs"),
            pass_fds=[one.fileno() for one in sockets],
            stdout=log,
            stderr=log,
            env=os.environ | {"NOTIFY_SOCKET": str(place)},
        )
        try:
            assert manager.recv(100) == b"READY=1"
            settings = at(f"zeo://{LOOPBACK}:{clients.getsockname()[1]}")
            write(settings, 5)
            server.send_signal(signal.SIGHUP)
            assert manager.recv(100) == b"RELOADING=1"
            assert manager.recv(100) == b"READY=1"
            assert runs_in(settings) == {5}
        finally:
            server.terminate()
            code = server.wait(PROMPT)
        assert code == 0, (tmp_path / "log").read_text()
        assert manager.recv(100) == b"STOPPING=1"
    # commands in the container cannot reach what systemd listens at, so it listens there, too
    text = (tmp_path / "log").read_text()
    assert f"clients connect to {LOOPBACK}:{own_port}\n" in text
    assert f"address {LOOPBACK}:{own_port}\n" in (tmp_path / "data" / "zeo.conf").read_text()
