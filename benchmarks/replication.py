"""How soon a replica has a commit, also after a restart, and how fast both are compared."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from benchmarks.bars import Result
from benchmarks.plan import SAMPLE_CAMERA, SAMPLE_RUN, Plan
from benchmarks.processes import PeakWatch, ProcessGroup
from benchmarks.synthetic import Sample, read_sample, renamed, varied, write_volume
from dqm.demo.ports import LOOPBACK
from dqm.demo.stack import Stack
from dqm_db.peers import ask_servers
from dqm_db.replication.addresses import Address
from dqm_db.settings import DatabaseSettings, load
from dqm_db.writer import open_writer

_TIMEOUT = 120.0
_LOOK_SECONDS = 0.005


def measure(plan: Plan) -> list[Result]:
    """Measure the group ``replication``."""
    sample = read_sample()
    with Stack(plan.folder / "stack", dashboard=False) as stack:
        results = measure_visible(plan, stack, sample)
        results.append(measure_restart(plan, stack, sample))
    return [*results, *measure_verification(plan, sample)]


def measure_visible(plan: Plan, stack: Stack, sample: Sample) -> list[Result]:
    """From the return of a commit on the primary until a client of the replica has read the run."""
    pause = random.Random(0)
    committed: dict[int, float] = {}
    with open_writer(_settings(stack)) as writer:
        writer.store_run(sample.content, sample.original)
        _wait_until_in_sync(stack)
        with _reader(stack.replica_url) as seen:
            for number in range(plan.visible_runs):
                run = SAMPLE_RUN + 1 + number
                plan.say(f"run {number + 1} of {plan.visible_runs}")
                content = renamed(varied(sample.content, run), SAMPLE_CAMERA, run)
                time.sleep(pause.uniform(0, 0.05))  # not in step with anything
                writer.store_run(content, sample.original)
                committed[run] = time.monotonic()
                seen.wait_for(run)
    waited = [1e3 * max(0.0, seen.at[run] - moment) for run, moment in committed.items()]
    detail = {"milliseconds": waited}
    return [
        Result("visible_median", float(np.percentile(waited, 50)), detail),
        Result("visible_slow", float(np.percentile(waited, 99)), {"samples": len(waited)}),
    ]


def measure_restart(plan: Plan, stack: Stack, sample: Sample) -> Result:
    """From the answer of a primary that was restarted until the replica has a new commit of it."""
    waited = []
    first = SAMPLE_RUN + 1 + plan.visible_runs
    for number in range(plan.restarts):
        plan.say(f"restart {number + 1} of {plan.restarts}")
        stack.restart(stack.primary)
        answered = time.monotonic()
        with open_writer(_settings(stack)) as writer:
            run = first + number
            writer.store_run(renamed(sample.content, SAMPLE_CAMERA, run), sample.original)
        _wait_until_in_sync(stack)
        waited.append(time.monotonic() - answered)
    return Result("restart_in_sync", max(waited), {"seconds": waited})


def measure_verification(plan: Plan, sample: Sample) -> list[Result]:
    """``dqm verify`` of a primary and its replica that have just been started."""
    folder = plan.folder / "verified"
    plan.say(f"a database of {plan.kept_runs} runs")
    write_volume(folder / "primary", plan.kept_runs, plan.kept_originals, sample)
    shutil.copytree(folder / "primary", folder / "replica")
    with Stack(folder, dashboard=False) as stack:
        plan.say("dqm verify")
        _wait_until_in_sync(stack)
        servers = f"{LOOPBACK}:{stack.ports.primary},{LOOPBACK}:{stack.ports.replica}"
        process = subprocess.Popen(
            stack.command("verify", "--servers", servers, "--json"),
            env=stack.environment({"DQM_STATE_DIR": str(folder / "state")}),
            stdout=subprocess.PIPE,
            text=True,
        )
        groups = {
            "primary": ProcessGroup(stack.primary.pid),
            "replica": ProcessGroup(stack.replica.pid),
            "verify": ProcessGroup(process.pid),
        }
        with PeakWatch(groups) as watch:
            output, _ = process.communicate(timeout=_TIMEOUT)
    if process.returncode:
        raise RuntimeError(f"dqm verify ended with {process.returncode}:\n{output}")
    document = json.loads(output)
    sizes = [side["bytes"] for side in document["sides"]]
    if len(sizes) != 2 or not document["pairs"][0]["same"] or document["pairs"][0]["different"]:
        raise RuntimeError(f"dqm verify did not compare two equal servers:\n{output}")
    rate = min(sizes) / 1e6 / document["seconds"]
    return [
        Result("verify_rate", rate, {"bytes": sizes, "seconds": document["seconds"]}),
        Result("verify_memory", max(watch.peaks.values()) / 1e6, {"peak_bytes": watch.peaks}),
    ]


class Seen:
    """When a `replica_reader` has read which run (`at`, by `time.monotonic`)."""

    def __init__(self, lines: IO[str]) -> None:
        self.at: dict[int, float] = {}
        self._changed = threading.Condition()
        self._has_begun = False
        self._thread = threading.Thread(target=self._read, args=(lines,), daemon=True)
        self._thread.start()

    def wait_until_begun(self) -> None:
        """Return when the reader looks."""
        self._wait(lambda: self._has_begun, "the client of the replica does not begin")

    def wait_for(self, run: int) -> None:
        """Return when *run* was read."""
        self._wait(lambda: run in self.at, f"run {run} is not seen on the replica")

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        with self._changed:
            if not self._changed.wait_for(condition, _TIMEOUT):
                raise RuntimeError(what)

    def _read(self, lines: IO[str]) -> None:
        for line in lines:
            told = json.loads(line)
            with self._changed:
                self._has_begun = True
                if told:
                    self.at[told["run"]] = told["at"]
                self._changed.notify_all()


@contextlib.contextmanager
def _reader(url: str) -> Iterator[Seen]:
    """A client of the replica in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.replica_reader", url, SAMPLE_CAMERA],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        seen = Seen(process.stdout)
        seen.wait_until_begun()
        yield seen
    finally:
        process.kill()
        process.communicate()


def _wait_until_in_sync(stack: Stack) -> None:
    """Until the replica has the last transaction of the primary."""
    both = [Address(LOOPBACK, port) for port in (stack.ports.primary, stack.ports.replica)]
    deadline = time.monotonic() + _TIMEOUT
    while True:
        answers = ask_servers(both)
        last = {answer.last_transaction for answer in answers.values()}
        if len(answers) == 2 and len(last) == 1:
            return
        if time.monotonic() > deadline:
            raise RuntimeError("the replica does not catch up")
        time.sleep(_LOOK_SECONDS)


def _settings(stack: Stack) -> DatabaseSettings:
    return load(
        DatabaseSettings,
        db_url=stack.primary_url,
        db_wait=_TIMEOUT,
        lock_dir=stack.directory / "locks",
    )
