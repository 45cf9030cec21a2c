"""Copies of the accounts: whole, private, and never in the way of a good one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from accounts_databases import PASSWORD, cheap_hashes
from click.testing import CliRunner, Result
from sqlalchemy.orm import Session

from dqm_app.accounts import users
from dqm_app.accounts.accounts import Accounts, Client, Welcome
from dqm_app.accounts.backing_up import copy_accounts
from dqm_app.accounts.commands import user
from dqm_app.accounts.errors import AccountsNotCopied
from dqm_app.accounts.opening import open_accounts, upgrade
from dqm_app.accounts.roles import Role
from dqm_app.accounts.settings import AccountSettings
from dqm_db.errors import ConfigurationError
from dqm_db.settings import load

__all__ = ["cheap_hashes"]  # a fixture

pytestmark = pytest.mark.usefixtures("cheap_hashes")


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Of accounts with one user."""
    url = f"sqlite:///{tmp_path}/state/accounts.sqlite"
    add(url, "anna")
    return url


def add(url: str, name: str) -> None:
    engine = open_accounts(url)
    upgrade(engine)
    with Session(engine) as session, session.begin():
        users.add(session, name, PASSWORD, Role.ADMIN)
    engine.dispose()


def names(file: Path) -> set[str]:
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM users")}


def test_a_copy_while_somebody_writes_lets_the_same_users_in(url, tmp_path):
    copy = tmp_path / "copies" / "accounts.sqlite"
    copy.parent.mkdir()
    engine = open_accounts(url)
    with Session(engine) as session, session.begin():
        users.add(session, "not.yet", PASSWORD, Role.VIEWER)
        session.flush()
        copy_accounts(url, copy)
    engine.dispose()
    assert [path.name for path in copy.parent.iterdir()] == [copy.name], "it needs no other file"
    assert copy.stat().st_mode & 0o077 == 0
    assert names(copy) == {"anna"}
    restored = Accounts.open(load(AccountSettings, accounts_url=f"sqlite:///{copy}"))
    assert isinstance(restored.login("anna", PASSWORD, Client("192.0.2.7")), Welcome)
    restored.close()


def test_earlier_copies_are_kept(url, tmp_path):
    copy = tmp_path / "copy"
    for name in ("bruno", "carla", "dora"):
        add(url, name)
        copy_accounts(url, copy, keep=3)
    copy_accounts(url, copy, keep=3)
    found = sorted(path.name for path in tmp_path.glob("copy*"))
    assert found == ["copy", "copy.1", "copy.2"]
    assert names(copy) == names(tmp_path / "copy.1") == {"anna", "bruno", "carla", "dora"}
    assert names(tmp_path / "copy.2") == {"anna", "bruno", "carla"}
    copy_accounts(url, copy)
    assert names(tmp_path / "copy.2") == {"anna", "bruno", "carla"}, "the others are left alone"


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_what_are_no_accounts_replaces_no_copy(url, tmp_path, content):
    copy = tmp_path / "copy"
    copy_accounts(url, copy)
    bad = tmp_path / "bad.sqlite"
    bad.write_bytes(content)
    with pytest.raises(AccountsNotCopied, match=r"bad\.sqlite"):
        copy_accounts(f"sqlite:///{bad}", copy, keep=2)
    assert names(copy) == {"anna"}
    assert sorted(path.name for path in tmp_path.glob("*copy*")) == ["copy"]


def test_where_there_are_none_none_are_made(tmp_path):
    with pytest.raises(AccountsNotCopied, match="there are no accounts"):
        copy_accounts(f"sqlite:///{tmp_path}/accounts.sqlite", tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


def call(monkeypatch: pytest.MonkeyPatch, url: str, file: Path) -> Result:
    monkeypatch.setenv("DQM_ACCOUNTS_URL", url)
    return CliRunner().invoke(user, ["backup", str(file)])


def test_the_command(url, tmp_path, monkeypatch):
    result = call(monkeypatch, url, tmp_path / "copy")
    assert result.exit_code == 0 and str(tmp_path / "copy") in result.output
    assert names(tmp_path / "copy") == {"anna"}
    result = call(monkeypatch, url, tmp_path / "nowhere" / "copy")
    assert isinstance(result.exception, AccountsNotCopied)
    for other in ("no address", "sqlite://", "postgresql+psycopg://u:secret@127.0.0.1:1/db"):
        result = call(monkeypatch, other, tmp_path / "copy")
        assert isinstance(result.exception, ConfigurationError)
    assert "pg_dump" in str(result.exception) and "secret" not in str(result.exception)
