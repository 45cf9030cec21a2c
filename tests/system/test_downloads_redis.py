"""Baskets that workers build which no dashboard has started: `dqm worker`, with a real Redis."""

from __future__ import annotations

import json
import os
import signal
import tarfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from baskets import CAMERA, COPIES, STORED, Site, begun, being_built, fill, state
from processes import LOOPBACK, PATIENCE, ServerProcess, eventually, free_port
from redis_server import redis_server
from visitors import Visitor, logged_in

from dqm_app.downloads.basket import Basket

pytestmark = pytest.mark.system
ALL = [*STORED, *COPIES]


class WorkerProcess(ServerProcess):
    """It listens nowhere."""

    def _answers(self) -> bool:
        return self.is_running()


class RedisSite(Site):
    """A dashboard that only hands baskets on, and Redis, which can be lost."""

    def __init__(self, folder: Path, database: str, stack: ExitStack) -> None:
        self._port = free_port()
        self._redis = stack.enter_context(ExitStack())
        self.start_redis()
        queue = f"redis://{LOOPBACK}:{self._port}/0"
        super().__init__(folder, DQM_DB_URL=database, DQM_DOWNLOADS_QUEUE=queue)

    def start_redis(self) -> None:
        self._redis.enter_context(redis_server(self._port))

    def lose_redis(self) -> None:
        """Stop it; what was queued is forgotten."""
        self._redis.close()

    def worker(self, name: str) -> ServerProcess:
        """One, with the settings of the dashboard."""
        log = self.downloads.parent / f"{name}.log"
        return WorkerProcess(["dqm", "worker"], 0, log, self.environment)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of one that all only read."""
    folder = tmp_path_factory.mktemp("database")
    fill(folder)
    return f"file://{folder}/Data.fs"


@pytest.fixture
def site(tmp_path: Path, database: str) -> Iterator[RedisSite]:
    with ExitStack() as stack:
        site = stack.enter_context(RedisSite(tmp_path, database, stack))
        site.wait_for_runs()
        yield site


def is_done(visitor: Visitor, basket: dict) -> bool:
    now = state(visitor, basket)
    assert now["state"] != "failed", now
    return now["state"] == "done"


def names(site: Site, basket: dict) -> list[str]:
    with tarfile.open(Basket.read(site.downloads / basket["id"]).archive) as tar:
        return tar.getnames()


def stop_when_written(worker: ServerProcess, part: Path) -> None:
    """Halt it as soon as it has begun to write: a basket is built within a second.

    So the file is looked at almost without a pause, and not by asking the dashboard.
    """
    patience = time.monotonic() + PATIENCE
    while not (part.exists() and part.stat().st_size > 0):
        assert time.monotonic() < patience, f"it has not begun: {worker.text()}"
        time.sleep(0.001)
    worker.send(signal.SIGSTOP)


def test_who_builds_is_not_the_dashboard(site):
    visitor = logged_in(site, "expert")
    basket = begun(visitor, list(STORED))
    assert not site.workers(), "the dashboard starts none"
    assert state(visitor, basket)["state"] == "waiting"
    with site.worker("worker") as worker:
        eventually(lambda: is_done(visitor, basket), f"it is built: {worker.text()}")
        assert len(names(site, basket)) == len(STORED) + 2
        assert worker.stop() == 0


def test_a_killed_worker_is_followed_by_another(site):
    """Killed in the middle: the one that is started next builds the basket, from its beginning."""
    visitor = logged_in(site, "expert")
    basket = begun(visitor, ALL)
    part = Basket.read(site.downloads / basket["id"]).part
    with site.worker("first") as first:
        stop_when_written(first, part)
        before = state(visitor, basket)
        first.kill()
    assert before["state"] == "building" and before["runs_done"] < len(ALL)
    assert part.stat().st_size > 0, "what was half-done is left"
    with site.worker("second") as second:
        eventually(lambda: is_done(visitor, basket), f"it is built: {second.text()}")
    assert len(names(site, basket)) == len(ALL) + 2


def test_a_worker_that_is_stopped_gives_the_basket_back(site):
    visitor = logged_in(site, "expert")
    with site.worker("first") as first:
        basket = begun(visitor, ALL)
        stop_when_written(first, Basket.read(site.downloads / basket["id"]).part)
        with site.worker("second") as second:
            first.send(signal.SIGTERM)  # it gets it when it goes on
            first.send(signal.SIGCONT)
            assert first.wait() == 0
            eventually(lambda: is_done(visitor, basket), f"it is built: {second.text()}")
    assert len(names(site, basket)) == len(ALL) + 2


def test_redis_is_lost_with_all_that_was_queued(site):
    """Nobody can begin a basket meanwhile; the worker waits, and what is on the shelf is built."""
    visitor, other = logged_in(site, "expert"), logged_in(site, "admin")
    basket = begun(visitor, list(STORED))
    site.lose_redis()
    other.ask("/dqm_app")
    body = json.dumps({"camera": CAMERA, "runs": [6001]}).encode()
    token = {"X-XSRFToken": other.cookies["_xsrf"]}
    answer = other.ask("/downloads", "POST", body, token)
    assert answer.status == 503
    assert "tell the admin" in json.loads(answer.text)["detail"]
    assert "DQM_DOWNLOADS_QUEUE" in site.text()
    assert json.loads(other.ask("/downloads").text) == {"baskets": []}
    site.start_redis()
    with site.worker("worker") as worker:
        eventually(lambda: is_done(visitor, basket), f"it is built: {worker.text()}")
        site.lose_redis()
        worker.wait_for_log("the queue of baskets does not answer")
        site.start_redis()
        basket = begun(other, [6001])
        eventually(lambda: is_done(other, basket), f"it goes on: {worker.text()}")
        assert worker.is_running()


def test_two_workers_share_what_there_is(site):
    """Each basket is built once, those of two users at the same time."""
    visitors = [logged_in(site, name) for name in ("expert", "admin")]
    with site.worker("one"), site.worker("two"):
        made = [begun(visitor, ALL) for visitor in visitors]
        for visitor, basket in zip(visitors, made, strict=True):
            eventually(lambda: is_done(visitor, basket), "it is built")  # noqa: B023
            assert len(names(site, basket)) == len(ALL) + 2


def test_a_worker_that_hangs_is_told_of(site):
    with being_built(site, "expert") as basket:
        os.utime(basket.folder)
        visitor = logged_in(site, "expert")
        told = json.loads((basket.folder / "progress.json").read_text())
        (basket.folder / "progress.json").write_text(json.dumps({**told, "at": told["at"] - 60}))
        text = state(visitor, {"id": basket.id})["text"]
        assert (
            text == "its worker is not heard of; the next one builds it anew, else tell the admin"
        )
