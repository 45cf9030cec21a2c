"""Real processes: signals stop between commits, and no worker is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import held_ingest
import psutil
import pytest
from results_files import build_run_archive, run_fits

from dqm_db.settings import DatabaseSettings
from dqm_db.storage import open_database
from dqm_db.writer import open_writer
from ingest.outcomes import Status
from ingest.pipeline import ingest_files

pytestmark = pytest.mark.system

RUNS = 6
HELD_RUN = 3
HELD = 2 + HELD_RUN
"""The commit that is held: ZODB makes its root in one, we make ours in another, then come runs."""
HELD_INGEST = Path(held_ingest.__file__)

Start = Callable[[str], subprocess.Popen[str]]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs, more than are stored before the commit that is held."""
    folder = tmp_path_factory.mktemp("many")
    data = run_fits()
    for run in range(1, RUNS + 1):
        path = folder / f"NectarCAMQM_DQM_Run{run}.tar.gz"
        path.write_bytes(build_run_archive("NectarCAMQM", run, data))
    return folder


@pytest.fixture
def start(many: Path, tmp_path: Path, file_settings: DatabaseSettings) -> Iterator[Start]:
    """Start ``dqm ingest`` and wait until it is in the middle of commit number `HELD`."""
    processes: list[subprocess.Popen[str]] = []
    marker = tmp_path / "in-commit"

    def ingest(how: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [
                *(sys.executable, str(HELD_INGEST), str(marker), str(HELD), how),
                *("ingest", str(many), "--workers", "2"),
            ],
            env={
                **os.environ,
                "DQM_DB_URL": file_settings.db_url,
                "DQM_LOCK_DIR": str(file_settings.lock_dir),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        while not marker.exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        return process

    yield ingest
    for process in processes:
        process.kill()
        process.communicate()


def stored_runs(settings: DatabaseSettings) -> list[int]:
    """Run numbers, after looking into each."""
    with open_database(settings) as database, database.snapshot() as snapshot:
        runs = snapshot.runs("NectarCAMQM")
        assert snapshot.catalogue("NectarCAMQM").columns["run"].tolist() == runs
        for run in runs:
            assert snapshot.header("NectarCAMQM", run).run == run
            assert snapshot.pixel_maps("NectarCAMQM", run).values.shape[1] == 1855
            assert snapshot.statistics("NectarCAMQM", run)
        assert snapshot.original("NectarCAMQM", runs[-1]).data
        return runs


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_commit_and_leaves(
    start: Start, file_settings: DatabaseSettings, number: signal.Signals
) -> None:
    process = start("until-signal")
    os.killpg(process.pid, number)  # to the whole group, as a terminal or systemd does
    out, err = process.communicate()
    assert process.returncode == 128 + number, err
    assert err == ""
    runs = stored_runs(file_settings)
    assert len(runs) == HELD_RUN
    assert out.startswith(f"ingest: {len(runs)} stored, {RUNS - len(runs)} not done of {RUNS} in ")


def test_killed_and_run_again(start: Start, many: Path, file_settings: DatabaseSettings) -> None:
    process = start("for-ever")
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    gone, alive = psutil.wait_procs(family, timeout=60)
    assert not alive and gone
    runs = stored_runs(file_settings)
    assert len(runs) == HELD_RUN - 1
    with open_writer(file_settings) as writer:
        outcomes = list(ingest_files(writer, sorted(many.iterdir())))
    skipped = [outcome.run for outcome in outcomes if outcome.status is Status.SKIPPED]
    assert sorted(skipped) == runs
    assert stored_runs(file_settings) == list(range(1, RUNS + 1))
