"""Queues of baskets, in a file and in Redis, and the worker that empties them."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis_server import redis_server

from dqm_app.downloads.basket import Progress, State
from dqm_app.downloads.errors import DownloadsUnusable
from dqm_app.downloads.parts import Downloads
from dqm_app.downloads.queue import BasketQueue
from dqm_app.downloads.settings import DownloadSettings
from dqm_app.downloads.shelf import Shelf
from dqm_app.downloads.worker import LOCK, Worker, _take
from dqm_db.errors import ConfigurationError

CAMERA = "NectarCAMQM"
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
    downloads = Downloads(settings)
    try:
        with pytest.raises(DownloadsUnusable, match="DQM_DOWNLOADS_QUEUE"):
            downloads.begin("ada", CAMERA, [1], 1000)
        assert downloads.shelf.of("ada") == []
    finally:
        downloads.close()


def test_redis_without_a_secret(tmp_path, monkeypatch):
    monkeypatch.delenv("BOKEH_SECRET_KEY", raising=False)
    settings = DownloadSettings(downloads_dir=tmp_path, downloads_queue="redis://127.0.0.1:1/0")
    with pytest.raises(ConfigurationError, match="BOKEH_SECRET_KEY"):
        BasketQueue(settings)


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
