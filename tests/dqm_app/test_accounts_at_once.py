"""Several processes that change the same user, or guess, at the same moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

import pytest
from accounts_databases import DESK, PASSWORD, accounts, cheap_hashes, engine, of, postgres, url
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from dqm_app.accounts import throttle, users
from dqm_app.accounts.accounts import Client, Refused
from dqm_app.accounts.errors import LastAdmin
from dqm_app.accounts.roles import Role
from dqm_app.accounts.throttle import Counter
from dqm_app.accounts.tokens import Scope

__all__ = ["accounts", "cheap_hashes", "engine", "postgres", "url"]  # fixtures

pytestmark = pytest.mark.usefixtures("cheap_hashes")
T = TypeVar("T")
OTHER = "other words of a test"
MEANWHILE_SECONDS = 0.7
"""Enough for what does not wait; what does is tested rightly however slow it is."""


@contextmanager
def meanwhile(engine: Engine, act: Callable[[], T]) -> Iterator[tuple[Session, list[T]]]:
    """A transaction that has not ended yet while another thread does *act*; and what that said."""
    said: list[T] = []
    with ThreadPoolExecutor(1) as pool:
        with Session(engine) as session, session.begin():
            yield session, said
            other: Future[T] = pool.submit(act)
            wait([other], timeout=MEANWHILE_SECONDS)
        said.append(other.result())


@pytest.mark.parametrize("change", ["role", "disabled"])
def test_two_admins_who_are_made_less_at_once(accounts, engine, change):
    with Session(engine) as session, session.begin():
        users.set_role(session, "expert", Role.ADMIN)

    def less(session: Session, name: str) -> None:
        if change == "role":
            users.set_role(session, name, Role.VIEWER)
        else:
            users.disable(session, name)

    def other() -> str:
        with Session(engine) as session:
            try:
                less(session, "expert")
            except LastAdmin as error:
                return str(error)
            session.commit()
            return ""

    with meanwhile(engine, other) as (session, said):
        less(session, "admin")
    assert "the only admin" in said[0]
    assert of(engine, "expert").role is Role.ADMIN and not of(engine, "expert").disabled


def test_many_changes_of_users_wait_for_each_other_in_one_order(accounts, engine):
    """None ends in an error of the database, which sees when two wait for each other."""
    names = [role.word for role in Role]

    def change(number: int) -> str:
        name, role = names[number % 3], (Role.ADMIN, Role.VIEWER)[number // 3 % 2]
        try:
            with Session(engine) as session, session.begin():
                if number % 7 == 0:
                    users.set_password(session, name, OTHER)
                else:
                    users.set_role(session, name, role)
        except LastAdmin:
            return "the last admin"
        return ""

    with ThreadPoolExecutor(12) as pool:
        assert set(pool.map(change, range(400))) <= {"", "the last admin"}
    with Session(engine) as session:
        assert [one for one in users.everybody(session) if one.role is Role.ADMIN]


@pytest.mark.parametrize("change", ["password", "disabled"])
def test_a_login_while_its_user_is_shut_out(accounts, engine, change):
    with meanwhile(engine, lambda: accounts.login("viewer", PASSWORD, DESK)) as (session, said):
        if change == "password":
            users.set_password(session, "viewer", OTHER)
        else:
            users.disable(session, "viewer")
    assert said == [Refused()]
    with Session(engine) as session, session.begin():
        users.enable(session, "viewer")
    assert accounts.sessions_of(of(engine, "viewer")) == []


def test_nothing_is_made_or_changed_with_a_password_that_is_changed(accounts, engine):
    user = of(engine, "viewer")

    def token() -> object:
        return accounts.create_token(user, PASSWORD, "t", [Scope.READ], 1, DESK)

    def password() -> object:
        return accounts.change_password(user, PASSWORD, "third words of a test", DESK)

    for act, new in ((token, OTHER), (password, OTHER + "!")):
        with Session(engine) as session, session.begin():
            users.set_password(session, "viewer", PASSWORD)
        with meanwhile(engine, act) as (session, said):
            users.set_password(session, "viewer", new)
        assert said == [Refused()]
        assert accounts.tokens_of(user) == []
        assert not isinstance(accounts.login("viewer", new, DESK), Refused)


def test_first_guesses_at_the_same_moment_are_counted(accounts, engine):
    """Nobody has guessed before, so there is nothing yet that could be locked."""
    counters = (Counter.of_name("nobody"), Counter.of_address("192.0.2.1"))

    def guess() -> float:
        with Session(engine) as session, session.begin():
            return throttle.admit(session, counters).wait

    with meanwhile(engine, guess) as (session, said):
        for _ in range(counters[0].limit.free):
            assert throttle.admit(session, counters).wait == 0
    assert said[0] > 0


def test_processes_that_guess_together(accounts, engine):
    """As many as one after the other, and none of them ends in an error."""
    clients = [Client(f"192.0.2.{number % 3}") for number in range(48)]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda one: accounts.login("new name", "wrong", one), clients))
    assert sum(answer.wait == 0 for answer in answers) <= 5 + 5  # some seconds may have passed


def test_a_refused_guess_leaves_no_counter(accounts, engine):
    """Or an address that has to wait could fill the database with names."""
    for number in range(60):
        accounts.login(f"name{number}", "wrong", DESK)
    with Session(engine) as session:
        kept = session.query(throttle.AttemptRow).count()
    assert 30 <= kept <= 36
