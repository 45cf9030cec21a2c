"""What open pages cost the dashboard in memory, and whether it gives all of it back."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tornado.httpclient import AsyncHTTPClient

from benchmarks.bars import Result
from benchmarks.plan import SAMPLE_RUN, Plan
from benchmarks.processes import ProcessGroup, RssWatch
from benchmarks.servers import filled_stack
from benchmarks.session_client import PageClient, open_page
from benchmarks.synthetic import CAMERAS, OWN_ARRAYS, read_sample
from dqm_db.settings import DatabaseSettings, load

PROBE = Path(__file__).with_name("probe")
AT_ONCE = 4
"""Pages that do something at the same time."""
WARM = 5
"""Pages that are open before the cost of further ones is taken."""
EXPIRY = 40.0


def measure(plan: Plan) -> list[Result]:
    """Measure the group ``sessions``."""
    plan.say("writing the database")
    runs = {CAMERAS[0]: range(SAMPLE_RUN, SAMPLE_RUN + max(OWN_ARRAYS, plan.runs_per_session))}
    counts = plan.folder / "counts"
    counts.mkdir()
    settings = {"PYTHONPATH": str(PROBE), "BENCH_PROBE_FOLDER": str(counts)}
    with filled_stack(plan.folder / "stack", runs, read_sample().content, settings) as stack:
        processes = ProcessGroup(stack.dashboard.pid)
        trial = Trial(plan, stack.dashboard_url, processes, Probe(counts, processes), runs)
        return asyncio.run(trial.run())


class Probe:
    """Asks the processes of a dashboard what they keep; see ``probe/sitecustomize.py``."""

    def __init__(self, folder: Path, processes: ProcessGroup) -> None:
        self._folder = folder
        self._processes = processes

    async def counts(self, *, collect: bool = False) -> dict[int, dict[str, int]]:
        """Live objects by process and class, also garbage unless the processes *collect* first."""
        found = {}
        for worker in self._processes.workers():
            path = self._folder / f"{worker.pid}.json"
            path.unlink(missing_ok=True)
            os.kill(worker.pid, signal.SIGUSR2 if collect else signal.SIGUSR1)
            deadline = time.monotonic() + 10
            while not path.exists():
                if time.monotonic() > deadline:
                    raise RuntimeError(f"process {worker.pid} does not say what it keeps")
                await asyncio.sleep(0.01)
            found[worker.pid] = json.loads(path.read_text())
        return found

    async def total(self, kind: str) -> int:
        """Live objects of one class in all processes."""
        return sum(counts[kind] for counts in (await self.counts()).values())


class Trial:
    """Opens, uses and closes pages, and watches the processes that serve them."""

    def __init__(
        self,
        plan: Plan,
        url: str,
        processes: ProcessGroup,
        probe: Probe,
        runs: dict[str, range],
    ) -> None:
        self._plan = plan
        self._url = url
        self._processes = processes
        self._probe = probe
        (self._runs,) = runs.values()
        self._random = random.Random(0)
        self._answers: list[float] = []

    async def run(self) -> list[Result]:
        """All measurements, one after the other on the same processes."""
        plan = self._plan
        await asyncio.sleep(3)
        idle = self._processes.rss()
        waves: list[dict[str, Any]] = []
        connections: list[int] = []
        per_session, rss = 0.0, {}
        for wave in range(plan.waves):
            plan.say(f"wave {wave + 1} of {plan.waves}")
            with RssWatch(self._processes) as watch:
                pages = await self._use(WARM if plan.sessions > WARM else 1)
                before = sum(self._processes.rss().values())
                pages += await self._use(plan.sessions - len(pages))
                after = sum(self._processes.rss().values())
                if wave == 0:
                    further = plan.sessions - (WARM if plan.sessions > WARM else 1)
                    per_session = (after - before) / further
                    rss = {"before": before, "after": after, "further": further}
                connections += [
                    counts["connections"] for counts in (await self._probe.counts()).values()
                ]
                await asyncio.gather(*(page.close() for page in pages))
                left, seconds, slowest = await self._expired()
            waves.append(
                {
                    "peak": watch.peak,
                    "documents_left": left,
                    "expired_after_seconds": seconds,
                    "rss_expired": sum(self._processes.rss().values()),
                    "slowest_answer_while_expiring": slowest,
                }
            )
        pool = load(DatabaseSettings).db_pool
        growth = waves[-1]["peak"] - waves[0]["peak"]
        return [
            Result("dashboard_rss_idle", max(idle.values()) / 1e6, {"bytes": list(idle.values())}),
            Result(
                "dashboard_rss_per_session",
                per_session / 1e6,
                {
                    **rss,
                    "answer_seconds_median": statistics.median(self._answers),
                    "answer_seconds_slowest": max(self._answers),
                },
            ),
            Result("waves_peak_growth", growth / 1e6, {"waves": waves}),
            Result(
                "documents_left",
                waves[-1]["documents_left"],
                {
                    "counts": await self._probe.counts(),
                    "after_collection": await self._probe.counts(collect=True),
                },
            ),
            Result(
                "connections_over_pool",
                max(0, max(connections) - pool),
                {"connections": connections, "pool": pool},
            ),
        ]

    async def _use(self, count: int) -> list[PageClient]:
        """Open *count* pages and look at some runs in each."""
        places = asyncio.Semaphore(AT_ONCE)

        async def use() -> PageClient:
            async with places:
                page = await open_page(self._url)
                for run in self._choose():
                    started = time.monotonic()
                    await page.show_run(run)
                    self._answers.append(time.monotonic() - started)
                return page

        return list(await asyncio.gather(*(use() for _ in range(count))))

    def _choose(self) -> Sequence[int]:
        return self._random.sample(self._runs, self._plan.runs_per_session)

    async def _expired(self) -> tuple[int, float, float]:
        """Wait until no document is left, at most `EXPIRY` seconds.

        Returns documents left, seconds that it took, and the slowest answer to a request meanwhile.
        """
        started = time.monotonic()
        slowest = 0.0
        while True:
            asked = time.monotonic()
            client = AsyncHTTPClient(force_instance=True)  # a connection to any of the processes
            await client.fetch(f"{self._url}alive", request_timeout=EXPIRY)
            client.close()
            slowest = max(slowest, time.monotonic() - asked)
            left = await self._probe.total("documents")
            passed = time.monotonic() - started
            if left == 0 or passed > EXPIRY:
                return left, passed, slowest
            await asyncio.sleep(0.3)
