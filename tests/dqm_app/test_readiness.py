"""When a dashboard process is ready, and how far it is behind."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ZODB.TimeStamp import TimeStamp

from dqm_app.database_health import Health, State
from dqm_app.freshness import Level, ReplicaState
from dqm_app.login.watch import AccountsState
from dqm_app.readiness import lag_seconds, readiness
from dqm_app.settings import DashboardSettings
from dqm_db.server_answers import ServerAnswer
from dqm_db.status.model import ServerStatus, SystemStatus

NOW = 1_800_000_000.0
OLD, NEW = TimeStamp(2027, 1, 15, 7, 59, 0).raw(), TimeStamp(2027, 1, 15, 8, 0, 0).raw()
ASKS = DashboardSettings(primary_zeo="a:1", lag_warn=30, lag_alert=50)
ASKS_NOT = DashboardSettings(primary_zeo=None, lag_warn=30, lag_alert=50)


def service(
    state: State = State.OK,
    replica: ReplicaState | None = None,
    settings: DashboardSettings = ASKS,
    seen: bytes | None = NEW,
    primary: bytes | None = None,
) -> Any:
    """What readiness looks at of a service."""
    servers = ()
    if primary is not None:
        servers = (ServerStatus("a:1", ServerAnswer(primary), role="primary"),)
    return SimpleNamespace(
        settings=settings,
        health=Health(state, NOW - 5, "" if state is State.OK else "It is down."),
        freshness=SimpleNamespace(replica=replica),
        last_transaction=seen,
        system=SimpleNamespace(status=SystemStatus(NOW, servers) if servers else None),
    )


@pytest.mark.parametrize(
    ("state", "ready"),
    [
        (State.OK, True),
        (State.EMPTY, True),
        (State.WAITING, True),
        (State.STARTING, False),
        (State.DOWN, False),
        (State.FAULT, False),
    ],
)
def test_it_must_be_possible_to_read(state, ready):
    answer = readiness(service(state), NOW)
    assert (answer["ready"], answer["database"]) == (ready, str(state))
    assert answer["reasons"] == ([] if ready else ["It is down."])


@pytest.mark.parametrize(("behind", "ready"), [(None, True), (49.0, True), (51.0, False)])
def test_the_database_must_not_be_far_behind(behind, ready):
    since = None if behind is None else NOW - behind
    answer = readiness(service(replica=ReplicaState(Level.OK, since)), NOW)
    assert (answer["ready"], answer["lag_seconds"]) == (ready, behind or 0.0)
    assert answer["lag_alert_seconds"] == 50
    assert bool(answer["reasons"]) is not ready
    assert all(
        "51 s behind" in reason and "DQM_LAG_ALERT" in reason for reason in answer["reasons"]
    )


def test_a_primary_that_is_silent_says_nothing_of_the_lag():
    silent = service(replica=ReplicaState(Level.LATE, None, NOW - 900))
    assert lag_seconds(silent, NOW) is None
    assert readiness(silent, NOW)["ready"], "what is there can be shown"


@pytest.mark.parametrize(
    ("seen", "primary", "lag"),
    [
        (NEW, NEW, 0.0),
        (NEW, OLD, 0.0),
        (OLD, NEW, 60.0),
        (None, NEW, None),
        (NEW, None, None),
    ],
)
def test_without_a_named_primary_the_one_that_was_found_counts(seen, primary, lag):
    found = service(settings=ASKS_NOT, seen=seen, primary=primary)
    assert lag_seconds(found, NOW) == (None if lag is None else pytest.approx(lag, abs=1e-6))
    assert readiness(found, NOW)["ready"] is (lag != 60.0)


def test_accounts_that_are_down_take_no_dashboard_away():
    """All dashboards share them: a proxy would have nobody left who says why."""
    answer = readiness(service(), NOW, AccountsState.DOWN)
    assert answer["ready"] and answer["accounts"] == "down"
    assert len(answer["reasons"]) == 1 and "accounts" in answer["reasons"][0]
    answer = readiness(service(State.DOWN), NOW, AccountsState.DOWN)
    assert not answer["ready"] and len(answer["reasons"]) == 2
    assert readiness(service(), NOW, AccountsState.OK)["reasons"] == []
