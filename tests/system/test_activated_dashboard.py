"""The dashboard at inherited sockets: started by a connection, shared by its processes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import psutil
import pytest
from activation import Activated, ActivatedServer
from browsing import DashboardPage
from handing_on import handing_on
from processes import COMMANDS, LOOPBACK, PATIENCE, eventually, free_port

from dqm_db.settings import DatabaseSettings
from dqm_db.writer import open_writer

pytestmark = pytest.mark.system

NO_DATABASE = {"DQM_DB_URL": "zeo://127.0.0.1:1", "DQM_DB_WAIT": "0.2", "DQM_AUTH": "none"}


class ByUnixSocket(http.client.HTTPConnection):
    """HTTP at the UNIX socket *path*."""

    def __init__(self, path: Path) -> None:
        super().__init__("site", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(self._path))


def ask(connection: http.client.HTTPConnection, path: str, **headers: str) -> tuple[int, bytes]:
    """Status and body of the answer, of which a websocket has none."""
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, b"" if answer.status == 101 else answer.read()
    finally:
        connection.close()


def by_tcp(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(LOOPBACK, port, timeout=PATIENCE)


WEBSOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
}


def websocket(connection: http.client.HTTPConnection, origin: str) -> int:
    """Status that a page of *origin* gets when it opens its websocket; 403: not from there."""
    return ask(connection, "/dqm_app/ws", Origin=origin, **WEBSOCKET)[0]


@pytest.fixture(params=["1", "3"])
def dashboard(request, tmp_path):
    sockets = [("http", free_port()), ("http", free_port()), ("http", tmp_path / "http.sock")]
    environment = NO_DATABASE | {"DQM_ALLOWED_ORIGINS": "site.example"}
    command = ["dqm", "serve", "--num-procs", request.param]
    dashboard = Activated(command, sockets, tmp_path / "log", environment)
    dashboard.listen()
    yield dashboard
    dashboard.kill()


def test_a_first_request_starts_the_dashboard_at_all_sockets(dashboard):
    first, second, path = dashboard.places
    status, health = ask(ByUnixSocket(path), "/health")
    assert status == 200
    assert json.loads(health)
    assert dashboard.has_started()
    for port in (first, second):
        status, page = ask(by_tcp(port), "/dqm_app?run=1")
        assert (status, b"<title>" in page) == (200, True)
        assert websocket(by_tcp(port), f"http://localhost:{port}") == 101
        assert websocket(by_tcp(port), "https://site.example") == 101
        assert websocket(by_tcp(port), "https://elsewhere.example") == 403
    assert websocket(ByUnixSocket(path), "https://site.example") == 101
    assert websocket(ByUnixSocket(path), "https://elsewhere.example") == 403
    assert f"http://{LOOPBACK}:{second}/ (inherited)" in dashboard.text()
    assert dashboard.stop() == 0, dashboard.text()
    assert path.exists()


def test_a_process_that_dies_is_replaced_at_the_same_sockets(tmp_path):
    sockets = [("", free_port())]
    dashboard = Activated(
        ["dqm", "serve", "--num-procs", "2"], sockets, tmp_path / "log", NO_DATABASE
    )
    try:
        dashboard.listen()
        assert ask(by_tcp(dashboard.port), "/alive")[0] == 200
        family = psutil.Process(dashboard.pid).children()
        assert len(family) == 2
        for child in family:
            os.kill(child.pid, signal.SIGKILL)
        # the socket is still there, so nobody is refused meanwhile
        assert ask(by_tcp(dashboard.port), "/alive")[0] == 200
        assert not {child.pid for child in family} & {
            child.pid for child in psutil.Process(dashboard.pid).children()
        }
    finally:
        dashboard.kill()
        eventually(lambda: not any(child.is_running() for child in family), "all have ended")


def test_nobody_is_refused_while_the_dashboard_restarts(tmp_path):
    place = tmp_path / "notify"
    with (
        socket.create_server((LOOPBACK, 0)) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        (tmp_path / "log").open("ab") as log,
    ):
        manager.bind(str(place))
        manager.settimeout(PATIENCE)
        port = listener.getsockname()[1]
        command = handing_on([str(COMMANDS / "dqm"), "serve", "--num-procs", "2"], [listener])
        for _ in range(2):
            waiting = by_tcp(port)
            waiting.request("GET", "/alive")
            with subprocess.Popen(
                command,
                pass_fds=[listener.fileno()],
                stdout=log,
                stderr=log,
                env=os.environ | NO_DATABASE | {"NOTIFY_SOCKET": str(place)},
            ) as dashboard:
                try:
                    assert waiting.getresponse().read() == b"alive\n"
                    assert manager.recv(100) == b"READY=1"
                finally:
                    waiting.close()
                    dashboard.terminate()
                assert dashboard.wait(PATIENCE) == 0
                assert manager.recv(100) == b"STOPPING=1"


def test_a_unix_socket_alone_needs_to_know_its_site(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener, (tmp_path / "log").open("wb") as log:
        listener.bind(str(tmp_path / "http.sock"))
        listener.listen()
        command = [str(COMMANDS / "dqm"), "serve", "--num-procs", "1"]
        with subprocess.Popen(
            handing_on(command, [listener], "http"),
            pass_fds=[listener.fileno()],
            stdout=log,
            stderr=log,
            env=os.environ | NO_DATABASE,
        ) as dashboard:
            try:
                path = tmp_path / "http.sock"
                assert ask(ByUnixSocket(path), "/dqm_app")[0] == 200
                assert websocket(ByUnixSocket(path), "http://localhost:5006") == 403
            finally:
                dashboard.terminate()
    assert "set DQM_ALLOWED_ORIGINS" in (tmp_path / "log").read_text()


def test_a_dashboard_without_a_network_reads_a_unix_socket(tmp_path):
    """As in a container with ``--network=none``, beside its database."""
    unshare = ["unshare", "--map-root-user", "--net"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody make a network namespace")
    database = ActivatedServer(tmp_path, "primary")
    settings = DatabaseSettings(
        db_url=database.socket_url, db_wait=PATIENCE, lock_dir=tmp_path / "locks"
    )
    command = [*unshare, str(COMMANDS / "dqm"), "serve", "--num-procs", "1"]
    with (
        socket.create_server((LOOPBACK, 0)) as listener,
        (tmp_path / "log").open("wb") as log,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(database.kill)
        database.listen()
        with open_writer(settings):
            pass  # an empty database is not read
        dashboard = subprocess.Popen(
            handing_on(["/usr/bin/env", *command], [listener], "http"),
            pass_fds=[listener.fileno()],
            stdout=log,
            stderr=log,
            env=os.environ | {"DQM_DB_URL": database.socket_url, "DQM_AUTH": "none"},
        )
        stack.callback(dashboard.wait, PATIENCE)
        stack.callback(dashboard.terminate)
        port = listener.getsockname()[1]
        eventually(lambda: ask(by_tcp(port), "/ready")[0] == 200, "it reads the database")

        def servers() -> dict[str, float]:
            """Whether the servers answer, by address, as the dashboard's metrics say."""
            text = ask(by_tcp(port), "/metrics")[1].decode()
            found = re.findall(r'^dqm_server_up\{server="(.*)"\} (.*)$', text, re.M)
            return {address: float(up) for address, up in found}

        eventually(lambda: servers() == {str(database.socket): 1.0}, "it asks its server")
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.browser
def test_a_page_in_a_browser(browser, tmp_path):
    dashboard = Activated(
        ["dqm", "serve", "--num-procs", "2"],
        [("http", free_port())],
        tmp_path / "log",
        NO_DATABASE,
    )
    dashboard.listen()
    try:
        with DashboardPage(browser, f"http://{LOOPBACK}:{dashboard.port}/dqm_app") as page:
            page.page.wait_for_function("Bokeh.documents.length > 0")
            assert page.errors == []
    finally:
        dashboard.kill()
