"""Counts of several processes, and what a process knows, as monitors read it.

Prometheus' library decides when it is imported whether processes share their counts. So whatever
counts runs in processes of its own here, as dashboards do.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from ZODB.TimeStamp import TimeStamp

from dqm_app.accounts.facts import AccountsFacts
from dqm_app.dashboard_metrics import dashboard_metrics
from dqm_app.database_health import Health, State
from dqm_app.downloads.facts import ShelfFacts
from dqm_app.login.watch import AccountsState
from dqm_app.metrics import Known, known_metrics
from dqm_app.metrics_folder import ENDED, VARIABLE, MetricsFolder
from dqm_app.pulls import PullState
from dqm_app.settings import DashboardSettings
from dqm_db.ingestion import Pull
from dqm_db.operations import Operation, OperationName
from dqm_db.server_answers import ServerAnswer
from dqm_db.status.model import DatabaseFacts, Item, Level, ServerStatus, SystemStatus

COUNTING = """
import sys
from pathlib import Path
from dqm_app.metrics_folder import MetricsFolder
from dqm_app.meters import LoginResult
from dqm_app.metrics import ProcessMeters
from dqm_db.errors import DatabaseUnavailable, NoDataYet

meters = ProcessMeters(MetricsFolder(Path(sys.argv[1])))
for _ in range(3):
    meters.session_opened()
meters.session_closed()
meters.login(LoginResult.WRONG)
for error in (None, DatabaseUnavailable("down"), NoDataYet("empty"), KeyError("bug")):
    try:
        with meters.reading():
            if error is not None:
                raise error
    except Exception as raised:
        assert raised is error
print("counted", flush=True)
sys.stdin.read()
"""
LABELS = ("kind", "le", "result")
READING = """
import sys
from pathlib import Path
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from dqm_app.metrics_folder import MetricsFolder

folder = MetricsFolder(Path(sys.argv[1]))
registry = CollectorRegistry()
MultiProcessCollector(registry, str(folder.path))
with folder.locked():
    folder.bury()
    sys.stdout.write(generate_latest(registry).decode())
