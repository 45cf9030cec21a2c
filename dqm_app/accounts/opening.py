"""Opens the database of accounts and brings its tables up to date."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from dqm_app.accounts.errors import AccountsUnavailable, NewerAccounts
from dqm_app.accounts.tables import Table
from dqm_db.errors import ConfigurationError

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_SECONDS = 10.0
"""How long a command waits for another one that writes to the same SQLite file."""
SILENT_SECONDS = 5
"""How long a PostgreSQL server may say nothing before it counts as gone."""
_LOCK_NUMBER = 0x4E44514D  # of PostgreSQL's advisory locks; any number that nobody else takes


def open_accounts(url: str) -> Engine:
    """An engine for *url*; the file of an SQLite database, and its folder, are made for the owner.

    Raises
    ------
    ConfigurationError
        *url* cannot be understood, its driver is not installed, or it is of a database in memory,
        which each process would have for itself.
    AccountsUnavailable
        The folder cannot be made.
    """
    parsed, file = _parsed(url), file_of(url)
    try:
        engine = create_engine(
            parsed, connect_args=_limits(parsed), pool_pre_ping=True, hide_parameters=True
        )
    except ImportError as error:
        raise ConfigurationError(
            f"DQM_ACCOUNTS_URL asks for the driver {error.name!r}, which is not installed: "
            "nectarcam-dqm[postgresql] has that of postgresql+psycopg://…, others are installed "
            "beside this program"
        ) from error
    except (ArgumentError, NoSuchModuleError) as error:
        raise _unusable(error) from error
    if file is not None:
        _prepare_file(file)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def file_of(url: str) -> Path | None:
    """The file of the SQLite database that *url* names; None: a server has the accounts.

    Raises
    ------
    ConfigurationError
        As `open_accounts`.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() != "sqlite":
        return None
    database = parsed.database or ""
    if not database or ":memory:" in database or parsed.query.get("mode") == "memory":
        raise ConfigurationError(
            "DQM_ACCOUNTS_URL is of an SQLite database in memory, which would forget all users: "
            "name a file, e.g. sqlite:////var/lib/nectarcam-dqm/accounts.sqlite"
        )
    return Path(database)


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError as error:
        raise _unusable(error) from error


def _unusable(error: SQLAlchemyError) -> ConfigurationError:
    return ConfigurationError(
        f"DQM_ACCOUNTS_URL cannot be used ({_one_line(error)}): write it as SQLAlchemy does, "
        "e.g. sqlite:////var/lib/nectarcam-dqm/accounts.sqlite"
    )


def _limits(url: URL) -> dict[str, Any]:
    """How long the driver waits, unless *url* says so itself."""
    if url.get_backend_name() == "sqlite":
        return {"timeout": BUSY_SECONDS}  # its wait for a lock is a limit of its own
    if url.drivername != "postgresql+psycopg":
        return {}
    # a host that is gone without a word would be waited for until TCP gives up, for minutes
    limits = {"connect_timeout": SILENT_SECONDS, "tcp_user_timeout": SILENT_SECONDS * 1000}
    return {name: value for name, value in limits.items() if name not in url.query}


def upgrade(engine: Engine) -> None:
    """Make the tables, or bring those of an older release up to date; several may call at once.

    Raises
    ------
    NewerAccounts
        The tables are those of a newer release.
    AccountsUnavailable
        The database cannot be opened or written.
    """
    script = ScriptDirectory.from_config(_configuration())
    with translated(engine), engine.connect() as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK_NUMBER})")
        _require_known(script, MigrationContext.configure(connection).get_current_heads())

        def steps(revision: Any, _context: MigrationContext) -> Any:
            return script._upgrade_revs("head", revision)

        with EnvironmentContext(
            _configuration(), script, fn=steps, destination_rev="head"
        ) as environment:
            environment.configure(
                connection=connection,
                target_metadata=Table.metadata,
                transactional_ddl=False,  # the transaction is the one around
                render_as_batch=True,
            )
            environment.run_migrations()


@contextlib.contextmanager
def translated(engine: Engine) -> Iterator[None]:
    """Raise `AccountsUnavailable` for whatever the database raises; it names no password."""
    try:
        yield
    except SQLAlchemyError as error:
        raise AccountsUnavailable(
            f"the database of accounts, {engine.url.render_as_string(hide_password=True)}, cannot "
            f"be used ({_one_line(error)}): check DQM_ACCOUNTS_URL, the server, or the disk"
        ) from error


def _configuration() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return configuration


def _require_known(script: ScriptDirectory, heads: tuple[str, ...]) -> None:
    for head in heads:
        try:
            script.get_revision(head)
        except CommandError as error:
            raise NewerAccounts(
                f"the database of accounts has tables of a newer release ({head}): run that "
                "release, or restore the accounts from before"
            ) from error


def _prepare_file(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_new = not path.exists()
        path.touch(mode=0o600)
        if is_new and os.geteuid() == 0:  # the dashboard, which is not root, has to write to it
            folder = path.parent.stat()
            os.chown(path, folder.st_uid, folder.st_gid)
    except OSError as error:
        raise AccountsUnavailable(
            f"{path} cannot be made ({error.strerror}): set DQM_ACCOUNTS_URL, or DQM_STATE_DIR"
        ) from error


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    # The driver begins transactions late, and not at all around changes of tables.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    # one that turns from reading to writing would fail at once when another one writes
    mode = "" if connection.get_execution_options().get("dqm_read_only") else " IMMEDIATE"
    connection.exec_driver_sql(f"BEGIN{mode}")


def _one_line(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split()) or type(cause).__name__
