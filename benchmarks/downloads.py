"""Baskets: how soon they begin, how fast they are built, and what pages notice of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import statistics
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPRequest

from benchmarks.bars import Result
from benchmarks.load import percentile
from benchmarks.plan import SAMPLE_RUN, Plan
from benchmarks.servers import filled_stack
from benchmarks.session_client import PageClient, open_page
from benchmarks.synthetic import CAMERAS, Sample, read_sample
from dqm_app.downloads.basket import PROGRESS, Basket, Progress
from dqm_app.downloads.building import NOTE_SECONDS
from dqm_db.settings import DatabaseSettings
from dqm_db.writer import open_writer

CAMERA = CAMERAS[0]
LOOK_SECONDS = 0.02
PAGES = 8
"""Open pages of others, each of which goes to another run once a second."""
TURNS = 4
FIRST = SAMPLE_RUN + 10
"""Runs from here on have their originals."""


def measure(plan: Plan) -> list[Result]:
    """Measure the group ``downloads``."""
    plan.say("writing the database")
    sample = read_sample()
    runs = range(FIRST, FIRST + plan.basket_runs)
    folder = plan.folder / "stack"
    with filled_stack(
        folder,
        {CAMERA: range(SAMPLE_RUN, SAMPLE_RUN + 3)},
        sample.content,
        complete=_with_originals(sample, runs),
    ) as stack:
        plan.say("building baskets")
        return asyncio.run(_measure(plan, stack.dashboard_url, folder / "state", runs))


def _with_originals(sample: Sample, runs: range) -> Callable[[DatabaseSettings], None]:
    def complete(database: DatabaseSettings) -> None:
        with open_writer(database) as writer:
            for run in runs:
                header = replace(sample.content.header, camera=CAMERA, run=run)
                writer.store_run(replace(sample.content, header=header), sample.original)

    return complete


async def _measure(plan: Plan, url: str, state: Path, runs: range) -> list[Result]:
    site = _Site(url, state / "downloads")
    await site.ask(f"/api/v1/cameras/{CAMERA}/runs/{runs[0]}")
    first = await site.basket(runs[:4])
    rates, starts = [], []
    for _ in range(plan.baskets):
        basket = await site.basket(runs)
        rates.append(basket.bytes / (basket.done - basket.began) / 1e6)
        starts.append(basket.began - basket.chosen)
    quiet, busy = [], []
    pages = [await open_page(url) for _ in range(PAGES)]
    await _changes(pages, runs, 2 * len(runs))  # so that no process reads a run for the first time
    for _ in range(TURNS):  # in turn, since a machine is never the same for long
        quiet += await _changes(pages, runs, plan.page_changes // TURNS)
        async with _building(site, runs):
            busy += await _changes(pages, runs, plan.page_changes // TURNS)
    for page in pages:
        await page.close()
    detail = {
        "runs": len(runs), "rates": rates, "starts": starts,
        "without": quiet, "meanwhile": busy, "p95": [percentile(quiet), percentile(busy)],
    }  # fmt: skip
    return [
        Result("downloads_start", first.began - first.chosen, detail),
        Result("downloads_rate", statistics.median(rates), detail),
        Result("downloads_p95_ratio", percentile(busy) / percentile(quiet), detail),
    ]


class _Built:
    """When a basket was chosen, begun and done (Unix seconds), and its bytes."""

    def __init__(self, basket: Basket, began: float, progress: Progress) -> None:
        self.chosen, self.began, self.done = basket.created, began, progress.at
        self.bytes = progress.bytes


class _Site:
    """The dashboard, and the folder in which its baskets are."""

    def __init__(self, url: str, downloads: Path) -> None:
        self._url = url.rstrip("/")
        self._downloads = downloads
        self._client = AsyncHTTPClient(max_clients=100)

    async def ask(self, path: str, method: str = "GET", body: Any = None) -> Any:
        """The JSON of an answer; raises `tornado.httpclient.HTTPError`."""
        sent = None if body is None else json.dumps(body)
        answer = await self._client.fetch(HTTPRequest(self._url + path, method, body=sent))
        return json.loads(answer.body) if answer.body else None

    async def basket(self, runs: range) -> _Built:
        """Let one be built, and remove it."""
        made = await self.ask("/downloads", "POST", {"camera": CAMERA, "runs": list(runs)})
        basket = Basket.read(self._downloads / made["id"])
        noted = basket.folder / PROGRESS
        while not noted.exists():
            await asyncio.sleep(LOOK_SECONDS)
        began = basket.progress().at
        while not (progress := basket.progress()).state.is_over:
            await asyncio.sleep(LOOK_SECONDS)
        if progress.text or not basket.archive.exists():
            raise RuntimeError(f"the basket failed: {progress.text}")
        await self.ask(f"/downloads/{basket.id}", "DELETE")
        return _Built(basket, began, progress)

    async def clear(self) -> None:
        """Remove all baskets, and let a worker notice."""
        for basket in (await self.ask("/downloads"))["baskets"]:
            await self.ask(f"/downloads/{basket['id']}", "DELETE")
        await asyncio.sleep(2 * NOTE_SECONDS)


@contextlib.asynccontextmanager
async def _building(site: _Site, runs: range) -> AsyncIterator[None]:
    """One basket after the other, until it is left."""

    async def build() -> None:
        while True:
            await site.basket(runs)

    task = asyncio.create_task(build())
    try:
        yield
    finally:
        if task.done():
            task.result()  # raises why it is no more
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await site.clear()


async def _changes(pages: list[PageClient], runs: range, count: int) -> list[float]:
    """Seconds of changes of the run on open pages, until all of it has arrived."""
    chance = random.Random(1)
    start = time.monotonic()

    async def change(page: PageClient, offset: float) -> list[float]:
        seconds = []
        for turn in range(count // len(pages)):
            await asyncio.sleep(max(start + turn + offset - time.monotonic(), 0))
            other = chance.choice([run for run in runs if run != page.state["run"]])
            began = time.monotonic()
            await page.show_run(other)
            seconds.append(time.monotonic() - began)
        return seconds

    several = (change(page, index / len(pages)) for index, page in enumerate(pages))
    return [one for each in await asyncio.gather(*several) for one in each]
