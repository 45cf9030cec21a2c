"""Accounts in SQLite and in PostgreSQL, for tests: import the fixtures that a test asks for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from postgres_server import PostgresServer, postgres_server
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from dqm_app.accounts import passwords, users
from dqm_app.accounts.accounts import Accounts, Client, Welcome
from dqm_app.accounts.opening import open_accounts, upgrade
from dqm_app.accounts.roles import Role
from dqm_app.accounts.settings import AccountSettings
from dqm_app.accounts.users import User
from dqm_db.settings import load

PASSWORD = "four words of a test"
DESK = Client("192.0.2.7", "Firefox")


@pytest.fixture
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes of the same kind that take a millisecond."""
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    nobodys = hasher.hash("the password of nobody")
    monkeypatch.setattr(passwords, "_hasher", lambda: hasher)
    monkeypatch.setattr(passwords, "_nobodys", lambda: nobodys)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server for all tests of this process."""
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty database of accounts is."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state/accounts.sqlite"
    return request.getfixturevalue("postgres").database()


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """One with tables."""
    engine = open_accounts(url)
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def accounts(engine: Engine, url: str, cheap_hashes: None) -> Accounts:
    """Those with a viewer, an expert and an admin."""
    with Session(engine) as session, session.begin():
        for role in Role:
            users.add(session, role.word, PASSWORD, role)
    return Accounts(engine, load(AccountSettings, accounts_url=url))


def of(engine: Engine, name: str) -> User:
    with Session(engine) as session:
        row = users.stored(session, name)
        assert row is not None
        return User.of(row)


def logged_in(accounts: Accounts, name: str, client: Client = DESK) -> Welcome:
    answer = accounts.login(name, PASSWORD, client)
    assert isinstance(answer, Welcome)
    return answer
