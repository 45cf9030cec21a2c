"""Many people at once: pages that are open together, each looking at another run now and then."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from statistics import median

from benchmarks.bars import Result
from benchmarks.plan import SAMPLE_RUN, Plan
from benchmarks.processes import ProcessGroup, RssWatch
from benchmarks.servers import filled_stack
from benchmarks.session_client import PageClient, open_page
from benchmarks.synthetic import CAMERAS, OWN_ARRAYS, read_sample

SHOWN = 5
"""Errors whose words are kept."""


def measure(plan: Plan) -> list[Result]:
    """Measure the group ``load``."""
    plan.say("writing the database")
    runs = range(SAMPLE_RUN, SAMPLE_RUN + OWN_ARRAYS)
    with filled_stack(plan.folder / "stack", {CAMERAS[0]: runs}, read_sample().content) as stack:
        crowd = Crowd(stack.dashboard_url, runs, plan)
        plan.say(f"{plan.clients} pages, {plan.client_period:g} s between the changes of each")
        with RssWatch(ProcessGroup(stack.dashboard.pid)) as watch:
            seen = asyncio.run(crowd.run())
    if not seen.changes:
        raise RuntimeError(f"no page could change its run: {seen.errors}")
    detail = {
        "clients": plan.clients,
        "changes": len(seen.changes),
        "change_seconds_median": median(seen.changes),
        "change_seconds_slowest": max(seen.changes),
        "load_seconds_95": percentile(seen.loads),
        "errors": seen.errors[:SHOWN],
    }
    return [
        Result("load_errors", len(seen.errors), detail),
        Result("load_change", percentile(seen.changes)),
        Result("load_rss", watch.peak / 1e6),
    ]


def percentile(seconds: list[float], part: float = 0.95) -> float:
    """The value that this part of *seconds* does not exceed; none of them: NaN."""
    if not seconds:
        return float("nan")
    return sorted(seconds)[min(len(seconds) - 1, int(part * len(seconds)))]


@dataclass
class Seen:
    """What the pages of a crowd have seen: seconds of each load and change, and errors in words."""

    loads: list[float] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class Crowd:
    """Pages without browsers.

    Parameters
    ----------
    url : str
        Of the dashboard.
    runs : sequence of int
        That they look at, at random.
    plan : Plan
        ``clients`` pages arrive evenly in ``client_arrival`` seconds and change their run every
        ``client_period`` seconds, until ``client_seconds`` after the last one came; what happens
        before that is not counted.
    """

    def __init__(self, url: str, runs: range, plan: Plan) -> None:
        self._url = url
        self._runs = runs
        self._plan = plan
        self._random = random.Random(0)

    async def run(self) -> Seen:
        """Let all of them come, look and go."""
        seen = Seen()
        start = time.monotonic()
        await asyncio.gather(
            *(
                self._visit(
                    start + self._plan.client_arrival * at / self._plan.clients, start, seen
                )
                for at in range(self._plan.clients)
            )
        )
        return seen

    async def _visit(self, arrival: float, start: float, seen: Seen) -> None:
        await _until(arrival)
        page: PageClient | None = None
        try:
            page = await open_page(self._url)
            seen.loads.append(time.monotonic() - arrival)
            due, all_here = arrival + self._plan.client_period, start + self._plan.client_arrival
            while due < all_here + self._plan.client_seconds:
                await _until(due)
                await self._change(page, seen, counts=due >= all_here)
                due += self._plan.client_period
        except Exception as error:
            # one page that fails is a result, and the others go on
            seen.errors.append(f"{type(error).__name__}: {error}")
        finally:
            if page is not None:
                await page.close()

    async def _change(self, page: PageClient, seen: Seen, *, counts: bool) -> None:
        other = [run for run in self._runs if run != page.state["run"]]
        asked = time.monotonic()
        await page.show_run(self._random.choice(other))
        if counts:
            seen.changes.append(time.monotonic() - asked)


async def _until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.monotonic()))
