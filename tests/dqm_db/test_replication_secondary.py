"""How long a replica waits before it tries its primary again, and what it says of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from dqm_db.replication.addresses import Address
from dqm_db.replication.secondary import REFUSED_DELAY, Factory


class Delays:
    """A reactor that only remembers how long it was told to wait."""

    def __init__(self) -> None:
        self.waited: list[float] = []

    def callLater(self, delay: float, _function: Callable[[], None]) -> None:  # noqa: N802
        self.waited.append(delay)


def waits(outcomes: str, usual: float) -> list[float]:
    """Delays after connections that ended: ``r`` refused, ``l`` merely lost."""
    reactor = Delays()
    factory = Factory(reactor, None, usual, True, b"", 60.0, None)
    for outcome in outcomes:
        factory.refused = outcome == "r"
        factory.clientConnectionLost(None, Failure(ConnectionDone()))
    return reactor.waited


def test_the_usual_delay_after_a_lost_connection() -> None:
    assert waits("lll", 2.0) == [2.0, 2.0, 2.0]


def test_a_refused_replica_waits_longer_each_time() -> None:
    assert waits("rrrrrr", 2.0) == [2.0, 4.0, 8.0, 16.0, REFUSED_DELAY, REFUSED_DELAY]


def test_an_accepted_connection_forgets_refusals() -> None:
    assert waits("rrlr", 2.0) == [2.0, 4.0, 2.0, 2.0]


def test_a_longer_usual_delay_stands() -> None:
    assert waits("rrr", 100.0) == [100.0, 100.0, 100.0]


def test_many_refusals_do_not_overflow() -> None:
    assert set(waits("r" * 3000, 2.0)[10:]) == {REFUSED_DELAY}


@pytest.fixture
def factory() -> Factory:
    secondary = SimpleNamespace(_addr=Address("127.0.0.1", 5000))
    return Factory(Delays(), None, 2.0, True, b"", 60.0, secondary)


def lost() -> Failure:
    return Failure(ConnectionDone())


def state(factory: Factory) -> tuple[str | None, str | None]:
    return factory.following, factory.reason


def test_it_says_whom_it_follows(factory: Factory) -> None:
    assert state(factory) == (None, None)
    factory.follows(after_failure=False)
    assert state(factory) == ("connected", None)
    factory.clientConnectionLost(None, lost())
    assert state(factory) == ("unreachable", "Connection was closed cleanly.")
    factory.refuses("they have diverged")
    factory.clientConnectionLost(None, lost())
    assert state(factory) == ("refused", "they have diverged")
    factory.loses("no sign of life for 2 s")
    factory.clientConnectionLost(None, lost())
    assert state(factory) == ("unreachable", "no sign of life for 2 s")


def test_what_could_not_be_stored_stays_the_reason_until_it_is_stored(factory: Factory) -> None:
    factory.fails("the disk is full")
    factory.clientConnectionLost(None, lost())
    factory.follows(after_failure=False)  # connected again, and about to receive the same
    assert state(factory) == ("unreachable", "the disk is full")
    factory.follows(after_failure=True)
    assert state(factory) == ("connected", None)


def test_each_trouble_is_logged_once(factory: Factory, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(3):
        factory.loses("Connection refused.")
    factory.follows(after_failure=False)
    for _ in range(3):
        factory.fails("the disk is full")
        factory.follows(after_failure=False)
    factory.follows(after_failure=True)
    assert [record.getMessage() for record in caplog.records] == [
        "cannot reach the primary at 127.0.0.1:5000 (Connection refused.); trying every 2 s",
        "following the primary at 127.0.0.1:5000 again",
        "the disk is full; trying every 2 s",
        "following the primary at 127.0.0.1:5000 again",
    ]
