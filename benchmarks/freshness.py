"""How long a run takes from its commit on the primary into an open page that reads the replica."""

from __future__ import annotations

import random
import statistics
import time

from benchmarks.bars import Result
from benchmarks.browser import TAILS, Visit, chromium
from benchmarks.plan import SAMPLE_RUN, Plan
from benchmarks.servers import dashboard_of, filled_stack
from benchmarks.synthetic import CAMERAS, read_sample, renamed, varied
from dqm_db.settings import DatabaseSettings, load
from dqm_db.writer import open_writer

FIRST = 3
"""Runs that are there when the page is opened."""
_LISTEN = """
globalThis.benchFresh = {};
document.addEventListener("dqm:shown", (event) => {
  globalThis.benchFresh[event.detail.run] ??= Date.now() / 1000;
});
"""


def measure(plan: Plan) -> list[Result]:
    """Measure the group ``freshness``."""
    camera = CAMERAS[0]
    sample = read_sample()
    runs = {camera: range(SAMPLE_RUN, SAMPLE_RUN + FIRST)}
    pause = random.Random(0)
    seconds: list[float] = []
    with (
        filled_stack(plan.folder / "stack", runs, sample.content) as stack,
        chromium() as browser,
        browser.visit(dashboard_of(stack).signal) as visit,
        open_writer(
            load(
                DatabaseSettings,
                db_url=stack.primary_url,
                lock_dir=stack.directory / "locks",
            )
        ) as writer,
    ):
        # without a run it follows the newest one
        visit.load(f"{stack.dashboard_url}?view=maps", TAILS[-1])
        visit.page.evaluate(_LISTEN)
        for run in range(runs[camera].stop, runs[camera].stop + plan.fresh_runs):
            plan.say(f"run {run}")
            content = renamed(varied(sample.content, run), camera, run)
            time.sleep(pause.uniform(0.5, 1.5))  # not in step with anything that polls
            picture = visit.canvas()
            writer.store_run(content, sample.original)
            committed = time.time()
            shown = _wait_for(visit, run)
            if visit.canvas() == picture:
                raise RuntimeError(f"run {run} is said to be shown, the plot is the old one")
            seconds.append(shown - committed)
    detail = {"seconds": seconds, "median": statistics.median(seconds)}
    return [Result("freshness", max(seconds), detail)]


def _wait_for(visit: Visit, run: int) -> float:
    """Unix time at which the page had painted *run*; both clocks are this machine's."""
    found = visit.page.wait_for_function("run => globalThis.benchFresh[run] ?? null", arg=run)
    return float(found.json_value())
