"""A client that hangs after its vote is dropped in time, wherever the clock is set."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from dqm_db.replication.zeo_server import TimeoutThread

PATIENCE = 30


class HangingClient:
    """What the thread sees of it."""

    def __init__(self) -> None:
        self.closed = threading.Event()
        self.connection = SimpleNamespace(close=self.closed.set)

    def log(self, *_: object, **__: object) -> None:
        pass

    def call_soon_threadsafe(self, function: object) -> None:
        assert callable(function)
        function()


@pytest.mark.parametrize("jump", [-7200.0, 0.0])
def test_it_is_dropped_although_the_clock_is_set_back(
    monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    now = time.time()
    client = HangingClient()
    timeouts = TimeoutThread(0.05)
    timeouts.begin(client)
    monkeypatch.setattr(time, "time", lambda: now + jump)
    timeouts.start()
    assert client.closed.wait(PATIENCE)


def test_a_clock_that_is_set_forward_drops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    client = HangingClient()
    timeouts = TimeoutThread(3600)
    timeouts.begin(client)
    monkeypatch.setattr(time, "time", lambda: now + 7200)
    timeouts.start()
    assert not client.closed.wait(0.3)
    assert timeouts.is_alive()
