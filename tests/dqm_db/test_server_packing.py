"""Which servers are fit for a pack, by what they say of themselves."""

from __future__ import annotations

from typing import Any

import pytest
from ZODB.TimeStamp import TimeStamp

from dqm_db import server_packing
from dqm_db.errors import PackRefused
from dqm_db.replication.addresses import Address
from dqm_db.server_answers import FedReplica, ServerAnswer
from dqm_db.server_packing import look_at, refuse

PRIMARY, REPLICA, OTHER = (Address("127.0.0.1", port) for port in (8100, 8101, 8102))
BEFORE, UNTIL, AFTER, MARKED = (TimeStamp(2026, 5, 1, hour, 0, 0.0) for hour in (0, 1, 2, 3))


def answer(role: str | None, last: TimeStamp, **more: Any) -> ServerAnswer:
    return ServerAnswer(last.raw(), role=role, is_ours=role is not None, **more)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> dict[Address, ServerAnswer]:
    answers: dict[Address, ServerAnswer] = {}
    monkeypatch.setattr(server_packing, "ask_servers", lambda _addresses: dict(answers))
    monkeypatch.setattr(server_packing, "SYNC_SECONDS", 0.0)
    monkeypatch.setattr(server_packing, "_LOOK_SECONDS", 0.0)
    return answers


def test_the_primary_comes_last(said: dict[Address, ServerAnswer]) -> None:
    said[PRIMARY] = answer("primary", MARKED, replicas=(FedReplica("127.0.0.1:1"),))
    said[REPLICA] = answer("replica", MARKED)
    fit = look_at((PRIMARY, REPLICA), UNTIL.timeTime(), MARKED.raw())
    assert [address for address, _ in fit.servers] == [REPLICA, PRIMARY]
    assert (fit.faults, fit.remarks) == ((), ())
    refuse(fit)


def test_a_replica_that_lags_behind_the_time(said: dict[Address, ServerAnswer]) -> None:
    said[PRIMARY] = answer("primary", MARKED)
    said[REPLICA] = answer("replica", BEFORE, following="refused", reason="it has diverged")
    said[OTHER] = answer("replica", AFTER, following="connected")
    fit = look_at((PRIMARY, REPLICA, OTHER), UNTIL.timeTime(), MARKED.raw())
    assert fit.faults == (f"{REPLICA} lacks transactions (refused: it has diverged)",)
    assert fit.remarks == (f"{OTHER} lacks transactions; it can be packed all the same",)
    with pytest.raises(PackRefused, match=r"lacks transactions .*dqm resync.*--anyway"):
        refuse(fit)


def test_an_empty_replica_lags(said: dict[Address, ServerAnswer]) -> None:
    said[PRIMARY] = answer("primary", MARKED)
    said[REPLICA] = ServerAnswer(bytes(8), role="replica", is_ours=True)
    fit = look_at((PRIMARY, REPLICA), UNTIL.timeTime(), MARKED.raw())
    assert fit.faults == (f"{REPLICA} lacks transactions",)


def test_servers_that_are_missing(said: dict[Address, ServerAnswer]) -> None:
    followers = (FedReplica("127.0.0.1:1"), FedReplica("127.0.0.1:2"))
    said[PRIMARY] = answer("primary", MARKED, replicas=followers, fence_state="demoted")
    fit = look_at((PRIMARY, REPLICA), UNTIL.timeTime(), MARKED.raw())
    assert fit.faults == (f"{REPLICA} does not answer", "no primary is among the servers")
    assert fit.remarks[0].startswith("2 replicas follow, 0 of them are listed")


def test_stock_servers_say_no_role(said: dict[Address, ServerAnswer]) -> None:
    said[PRIMARY] = answer(None, MARKED)
    fit = look_at((PRIMARY,), UNTIL.timeTime(), MARKED.raw())
    assert (fit.faults, fit.remarks) == ((), ())


def test_a_replica_may_catch_up(
    said: dict[Address, ServerAnswer], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([BEFORE, BEFORE, MARKED])

    def ask(_addresses: object) -> dict[Address, ServerAnswer]:
        return {PRIMARY: answer("primary", MARKED), REPLICA: answer("replica", next(answers))}

    monkeypatch.setattr(server_packing, "ask_servers", ask)
    monkeypatch.setattr(server_packing, "SYNC_SECONDS", 60.0)
    assert look_at((PRIMARY, REPLICA), UNTIL.timeTime(), MARKED.raw()).faults == ()
    assert not said
