"""TLS with real servers: everything works with it, and nobody without a certificate gets anything.

The primary is a `dqm primary`, the replica stock ZEO on the `zeo.conf` that `dqm` writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import pytest
import tls_hosts
import ZEO
import ZODB
from browsing import DashboardPage
from processes import (
    COMMANDS,
    LOOPBACK,
    PATIENCE,
    DatabaseServer,
    ServerProcess,
    eventually,
    frame,
    free_port,
)
from synthetic_runs import a_run
from ZODB.blob import Blob

from dqm_db.authority import Authority
from dqm_db.certificates import certificate_expiry
from dqm_db.errors import DatabaseUnavailable
from dqm_db.server_answers import ServerAnswer, ask_status
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import open_database
from dqm_db.writer import open_writer

pytestmark = pytest.mark.system

MARKER = b"a marker that nobody on the way may read "
KEEP_ALIVE = 1
ELSEWHERE = "127.0.0.2"
"""Also this machine, but in none of the certificates."""


class Wiretap:
    """Hands connections at *host* on to the port *target* and keeps what comes by.

    Attributes
    ----------
    replication_port
        Where it listens; under the name that a `DatabaseServer` looks for in its source.
    heard : bytearray
        All of it, in both directions.
    """

    def __init__(self, target: int, host: str = LOOPBACK) -> None:
        self.replication_port = free_port()
        self.heard = bytearray()
        self._target = target
        self._listener = socket.create_server((host, self.replication_port))
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for connection in (self._listener, *self._open):
            with contextlib.suppress(OSError):  # it has ended
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:  # closed
                return
            try:
                far = socket.create_connection((LOOPBACK, self._target))
            except OSError:  # the server begins anew
                near.close()
                continue
            self._open += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the connection ends, either way
            while piece := source.recv(65_536):
                self.heard += piece
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)


class Site:
    """A CA, a primary, and a replica that follows it through a wiretap."""

    def __init__(self, directory: Path, stack: contextlib.ExitStack) -> None:
        self.directory = directory
        self.authority: Authority = tls_hosts.new_authority(directory / "ca")
        self.one = tls_hosts.host(self.authority, "one")
        self.two = tls_hosts.host(self.authority, "two")
        variables = {"DQM_KEEP_ALIVE": str(KEEP_ALIVE)}
        self.primary = stack.enter_context(
            DatabaseServer(
                directory, "primary", environment=variables | tls_hosts.variables(self.one)
            )
        )
        self.wire = stack.enter_context(Wiretap(self.primary.replication_port))
        self.replica = DatabaseServer(
            directory,
            "replica",
            source=self.wire,  # type: ignore[arg-type]
            stock=True,
            environment=variables | tls_hosts.variables(self.two),
        )
        stack.enter_context(self.replica)
        self.client = stack.enter_context(Wiretap(self.primary.port))
        with (
            pytest.MonkeyPatch.context() as monkeypatch,
            open_writer(self.at_two(monkeypatch)) as writer,
        ):
            writer.store_run(a_run(6000, "NectarCAMQM"), None)
        self.replica.wait_for(self.primary)

    def at_two(self, monkeypatch: pytest.MonkeyPatch) -> DatabaseSettings:
        """Settings of this process as a client on the host two, whose certificates it gets."""
        for name, value in tls_hosts.variables(self.two).items():
            monkeypatch.setenv(name, value)
        return load(
            DatabaseSettings,
            db_url=self.primary.url,
            db_wait=PATIENCE,
            lock_dir=self.directory / "locks",
        )

    def replicas(self, name: str, folder: Path | None, source: object = None) -> DatabaseServer:
        """One more replica, not started, with the certificates in *folder*."""
        variables = {} if folder is None else tls_hosts.variables(folder)
        return DatabaseServer(
            self.directory,
            name,
            source=source or self.primary,  # type: ignore[arg-type]
            environment=variables,
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with contextlib.ExitStack() as stack:
        yield Site(tmp_path_factory.mktemp("site"), stack)


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificates of a host of another CA."""
    directory = tmp_path_factory.mktemp("strangers")
    return tls_hosts.host(tls_hosts.new_authority(directory), "stranger")


