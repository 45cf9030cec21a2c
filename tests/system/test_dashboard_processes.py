"""The dashboard's processes: both ways to start it, its addresses, and a clean end."""

from __future__ import annotations

import os
import re
import signal
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
from processes import LOOPBACK, ServerProcess, eventually, free_port

import dqm_app

pytestmark = pytest.mark.system

NO_DATABASE = {"DQM_DB_URL": "zeo://127.0.0.1:1", "DQM_DB_WAIT": "0.2"}
APPLICATION = Path(dqm_app.__file__).parent


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def get(url: str) -> tuple[int, str, str]:
    """Status, Location and body; redirects are not followed."""
    try:
        with urllib.request.build_opener(NoRedirect).open(url, timeout=10) as answer:
            return answer.status, "", answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers.get("Location", ""), error.read().decode()


def dqm_serve(tmp_path: Path, *options: str) -> ServerProcess:
    port = free_port()
    command = ["dqm", "serve", "--port", str(port), *options]
    return ServerProcess(command, port, tmp_path / "dashboard.log", NO_DATABASE)


def bokeh_serve(tmp_path: Path, *options: str) -> ServerProcess:
    port = free_port()
    command = ["bokeh", "serve", "--port", str(port), "--address", LOOPBACK, *options]
    origin = f"--allow-websocket-origin={LOOPBACK}:{port}"
    command = [*command, origin, str(APPLICATION)]
    return ServerProcess(command, port, tmp_path / "dashboard.log", NO_DATABASE)


@pytest.mark.parametrize("start", [dqm_serve, bokeh_serve])
@pytest.mark.parametrize("prefix", ["", "/nectarcam"])
def test_addresses(tmp_path, start, prefix):
    options = ["--prefix", prefix] if prefix else []
    with start(tmp_path, "--num-procs", "1", *options) as server:
        base = f"http://{LOOPBACK}:{server.port}{prefix}"
        for entrance in ("/", "/bokeh_app", "/bokeh_app/"):
            status, location, _ = get(f"{base}{entrance}?camera=A%26B&run=6310")
            assert (status, location) == (302, f"{prefix}/dqm_app?camera=A%26B&run=6310")
        status, _, page = get(f"{base}/dqm_app?run=6310")
        assert status == 200
        assert get(f"{base}/alive")[::2] == (200, "alive\n")

        scripts = re.findall(r'(?:src|href)="([^"]+\.(?:js|css)\?[^"]+)"', page)
        assert any("bokeh.min.js" in script for script in scripts)
        assert not re.findall(r"bokeh-(widgets|tables|gl|mathjax)", page)
        assert any("/assets/app.js?v=" in script for script in scripts)
        assert get(f"{base}/assets/unknown.js")[0] == 404
        for script in scripts:
            assert script.startswith(f"{prefix}/")
            assert get(f"http://{LOOPBACK}:{server.port}{script}")[0] == 200, script


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("processes", [1, 3])
def test_a_signal_ends_all_processes(tmp_path, number, processes):
    server = dqm_serve(tmp_path, "--num-procs", str(processes)).start()
    family = [server.process.pid, *children(server, 0 if processes == 1 else processes)]
    assert server.stop(number) == 0, server.text()
    assert not any(psutil.pid_exists(pid) for pid in family)
    assert "Traceback" not in server.text()


@pytest.mark.parametrize("start", [dqm_serve, bokeh_serve])
def test_children_do_not_outlive_their_parent(tmp_path, start):
    server = start(tmp_path, "--num-procs", "2").start()
    family = children(server, 2)
    get(f"http://{LOOPBACK}:{server.port}/alive")
    server.kill()
    eventually(lambda: not any(map(alive, family)), "the children have ended")


