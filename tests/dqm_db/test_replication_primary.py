"""Where a primary gives signs of life: never inside a transaction, whatever comes in between."""

from __future__ import annotations

import threading
from collections.abc import Callable
from hashlib import md5
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dqm_db.replication.primary import Producer
from dqm_db.replication.signs import ASK

BEGIN, RECORD, NO_DATA, COMMIT = b"T", b"S", b"", b"C"
SIGN_OF_LIFE = None
TRANSACTION = (BEGIN, RECORD, NO_DATA, RECORD, b"data", COMMIT)


class Line:
    """The thread that sends, a connection, and the reactor between them, one step at a time."""

    def __init__(self, transactions: int) -> None:
        self.sent: list[bytes | None] = []
        self._queue: list[tuple[Callable[[Any], None], Any]] = []
        self.producer = producer = object.__new__(Producer)  # without its thread
        producer.transport = self
        producer.callFromThread = lambda function, data: self._queue.append((function, data))
        producer.consumer_event = threading.Event()
        producer.consumer_event.set()
        producer.md5 = md5()
        self._steps = [
            step
            for _ in range(transactions)
            for step in (
                *[lambda message=message: producer.write(message) for message in TRANSACTION],
                producer._transaction_is_complete,
            )
        ]

    def writeSequence(self, parts: tuple[bytes, bytes]) -> None:  # noqa: N802 (Twisted's name)
        self.sent.append(parts[1])

    def write(self, data: bytes) -> None:
        assert data == ASK
        self.sent.append(SIGN_OF_LIFE)

    def produce(self) -> None:
        if self._steps:
            self._steps.pop(0)()

    def send(self) -> None:
        if self._queue:
            function, data = self._queue.pop(0)
            function(data)

    def finish(self) -> None:
        while self._steps or self._queue:
            self.produce()
            self.send()


@given(st.integers(1, 3), st.lists(st.sampled_from(["produce", "send", "show_life"]), max_size=80))
def test_signs_of_life_stand_between_transactions(transactions: int, steps: list[str]) -> None:
    line = Line(transactions)
    for step in steps:
        if step == "show_life":
            line.producer.show_life()
        else:
            getattr(line, step)()
    line.finish()
    messages = [message for message in line.sent if message is not SIGN_OF_LIFE]
    assert messages == list(TRANSACTION) * transactions
    before = [COMMIT, *line.sent]
    for earlier, message in zip(before, line.sent, strict=False):
        if message is SIGN_OF_LIFE:
            assert earlier in (COMMIT, SIGN_OF_LIFE)
    checksum = md5()
    for message in messages:
        checksum.update(message)
    assert line.producer.md5.digest() == checksum.digest()


def test_they_are_given_at_the_beginning_and_in_the_end() -> None:
    line = Line(1)
    line.producer.show_life()
    line.finish()
    line.producer.show_life()
    assert line.sent == [SIGN_OF_LIFE, *TRANSACTION, SIGN_OF_LIFE]


def test_who_does_not_read_gets_none() -> None:
    line = Line(0)
    line.producer.consumer_event.clear()
    line.producer.show_life()
    line.producer.consumer_event.set()
    line.producer.stopped = True
    line.producer.show_life()
    assert line.sent == []
