"""How far the database is behind its primary, and when the pages are told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from fake_database import until
from hypothesis import given
from hypothesis import strategies as st
from persistent.TimeStamp import TimeStamp

from dqm_app import freshness
from dqm_app.freshness import Freshness, Level, ReplicaLag, ReplicaState, ReplicaWatch
from dqm_app.pulls import PullState
from dqm_app.settings import DashboardSettings
from dqm_db.errors import DatabaseUnavailable
from dqm_db.replication.addresses import Address
from dqm_db.server_answers import NO_TRANSACTION

NOW = 1_800_000_000.0
WITH = DashboardSettings(primary_zeo="127.0.0.1:8100", lag_warn=30, lag_alert=300)
WITHOUT = DashboardSettings(pull_stale=3600)


def tid(moment: float) -> bytes:
    """The id of a transaction made at *moment*."""
    date = time.gmtime(moment)
    return TimeStamp(*date[:5], date[5] + moment % 1).raw()


def lag(here: float = NOW, primary: float | None = None) -> ReplicaLag:
    """A lag that is known at `NOW`: last transactions here and at the primary."""
    made = ReplicaLag(WITH)
    made.seen_here(tid(here))
    if primary is not None:
        made.primary_has(tid(primary), NOW)
    return made


def test_nothing_is_known_before_both_have_answered():
    assert ReplicaLag(WITH).state(NOW, pulled=True) is None
    assert lag().state(NOW, pulled=True) is None
    unknown = ReplicaLag(WITH)
    unknown.primary_has(tid(NOW), NOW)
    assert unknown.state(NOW, pulled=True) is None


def test_in_step():
    assert lag(primary=NOW).state(NOW + 1e6, pulled=True) == ReplicaState()
    assert lag(here=NOW + 1, primary=NOW).state(NOW + 1e6, pulled=True) == ReplicaState()


@pytest.mark.parametrize(
    ("age", "level"),
    [(4, Level.OK), (6, Level.OK), (29, Level.OK), (31, Level.LATE), (301, Level.STALE)],
)
def test_what_is_missing_for_long_turns_amber_then_red(age, level):
    behind = lag(primary=NOW)
    behind.primary_has(tid(NOW + 100), NOW + 100)
    state = behind.state(NOW + 100 + age, pulled=False)
    assert state == ReplicaState(level, NOW + 100 if age > 5 else None)


def test_a_replica_that_is_always_a_little_behind_is_not_late():
    made = lag(primary=NOW)
    for moment in range(1, 1000):
        made.primary_has(tid(NOW + moment), NOW + moment)
        made.seen_here(tid(NOW + moment - 2))
        assert made.state(NOW + moment, pulled=True) == ReplicaState()


def test_the_oldest_that_is_missing_counts(monkeypatch):
    monkeypatch.setattr(freshness, "REMEMBERED", 8)
    made = lag(primary=NOW)
    for moment in range(10, 400, 10):
        made.primary_has(tid(NOW + moment), NOW + moment)
    assert made.state(NOW + 400, pulled=True) == ReplicaState(Level.STALE, NOW + 10)
    made.seen_here(tid(NOW + 55))
    assert made.state(NOW + 400, pulled=True) == ReplicaState(Level.STALE, NOW + 60)
    made.seen_here(tid(NOW + 390))
    assert made.state(NOW + 400, pulled=True) == ReplicaState()


def test_what_is_missing_when_the_dashboard_starts_is_as_old_as_it_says():
    made = lag(here=NOW - 1000, primary=NOW - 400)
    assert made.state(NOW, pulled=True) == ReplicaState(Level.STALE, NOW - 400)


def test_a_primary_from_the_future_is_from_now():
    made = lag(here=NOW - 1000, primary=NOW + 5000)
    assert made.state(NOW + 10, pulled=True) == ReplicaState(Level.OK, NOW)


def test_a_silent_primary_is_amber_and_never_red():
    made = lag(primary=NOW)
    assert made.primary_is_silent(NOW + 1)
    assert not made.primary_is_silent(NOW + 4)
    for later, expected in (
        (5, ReplicaState()),
        (20, ReplicaState(Level.OK, silent_since=NOW + 1)),
        (40, ReplicaState(Level.LATE, silent_since=NOW + 1)),
        (9999, ReplicaState(Level.LATE, silent_since=NOW + 1)),
    ):
        assert made.state(NOW + later, pulled=True) == expected
    made.primary_has(tid(NOW), NOW + 9999)
    assert made.state(NOW + 9999, pulled=True) == ReplicaState()
    assert made.primary_is_silent(NOW + 10_000)


def test_what_is_known_to_be_missing_stays_so_when_the_primary_falls_silent():
    made = lag(primary=NOW)
    made.primary_has(tid(NOW + 10), NOW + 10)
    made.primary_is_silent(NOW + 20)
    state = made.state(NOW + 400, pulled=True)
    assert state == ReplicaState(Level.STALE, NOW + 10, NOW + 20)


def test_a_primary_that_was_never_heard_of():
    made = lag()
    made.primary_is_silent(NOW)
    state = made.state(NOW + 31, pulled=True)
    assert state == ReplicaState(Level.LATE, silent_since=NOW)


def test_a_primary_that_was_set_back_misses_nothing():
    made = lag(primary=NOW)
    made.primary_has(tid(NOW + 50), NOW + 50)
    made.primary_has(tid(NOW - 50), NOW + 60)
    assert made.state(NOW + 400, pulled=True) == ReplicaState()


def test_empty_databases_are_in_step():
    made = ReplicaLag(WITH)
    made.seen_here(NO_TRANSACTION)
    made.primary_has(NO_TRANSACTION, NOW)
    assert made.state(NOW + 999, pulled=False) == ReplicaState()
    alone = ReplicaLag(WITHOUT)
    alone.seen_here(NO_TRANSACTION)
    assert alone.state(NOW, pulled=False) is None


@pytest.mark.parametrize(
    ("age", "pulled", "level"),
    [
        (-60, True, Level.OK),
        (3599, True, Level.OK),
        (3601, True, Level.LATE),
        (4 * 3600 + 1, True, Level.STALE),
        (4 * 3600 + 1, False, Level.OK),
    ],
)
def test_without_a_primary_to_ask_the_last_change_counts(age, pulled, level):
    made = ReplicaLag(WITHOUT)
    made.seen_here(tid(NOW))
    state = made.state(NOW + age, pulled=pulled)
    assert state is not None
    assert state.level is level
    assert state.changed_at == pytest.approx(NOW, abs=1e-3)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("here"), st.integers(0, 50)),
            st.tuples(st.just("primary"), st.integers(0, 50)),
            st.tuples(st.just("silent"), st.just(0)),
        )
    )
)
def test_whatever_happens_it_is_in_step_once_it_has_what_the_primary_has(events):
    made = lag(primary=NOW)
    now = NOW
    for what, number in events:
        now += 7
        if what == "here":
            made.seen_here(tid(NOW + number))
        elif what == "primary":
            made.primary_has(tid(NOW + number), now)
        else:
            made.primary_is_silent(now)
        state = made.state(now, pulled=True)
        assert state is not None
        assert all(
            since is None or since <= now for since in (state.behind_since, state.silent_since)
        )
    made.primary_has(tid(NOW + 51), now)
    made.seen_here(tid(NOW + 51))
    assert made.state(now + 1e6, pulled=True) == ReplicaState()


# ---- the watch ----------------------------------------------------------------------------------


def watching(
    monkeypatch: pytest.MonkeyPatch,
    settings: DashboardSettings,
    answer: Callable[[], bytes],
    scenario: Callable[[ReplicaWatch, list], Awaitable[None]],
) -> None:
    """Run *scenario* with a watch whose primary gives *answer*, and what it told the pages."""
    monkeypatch.setattr(freshness, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(freshness, "MOMENT", 0.0)

    async def ask(host: str, port: int, _patience: float, _tls: object) -> bytes:
        assert (host, port) == ("127.0.0.1", 8100)
        return answer()

    monkeypatch.setattr(freshness, "ask_last_transaction", ask)

    async def run() -> None:
        told: list[ReplicaState | None] = []
        watch = ReplicaWatch(settings, lambda: True, lambda: told.append(watch.state))
        watch.start()
        try:
            await scenario(watch, told)
        finally:
            watch.close()

    asyncio.run(run())


def test_pages_are_told_of_changes_only(monkeypatch):
    asked = []
    answers = [tid(NOW)]

    def answer() -> bytes:
        asked.append(1)
        if isinstance(answers[-1], Exception):
            raise answers[-1]
        return answers[-1]

    async def scenario(watch: ReplicaWatch, told: list) -> None:
        await until(lambda: len(asked) > 2)
        assert told == [], "what is read is not known"
        watch.seen_here(tid(NOW))
        assert told == [ReplicaState()]
        many = len(asked) + 5
        await until(lambda: len(asked) > many)
        watch.seen_here(tid(NOW))
        assert len(told) == 1
        answers.append(tid(NOW + 1))
        await until(lambda: len(told) == 2)
        assert told[1].behind_since is not None
        watch.seen_here(tid(NOW + 1))
        assert told[2] == ReplicaState(), "at once, not with the next answer"
        answers.append(DatabaseUnavailable("it is down"))
        await until(lambda: len(told) == 4)
        assert told[3].silent_since is not None
        answers.append(tid(NOW + 1))
        await until(lambda: len(told) == 5)
        assert told[4] == ReplicaState()

    watching(monkeypatch, WITH, answer, scenario)


def test_a_primary_that_is_down_is_logged_once(monkeypatch, caplog):
    asked = []

    def answer() -> bytes:
        asked.append(1)
        raise DatabaseUnavailable("127.0.0.1:8100 does not answer")

    async def scenario(_watch: ReplicaWatch, _told: list) -> None:
        await until(lambda: len(asked) > 5)

    watching(monkeypatch, WITH, answer, scenario)
    texts = [record.getMessage() for record in caplog.records]
    assert texts == ["the primary does not say how far it is: 127.0.0.1:8100 does not answer"]


def test_it_goes_on_after_a_mistake_of_ours(monkeypatch, caplog):
    asked = []

    def answer() -> bytes:
        asked.append(1)
        if len(asked) == 1:
            raise ZeroDivisionError("bug")
        return tid(NOW)

    async def scenario(watch: ReplicaWatch, told: list) -> None:
        watch.seen_here(tid(NOW))
        await until(lambda: told == [ReplicaState()])

    watching(monkeypatch, WITH, answer, scenario)
    assert "ZeroDivisionError" in caplog.text


def test_without_a_primary_nobody_is_asked_nor_told_of_every_transaction(monkeypatch):
    def answer() -> bytes:
        raise AssertionError("nobody should be asked")

    async def scenario(watch: ReplicaWatch, told: list) -> None:
        for age in (20, 10, 0):
            watch.seen_here(tid(time.time() - age))
            await asyncio.sleep(0.03)
        assert told == []
        assert watch.state is not None
        assert watch.state.changed_at == pytest.approx(time.time(), abs=10)
        watch.seen_here(tid(time.time() - 4000))
        assert [state.level for state in told] == [Level.LATE]

    watching(monkeypatch, WITHOUT, answer, scenario)


def test_what_pages_get():
    sign = Freshness(PullState(None, 2, 1), None).sign(7200, NOW)
    assert sign["replica"] is None
    assert (sign["now"], sign["pull"]["stale"], sign["pull"]["failures"]) == (NOW, 7200, 2)
    sign = Freshness(PullState(), ReplicaState(Level.LATE, NOW)).sign(7200, NOW)
    assert sign["replica"] == {
        "level": "late",
        "behind_since": NOW,
        "silent_since": None,
        "changed_at": None,
    }


def test_another_primary_that_was_found_is_asked_instead(monkeypatch):
    asked: list[tuple[str, int]] = []
    found: list[Address | None] = [None]

    async def ask(host: str, port: int, _patience: float, _tls: object) -> bytes:
        asked.append((host, port))
        return tid(NOW)

    monkeypatch.setattr(freshness, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(freshness, "ask_last_transaction", ask)

    async def run() -> None:
        watch = ReplicaWatch(WITH, lambda: True, lambda: None, lambda: found[0])
        watch.start()
        try:
            await until(lambda: asked == [("127.0.0.1", 8100)] * len(asked) != [])
            found[0] = Address("b", 8101)
            await until(lambda: asked[-1] == ("b", 8101))
        finally:
            watch.close()

    asyncio.run(run())


def test_without_a_named_primary_none_is_asked(monkeypatch):
    monkeypatch.setattr(freshness, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(freshness, "ask_last_transaction", None)

    async def run() -> None:
        looked = []
        watch = ReplicaWatch(WITHOUT, lambda: bool(looked.append(1)), lambda: None)
        watch.start()
        try:
            watch.seen_here(tid(NOW))
            await until(lambda: len(looked) > 3)
        finally:
            watch.close()

    asyncio.run(run())
