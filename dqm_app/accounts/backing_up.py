"""Copies the SQLite file of the accounts while the dashboard uses it."""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import tempfile
from pathlib import Path

from sqlalchemy import make_url

from dqm_app.accounts.errors import AccountsNotCopied
from dqm_app.accounts.opening import file_of
from dqm_db.errors import ConfigurationError


def copy_accounts(url: str, target: Path, keep: int = 1) -> None:
    """Copy the accounts into the file *target*, which is replaced once the copy is whole.

    Parameters
    ----------
    url
        Where the accounts are, as SQLAlchemy writes it.
    target
        Readable by its owner only.
    keep
        How many copies there are in the end; earlier ones are ``target.1``, ``target.2`` and so on.

    Raises
    ------
    ConfigurationError
        The accounts are in no SQLite file, or *url* cannot be understood.
    AccountsNotCopied
        There are none, they are damaged, or *target* cannot be written.
    """
    source = file_of(url)
    if source is None:
        kind = make_url(url).get_backend_name()
        tool = "pg_dump" if kind == "postgresql" else "its own tool"
        raise ConfigurationError(
            f"DQM_ACCOUNTS_URL names a server ({kind}), not a file: copy its database with {tool}"
        )
    if not source.is_file():
        raise AccountsNotCopied(
            f"there are no accounts in {source}: see DQM_ACCOUNTS_URL and DQM_STATE_DIR"
        )
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise _unwritable(target, error) from error
    draft = Path(name)  # readable by nobody else
    try:
        os.close(handle)
        _copy(source, draft)
        _make_room(target, keep)
        draft.replace(target)
        _sync(target.parent)
    except sqlite3.Error as error:
        raise AccountsNotCopied(
            f"{source} cannot be copied into {target} ({error}): see the disk, and whether the "
            "file is damaged"
        ) from error
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        draft.unlink(missing_ok=True)


def _copy(source: Path, draft: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(source)) as old,
        contextlib.closing(sqlite3.connect(draft)) as new,
    ):
        old.backup(new)
        # one file that needs no others beside it
        new.execute("PRAGMA journal_mode=DELETE")
        (found,) = new.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(f"the copy is damaged: {found}")
        if not new.execute("SELECT 1 FROM sqlite_master WHERE name = 'users'").fetchone():
            raise sqlite3.DatabaseError("there is no table of users in it")
    _sync(draft)


def _make_room(target: Path, keep: int) -> None:
    """Move the earlier copies on by one; the oldest is overwritten."""
    copies = [target, *(target.with_name(f"{target.name}.{number}") for number in range(1, keep))]
    for newer, older in reversed(list(itertools.pairwise(copies))):
        if newer.exists():
            newer.replace(older)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unwritable(target: Path, error: OSError) -> AccountsNotCopied:
    return AccountsNotCopied(f"{target} cannot be written ({error.strerror}): see its folder")
