"""Queues of baskets, in a file and in Redis, and the worker that empties them."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis_server import redis_server

from dqm_app.downloads import building, parts, worker
from dqm_app.downloads.basket import Progress, State
from dqm_app.downloads.errors import DownloadsUnusable
from dqm_app.downloads.parts import Downloads
from dqm_app.downloads.queue import BasketQueue, check_queue
from dqm_app.downloads.settings import DownloadSettings
from dqm_app.downloads.shelf import Shelf
from dqm_app.downloads.worker import LOCK, Worker, _take
from dqm_app.server_settings import ServerSettings
from dqm_db.errors import ConfigurationError
from dqm_db.settings import WatchSettings, load
from dqm_db.status.limits import Limits

CAMERA = "NectarCAMQM"
LIMITS = Limits.of(load(WatchSettings))
SECRET = "the key that dashboards and workers share"


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture(params=["file", "redis"])
def settings(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> DownloadSettings:
    if request.param == "file":
        return DownloadSettings(downloads_dir=tmp_path / "downloads")
    monkeypatch.setenv("BOKEH_SECRET_KEY", SECRET)
    monkeypatch.setenv("DQM_DB_URL", "zeo://127.0.0.1:1")
    url = request.getfixturevalue("redis")
    return DownloadSettings(downloads_dir=tmp_path / "downloads", downloads_queue=url)


@pytest.fixture
def shelf(settings: DownloadSettings) -> Shelf:
    return Shelf(settings)


def test_what_one_puts_another_builds(settings, shelf):
    built: list[str] = []
    inside = BasketQueue(settings, built.append)
    made = [shelf.make(owner, CAMERA, [1], 1000) for owner in ("ada", "eve")]
    outside = BasketQueue(settings)
    assert inside.is_empty() and not inside.work()
    for basket in made:
        outside.put(basket)
    assert not inside.is_empty()
    assert inside.work() and inside.work() and not inside.work()
    assert built == [basket.id for basket in made]
    assert outside.is_empty()


def test_a_worker_notes_that_there_is_no_database(settings, shelf, monkeypatch):
    monkeypatch.setenv("DQM_DB_URL", "zeo://127.0.0.1:1")
    monkeypatch.setenv("DQM_DB_WAIT", "0.1")
    monkeypatch.setattr(building, "DATABASE_SECONDS", 0.0)
    basket = shelf.make("ada", CAMERA, [1], 1000)
    worker = Worker(settings)
    worker._take_up()  # nobody has queued it
    assert worker._queue.work()
    progress = basket.progress()
    assert progress.state is State.FAILED and "127.0.0.1:1" in progress.text
    worker._take_up()
    assert not worker._queue.work()  # nothing is tried again for ever


def test_what_another_worker_builds_is_left_to_it(settings, shelf):
    basket = shelf.make("ada", CAMERA, [1], 1000)
    basket.note(Progress(State.BUILDING, 0, 1, 0, 1000))
    lock = os.open(basket.folder / LOCK, os.O_RDWR | os.O_CREAT)
    try:
        assert _take(lock)
        worker = Worker(settings)
        worker._take_up()
        assert worker._queue.work()
        assert basket.progress().state is State.BUILDING
    finally:
        os.close(lock)


def test_a_basket_that_is_removed_before_its_turn(settings, shelf):
    basket = shelf.make("ada", CAMERA, [1], 1000)
    worker = Worker(settings)
    worker._queue.put(basket)
    shelf.remove(basket)
    assert worker._queue.work()
    assert {path.name for path in shelf.folder.iterdir()} <= {
        "lock", "queue.sqlite", "queue.sqlite-wal", "queue.sqlite-shm",
    }  # fmt: skip


def test_redis_that_does_not_answer(tmp_path, monkeypatch):
    monkeypatch.setenv("BOKEH_SECRET_KEY", SECRET)
    settings = DownloadSettings(downloads_dir=tmp_path, downloads_queue="redis://127.0.0.1:1/0")
    downloads = Downloads(settings, LIMITS)
    try:
        with pytest.raises(DownloadsUnusable, match="DQM_DOWNLOADS_QUEUE"):
            downloads.begin("ada", CAMERA, [1], 1000)
        assert downloads.shelf.of("ada") == []
    finally:
        downloads.close()


def test_a_worker_that_cannot_be_started(tmp_path, monkeypatch):
    def none_left(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, "Popen", none_left)
    downloads = Downloads(DownloadSettings(downloads_dir=tmp_path), LIMITS)
    try:
        with pytest.raises(DownloadsUnusable, match="temporarily unavailable"):
            downloads.begin("ada", CAMERA, [1], 1000)
        assert downloads.shelf.of("ada") == []
    finally:
        downloads.close()


def test_what_a_restart_has_interrupted_goes_on_and_what_has_ended_goes(tmp_path, monkeypatch):
    downloads = Downloads(DownloadSettings(downloads_dir=tmp_path / "downloads"), LIMITS)
    try:
        downloads.tidy()
        assert not (tmp_path / "downloads").exists(), "nobody has chosen anything"
        downloads.shelf.make("ada", CAMERA, [1], 1000)
        over = Shelf(DownloadSettings(downloads_dir=tmp_path / "downloads", downloads_hours=1e-9))
        gone = over.make("eve", CAMERA, [1], 1000)
        started: list[object] = []
        monkeypatch.setattr(
            downloads._worker, "see_that_it_lives", lambda: started.append(downloads)
        )
        downloads.tidy()
        assert started and not gone.folder.exists()
    finally:
        downloads.close()


def test_a_worker_that_ends_at_once_is_not_started_again_and_again(tmp_path, monkeypatch):
    monkeypatch.setattr(
        worker.WorkerOnDemand, "COMMAND", (sys.executable, "-c", "raise SystemExit(1)")
    )
    settings = DownloadSettings(downloads_dir=tmp_path)
    on_demand = worker.WorkerOnDemand(settings)
    on_demand.see_to_it()
    [process] = on_demand._processes
    process.wait(30)
    on_demand.see_that_it_lives()
    assert on_demand._processes == [process]
    monkeypatch.setattr(worker, "START_SECONDS", 0.0)
    on_demand.see_that_it_lives()
    assert on_demand._processes != [process]
    on_demand.close()
    for process in on_demand._processes:
        process.wait(30)


def test_one_worker_is_started_however_often_it_is_asked_for(tmp_path, monkeypatch):
    """By all processes of the dashboard, also while it has not begun to work."""
    monkeypatch.setattr(
        worker.WorkerOnDemand, "COMMAND", (sys.executable, "-c", "import time; time.sleep(600)")
    )
    settings = DownloadSettings(downloads_dir=tmp_path)
    dashboards = [worker.WorkerOnDemand(settings) for _ in range(3)]
    for _ in range(3):
        for on_demand in dashboards:
            on_demand.see_to_it()
    try:
        [process] = dashboards[0]._processes
        assert dashboards[1]._processes == dashboards[2]._processes == []
        process.kill()
        process.wait(30)
        dashboards[1].see_to_it()
        assert len(dashboards[1]._processes) == 1
    finally:
        for on_demand in dashboards:
            on_demand.close()
            for process in on_demand._processes:
                process.wait(30)


def test_a_service_that_may_not_be_nice_builds_all_the_same(tmp_path, monkeypatch):
    def forbidden(_: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "nice", forbidden)
    monkeypatch.setattr(worker, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    built: list[str] = []
    monkeypatch.setattr(Worker, "_build", lambda _self, basket_id: built.append(basket_id))
    settings = DownloadSettings(downloads_dir=tmp_path)
    basket = Shelf(settings).make("ada", CAMERA, [1], 1000)
    Worker(settings).run_until_idle()
    assert built == [basket.id]


@pytest.mark.parametrize(
    ("state", "silent", "words"),
    [
        (State.WAITING, 0, ""),
        (State.WAITING, 60, "no worker has taken it yet"),
        (State.BUILDING, 60, "its worker is not heard of"),
        (State.DONE, 60, ""),
    ],
)
def test_a_basket_with_which_nothing_happens_has_a_word(
    tmp_path, monkeypatch, state, silent, words
):
    downloads = Downloads(DownloadSettings(downloads_dir=tmp_path), LIMITS)
    try:
        basket = downloads.shelf.make("ada", CAMERA, [1], 1000)
        basket.note(Progress(state, 0, 1, 0, 1000))
        monkeypatch.setattr(parts, "SILENT_SECONDS", 30.0 - silent)
        assert downloads.stuck(basket).startswith(words) and bool(words) is bool(
            downloads.stuck(basket)
        )
    finally:
        downloads.close()


def test_others_are_said_to_be_first(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "SILENT_SECONDS", -1.0)
    downloads = Downloads(DownloadSettings(downloads_dir=tmp_path), LIMITS)
    try:
        made = [downloads.shelf.make(owner, CAMERA, [1], 1000) for owner in ("a", "b", "c")]
        assert downloads.stuck(made[1]) == "1 archive of somebody else is built first"
        assert downloads.stuck(made[2]) == "2 archives of others are built first"
    finally:
        downloads.close()


@pytest.mark.parametrize("key", ["", "nectarcam"])
def test_redis_without_a_secret(tmp_path, monkeypatch, key):
    """Or with one that is guessed: messages are pickles."""
    monkeypatch.setenv("BOKEH_SECRET_KEY", key)
    settings = DownloadSettings(downloads_dir=tmp_path, downloads_queue="redis://127.0.0.1:1/0")
    with pytest.raises(ConfigurationError, match="BOKEH_SECRET_KEY"):
        BasketQueue(settings)


@pytest.mark.parametrize("url", ["http://127.0.0.1/0", "redis://:pass/word@127.0.0.1:1/0", "x"])
def test_a_queue_that_cannot_be_is_named_before_anything_starts(tmp_path, monkeypatch, url):
    monkeypatch.setenv("BOKEH_SECRET_KEY", SECRET)
    monkeypatch.setenv("DQM_DOWNLOADS_QUEUE", url)
    monkeypatch.setenv("DQM_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("DQM_AUTH", "none")
    with pytest.raises(ConfigurationError, match="DQM_DOWNLOADS_QUEUE") as raised:
        ServerSettings.read()
    assert "pass/" not in str(raised.value) and "'pass'" not in str(raised.value)
    with pytest.raises(ConfigurationError, match="DQM_DOWNLOADS_QUEUE"):
        Worker(load(DownloadSettings))


def test_a_queue_without_its_client(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    settings = DownloadSettings(downloads_dir=tmp_path, downloads_queue="redis://127.0.0.1:1/0")
    with pytest.raises(ConfigurationError, match=r"nectarcam-dqm\[redis\]"):
        check_queue(settings)


def test_messages_of_others_in_redis_are_no_code(tmp_path, monkeypatch, redis):
    """They are pickles; what we have not signed is never loaded."""

    class Bomb:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "exploded",))

    monkeypatch.setenv("BOKEH_SECRET_KEY", SECRET)
    settings = DownloadSettings(downloads_dir=tmp_path / "downloads", downloads_queue=redis)
    queue = BasketQueue(settings, lambda _: None)
    with Redis.from_url(redis) as client:
        client.lpush(queue._huey.storage.queue_key, pickle.dumps(Bomb()))
    assert queue.work()
    assert not (tmp_path / "exploded").exists()
    assert not queue.work()
