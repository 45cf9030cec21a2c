"""How long ``dqm backup`` takes for a volume of production, and until a primary serves a copy."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from benchmarks.bars import Result
from benchmarks.plan import SAMPLE_CAMERA, SAMPLE_RUN, Plan
from benchmarks.synthetic import read_sample, renamed, varied, write_volume
from dqm.demo.stack import Stack
from dqm_db.content import Original
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import open_database
from dqm_db.writer import open_writer

NEW_RUNS = 10
_TIMEOUT = 600.0


def measure(plan: Plan) -> list[Result]:
    """Measure the group ``backup``."""
    sample = read_sample()
    folder = plan.folder / "stack"
    plan.say(f"a database of {plan.kept_runs} runs")
    write_volume(folder / "primary", plan.kept_runs, plan.kept_originals, sample)
    place = plan.folder / "backups"
    stack = Stack(folder, dashboard=False)
    try:
        stack.start_process(stack.primary)
        size = _bytes(folder / "primary")
        plan.say("full backup")
        full = _timed(stack, "create", folder / "primary", place, "--full")
        first = SAMPLE_RUN + plan.kept_runs
        settings = load(
            DatabaseSettings, db_url=stack.primary_url, lock_dir=folder / "locks", db_wait=10
        )
        with open_writer(settings) as writer:
            for run in range(first, first + NEW_RUNS):
                content = renamed(varied(sample.content, run), SAMPLE_CAMERA, run)
                writer.store_run(content, sample.original)
        plan.say("incremental backup")
        incremental = _timed(stack, "create", folder / "primary", place, "--incremental")
        expected = _read(stack.primary_url)
    finally:
        stack.stop()
    if len(expected[0]) != plan.kept_runs + NEW_RUNS:
        raise RuntimeError(f"{len(expected[0])} runs were stored")
    shutil.rmtree(folder / "primary")  # restoring must not depend on it, nor need its room
    restored = measure_restore(plan, place, expected)
    detail = {"bytes": size, "seconds": full, "backup_bytes": _bytes(place)}
    return [
        Result("backup_rate", size / 1e6 / full, detail),
        Result("backup_incremental", incremental, {"runs": NEW_RUNS}),
        restored,
    ]


def measure_restore(plan: Plan, place: Path, expected: tuple[list[int], Original]) -> Result:
    """From ``dqm backup restore`` until a client of a primary on the copy has read a run."""
    plan.say("restore")
    stack = Stack(plan.folder / "restored", dashboard=False)
    volume = stack.directory / "primary"
    volume.parent.mkdir()
    started = time.monotonic()
    try:
        subprocess.run(
            stack.command("backup", "restore", "--from", str(place), "--to", str(volume)),
            env=stack.environment(),
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=_TIMEOUT,
        )
        copied = time.monotonic() - started
        stack.start_process(stack.primary)
        found = _read(stack.primary_url)
        seconds = time.monotonic() - started
    finally:
        stack.stop()
    if found != expected:
        raise RuntimeError("what was restored is not what was backed up")
    return Result("restore", seconds, {"seconds": seconds, "seconds_without_start": copied})


def _timed(stack: Stack, verb: str, volume: Path, place: Path, *options: str) -> float:
    """Seconds of one ``dqm backup``, Python's start included."""
    started = time.monotonic()
    done = subprocess.run(
        stack.command("backup", verb, "--data-dir", str(volume), "--to", str(place), *options),
        env=stack.environment(),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"dqm backup {verb} ended with {done.returncode}:\n{done.stderr}")
    return time.monotonic() - started


def _read(url: str) -> tuple[list[int], Original]:
    """All run numbers, and the original of the newest one."""
    settings = load(DatabaseSettings, db_url=url, db_wait=10)
    with open_database(settings) as database, database.snapshot() as snapshot:
        runs = snapshot.runs(SAMPLE_CAMERA)
        return runs, snapshot.original(SAMPLE_CAMERA, runs[-1])


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
