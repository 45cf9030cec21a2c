"""When the other side of a replication connection is taken for gone."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from twisted.internet.task import Clock

from dqm_db.replication.signs import ALIVE, ASK, SignsOfLife

KEEP_ALIVE = 10.0


class Rounds(Clock):
    """Calls in each round only what was due at its beginning, as the real reactor does."""

    def advance(self, amount: float) -> None:
        self.rightNow += amount
        for call in [call for call in self.calls if call.getTime() <= self.seconds()]:
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)


class Side:
    """One side, on a clock of its own."""

    def __init__(self) -> None:
        self.clock = Rounds()
        self.asked: list[float] = []
        self.gave_up: list[float] = []
        self.signs = SignsOfLife(
            self.clock,
            KEEP_ALIVE,
            ask=lambda: self.asked.append(self.clock.seconds()),
            silent=lambda: self.gave_up.append(self.clock.seconds()),
        )

    def live(self, until: float, heard_at: Iterable[float] = ()) -> Side:
        """Hear something at some times, in steps of half a second."""
        times = sorted(heard_at)
        while self.clock.seconds() < until:
            self.clock.advance(0.5)
            if times and times[0] <= self.clock.seconds():
                times.pop(0)
                self.signs.heard()
            self.clock.advance(0)
        return self


def test_it_asks_at_once_and_then_at_its_pace() -> None:
    side = Side()
    side.signs.start()
    side.live(35, heard_at=range(36))
    assert side.asked == [0, 10, 20, 30]
    assert side.gave_up == []


@pytest.mark.parametrize("last", [0, 3, 19, 20, 47])
def test_silence_is_noticed_after_twice_the_keep_alive(last: int) -> None:
    side = Side()
    side.signs.start()
    side.live(200, heard_at=range(1, last + 1))
    assert side.gave_up == [last + 2 * KEEP_ALIVE]
    assert side.asked[-1] <= side.gave_up[0]  # nobody is asked any more


def test_one_that_answers_late_is_alive() -> None:
    side = Side()
    side.signs.start()
    side.live(300, heard_at=range(19, 300, 19))
    assert side.gave_up == []


def test_nothing_is_noticed_once_it_is_stopped() -> None:
    side = Side()
    side.signs.start()
    side.signs.stop()
    side.live(100)
    assert side.asked == [0]
    assert side.gave_up == []
    assert side.clock.getDelayedCalls() == []


def test_who_stood_still_itself_reads_before_it_judges() -> None:
    """A reactor calls what is due before it reads what has arrived."""
    side = Side()
    side.signs.start()
    side.clock.advance(300)  # stopped by SIGSTOP, or on a disk that hung
    assert side.gave_up == []
    side.signs.heard()  # what had arrived meanwhile
    side.clock.advance(0)
    assert side.gave_up == []
    side.live(400)
    assert side.gave_up == [300 + 2 * KEEP_ALIVE]


def test_questions_between_are_limited() -> None:
    side = Side()
    side.signs.start()
    for _ in itertools.repeat(None, 10):
        side.clock.advance(0.25)
        side.signs.ask_again(1.0)
    assert side.asked == [0, 1, 2]


def test_a_primary_takes_the_answer_for_a_message() -> None:
    """zc.zrs reads messages of up to 8 bytes from a replica."""
    assert 0 < len(ALIVE) <= 8
    assert bytes(4) == ASK
