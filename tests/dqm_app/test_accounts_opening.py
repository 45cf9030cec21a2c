"""The database of accounts: its address, its tables, migrations."""

from __future__ import annotations

import multiprocessing
import os
import stat
import sys
import threading

import pytest
from accounts_databases import (
    accounts,
    cheap_hashes,
    engine,
    of,
    postgres,
    url,
)
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from dqm_app.accounts.errors import (
    AccountsUnavailable,
    NewerAccounts,
)
from dqm_app.accounts.opening import open_accounts, upgrade
from dqm_app.accounts.roles import Role
from dqm_app.accounts.tables import Table
from dqm_db.errors import ConfigurationError

__all__ = ["accounts", "cheap_hashes", "engine", "postgres", "url"]  # fixtures

pytestmark = pytest.mark.usefixtures("cheap_hashes")


def test_migrations_make_the_tables_of_the_models(engine):
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Table.metadata) == []
        assert set(inspect(connection).get_table_names()) > set(Table.metadata.tables)


def _upgrade(url: str, start: threading.Barrier) -> None:
    engine = open_accounts(url)
    start.wait(30)
    upgrade(engine)
    engine.dispose()


def test_several_processes_upgrade_at_once(url):
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(4)
    processes = [context.Process(target=_upgrade, args=(url, start)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    engine = open_accounts(url)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM alembic_version")) == 1
    engine.dispose()


def test_upgrading_again_changes_nothing(accounts, engine):
    upgrade(engine)
    assert of(engine, "admin").role is Role.ADMIN


def test_the_log_of_the_first_release_forgets_what_was_typed(accounts, engine):
    entries = [
        ("login failed", "Viewer", ""), ("login", "viewer", "Firefox"),
        ("login failed", "hunter2-hunter2", ""), ("download", "gone", "run 1"),
        ("login failed", "\N{LATIN SMALL LETTER SHARP S}", "x"),
    ]  # fmt: skip
    with engine.begin() as connection:
        for at, (event, name, detail) in enumerate(entries, 1):
            entry = {"at": at, "event": event, "name": name, "detail": detail, "address": ""}
            connection.execute(Table.metadata.tables["audit"].insert().values(entry))
        connection.execute(text("ALTER TABLE audit DROP COLUMN actor"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    upgrade(engine)
    assert [(one.event, one.name, one.detail) for one in reversed(accounts.entries())] == [
        ("login failed", "viewer", ""), ("login", "viewer", "Firefox"),
        ("login failed", "", "no such user"), ("download", "gone", "run 1"),
        ("login failed", "", "no such user"),
    ]  # fmt: skip
    assert {one.actor for one in accounts.entries()} == {""}


def test_tables_of_a_newer_release_are_refused(accounts, engine):
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(NewerAccounts, match="9999"):
        upgrade(engine)
    assert of(engine, "admin").name == "admin"


def test_the_file_is_for_its_owner_alone(tmp_path):
    path = tmp_path / "new" / "accounts.sqlite"
    engine = open_accounts(f"sqlite:///{path}")
    upgrade(engine)
    engine.dispose()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone gives files away")
def test_what_root_makes_is_the_dashboards(tmp_path):
    """A user who was added by root before the dashboard has run for the first time."""
    nobody = 65_534
    os.chown(tmp_path, nobody, nobody)
    engine = open_accounts(f"sqlite:///{tmp_path}/accounts.sqlite")
    try:
        upgrade(engine)
        with engine.connect() as connection:
            assert inspect(connection).get_table_names()
            files = {file.name: file.stat() for file in tmp_path.iterdir()}
            assert {"accounts.sqlite", "accounts.sqlite-wal"} <= files.keys()
            assert {(file.st_uid, file.st_gid) for file in files.values()} == {(nobody, nobody)}
    finally:
        engine.dispose()


@pytest.mark.parametrize("url", ["nonsense", "nosuch://host/name", "postgresql+nosuch://host/name"])
def test_an_address_that_cannot_be_used(url):
    with pytest.raises(ConfigurationError, match="DQM_ACCOUNTS_URL"):
        open_accounts(url)


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///file::memory:?uri=true",
            "sqlite:///file:x?mode=memory&uri=true"]
)  # fmt: skip
def test_a_database_that_would_forget_all_users(url):
    with pytest.raises(ConfigurationError, match="in memory"):
        open_accounts(url)


def test_a_driver_that_is_not_installed(monkeypatch):
    """Which of them is, is another thing on each machine."""
    monkeypatch.setitem(sys.modules, "MySQLdb", None)
    with pytest.raises(ConfigurationError, match="driver 'MySQLdb', which is not inst") as caught:
        open_accounts("mysql://dqm:sesame@127.0.0.1/accounts")
    assert "sesame" not in str(caught.value)


def test_a_server_that_is_down_names_no_password():
    engine = open_accounts("postgresql+psycopg://dqm:sesame@127.0.0.1:1/accounts")
    with pytest.raises(AccountsUnavailable) as caught:
        upgrade(engine)
    assert "127.0.0.1" in str(caught.value) and "sesame" not in str(caught.value)


def test_a_file_that_is_no_database(tmp_path):
    path = tmp_path / "accounts.sqlite"
    path.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(AccountsUnavailable):
        upgrade(open_accounts(f"sqlite:///{path}"))