def test_a_child_that_dies_is_replaced(tmp_path):
    with dqm_serve(tmp_path, "--num-procs", "2") as server:
        first, second = children(server, 2)
        os.kill(first, signal.SIGKILL)
        eventually(lambda: len(set(children(server, 2)) - {first, second}) == 1, "a new child")
        assert get(f"http://{LOOPBACK}:{server.port}/alive")[0] == 200
        assert server.stop() == 0
        assert not alive(second)


def test_a_port_in_use_is_said_in_one_line(tmp_path):
    with dqm_serve(tmp_path, "--num-procs", "1") as server:
        other = ServerProcess(server.command, server.port, tmp_path / "other.log", NO_DATABASE)
        other.start(wait=False)
        assert other.wait() == 78
        assert len(other.text().splitlines()) == 1
        assert f"{LOOPBACK}:{server.port}" in other.text()


def test_an_unusable_setting_is_said_in_one_line(tmp_path):
    server = dqm_serve(tmp_path)
    server.environment["DQM_NUM_PROCS"] = "two"
    server.start(wait=False)
    assert server.wait() == 78
    assert server.text().startswith("dqm: unusable setting: DQM_NUM_PROCS")


UNREACHABLE = (
    "DQM_ACCOUNTS_URL",
    "postgresql+psycopg://u:secret@127.0.0.1:1/db",
    69,
    "the database of accounts, postgresql+psycopg://u:***@127.0.0.1:1/db, cannot be used",
)


@pytest.mark.parametrize(
    ("start", "variable", "value", "code", "said"),
    [
        (dqm_serve, "DQM_AUTH", "nonsense", 78, "unusable setting: DQM_AUTH"),
        (dqm_serve, "DQM_DOWNLOADS_BYTES", "1", 78, "unusable setting: DQM_DOWNLOADS_BYTES"),
        (dqm_serve, "DQM_DOWNLOADS_QUEUE", "nonsense", 78, "DQM_DOWNLOADS_QUEUE cannot be used"),
        (bokeh_serve, "DQM_DOWNLOADS_QUEUE", "http://x", 78, "DQM_DOWNLOADS_QUEUE cannot be used"),
        (dqm_serve, "DQM_TLS_CA", "/nowhere/ca.pem", 78, "TLS needs DQM_TLS_CA, DQM_TLS_CERT"),
        (dqm_serve, *UNREACHABLE),
        (bokeh_serve, *UNREACHABLE),
    ],
)
def test_what_keeps_it_from_starting_is_said_in_one_line(
    tmp_path, start, variable, value, code, said
):
    options = ["--auth-module", str(APPLICATION / "auth_module.py")] if start is bokeh_serve else []
    server = start(tmp_path, *options)
    server.environment |= {
        "DQM_AUTH": "accounts",
        "DQM_STATE_DIR": str(tmp_path / "state"),
        "BOKEH_SECRET_KEY": "a key of a test that is as long as keys should be",
        variable: value,
    }
    server.start(wait=False)
    assert server.wait() == code
    lines = [line for line in server.text().splitlines() if "warn" not in line.lower()]
    assert [line for line in lines if line.startswith(f"dqm: {said}")] == lines[-1:]
    assert "http://" not in server.text()  # nobody is sent to an address that never answers
    assert "Traceback" not in server.text()
    assert "secret@" not in server.text()


def test_workers_elsewhere_need_a_key_that_is_not_of_this_start(tmp_path):
    server = dqm_serve(tmp_path)
    server.environment |= {"DQM_AUTH": "none", "DQM_DOWNLOADS_QUEUE": "redis://127.0.0.1:1/0"}
    server.start(wait=False)
    assert server.wait() == 78
    assert server.text().startswith("dqm: BOKEH_SECRET_KEY is not set")
    assert len(server.text().splitlines()) == 1


def children(server: ServerProcess, count: int) -> list[int]:
    """Process ids of the server's children, once there are *count* of them."""
    parent = psutil.Process(server.process.pid)

    def ids() -> list[int]:
        return [child.pid for child in parent.children() if alive(child.pid)]

    eventually(lambda: len(ids()) == count, f"{count} children")
    return ids()


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
