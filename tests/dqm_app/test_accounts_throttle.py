"""What makes guessing slow, and what is remembered of it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from accounts_databases import (
    DESK,
    PASSWORD,
    accounts,
    cheap_hashes,
    engine,
    logged_in,
    postgres,
    url,
)
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from dqm_app.accounts import audit, throttle
from dqm_app.accounts.accounts import Accounts, Client, Refused
from dqm_app.accounts.audit import Event
from dqm_app.accounts.sessions import Lifetime
from dqm_app.accounts.settings import AccountSettings
from dqm_app.accounts.tables import Table
from dqm_app.accounts.throttle import Counter, Limit
from dqm_db.settings import load

__all__ = ["accounts", "cheap_hashes", "engine", "postgres", "url"]  # fixtures

pytestmark = pytest.mark.usefixtures("cheap_hashes")


# ---- the audit log -----------------------------------------------------------------------------


@given(name=st.text(max_size=100), detail=st.text(max_size=700))
def test_an_entry_is_one_line_whatever_was_typed(tmp_path_factory, name, detail):
    engine = create_engine("sqlite://")
    Table.metadata.create_all(engine)
    with Session(engine) as session:
        audit.note(session, Event.LOGIN_FAILED, name, "192.0.2.7", detail)
        [entry] = audit.read(session)
    assert entry.name.isprintable() and entry.detail.isprintable()
    assert len(entry.name) <= 64 and len(entry.detail) <= 500


def test_failed_logins_are_noted_under_the_name_of_the_user_and_of_nobody_else(accounts):
    accounts.login("ev\r\nil\0", PASSWORD, DESK)
    accounts.login("ＶＩＥＷＥＲ ", "wrong", DESK)
    accounts.login("a password in the wrong field", "viewer", DESK)
    assert [(entry.event, entry.name, entry.detail) for entry in accounts.entries()] == [
        ("login failed", "", "no such user"),
        ("login failed", "viewer", ""),
        ("login failed", "", "no such user"),
    ]
    assert [entry.name for entry in accounts.entries(name="viewer")] == ["viewer"]


def test_the_database_keeps_nothing_of_what_was_typed(accounts, engine):
    typed = "a password in the wrong field"
    accounts.login(typed, "another secret", DESK)
    with engine.connect() as connection:
        stored = [
            repr(tuple(row))
            for table in Table.metadata.sorted_tables
            for row in connection.execute(table.select())
        ]
    assert stored and not [row for row in stored if typed in row or "another secret" in row]


def test_a_limit_that_is_reached_is_in_the_log_once(accounts):
    """However long the guessing goes on after it."""
    for _ in range(4):
        accounts.login("viewer", "wrong", DESK)
    logged_in(accounts, "viewer")  # who mistyped some times has reached nothing
    for number in range(60):
        accounts.login("viewer", "wrong", DESK)
        accounts.login(f"name{number}", "wrong", DESK)
    accounts.login("expert", "wrong", Client("192.0.2.8", "Firefox", "its device"))
    limits = [one for one in accounts.entries() if one.event == Event.GUESSES_LIMITED]
    assert [(one.name, one.address, one.detail) for one in limits] == [
        ("", DESK.address, "30 failures of the address"),
        ("viewer", DESK.address, "5 failures of the name"),
    ]


def test_what_is_done_over_and_over_is_noted_once(accounts, monkeypatch):
    """As a program that fetches a file in a thousand parts."""
    user = logged_in(accounts, "expert").user
    other = Client("192.0.2.8", "Firefox")
    now = time.time()
    for hour in range(2):
        monkeypatch.setattr(audit.time, "time", lambda hour=hour: now + hour * 3601)
        for detail, client in (("run 1", DESK), ("run 2", DESK), ("run 1", other)) * 20:
            accounts.note_once(Event.DOWNLOAD, user, client, detail)
    entries = [one for one in accounts.entries() if one.event == Event.DOWNLOAD]
    assert len(entries) == 6 and {one.actor for one in entries} == {"expert"}
    assert len({(one.address, one.detail) for one in entries}) == 3


def test_old_entries_are_forgotten(accounts, engine, monkeypatch):
    accounts.login("viewer", "wrong", DESK)
    now = time.time()
    monkeypatch.setattr(audit.time, "time", lambda: now + 401 * 86_400)
    logged_in(accounts, "viewer")
    assert [entry.event for entry in accounts.entries()] == ["login"]


def test_a_browser_calls_itself_what_it_likes(accounts):
    welcome = logged_in(accounts, "viewer", Client("192.0.2.7", "\0\n" + "x" * 9000))
    [session] = accounts.sessions_of(welcome.user)
    assert session.browser.isprintable() and len(session.browser) <= 500


# ---- the throttle ------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 2000), max_size=60), st.integers(1, 10), st.floats(1, 900))
def test_so_many_attempts_and_no_more_in_a_time(pauses, free, longest):
    """Whatever the rhythm: an admitted attempt came after the wait that those before ask for."""
    limit = Limit(free, longest)
    counter = Counter("name:x", limit)
    engine = create_engine("sqlite://")
    Table.metadata.create_all(engine)
    now, failures, last = 1e9, 0, 0.0
    with Session(engine) as session, pytest.MonkeyPatch.context() as patch:
        patch.setattr(throttle.time, "time", lambda: now)
        for pause in pauses:
            now += pause
            wait = throttle.admit(session, [counter]).wait
            due = last + limit.wait(failures)
            if wait > 0:
                assert failures >= free and now < due and wait == pytest.approx(due - now)
            else:
                assert failures < free or now >= due - 1e-6
                failures, last = failures + 1, now


def test_waits_grow_to_a_limit():
    waits = [Limit(3, 60.0).wait(failures) for failures in range(12)]
    assert waits == [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_day_later_all_is_forgotten(accounts, monkeypatch):
    for _ in range(5):
        assert accounts.login("viewer", "wrong", DESK) == Refused()
    assert accounts.login("viewer", PASSWORD, DESK).wait > 0
    now = time.time()
    monkeypatch.setattr(throttle.time, "time", lambda: now + throttle.FORGET_SECONDS + 1)
    logged_in(accounts, "viewer")


def test_who_guesses_does_not_lock_out_a_known_browser(accounts):
    for number in range(50):
        accounts.login("viewer", "wrong", Client(f"192.0.2.{number}"))
        accounts.login("viewer", "wrong", DESK)
    assert accounts.login("viewer", PASSWORD, DESK).wait > 0
    logged_in(accounts, "viewer", Client(DESK.address, "Firefox", "its device"))
    # such a browser may not guess without end either
    known = Client("192.0.2.99", "Firefox", "stolen device")
    answers = [accounts.login("viewer", "wrong", known) for _ in range(30)]
    assert sum(answer.wait == 0 for answer in answers) <= 11


def test_an_address_cannot_try_one_password_on_many_names(accounts):
    answers = [accounts.login(f"name{number}", "Winter2026!!", DESK) for number in range(100)]
    assert sum(answer.wait == 0 for answer in answers) <= 33
    logged_in(accounts, "viewer", Client("198.51.100.1"))  # others are not held up


def test_nobody_begins_again_by_logging_in_himself(accounts):
    """Who has an account guesses another one's between his own logins."""
    looked_at = 0
    for number in range(100):
        looked_at += accounts.login(f"name{number}", "wrong", DESK).wait == 0
        accounts.login("viewer", PASSWORD, DESK)
    assert looked_at <= 40


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("192.0.2.1", "192.0.2.2", False), ("2001:db8::1", "2001:db8::ffff", True),
     ("2001:db8::1", "2001:db8:0:1::1", False), ("::ffff:192.0.2.1", "192.0.2.1", True),
     ("fe80::1%eth0", "fe80::2%eth1", True), ("", "nonsense", False)],
)  # fmt: skip
def test_what_counts_as_one_address(one, other, same):
    assert (Counter.of_address(one) == Counter.of_address(other)) is same


@given(st.text(max_size=500), st.text(max_size=500))
def test_counters_fit_into_their_column(name, device):
    for counter in (Counter.of_name(name), Counter.of_browser(name, device),
                    Counter.of_address(device)):  # fmt: skip
        assert len(counter.key) <= 200


def test_attempts_at_the_same_moment_are_as_many_as_one_after_the_other(accounts):
    clients = [Client(f"192.0.2.{number}") for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda one: accounts.login("viewer", "wrong", one), clients))
    assert sum(answer.wait == 0 for answer in answers) <= 5 + 5  # some seconds may have passed


def test_the_names_of_nobody_wait_as_those_of_users(accounts):
    for name in ("viewer", "nobody"):
        for _ in range(5):
            assert accounts.login(name, "wrong", Client(f"192.0.2.{name}")) == Refused()
        assert accounts.login(name, "wrong", Client(f"192.0.2.{name}")).wait > 0


def test_a_lifetime_of_settings():
    settings = load(AccountSettings, session_hours=2, session_idle_hours=1)
    engine = create_engine("sqlite://")
    assert Accounts(engine, settings).lifetime == Lifetime(7200, 3600)