def ask(server: DatabaseServer) -> ServerAnswer:
    """What *server* tells; from a thread, for the browser has a loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(
            lambda: asyncio.run(ask_status(LOOPBACK, server.port, PATIENCE, server.tls))
        ).result()


def put(directory: Path, port: int, tls: ssl.SSLContext | None, value: bytes) -> None:
    """Store *value* in a record and in a blob."""
    storage = ZEO.client(
        (LOOPBACK, port),
        ssl=tls,
        wait_timeout=PATIENCE,
        blob_dir=tempfile.mkdtemp(prefix="blobs-", dir=directory),
    )
    database = ZODB.DB(storage)
    try:
        with database.transaction() as connection:
            connection.root()["marker"] = value
            connection.root()["blob"] = Blob(value)
    finally:
        database.close()


def test_nothing_is_readable_on_the_way(site: Site, tmp_path: Path) -> None:
    value = MARKER + os.urandom(8).hex().encode()
    put(tmp_path, site.client.replication_port, site.primary.tls, value)
    site.replica.wait_for(site.primary)
    assert site.replica.contents() == site.primary.contents()
    assert value in site.replica.contents()["Data.fs"]
    for wire in (site.client, site.wire):
        assert len(wire.heard) > 2 * len(value)  # record and blob came by
        assert MARKER not in wire.heard
    # and it would have been heard without TLS
    with (
        DatabaseServer(tmp_path, "plain") as plain,
        Wiretap(plain.port) as client,
        Wiretap(plain.replication_port) as wire,
        DatabaseServer(tmp_path, "copy", source=wire) as copy,  # type: ignore[arg-type]
    ):
        put(tmp_path, client.replication_port, None, value)
        copy.wait_for(plain)
        assert value in client.heard
        assert value in wire.heard
        one_side_only(site, plain)


def one_side_only(site: Site, plain: DatabaseServer) -> None:
    """What clients and replicas with TLS say of the server *plain*, which has none."""
    told = client(plain.url, tls_hosts.variables(site.two))
    assert told.returncode == 69
    assert f"TLS with {LOOPBACK}:{plain.port} fails: it does not speak TLS" in told.stderr
    plain.wait_for_log("TLS with the client at 127.0.0.1:")
    with site.replicas("tls-replica", site.two, plain) as replica:
        replica.wait_for_log("cannot follow the primary at")
        plain.wait_for_log("TLS with the replica at 127.0.0.1:")
        assert "TLS failed: it hung up: it may have no TLS" in replica.text()
        assert "this server has none: set DQM_TLS_CA" in plain.text()
        assert "Traceback" not in plain.text() + replica.text()


def client(url: str, variables: dict[str, str] | object = None) -> subprocess.CompletedProcess[str]:
    """What `dqm runs` says about the database at *url*."""
    environment = {name: value for name, value in os.environ.items() if name[:4] != "DQM_"}
    environment |= {"DQM_DB_URL": url, "DQM_DB_WAIT": "0.5", **(variables or {})}  # type: ignore[dict-item]
    command = [str(COMMANDS / "dqm"), "runs"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_commands_and_several_addresses(site: Site) -> None:
    both = f"zeo://{ELSEWHERE}:{site.primary.port},localhost:{site.replica.port}"
    for url in (site.replica.url, site.primary.url, both):
        told = client(url, tls_hosts.variables(site.two))
        assert told.returncode == 0, told.stderr
        assert "6000" in told.stdout
    answer = ask(site.replica)
    assert answer.following == "connected"
    assert answer.certificate_expires == certificate_expiry(site.two / "cert.pem")
    assert answer.authority_expires == certificate_expiry(site.two / "ca.pem")
    assert "ConnectionResetError" not in site.replica.text(), "a line at every question"


def test_the_status_asks_over_tls_and_says_when_certificates_end(site: Site) -> None:
    servers = f"localhost:{site.primary.port},localhost:{site.replica.port}"
    environment = {name: value for name, value in os.environ.items() if name[:4] != "DQM_"}
    environment |= {"DQM_DB_URL": site.replica.url, "DQM_SERVERS": servers}
    command = [str(COMMANDS / "dqm"), "status", "--json"]

    def told(**variables: str) -> tuple[int, list[dict[str, Any]]]:
        done = subprocess.run(
            command, env={**environment, **variables}, capture_output=True, text=True, timeout=60
        )
        return done.returncode, json.loads(done.stdout)["items"]

    code, items = told(**tls_hosts.variables(site.two))
    assert code == 1, "there is no backup, and nothing is critical"
    certificates = [item["level"] for item in items if item["key"] == "certificate"]
    assert certificates == ["ok", "ok"]
    assert [item["level"] for item in items if item["key"] == "authority"] == ["ok", "ok"]
    for key in ("own-certificate", "own-authority"):
        assert [item["level"] for item in items if item["key"] == key] == ["ok"]
    code, items = told(DQM_DB_PATIENCE="3")
    answers = [item for item in items if item["key"] == "server-answers"]
    assert code == 69 and [item["level"] for item in answers] == ["critical", "critical"]
    assert all("TLS" in item["text"] for item in answers)


@pytest.mark.browser
def test_a_dashboard_reads_the_replica_and_watches_the_primary(site: Site, browser: object) -> None:
    port = free_port()
    environment = {
        "DQM_DB_URL": site.replica.url,
        "DQM_PRIMARY_ZEO": f"{LOOPBACK}:{site.primary.port}",
        **tls_hosts.variables(site.two),
    }
    serve = ["dqm", "serve", "--port", str(port), "--num-procs", "1"]
    log = site.directory / "dashboard.log"
    url = f"http://{LOOPBACK}:{port}/?camera=NectarCAMQM&run=6000"
    with (
        ServerProcess(serve, port, log, environment) as dashboard,
        DashboardPage(browser, url) as page,  # type: ignore[arg-type]
    ):
        page.wait_for(
            'document.getElementById("replica").innerText.trim().endsWith("in step")',
        )
        assert page.text("#health") == "Live"
        assert page.errors == []
        assert "does not say how far it is" not in dashboard.text()


def without_certificate(site: Site) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(site.one / "ca.pem")
    return context


def with_certificate(site: Site, folder: Path) -> ssl.SSLContext:
    """One that trusts our CA, whatever certificate it shows: as no client of ours would."""
    context = without_certificate(site)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


STRANGERS = {
    "none": "it shows no certificate: set DQM_TLS_CERT",
    "other CA": "its certificate is not from our CA",
    "expired": "its certificate has expired: renew it",
}


@pytest.fixture(params=STRANGERS)
def stranger(
    request: pytest.FixtureRequest, site: Site, strangers: Path
) -> tuple[ssl.SSLContext, str]:
    """How somebody connects who shall get nothing, and what the server says of that."""
    contexts = {
        "none": lambda: without_certificate(site),
        "other CA": lambda: with_certificate(site, strangers),
        "expired": lambda: with_certificate(
            site, tls_hosts.expired(site.authority, f"expired-{os.urandom(4).hex()}")
        ),
    }
    return contexts[request.param](), STRANGERS[request.param]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_stranger_gets_nothing(
    site: Site, stranger: tuple[ssl.SSLContext, str], version: ssl.TLSVersion
) -> None:
    context, reason = stranger
    context.minimum_version = context.maximum_version = version
    as_client = (site.primary.port, frame(b"ruok"))
    as_replica = (site.primary.replication_port, frame(b"zrs2.1") + frame(bytes(8)))
    for port, question in (as_client, as_replica):
        assert answer(context, port, question) == b""
    for who in ("client", "replica"):
        line = f"TLS with the {who} at {LOOPBACK}:"
        said = eventually(
            lambda line=line: [
                text for text in site.primary.text().splitlines() if line in text and reason in text
            ],
            f"{line} … {reason}",
        )
        assert "Traceback" not in said[0]
    good = site.primary.tls
    assert good is not None
    assert answer(good, *as_client)  # the same with a certificate
    assert answer(good, *as_replica)


def answer(context: ssl.SSLContext, port: int, question: bytes) -> bytes:
    """What a server first says to *question*; nothing when it refuses."""
    with socket.create_connection((LOOPBACK, port), PATIENCE) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=LOOPBACK) as secure:
                secure.sendall(question)
                return secure.recv(1000)
        except TimeoutError:
            raise AssertionError("the server keeps the connection") from None
        except OSError:
            return b""


def test_whoever_speaks_no_tls_gets_nothing(site: Site) -> None:
    for port, question in (
        (site.primary.port, frame(b"ruok")),
        (site.primary.replication_port, frame(b"zrs2.1") + frame(bytes(8))),
    ):
        with socket.create_connection((LOOPBACK, port), PATIENCE) as plain:
            plain.sendall(question)
            got = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := plain.recv(1000):
                    got += piece
            assert got[:1] in (b"", b"\x15")  # nothing, or an alert of TLS
            assert len(got) <= 7
    site.primary.wait_for_log("it does not speak TLS", count=2)
    hello = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        without_certificate(site).wrap_bio(
            ssl.MemoryBIO(), hello, server_hostname=LOOPBACK
        ).do_handshake()
    begun = hello.read()
    for number in range(20):
        for port in (site.primary.port, site.primary.replication_port):
            with socket.create_connection((LOOPBACK, port), PATIENCE) as plain:
                plain.sendall(begun[: number * 20] + os.urandom(number * 10))
    assert ask(site.primary).role == "primary"
    assert "Traceback" not in site.primary.text()


def test_clients_say_why_they_are_refused(site: Site, strangers: Path) -> None:
    told = client(site.primary.url)
    assert told.returncode == 69
    assert f"TLS with {LOOPBACK}:{site.primary.port} fails: it wants TLS: set" in told.stderr
    assert "Traceback" not in told.stderr
    told = client(site.primary.url, tls_hosts.variables(strangers))
    assert told.returncode == 69
    assert "fails: its certificate is not from our CA" in told.stderr
    expired = tls_hosts.expired(site.authority, "an-expired-client")
    told = client(site.primary.url, tls_hosts.variables(expired))
    assert told.returncode == 78
    assert f"dqm: {expired / 'cert.pem'} has expired on" in told.stderr
    with Wiretap(site.primary.port, ELSEWHERE) as elsewhere:
        told = client(
            f"zeo://{ELSEWHERE}:{elsewhere.replication_port}", tls_hosts.variables(site.two)
        )
    assert told.returncode == 69
    assert "its certificate is for other names than the one by which" in told.stderr
    assert site.primary.is_running()


def test_replicas_name_the_reason_and_keep_trying(site: Site, strangers: Path) -> None:
    with contextlib.ExitStack() as stack:
        elsewhere = stack.enter_context(Wiretap(site.primary.replication_port, ELSEWHERE))
        plain = site.replicas("plain-replica", None)
        foreign = site.replicas("foreign-replica", strangers)
        misled = site.replicas("misled-replica", site.two)
        misled.command = [
            f"{ELSEWHERE}:{elsewhere.replication_port}"
            if word == f"{LOOPBACK}:{site.primary.replication_port}"
            else word
            for word in misled.command
        ]
        reasons = {
            plain: "if it wants TLS, set DQM_TLS_CA",
            foreign: "TLS failed: its certificate is not from our CA",
            misled: "TLS failed: its certificate is for other names",
        }
        for replica in reasons:
            stack.callback(replica.kill)
            replica.start(wait=False)
        for replica, reason in reasons.items():
            replica.wait_for_log(reason)
            answered = eventually(
                lambda replica=replica: told_reason(replica), f"{replica.log.name}: a reason"
            )
            assert reason in answered
        attempts = len(elsewhere.heard)
        eventually(lambda: len(elsewhere.heard) > attempts, "another attempt")
        site.primary.wait_for_log(f"TLS with the replica at {LOOPBACK}:")
        for replica, reason in reasons.items():
            assert replica.text().count(reason) == 1, "said once, not at each attempt"
            assert replica.last_transaction() == bytes(8)
            assert "Traceback" not in replica.text()


def told_reason(server: DatabaseServer) -> str | None:
    try:
        status = ask(server)
    except DatabaseUnavailable:  # it has just been started
        return None
    assert status.following in (None, "unreachable")
    return status.reason


def test_a_silent_client_is_hung_up_on(site: Site) -> None:
    with socket.create_connection((LOOPBACK, site.primary.port), PATIENCE) as plain:
        assert plain.recv(100) == b""  # ZEO's client waits for a greeting first
    site.primary.wait_for_log("it is silent; maybe it does not speak TLS")


def test_a_frozen_primary_is_noticed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = site.at_two(monkeypatch).model_copy(update={"db_patience": 2.0, "db_wait": 5})
    silent = f"no sign of life for {2 * KEEP_ALIVE} s"
    before = site.replica.text().count(silent)
    with open_database(settings) as database:
        with database.snapshot() as snapshot:
            assert 6000 in snapshot.runs("NectarCAMQM")
        site.primary.send(signal.SIGSTOP)
        try:
            with pytest.raises(DatabaseUnavailable), database.snapshot() as snapshot:
                snapshot.pixel_maps("NectarCAMQM", 6000)
            site.replica.wait_for_log(silent, count=before + 1)
        finally:
            site.primary.send(signal.SIGCONT)
        eventually(database.is_connected, "the client finds the server again")
    eventually(lambda: ask(site.replica).following == "connected", "the replica follows again")


def test_a_renewed_certificate_is_used_after_a_hang_up(site: Site, tmp_path: Path) -> None:
    before = ask(site.primary)
    renewed = site.authority.issue(["one"], 95, renew=True)
    site.primary.send(signal.SIGHUP)

    def shows() -> bool:
        try:
            now = ask(site.primary)
        except DatabaseUnavailable:  # between the two
            return False
        return now.started != before.started and now.certificate_expires == renewed.expires

    eventually(shows, "the new certificate in use")
    put(tmp_path, site.primary.port, site.primary.tls, b"after the renewal")
    site.replica.wait_for(site.primary)


def test_a_database_that_loses_tls_says_so_later_too(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dashboard starts whether or not there is a server, and tells why there is none."""
    settings = site.at_two(monkeypatch).model_copy(update={"db_wait": 0.5})
    for name in tls_hosts.variables(site.two):
        monkeypatch.delenv(name)
    with (
        open_database(settings, must_answer=False) as database,
        pytest.raises(DatabaseUnavailable, match="it wants TLS"),
        database.snapshot(),
    ):
        pass
