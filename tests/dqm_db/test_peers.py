"""Which servers there are, what they say, and where to write."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from server_told import ONE, TWO, answer, primary, replica

from dqm_db.errors import DatabaseUnavailable, ReadOnlyDatabase
from dqm_db.peers import ask_servers, configured_servers, known_servers, only_where_to_write
from dqm_db.replication.addresses import Address, listen
from dqm_db.server_answers import ServerAnswer
from dqm_db.settings import DatabaseSettings


def where(
    monkeypatch: pytest.MonkeyPatch, answers: dict[Address, ServerAnswer], *given: Address
) -> str:
    monkeypatch.setattr("dqm_db.peers.ask_servers", lambda _servers: answers)
    settings = DatabaseSettings(db_url=f"zeo://{','.join(map(str, given))}")
    return only_where_to_write(settings).db_url


def test_of_several_servers_only_the_primary_of_the_highest_epoch_is_written_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for order in itertools.permutations([ONE, TWO]):
        assert where(monkeypatch, {ONE: primary(0), TWO: replica(0)}, *order) == f"zeo://{ONE}"
        assert where(monkeypatch, {ONE: primary(0), TWO: primary(1)}, *order) == f"zeo://{TWO}"
        assert where(monkeypatch, {ONE: answer(), TWO: answer()}, *order).count(":") == 3
        assert where(monkeypatch, {}, *order).count(":") == 3
        with pytest.raises(ReadOnlyDatabase, match="no primary answers"):
            where(monkeypatch, {ONE: primary(0), TWO: replica(1)}, *order)
        with pytest.raises(ReadOnlyDatabase, match="more than one"):
            where(monkeypatch, {ONE: primary(1, host="a"), TWO: primary(1, host="b")}, *order)
    same = {ONE: primary(1, host="a", started=1.0), TWO: primary(1, host="a", started=1.0)}
    assert where(monkeypatch, same, ONE, TWO) == f"zeo://{ONE},{TWO}"


def test_a_server_that_is_not_in_the_address_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert where(monkeypatch, {TWO: replica(1)}, ONE) == f"zeo://{ONE}"  # nobody else is asked
    monkeypatch.setenv("DQM_SERVERS", f"{ONE},{TWO}")
    with pytest.raises(DatabaseUnavailable, match="epoch 1"):
        where(monkeypatch, {ONE: primary(0), TWO: replica(1)}, ONE)
    assert where(monkeypatch, {ONE: primary(1), TWO: replica(1)}, ONE) == f"zeo://{ONE}"
    with pytest.raises(ReadOnlyDatabase, match=r"accepts no writes.*the primary is at 10\.8\.0\.2"):
        where(monkeypatch, {ONE: replica(1), TWO: primary(1)}, ONE)


def test_servers_are_those_that_are_named_or_else_of_the_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DQM_DB_URL", f"zeo://{ONE},{TWO},{ONE}")
    monkeypatch.delenv("DQM_SERVERS", raising=False)
    assert configured_servers() == ()
    assert known_servers() == (ONE, TWO)
    monkeypatch.setenv("DQM_SERVERS", f"{TWO}, {TWO}")
    assert configured_servers() == known_servers() == (TWO,)
    monkeypatch.delenv("DQM_SERVERS")
    monkeypatch.setenv("DQM_DB_URL", "file:///srv/Data.fs")
    assert known_servers() == ()


def test_who_does_not_answer_is_left_out() -> None:
    with contextlib.closing(listen(Address("127.0.0.1", 0), "test")) as silent:
        addresses = [Address("127.0.0.1", silent.getsockname()[1]), Address("127.0.0.1", 1)]
        assert ask_servers(addresses, 0.1) == {}
