"""Whether accounts can be used, as `dqm status`, pages and monitors are told."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from accounts_databases import accounts, cheap_hashes, engine, of, postgres, url
from click.testing import CliRunner
from sqlalchemy.orm import Session

from dqm.status import status
from dqm_app import host_status, patience
from dqm_app.accounts import tokens
from dqm_app.accounts.accounts import Accounts
from dqm_app.accounts.errors import AccountsUnavailable
from dqm_app.accounts.facts import AccountsFacts, judge_accounts
from dqm_app.accounts.opening import open_accounts, upgrade
from dqm_app.accounts.settings import AccountSettings
from dqm_app.accounts.tables import TokenRow
from dqm_app.accounts.tokens import Scope
from dqm_app.dashboard_metrics import accounts_metrics
from dqm_app.login import watch
from dqm_app.login.gate import Gate
from dqm_app.login.watch import AccountsState, AccountsWatch
from dqm_db.settings import WatchSettings, load
from dqm_db.status.limits import DAY, Limits
from dqm_db.status.model import Level

__all__ = ["accounts", "cheap_hashes", "engine", "postgres", "url"]  # fixtures
LIMITS = Limits.of(load(WatchSettings))
DOWN = AccountsUnavailable("the database of accounts, postgresql://x, cannot be used (gone)")


class Unsure:
    """Accounts that answer as they are told."""

    def __init__(self) -> None:
        self.answer: AccountsFacts | AccountsUnavailable = AccountsFacts(True)
        self.free = threading.Event()
        self.free.set()
        self.asked = 0

    def facts(self) -> AccountsFacts:
        self.asked += 1
        self.free.wait(30)
        if isinstance(self.answer, AccountsUnavailable):
            raise self.answer
        return self.answer

    def close(self) -> None:
        self.free.set()


@pytest.fixture
def unsure() -> Unsure:
    return Unsure()


@pytest.fixture
def watching(unsure: Unsure) -> Iterator[AccountsWatch]:
    gate = Gate(unsure, None)  # type: ignore[arg-type]
    yield AccountsWatch(gate, LIMITS)
    gate.close()


def names(watching: AccountsWatch) -> dict[str, list[float]]:
    """The metrics and their values."""
    return {
        one.name: [sample.value for sample in one.samples] for one in accounts_metrics(watching)
    }


def test_the_token_of_a_monitor_is_told_before_it_ends(accounts, engine):
    with Session(engine) as session, session.begin():
        admin = of(engine, "admin")
        for days, scope, used in (
            (3, Scope.READ, 60), (5, Scope.METRICS, 2 * DAY), (6, Scope.METRICS, None),
            (10, Scope.METRICS, 60), (100, Scope.METRICS, 60),
        ):  # fmt: skip
            _, token = tokens.create(session, admin, f"for {days} days", [scope], days)
            session.flush()
            row = session.get_one(TokenRow, token.id)
            row.used = None if used is None else time.time() - used
    facts = accounts.facts()
    assert facts.has_users
    assert facts.monitor is not None and facts.monitor.label == "for 10 days", "the others rest"
    first, second = judge_accounts(facts, LIMITS)
    assert (first.level, first.key) == (Level.OK, "accounts")
    assert (second.level, second.key) == (Level.WARNING, "metrics-token")
    assert facts.monitor.id in second.text and "10 days" in second.text
    with Session(engine) as session, session.begin():
        session.delete(session.get_one(TokenRow, facts.monitor.id))
    assert [item.level for item in judge_accounts(accounts.facts(), LIMITS)] == [Level.OK] * 2


def test_accounts_without_a_monitor_or_anybody(engine, url):
    found = Accounts(engine, load(AccountSettings, accounts_url=url)).facts()
    assert found == AccountsFacts(has_users=False)
    (item,) = judge_accounts(found, LIMITS)
    assert item.level is Level.OK and "dqm user add" in item.text


def test_a_short_silence_is_a_warning(watching, unsure, monkeypatch):
    monkeypatch.setattr(watch, "GRACE_SECONDS", 0.2)

    async def levels() -> list[Level]:
        return [item.level for item in await watching.items()]

    async def scenario() -> None:
        assert watching.state is AccountsState.STARTING and names(watching) == {}
        assert await levels() == [Level.OK]
        assert watching.state is AccountsState.OK
        assert names(watching)["dqm_accounts_reachable"] == [1]
        unsure.answer = DOWN
        (item,) = await watching.items()
        assert item.level is Level.WARNING and str(DOWN) in item.text
        assert watching.state is AccountsState.DOWN
        assert names(watching)["dqm_accounts_reachable"] == [0]
        await asyncio.sleep(0.3)
        assert await levels() == [Level.CRITICAL]
        unsure.answer = AccountsFacts(True)
        assert await levels() == [Level.OK]
        unsure.answer = DOWN
        assert await levels() == [Level.WARNING], "another silence begins anew"

    asyncio.run(scenario())


def test_accounts_that_hang_are_asked_once(watching, unsure, monkeypatch):
    """Each question has a thread, and the login needs those."""
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 0.1)

    async def scenario() -> None:
        unsure.free.clear()
        for _ in range(3):
            (item,) = await watching.items()
            assert "does not answer within" in item.text
        assert unsure.asked == 1
        unsure.free.set()
        assert [item.level for item in await watching.items()] == [Level.OK]

    asyncio.run(scenario())


def test_where_nobody_logs_in_nothing_is_said():
    watching = AccountsWatch(Gate(None, None), LIMITS)
    assert asyncio.run(watching.items()) == []
    assert watching.state is AccountsState.NONE and names(watching) == {}


def test_dqm_status_says_it_on_hosts_that_have_accounts(monkeypatch, tmp_path):
    monkeypatch.setenv("DQM_SERVERS", "")
    monkeypatch.setenv("DQM_AUTH", "accounts")
    monkeypatch.setenv("DQM_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("DQM_ACCOUNTS_URL", raising=False)
    run = ["--db", f"file://{tmp_path}/none.fs"]

    def said() -> str:
        return CliRunner().invoke(status, run).output

    assert "Accounts" not in said() and not list(tmp_path.glob("*.sqlite")), "only looks"
    engine = open_accounts(f"sqlite:///{tmp_path}/accounts.sqlite")
    upgrade(engine)
    engine.dispose()
    assert "Accounts" in said() and "They can be reached" in said()
    monkeypatch.setenv(
        "DQM_ACCOUNTS_URL", f"sqlite+pysqlite:///{tmp_path}/accounts.sqlite?timeout=9"
    )
    assert "They can be reached" in said(), "however their file is written"
    monkeypatch.setenv("DQM_ACCOUNTS_URL", f"sqlite+pysqlite:///{tmp_path}/others.sqlite")
    assert "Accounts" not in said() and not (tmp_path / "others.sqlite").exists()
    monkeypatch.setenv("DQM_ACCOUNTS_URL", "postgresql+psycopg://u:secret@127.0.0.1:1/db")
    assert "Nobody can log in" in said() and "secret" not in said()
    monkeypatch.setenv("DQM_AUTH", "none")
    assert "Accounts" not in said()


def test_accounts_of_others_are_theirs(monkeypatch, tmp_path):
    """Nagios may ask for the rest."""
    monkeypatch.setattr(host_status, "os", SimpleNamespace(access=lambda *_: False, R_OK=4, X_OK=1))
    monkeypatch.setenv("DQM_AUTH", "accounts")
    monkeypatch.setenv("DQM_STATE_DIR", str(tmp_path))
    (tmp_path / "accounts.sqlite").touch(0o600)
    (tmp_path / "downloads").mkdir(0o700)
    assert host_status.dashboard_items(LIMITS) == []
