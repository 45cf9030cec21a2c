"""Who calls, as a process asks for each request and each open page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from types import SimpleNamespace

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
from sqlalchemy import event
from sqlalchemy.orm import Session

from dqm_app.accounts import sessions, users
from dqm_app.accounts.accounts import Accounts, Client, Refused, Welcome
from dqm_app.accounts.opening import open_accounts, upgrade
from dqm_app.accounts.roles import Role
from dqm_app.accounts.settings import AccountSettings
from dqm_app.login.cookies import Cookies
from dqm_app.login.gate import MOST_WAITING, Gate
from dqm_app.login.short_memory import ShortMemory
from dqm_db.settings import load

__all__ = ["accounts", "cheap_hashes", "engine", "postgres", "url"]  # fixtures

pytestmark = pytest.mark.usefixtures("cheap_hashes")


@pytest.fixture
def gate(accounts: Accounts) -> Iterator[Gate]:
    """Of a server with these accounts."""
    gate = Gate(accounts, Cookies(b"a key of the tests"))
    yield gate
    gate.close()


def test_an_open_page_is_a_page_in_use(gate, accounts, engine):
    """The monitor of a control room shows one for days, and nobody touches it."""
    secret = logged_in(accounts, "viewer").secret
    with Session(engine) as session, session.begin():
        row = session.get_one(sessions.SessionRow, sessions.digest(secret))
        row.seen -= accounts.lifetime.idle - 60
    assert asyncio.run(gate.browser(secret)) is not None  # as the websocket of a page asks
    with Session(engine) as session:
        row = session.get_one(sessions.SessionRow, sessions.digest(secret))
        assert time.time() - row.seen < 3600
        assert row.ends - row.began == pytest.approx(accounts.lifetime.most)  # nothing moves that


def test_a_login_that_ends_while_it_is_remembered(gate, accounts, engine):
    secret = logged_in(accounts, "viewer").secret
    with Session(engine) as session, session.begin():
        row = session.get_one(sessions.SessionRow, sessions.digest(secret))
        row.ends = time.time() + 0.5
    assert asyncio.run(gate.browser(secret)) is not None
    time.sleep(0.6)
    assert asyncio.run(gate.browser(secret)) is None


def test_who_has_to_wait_stands_in_nobodys_way(gate, accounts, engine):
    """The passwords of one address that guesses are not even queued."""
    for number in range(40):
        accounts.login(f"name{number}", "wrong", DESK)

    async def together() -> list[object]:
        flood = [("viewer", DESK)] * (3 * MOST_WAITING)
        attempts = [*flood, ("expert", Client("192.0.2.8"))]
        return await asyncio.gather(
            *(
                gate.run_hashing(accounts.login, name, PASSWORD, name=name, client=client)
                for name, client in attempts
            )
        )

    *refused, welcome = asyncio.run(together())
    assert all(isinstance(one, Refused) and one.wait > 0 for one in refused)
    assert isinstance(welcome, Welcome)


def test_nobody_is_asked_for_users_once_there_are_some(tmp_path):
    """Nor all the time before: the page to log in on is open to the world."""
    engine = open_accounts(f"sqlite:///{tmp_path}/accounts.sqlite")
    upgrade(engine)
    asked: list[str] = []
    event.listen(
        engine, "before_cursor_execute", lambda *call: asked.append(call[2]) if call else None
    )
    gate = Gate(Accounts(engine, load(AccountSettings)), Cookies(b"a key of the tests"))

    async def questions(times: int) -> tuple[set[bool], int]:
        asked.clear()
        answers = {await gate.has_users() for _ in range(times)}
        return answers, sum("users" in one for one in asked)

    assert asyncio.run(questions(50)) == ({False}, 1)
    with Session(engine) as session, session.begin():
        users.add(session, "anna", PASSWORD, Role.ADMIN)
    gate.forget()
    assert asyncio.run(questions(50)) == ({True}, 1)
    gate.forget()
    assert asyncio.run(questions(50)) == ({True}, 0)
    gate.close()


def test_the_page_to_log_in_on_is_shown_while_accounts_cannot_be_reached(gate, accounts, engine):
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE tokens")
        connection.exec_driver_sql("DROP TABLE sessions")
        connection.exec_driver_sql("DROP TABLE users")
    assert asyncio.run(gate.has_users())


def test_what_a_program_shows_is_no_login_even_of_who_has_one(gate, accounts):
    """The secret of a session, which its browser has, is remembered then."""
    secret = logged_in(accounts, "viewer").secret

    async def visitors(*shown: str) -> list[object]:
        assert await gate.browser(secret) is not None
        headers = [{"Authorization": f"Bearer {text}"} for text in shown]
        requests = [SimpleNamespace(request=SimpleNamespace(headers=one)) for one in headers]
        return [await gate.own_visitor(request) for request in requests]

    assert asyncio.run(visitors(secret, "", "dqm_")) == [None, None, None]


def test_owners_are_remembered_for_a_moment():
    known: ShortMemory[int] = ShortMemory(0.05)
    known.put("a", 1)
    known.put("b", 2)
    assert (known.get("a"), known.get("c")) == (1, None)
    known.forget("a")
    assert (known.get("a"), known.get("b")) == (None, 2)
    time.sleep(0.06)
    assert known.get("b") is None
    for number in range(3 * ShortMemory.MOST):
        known.put(str(number), number)
    assert len(known._known) <= ShortMemory.MOST
    known.forget()
    assert known.get(str(number)) is None
