"""How a system of a primary, a replica and a dashboard of two processes is seen to be.

`dqm status`, and what the dashboard tells monitors, while the replica lags, hangs and comes back.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from browsing import DashboardPage
from processes import COMMANDS, LOOPBACK, DatabaseServer, ServerProcess, eventually, free_port
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families
from relayed_pair import CAMERA, RelayedPair

from dqm_db.operations import Operation, OperationName
from dqm_db.writer import open_writer

pytestmark = pytest.mark.system

LIMITS = {"DQM_LAG_WARN": "0.5", "DQM_LAG_ALERT": "2", "DQM_DB_PATIENCE": "3", "DQM_DB_WAIT": "1"}


class System(RelayedPair):
    """A primary, a replica behind a relay, and a dashboard on the replica.

    Attributes
    ----------
    temporary : Path
        Where the dashboard makes its temporary folders.
    """

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        super().__init__(directory, stack)
        self.environment = {
            **LIMITS,
            "DQM_DB_URL": self.replica.url,
            "DQM_PRIMARY_ZEO": f"localhost:{self.primary.port}",  # as the servers do not call it
            "DQM_SERVERS": f"{LOOPBACK}:{self.primary.port},{LOOPBACK}:{self.replica.port}",
        }
        self.temporary = directory / "tmp"
        serve = self.serving(directory, ["dqm", "serve"], self.temporary)
        self.dashboard = stack.enter_context(serve)

    def serving(
        self, directory: Path, command: list[str], temporary: Path, *more: str
    ) -> ServerProcess:
        """A dashboard of two processes, not started yet, with its folder for temporary files."""
        temporary.mkdir()
        port = free_port()
        primary = f"{LOOPBACK}:{self.primary.port}"
        environment = {
            **self.environment, "DQM_PRIMARY_ZEO": primary, "TMPDIR": str(temporary)
        }  # fmt: skip
        options = ["--port", str(port), "--num-procs", "2", *more]
        return ServerProcess(
            [*command, *options], port, directory / f"{command[0]}.log", environment
        )

    def do_all_that_keeps_it_safe(self) -> None:
        """Note that backup, verification and pack went well a minute ago."""
        then = time.time() - 60
        with open_writer(self.settings) as writer:
            for name in OperationName:
                writer.note_operation(Operation(name, then - 60, then, True, "fine", "here"))

    def status(self, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(COMMANDS / "dqm"), "status", *options],
            env={
                **{name: value for name, value in os.environ.items() if name[:4] != "DQM_"},
                **self.environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def told(self) -> tuple[int, dict[str, Any]]:
        """Exit code and document."""
        done = self.status("--json")
        return done.returncode, json.loads(done.stdout)

    @contextmanager
    def behind(self) -> Iterator[None]:
        """The replica lacks a run."""
        self.relay.cut()
        try:
            self.store()
            yield
        finally:
            self.relay.mend()
            self.replica.wait_for(self.primary)

    @contextmanager
    def frozen(self, server: DatabaseServer) -> Iterator[None]:
        server.send(signal.SIGSTOP)
        try:
            yield
        finally:
            server.send(signal.SIGCONT)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with ExitStack() as stack:
        made = System(tmp_path_factory.mktemp("status"), stack)
        yield made
        assert made.dashboard.stop() == 0
        left = [path.name for path in made.temporary.glob("dqm-metrics-*")]
        assert not left, "the dashboard has cleaned up"


def get(port: int, path: str, accept: str = "*/*") -> tuple[int, str]:
    """Status and body of an answer, over a connection of its own."""
    request = urllib.request.Request(f"http://{LOOPBACK}:{port}{path}", headers={"Accept": accept})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def ready(port: int) -> tuple[int, dict[str, Any]]:
    code, body = get(port, "/ready")
    return code, json.loads(body)


def all_ready(port: int) -> bool:
    """Whether both processes are: each of many questions goes to either."""
    return all(ready(port)[0] == 200 for _ in range(20))


def metrics(port: int) -> dict[tuple[str, ...], float]:
    """Name and values of labels -> value."""
    code, body = get(port, "/metrics")
    assert code == 200
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }


def processes(port: int) -> set[int]:
    """The processes of a dashboard that have answered, of a few questions."""
    return {json.loads(get(port, "/health")[1])["process"] for _ in range(20)}


def both_processes(port: int) -> set[int]:
    found: set[int] = set()

    def two() -> bool:
        found.update(processes(port))
        return len(found) >= 2

    eventually(two, "both processes answer")
    return found


def items(document: dict[str, Any], key: str) -> list[tuple[str, str]]:
    """Level and subject of all items of one kind."""
    return [(item["level"], item["subject"]) for item in document["items"] if item["key"] == key]


def as_nagios_asks(system: System, directory: Path) -> tuple[int, str]:
    """Exit code and output of the script in docs/monitoring.md."""
    page = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text()
    [text] = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    script = directory / "check_dqm"
    script.write_text(text)
    script.chmod(0o755)
    path = f"{COMMANDS}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [script], env={**os.environ, **system.environment, "PATH": path}, stdout=subprocess.PIPE,
        text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_what_was_not_done_is_a_warning_and_then_all_is_fine(system):
    system.do_all_that_keeps_it_safe()
    system.replica.wait_for(system.primary)
    eventually(lambda: all_ready(system.dashboard.port), "ready")
    eventually(lambda: metrics(system.dashboard.port)["dqm_dashboard_processes",] == 2, "both run")
    # A server that is slow to answer says nothing of its clients.
    clients = lambda: (system.told()[1]["servers"][1]["clients"] or 0) >= 2  # noqa: E731
    eventually(clients, "both processes of the dashboard are clients of the replica")
    _, document = eventually(lambda: (told := system.told())[0] == 0 and told, "all is fine")
    assert document["level"] == "ok"
    primary, replica = document["servers"]
    assert (primary["role"], replica["role"]) == ("primary", "replica")
    assert primary["last_transaction"] == replica["last_transaction"]
    assert primary["file_bytes"] == system.primary.data_file.stat().st_size
    assert replica["following"] == "connected"
    assert 0 < primary["disk_free_bytes"] < primary["disk_total_bytes"]
    assert set(document["database"]["operations"]) == set(OperationName)
    shown = system.status().stdout
    assert shown.startswith("System: ok")
    assert f"{LOOPBACK}:{system.replica.port}" in shown


def test_a_replica_that_lacks_something_is_seen_by_all(system):
    port = system.dashboard.port
    eventually(lambda: all_ready(port), "ready")
    with system.behind():
        code, document = system.told()
        _, replica = document["servers"]
        sizes = [one.data_file.stat().st_size for one in (system.primary, system.replica)]
        assert replica["lag_seconds"] > 2
        assert replica["lag_bytes"] == sizes[0] - sizes[1]
        assert code == 69
        assert items(document, "replica-lag") == [("critical", replica["address"])]
        late = eventually(
            lambda: (answer := ready(port))[0] == 503 and answer[1], "the lag is too long"
        )
        assert "behind the primary" in late["reasons"][0] and late["lag_seconds"] > 2
        eventually(lambda: metrics(port)["dqm_database_lag_seconds",] > 2, "the metrics say so")
        assert get(port, "/health")[0] == 200, "the process itself is well"
    eventually(lambda: all_ready(port), "ready again")
    eventually(lambda: metrics(port)["dqm_database_lag_seconds",] == 0, "no lag any more")


def test_a_replica_that_hangs_is_critical_and_nobody_is_sent_to_the_dashboard(system):
    port, address = system.dashboard.port, f"{LOOPBACK}:{system.replica.port}"
    eventually(lambda: all_ready(port), "ready")
    with system.frozen(system.replica):
        code, document = system.told()
        assert (code, document["level"]) == (69, "critical")
        assert ("critical", address) in items(document, "server-answers")
        assert document["database"]["readable"], "from the primary"
        assert document["servers"][1]["error"] == "It does not answer within 3 s"
        answer = eventually(
            lambda: (found := ready(port))[0] == 503 and found[1], "not ready any more"
        )
        assert (answer["ready"], answer["database"]) == (False, "down")
        assert get(port, "/health")[0] == 200
        eventually(lambda: metrics(port)["dqm_server_up", address] == 0, "the metrics say so")
        assert metrics(port)["dqm_database_readable",] == 0
    eventually(lambda: all_ready(port), "ready again")
    eventually(lambda: system.told()[0] in (0, 1), "not critical any more")


def test_without_a_primary_nothing_can_be_stored(system, tmp_path):
    with system.frozen(system.primary):
        code, said = as_nagios_asks(system, tmp_path)
        assert code == 2
        assert f"critical {LOOPBACK}:{system.primary.port} It does not answer within 3 s; " in said
        code, document = system.told()
        assert code == 69
        assert items(document, "primary") == [("critical", "")]
        assert document["database"]["readable"], "from the replica"
        assert document["servers"][1]["lag_seconds"] is None


def test_the_counts_of_both_processes_are_told_by_either(system):
    port = system.dashboard.port
    eventually(lambda: metrics(port)["dqm_dashboard_processes",] == 2, "both count")
    both_processes(port)

    def reads() -> float:
        return metrics(port)["dqm_dashboard_read_seconds_count",]

    before = reads()
    system.store()  # both processes look at the catalogue
    eventually(lambda: reads() >= before + 2, "reads of both are counted")
    eventually(lambda: metrics(port)["dqm_runs", CAMERA] >= 2, "the new run is counted")
    of_primary = ("dqm_server_primary", f"{LOOPBACK}:{system.primary.port}")
    eventually(lambda: metrics(port).get(of_primary) == 1, "it is seen, if it was frozen before")
    told = metrics(port)
    assert told["dqm_dashboard_read_seconds_bucket", "+Inf"] == pytest.approx(
        told["dqm_dashboard_read_seconds_count",]
    )
    code, body = get(port, "/metrics", "application/openmetrics-text; version=1.0.0")
    assert code == 200
    assert {"dqm_dashboard_sessions_opened", "dqm_server_lag_seconds"} <= {
        family.name for family in parse_openmetrics(body)
    }


def test_what_a_process_has_counted_is_not_lost_with_it(system):
    port = system.dashboard.port
    victim = min(both_processes(port))
    eventually(lambda: metrics(port)["dqm_dashboard_processes",] == 2, "both count")
    before = metrics(port)["dqm_dashboard_read_seconds_count",]
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: victim not in both_processes(port), "another one was started")
    eventually(lambda: metrics(port)["dqm_dashboard_processes",] == 2, "which counts")
    assert metrics(port)["dqm_dashboard_read_seconds_count",] >= before
    [folder] = system.temporary.glob("dqm-metrics-*")
    assert not list(folder.glob(f"*_{victim}.db"))


@pytest.mark.browser
def test_pages_are_counted(browser, system):
    port = system.dashboard.port

    def sessions() -> tuple[float, float]:
        told = metrics(port)
        return told["dqm_dashboard_sessions",], told["dqm_dashboard_sessions_opened_total",]

    before = sessions()
    with DashboardPage(browser, f"http://{LOOPBACK}:{port}/?camera={CAMERA}&run=6001") as page:
        page.wait_for_run(6001)
        assert sessions() == (before[0] + 1, before[1] + 1)
        assert page.errors == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_bokeh_serve_tells_the_same_and_cleans_up(system, tmp_path, number):
    """Also when only its first process is ended, by whoever: the others see to it."""
    temporary = tmp_path / "tmp"
    root = Path(__file__).parents[2]
    command = ["bokeh", "serve", "--address", LOOPBACK]
    with system.serving(tmp_path, command, temporary, str(root / "dqm_app")) as dashboard:
        port = dashboard.port
        eventually(lambda: ready(port)[0] == 200, "ready")
        eventually(lambda: metrics(port)["dqm_dashboard_processes",] == 2, "both count")
        assert len(list(temporary.glob("dqm-metrics-*"))) == 1
        dashboard.send(number)
        dashboard.wait()
        eventually(lambda: not list(temporary.glob("dqm-metrics-*")), "nothing is left")
