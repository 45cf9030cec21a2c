"""A server reads digests from its own file while it is written to and packed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ZODB
from ZODB.blob import Blob
from ZODB.FileStorage import FileStorage

from dqm_db.replication import serving_digests
from dqm_db.replication.methods import ClientHandler
from dqm_db.replication.serving_digests import ServedDigests
from dqm_db.verification import servers
from dqm_db.verification.servers import ServerSide
from dqm_db.volume.digest_wire import MOST_OIDS, from_plain
from dqm_db.volume.digests import TransactionDigest, read_digests
from dqm_db.volume.layout import Volume
from dqm_db.volume.transactions import NO_TRANSACTION


class Served:
    """A storage with some transactions, and what answers for it."""

    def __init__(self, root: Path) -> None:
        self.volume = Volume(root)
        self.volume.create()
        self.storage = FileStorage(str(self.volume.data_file), blob_dir=str(self.volume.blob_dir))
        self.db = ZODB.DB(self.storage)
        self.answers = ServedDigests(self.storage)
        for number in range(5):
            self.commit(number)

    def commit(self, number: int) -> None:
        with self.db.transaction() as connection:
            connection.root()["number"] = number
            connection.root()["blob"] = Blob(b"%d" % number * 1000)

    def ask(self, after: bytes, limit: int = 1 << 20) -> tuple[list[TransactionDigest], Any]:
        answer = self.answers.digests(after, limit, NO_TRANSACTION)
        return list(map(from_plain, answer.pop("transactions"))), answer


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path)
    yield served
    served.answers.close()
    served.db.close()


def test_pieces_add_up(served: Served) -> None:
    expected = list(read_digests(served.volume))
    found: list[TransactionDigest] = []
    after, pieces = NO_TRANSACTION, 0
    while True:
        piece, answer = served.ask(after, limit=1500)
        pieces += 1
        found += piece
        if answer["complete"]:
            break
        after = found[-1].tid
    assert found == expected
    assert 2 < pieces <= len(expected) + 1
    assert answer == {"complete": True, "broken": None}
    assert served.answers.packed_until(NO_TRANSACTION) == NO_TRANSACTION


def test_a_limit_of_nothing_is_one_transaction(served: Served) -> None:
    expected = list(read_digests(served.volume))
    assert served.ask(expected[1].tid, limit=0)[0] == expected[2:3]


def test_answers_are_limited_in_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_digests, "LONGEST_SECONDS", 0.0)
    assert len(served.ask(NO_TRANSACTION)[0]) == 1


def test_what_is_committed_meanwhile_follows(served: Served) -> None:
    before, _ = served.ask(NO_TRANSACTION)
    served.commit(6)
    after, answer = served.ask(before[-1].tid)
    assert before + after == list(read_digests(served.volume))
    assert len(after) == 1
    assert answer["complete"]


def test_a_pack_in_between_is_no_damage(served: Served) -> None:
    first, _ = served.ask(NO_TRANSACTION, limit=0)
    second, _ = served.ask(first[0].tid, limit=0)
    served.db.pack()
    rest, answer = served.ask(second[0].tid)
    assert not any(one.faults for one in rest)
    assert [one.packed for one in rest] == [True]
    assert answer["complete"]
    assert served.answers.packed_until(NO_TRANSACTION) == rest[-1].tid
    assert served.answers.bytes_after(second[0].tid) < served.volume.data_file.stat().st_size


def test_a_pack_under_the_reader_is_no_damage(served: Served) -> None:
    """The reader has read up to the end of the old file: its blobs have gone meanwhile."""
    answers = served.answers
    reader = answers._opened()
    served.db.pack()
    answers._opened = lambda _first=[reader], _next=answers._opened: (  # type: ignore[method-assign,misc]
        _first.pop() if _first else _next()
    )
    answers._reader = reader
    found, answer = served.ask(NO_TRANSACTION)
    assert not any(one.faults for one in found)
    assert answer["complete"]
    assert found[-1].packed


def test_damage_is_told(served: Served) -> None:
    contents = served.volume.data_file.read_bytes()
    sound = list(read_digests(served.volume))
    begin = contents.index(sound[2].tid)
    with served.volume.data_file.open("r+b") as file:
        file.seek(begin + 8)
        file.write(bytes(100))
    found, answer = served.ask(NO_TRANSACTION)
    assert found == sound[:2]
    assert str(served.volume.data_file) in answer["broken"]
    assert not answer["complete"]


def test_a_file_that_went_is_told(served: Served, tmp_path: Path) -> None:
    served.volume.data_file.rename(tmp_path / "elsewhere")
    found, answer = served.ask(NO_TRANSACTION)
    assert not found
    assert "No such file" in answer["broken"]


def test_bytes_that_follow(served: Served) -> None:
    found = list(read_digests(served.volume))
    size = served.volume.data_file.stat().st_size
    begin = served.volume.data_file.read_bytes().index(found[3].tid)
    assert served.answers.bytes_after(found[2].tid) == size - begin
    assert served.answers.bytes_after(found[-1].tid) == 0
    assert served.answers.bytes_after(NO_TRANSACTION) == size - 4


def test_the_current_transaction_of_objects(served: Served) -> None:
    last = served.storage.lastTransaction()
    assert served.answers.current([bytes(8), b"\x01" * 8]) == [last, b""]


def test_too_many_objects_are_refused() -> None:
    handler = object.__new__(ClientHandler)
    too_many = [bytes(8)] * (MOST_OIDS + 1)
    for ask in (handler.dqm_current, handler.dqm_reachable):
        with pytest.raises(ValueError, match=f"{MOST_OIDS + 1} ids .* at most {MOST_OIDS} each"):
            ask(too_many)
        with pytest.raises(ValueError, match="int where a list"):
            ask(5)


def test_clients_ask_for_many_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "MOST_OIDS", 3)
    asked: list[list[bytes]] = []

    def answer(_method: str, oids: list[bytes]) -> list[bytes]:
        asked.append(oids)
        return oids

    side = object.__new__(ServerSide)
    monkeypatch.setattr(ServerSide, "_storage", SimpleNamespace(_call=answer), raising=False)
    side.name = "server"
    oids = [bytes([number]) * 8 for number in range(7)]
    assert side.current(oids) == oids
    assert asked == [oids[:3], oids[3:6], oids[6:]]
    assert side.reachable(oids) == set(oids)
    assert side.current([]) == []


def test_closing_does_not_wait_for_a_reader(served: Served) -> None:
    served.ask(NO_TRANSACTION, limit=0)
    answers = served.answers
    with answers._lock:  # a thread reads
        closing = threading.Thread(target=answers.close)
        closing.start()
        closing.join(10)
        assert not closing.is_alive()
    served.ask(NO_TRANSACTION, limit=0)
    assert answers._reader is None
