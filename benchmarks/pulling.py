"""The puller on a real XRootD server: a backlog, and a call that finds nothing new."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from benchmarks.bars import Result
from benchmarks.plan import Plan
from benchmarks.processes import ProcessGroup, Watch
from benchmarks.synthetic import read_sample, renamed
from dqm.demo.stack import Stack
from dqm.simulation import simulate_run
from dqm_db.content import RunContent
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import open_database
from dqm_db.writer import open_writer

ROOT = Path(__file__).parents[1]
CAMERA = "NectarCAMQM"
FIRST_RUN = 10_001
_START = 1_700_000_000
_TIMEOUT = 900.0


def measure(plan: Plan) -> list[Result]:
    """Measure the group ``pull``."""
    return [*measure_backlog(plan), *measure_nothing_new(plan)]


def measure_backlog(plan: Plan) -> list[Result]:
    """All runs of a source into an empty database."""
    plan.say("simulating the files")
    with _server() as (data, url):
        for index in range(plan.pulled_runs):
            simulate_run(data, CAMERA, FIRST_RUN + index, start=_START + 900 * index)
        sizes = [path.stat().st_size for path in data.iterdir()]
        with Stack(plan.folder / "backlog-stack", dashboard=False) as stack:
            plan.say(f"{plan.pulled_runs} runs from XRootD")
            seconds, peak = _timed(stack, url)
            stored = len(_runs(stack.primary_url))
    if stored != plan.pulled_runs:
        raise RuntimeError(f"{stored} of {plan.pulled_runs} runs were stored")
    detail = {"runs": stored, "seconds": seconds, "tarball_bytes": statistics.median(sizes)}
    return [
        Result("pull_rate", stored / seconds, detail),
        Result("pull_pss", peak / 1e6, {"peak_bytes": peak}),
    ]


def measure_nothing_new(plan: Plan) -> list[Result]:
    """A call that finds all runs stored; the median of several."""
    plan.say(f"a database that knows {plan.known_runs} runs")
    with _server() as (data, url):
        bare = _bare_run()
        with Stack(plan.folder / "known-stack", dashboard=False) as stack:
            settings = load(
                DatabaseSettings, db_url=stack.primary_url, lock_dir=plan.folder / "locks"
            )
            with open_writer(settings) as writer:
                for index in range(plan.known_runs):
                    run = FIRST_RUN + index
                    path = data / f"{CAMERA}_DQM_Run{run}.tar.gz"
                    with path.open("wb") as file:
                        file.truncate(1_000_000 + run)  # nothing of it is ever read
                    writer.store_run(_known(bare, run, path), None)
            plan.say("a call that finds nothing new")
            before = _transactions(stack)
            calls = [_timed(stack, url) for _ in range(plan.quiet_pulls)]
            written = len(_transactions(stack)) - len(before)
    seconds = statistics.median(call[0] for call in calls)
    peak = max(call[1] for call in calls)
    return [
        Result("quiet_pull", seconds, {"seconds": [call[0] for call in calls]}),
        Result("quiet_pull_pss", peak / 1e6, {"peak_bytes": peak}),
        Result("quiet_pull_transactions", written / plan.quiet_pulls, {"transactions": written}),
    ]


class PssWatch(Watch):
    """The largest proportional set size (PSS) of all processes of a group together, in `peak`."""

    def __init__(self, group: ProcessGroup) -> None:
        super().__init__()
        self.peak = 0
        self._group = group

    def look(self) -> None:
        """Take a sample now."""
        total = 0
        with contextlib.suppress(psutil.NoSuchProcess):
            for member in self._group.members():
                with contextlib.suppress(psutil.NoSuchProcess):
                    total += member.memory_full_info().pss
        self.peak = max(self.peak, total)


def _timed(stack: Stack, url: str) -> tuple[float, int]:
    """Seconds of one ``dqm ingest``, and the largest PSS of its processes in bytes."""
    started = time.monotonic()
    process = subprocess.Popen(
        stack.command("ingest", url),
        env=stack.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with PssWatch(ProcessGroup(process.pid)) as watch:
        output, _ = process.communicate(timeout=_TIMEOUT)
        seconds = time.monotonic() - started
    if process.returncode:
        raise RuntimeError(f"dqm ingest ended with {process.returncode}:\n{output}")
    return seconds, watch.peak


def _bare_run() -> RunContent:
    content = read_sample().content
    return replace(content, quantities=(), statistics=content.statistics)


def _known(bare: RunContent, run: int, path: Path) -> RunContent:
    """The run that was stored from the file at *path*."""
    content = renamed(bare, CAMERA, run)
    status = path.stat()
    provenance = replace(
        content.header.provenance,
        source_size=status.st_size,
        source_modified=status.st_mtime,
    )
    return replace(content, header=replace(content.header, provenance=provenance))


def _runs(url: str) -> list[int]:
    with (
        open_database(load(DatabaseSettings, db_url=url)) as database,
        database.snapshot() as snapshot,
    ):
        return snapshot.runs(CAMERA)


def _transactions(stack: Stack) -> list[Any]:
    from ZODB.FileStorage import FileIterator

    path = stack.directory / "primary" / "filestorage" / "Data.fs"
    return [found.tid for found in FileIterator(str(path))]


def find_test_servers() -> None:
    """Make the servers that the tests start importable."""
    for place in ("", "support", "system"):
        folder = str(ROOT / "tests" / place) if place else str(ROOT)
        if folder not in sys.path:
            sys.path.append(folder)


@contextlib.contextmanager
def _server() -> Iterator[tuple[Path, str]]:
    """An XRootD server on loopback: the folder of its files, and their URL."""
    find_test_servers()
    from grid_servers import XRootD, open_folder

    with open_folder() as public:
        data = public / "data" / CAMERA
        data.mkdir(parents=True)
        with XRootD(public, public / "data") as server:
            yield data, f"{server.url}/{CAMERA}"
