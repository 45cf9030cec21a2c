"""Baskets that no worker takes: who is told, and when they are given up."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dqm_app import patience
from dqm_app.dashboard_metrics import shelf_metrics
from dqm_app.downloads.basket import PROGRESS, Basket, Progress, State
from dqm_app.downloads.commands import baskets
from dqm_app.downloads.errors import BasketNotFound, BasketRefused
from dqm_app.downloads.facts import ShelfFacts, judge_baskets
from dqm_app.downloads.parts import Downloads
from dqm_app.downloads.settings import DownloadSettings
from dqm_app.downloads.shelf import Shelf
from dqm_app.host_status import dashboard_items
from dqm_db.settings import WatchSettings, load
from dqm_db.status.limits import Limits
from dqm_db.status.model import Level

CAMERA = "NectarCAMQM"
LIMITS = Limits.of(load(WatchSettings))
MINUTE = 60.0
ELSEWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def settings(tmp_path: Path) -> DownloadSettings:
    return DownloadSettings(
        downloads_dir=tmp_path, downloads_queue=ELSEWHERE, downloads_wait_minutes=30
    )


@pytest.fixture
def shelf(settings: DownloadSettings) -> Shelf:
    return Shelf(settings)


def put(shelf: Shelf, owner: str, state: State, minutes: float) -> Basket:
    """A basket of which that was so many minutes ago."""
    basket = shelf.make(owner, CAMERA, [1, 2], 1_000_000)
    age(basket, state, minutes)
    return basket


def age(basket: Basket, state: State, minutes: float) -> None:
    basket.note(Progress(state, 0, 2, 0, basket.size))
    path = basket.folder / PROGRESS
    noted = json.loads(path.read_text())
    path.write_text(json.dumps(noted | {"at": time.time() - minutes * MINUTE}))


def state_of(basket: Basket) -> State:
    return basket.progress().state


def test_an_empty_shelf_is_fine(shelf):
    facts = shelf.facts()
    assert facts == ShelfFacts({}, 0, 20_000_000_000)
    assert judge_baskets(facts, LIMITS).level is Level.OK


@pytest.mark.parametrize(
    ("others", "level"),
    [
        ([], Level.WARNING),
        ([(State.BUILDING, 0.1)], Level.OK),
        ([(State.DONE, 1)], Level.OK),
        ([(State.DONE, 10), (State.FAILED, 20)], Level.WARNING),
        ([(State.WAITING, 4)], Level.WARNING),
    ],
)
def test_a_worker_is_missed_when_nothing_is_built(shelf, others, level):
    """Who only waits for his turn does not alarm anybody."""
    put(shelf, "ada", State.WAITING, 5)
    for number, (state, minutes) in enumerate(others):
        put(shelf, f"other{number}", state, minutes)
    facts = shelf.facts()
    item = judge_baskets(facts, LIMITS)
    assert item.level is level
    assert ("dqm worker" in item.text) is (level is Level.WARNING)
    assert facts.waiting_since == pytest.approx(time.time() - 5 * MINUTE, abs=60)
    values = {one.name: one.samples for one in shelf_metrics(facts)}
    assert {sample.labels["state"] for sample in values["dqm_baskets"]} == set(State)
    assert sum(sample.value for sample in values["dqm_baskets"]) == 1 + len(others)
    assert values["dqm_baskets_bytes"][0].value >= 1_000_000


def test_dqm_status_says_it_on_the_host_of_the_folder(shelf, monkeypatch, tmp_path):
    monkeypatch.setenv("DQM_AUTH", "none")
    monkeypatch.setenv("DQM_DOWNLOADS_DIR", str(tmp_path / "none"))
    assert dashboard_items(LIMITS) == []
    monkeypatch.setenv("DQM_DOWNLOADS_DIR", str(shelf.folder))
    put(shelf, "ada", State.WAITING, 5)
    (item,) = dashboard_items(LIMITS)
    assert (item.key, item.level) == ("baskets", Level.WARNING)


def test_the_owner_reads_it_on_the_page(settings):
    downloads = Downloads(settings, LIMITS)
    try:
        (item,) = asyncio.run(downloads.items())
        assert item.level is Level.OK
        first = put(downloads.shelf, "ada", State.WAITING, 5)
        second = put(downloads.shelf, "eve", State.WAITING, 4)
        for basket in (first, second):
            assert downloads.stuck(basket) == "no worker has taken it for 5 min; tell the admin"
        (item,) = asyncio.run(downloads.items())
        assert item.level is Level.WARNING and downloads.facts is not None
    finally:
        downloads.close()


def test_a_disk_that_hangs_keeps_nobody_from_the_rest_of_the_status(settings, monkeypatch):
    downloads = Downloads(settings, LIMITS)
    asked, free = [], threading.Event()

    def facts() -> ShelfFacts:
        asked.append(None)
        free.wait()
        return ShelfFacts({}, 0, 1)

    monkeypatch.setattr(downloads.shelf, "facts", facts)
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 0.1)

    async def scenario() -> None:
        for _ in range(3):
            (item,) = await downloads.items()
            assert item.level is Level.WARNING
            assert str(settings.folder) in item.text and "no answer" in item.text
        assert len(asked) == 1
        free.set()
        monkeypatch.setattr(patience, "PATIENCE_SECONDS", 60)
        assert [item.level for item in await downloads.items()] == [Level.OK]

    try:
        asyncio.run(scenario())
    finally:
        free.set()
        downloads.close()


def test_what_nobody_takes_is_given_up_and_blocks_nobody(shelf):
    first = put(shelf, "ada", State.WAITING, 20)
    with pytest.raises(BasketRefused, match="is being built"):
        shelf.make("ada", CAMERA, [3], 1000)
    age(first, State.WAITING, 40)
    again = shelf.make("ada", CAMERA, [3], 1000)
    assert state_of(first) is State.FAILED and "tell the admin" in first.progress().text
    assert state_of(again) is State.WAITING


def test_all_that_waited_are_given_up_at_once_and_what_is_new_is_not(shelf):
    old = [put(shelf, owner, State.WAITING, 5) for owner in "abc"]
    for basket in old:
        age(basket, State.WAITING, 100)
    shelf.give_up()
    assert {state_of(basket) for basket in old} == {State.FAILED}
    new = put(shelf, "dora", State.WAITING, 29)
    shelf.give_up()
    assert state_of(new) is State.WAITING


def test_while_something_is_built_everybody_waits(shelf):
    waiting = put(shelf, "ada", State.WAITING, 29)
    put(shelf, "eve", State.BUILDING, 0)
    age(waiting, State.WAITING, 500)
    shelf.give_up()
    assert state_of(waiting) is State.WAITING


def test_the_admin_lists_and_removes_those_of_others(shelf, monkeypatch):
    monkeypatch.setenv("DQM_DOWNLOADS_DIR", str(shelf.folder))

    def call(*words: str) -> Result:
        return CliRunner().invoke(baskets, words)

    assert call("list").output == ""
    ada, eve = put(shelf, "ada", State.DONE, 1), put(shelf, "eve", State.WAITING, 1)
    lines = call("list").output.splitlines()
    assert len(lines) == 2
    for basket, state in ((ada, "done"), (eve, "waiting")):
        (line,) = (line for line in lines if line.startswith(basket.id))
        assert state in line and f"{basket.owner}: 2 runs of {CAMERA}" in line
    assert isinstance(call("remove", ada.id, "0" * 32).exception, BasketNotFound)
    assert len(shelf.everybody()) == 2, "nothing is done when something is wrong"
    assert call("remove", "../../etc").exception is not None
    assert call("remove", ada.id).output == f"{ada.id} of ada is removed\n"
    assert shelf.everybody() == [eve]
