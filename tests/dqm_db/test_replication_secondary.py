"""How long a replica waits before it tries its primary again."""

from __future__ import annotations

from collections.abc import Callable

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
        factory.clientConnectionLost(None, None)
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