"""


class Process:
    """One that counts, until it is ended."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", COUNTING, str(folder)],
            env={**os.environ, VARIABLE: str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Process:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "counted\n"
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


def samples(folder: Path) -> dict[str, float]:
    """All samples without labels, those of errors by kind, those of logins by result."""
    text = subprocess.run(
        [sys.executable, "-c", READING, str(folder)],
        env={**os.environ, VARIABLE: str(folder)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return {
        sample.name + "".join(sample.labels.get(name, "") for name in LABELS): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_counts_of_all_processes_are_added_and_those_of_the_dead_stay(tmp_path):
    with Process(tmp_path), Process(tmp_path) as other:
        both = samples(tmp_path)
        assert both["dqm_dashboard_processes"] == 2
        assert both["dqm_dashboard_sessions"] == 4
        assert both["dqm_dashboard_sessions_opened_total"] == 6
        assert both["dqm_logins_totalwrong"] == 2
        assert both["dqm_logins_totalright"] == 0, "told from the start: rates need that"
        assert both["dqm_dashboard_reads_in_flight"] == 0
        assert both["dqm_dashboard_read_seconds_count"] == 8
        assert both["dqm_dashboard_read_seconds_bucket+Inf"] == 8
        assert both["dqm_dashboard_read_errors_totalunavailable"] == 2
        assert both["dqm_dashboard_read_errors_totalother"] == 2
        other.kill()
        one = samples(tmp_path)
        assert one["dqm_dashboard_processes"] == 1
        assert one["dqm_dashboard_sessions"] == 2
        counts = [name for name in both if "_total" in name or "_seconds" in name]
        assert counts and all(one[name] == both[name] for name in counts)
        assert not list(tmp_path.glob(f"*_{other.pid}.db")), "its files are gone"
        with Process(tmp_path):
            three = samples(tmp_path)
            assert three["dqm_dashboard_sessions_opened_total"] == 9
            assert three["dqm_dashboard_processes"] == 2
    assert samples(tmp_path)["dqm_dashboard_sessions_opened_total"] == 9
    left = {path.name for path in tmp_path.glob("*.db")}
    assert left == {f"counter_{ENDED}.db", f"histogram_{ENDED}.db"}, "they do not pile up"


FOLDER = """
import os, sys
from pathlib import Path
from dqm_app.metrics_folder import VARIABLE, MetricsFolder

folder = MetricsFolder.make()
assert MetricsFolder.make().path == folder.path, "the same at the second call"
assert os.environ[VARIABLE] == str(folder.path)
assert folder.path.stat().st_mode & 0o077 == 0, "nobody else may look"
from dqm_app.metrics import ProcessMeters
child = os.fork()
ProcessMeters(folder)
if not child:
    sys.exit()  # runs what is to be done at the end, as children of `bokeh serve` do
os.waitpid(child, 0)
assert folder.path.is_dir(), "a child must not remove it"
print(folder.path)
"""


def test_the_folder_is_private_and_goes_with_its_process(tmp_path):
    made = subprocess.run(
        [sys.executable, "-c", FOLDER],
        env={**os.environ, "TMPDIR": str(tmp_path), VARIABLE: str(tmp_path / "another")},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    assert Path(made).parent == tmp_path and not Path(made).exists()
    assert list(tmp_path.iterdir()) == []


def test_counting_into_nothing_is_refused(tmp_path):
    """The library was imported without a folder: the counts would be this process's only."""
    code = (
        "import prometheus_client, pathlib\n"
        "from dqm_app.metrics_folder import MetricsFolder\n"
        "from dqm_app.metrics import ProcessMeters\n"
        f"ProcessMeters(MetricsFolder(pathlib.Path({str(tmp_path)!r})))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "imported before its folder" in done.stderr


def test_a_folder_that_is_gone_can_be_removed_again(tmp_path):
    folder = MetricsFolder(tmp_path / "metrics")
    folder.path.mkdir()
    folder.remove()
    folder.remove()
    assert not folder.path.exists()


NOW = 1_800_000_000.0
TID = TimeStamp(2027, 1, 15, 7, 59, 0).raw()
FULL = SystemStatus(
    NOW - 3,
    (
        ServerStatus(
            "a:1",
            ServerAnswer(TID, role="primary", epoch=3, disk_free=5, disk_total=10, clients=2),
            role="primary",
            lag_seconds=0.0,
            lag_bytes=0,
        ),
        ServerStatus(
            "b:1",
            ServerAnswer(TID, role="replica", following="refused", host='a "b"\\'),
            role="replica",
            lag_seconds=12.5,
        ),
        ServerStatus("c:1", error="silent"),
    ),
    DatabaseFacts(
        operations={
            OperationName.BACKUP: Operation(
                OperationName.BACKUP, NOW - 90, NOW - 60, False, "disk full", "a"
            )
        }
    ),
    "",
    (Item(Level.CRITICAL, "backup", "Backup", "It failed."),),
)


ACCOUNTS: Any = SimpleNamespace(state=AccountsState.OK, facts=AccountsFacts(has_users=True))
DOWNLOADS: Any = SimpleNamespace(facts=ShelfFacts({}, 0, 1))


def families(state: State = State.OK, status: SystemStatus | None = FULL) -> set[str]:
    """Names of what a process tells of itself, with those of which nothing is known."""
    return {metric.name for metric in told_by(state, status)}


def known(state: State = State.OK, status: SystemStatus | None = FULL) -> dict[tuple, float]:
    """What a process tells of itself, parsed: name and labels -> value."""
    registry = CollectorRegistry()
    registry.register(Known(told_by(state, status)))
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def told_by(state: State, status: SystemStatus | None) -> list[Metric]:
    service: Any = SimpleNamespace(
        settings=DashboardSettings(primary_zeo=None),
        health=Health(state, NOW, ""),
        freshness=SimpleNamespace(replica=None),
        last_transaction=TID if state is State.OK else None,
        catalogues={"NectarCAMQM": range(7)},
        pulls=PullState(Pull(NOW - 90, NOW - 60, exit_code=1), 5, 2),
        system=SimpleNamespace(status=status),
    )
    return list(known_metrics(service, NOW))


def test_what_a_process_knows_is_told_in_base_units():
    told = known()
    assert told["dqm_database_readable",] == 1
    assert told["dqm_database_last_transaction_timestamp_seconds",] == pytest.approx(NOW - 60)
    assert told["dqm_database_lag_seconds",] == 0
    assert told["dqm_runs", "NectarCAMQM"] == 7
    assert told["dqm_pull_finished_timestamp_seconds",] == NOW - 60
    assert (told["dqm_pull_exit_code",], told["dqm_quarantined_files",]) == (1, 2)
    assert [told["dqm_server_up", server] for server in ("a:1", "b:1", "c:1")] == [1, 1, 0]
    assert [told["dqm_server_primary", server] for server in ("a:1", "b:1")] == [1, 0]
    assert told["dqm_server_lag_seconds", "b:1"] == 12.5
    assert (told["dqm_server_lag_bytes", "a:1"], told["dqm_server_following", "b:1"]) == (0, 0)
    assert told["dqm_server_disk_free_bytes", "a:1"] == 5
    assert told["dqm_operation_finished_timestamp_seconds", "backup"] == NOW - 60
    assert told["dqm_operation_ok", "backup"] == 0
    assert told["dqm_status_items", "critical"] == 1
    assert told["dqm_status_items", "ok"] == 0
    assert told["dqm_status_timestamp_seconds",] == NOW - 3
    assert told["dqm_server_info", "", 'a "b"\\', "replica", "b:1", ""] == 1


def test_what_is_not_known_is_left_out():
    told = known(State.DOWN, None)
    assert told["dqm_database_readable",] == 0
    assert not any(name.startswith(("dqm_server_", "dqm_status_")) for name, *_ in told)
    for name in ("dqm_database_last_transaction_timestamp_seconds", "dqm_quarantined_files"):
        assert (name,) not in told
    whole = known()
    assert ("dqm_server_lag_bytes", "b:1") not in whole
    assert ("dqm_server_primary", "c:1") not in whole
    assert ("dqm_operation_ok", "pack") not in whole


def test_names_follow_the_conventions():
    for name, *_ in known():
        assert name.startswith("dqm_") and not name.endswith(("_ms", "_kb", "_age"))
        assert not name.endswith("_total"), "these are no counters"


def test_the_documents_have_all_metrics_and_no_others(tmp_path):
    """Those of a histogram without what Prometheus adds to its name."""
    page = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text()
    table = page[page.index("| metric |") : page.index("## Prometheus")]
    with Process(tmp_path):
        counted = set(samples(tmp_path))
    added = r"(_bucket|_sum|_count)(\+Inf|[\d.]*)$|(?<=_total)[a-z]+$"
    existing = {re.sub(added, "", name) for name in counted} | families()
    existing |= {metric.name for metric in dashboard_metrics(ACCOUNTS, DOWNLOADS)}
    assert set(re.findall(r"`(dqm_[a-z_]+)`", table)) == existing
    rules = page[page.index("## Prometheus") :]
    used = set(re.findall(r"\bdqm_[a-z_]+", rules))
    assert len(used) >= 4 and {name.removesuffix("_bucket") for name in used} <= existing
