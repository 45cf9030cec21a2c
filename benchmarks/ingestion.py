"""How fast `dqm ingest` stores results files of production size while a replica follows."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from benchmarks.bars import Result
from benchmarks.plan import Plan
from benchmarks.processes import PeakWatch, ProcessGroup
from dqm.demo.stack import Stack
from dqm.simulation import simulate_run
from dqm_db.errors import NoDataYet
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import Database, open_database

FIRST_RUN = 7001
_START = 1_700_000_000
_TIMEOUT = 600.0


def measure(plan: Plan) -> list[Result]:
    """Measure the group ``ingest``."""
    plan.say("simulating the files")
    files = simulate_files(plan.folder / "files", plan.ingested_runs)
    with (
        Stack(plan.folder / "stack", dashboard=False) as stack,
        _opened(stack.primary_url) as primary,
        _opened(stack.replica_url) as replica,
    ):
        _ingest(stack, files[:1], primary, replica)  # makes the database
        plan.say(f"{len(files) - 1} runs")
        groups = {
            "primary": ProcessGroup(stack.primary.pid),
            "replica": ProcessGroup(stack.replica.pid),
        }
        seconds, caught_up, peaks = _timed(stack, files[1:], primary, replica, groups, len(files))
    runs = len(files) - 1
    return [
        Result(
            "ingest_rate",
            runs / caught_up,
            {"runs": runs, "command_seconds": seconds, "seconds_with_replica": caught_up},
        ),
        Result("ingest_peak_rss", max(peaks.values()) / 1e6, {"peak_bytes": peaks}),
    ]


def simulate_files(folder: Path, runs: int) -> list[Path]:
    """Tarballs of healthy runs of 300 events, 4.3 MB unpacked, one more than *runs*."""
    folder.mkdir()
    return [
        simulate_run(folder, "NectarCAMQM", FIRST_RUN + index, start=_START + 900 * index)
        for index in range(runs + 1)
    ]


def _timed(
    stack: Stack,
    files: list[Path],
    primary: Database,
    replica: Database,
    groups: dict[str, ProcessGroup],
    runs: int,
) -> tuple[float, float, dict[str, int]]:
    """Seconds of the command, seconds until the replica has everything, peak RSS by process."""
    command = stack.command("ingest", *map(str, files))
    started = time.monotonic()
    process = subprocess.Popen(
        command,
        env=stack.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    groups = {**groups, "ingest": ProcessGroup(process.pid)}
    with PeakWatch(groups) as watch:
        output, _ = process.communicate(timeout=_TIMEOUT)
        seconds = time.monotonic() - started
        if process.returncode:
            raise RuntimeError(f"dqm ingest ended with {process.returncode}:\n{output}")
        _wait_for_replica(primary, replica, runs)
        caught_up = time.monotonic() - started
        watch.look()
    return seconds, caught_up, watch.peaks


def _ingest(stack: Stack, files: list[Path], primary: Database, replica: Database) -> None:
    command = stack.command("ingest", *map(str, files))
    subprocess.run(
        command, env=stack.environment(), check=True, stdout=subprocess.DEVNULL, timeout=_TIMEOUT
    )
    _wait_for_replica(primary, replica, len(files))


def _wait_for_replica(primary: Database, replica: Database, runs: int) -> None:
    """Until the replica has all runs, the last one with its original, and the last transaction."""
    deadline = time.monotonic() + _TIMEOUT
    while _runs_on(replica) < runs or replica.last_transaction() < primary.last_transaction():
        if time.monotonic() > deadline:
            raise RuntimeError("the replica does not catch up")
        time.sleep(0.005)


def _runs_on(database: Database) -> int:
    try:
        with database.snapshot() as snapshot:
            if not snapshot.cameras():
                return 0
            (camera,) = snapshot.cameras()
            numbers = snapshot.runs(camera)
            snapshot.original(camera, numbers[-1])
            return len(numbers)
    except NoDataYet:
        return 0


def _opened(url: str) -> Database:
    return open_database(load(DatabaseSettings, db_url=url))
