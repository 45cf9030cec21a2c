"""``dqm user …``, as an admin types it."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Callable

import pytest
from accounts_databases import (
    DESK,
    PASSWORD,
    accounts,
    cheap_hashes,
    engine,
    logged_in,
    of,
    postgres,
    url,
)
from click.testing import CliRunner

from dqm_app.accounts.accounts import Accounts, Client, Welcome
from dqm_app.accounts.commands import user
from dqm_app.accounts.tokens import Scope
from dqm_db.errors import DQMError

__all__ = ["accounts", "cheap_hashes", "engine", "postgres", "url"]  # fixtures

pytestmark = pytest.mark.usefixtures("cheap_hashes")
Typed = Callable[..., str]


@pytest.fixture
def typed(url: str, accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Types a command, and returns what it prints."""
    monkeypatch.setenv("DQM_ACCOUNTS_URL", url)

    def run(*words: str, stdin: str | bytes = "", code: int = 0) -> str:
        result = CliRunner().invoke(user, words, input=stdin)
        error = result.exception
        if isinstance(error, DQMError):
            assert error.exit_code == code
            return str(error)
        assert result.exit_code == code, (result.output, error)
        return result.output

    return run


def test_who_there_is(typed):
    typed("add", "Anna", "--password-stdin", stdin=f"{PASSWORD}\n")
    typed("role", "anna", "expert")
    typed("disable", "ANNA")
    lines = typed("list").splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["admin", "admin"], ["Anna", "expert"], ["expert", "expert"], ["viewer", "viewer"]
    ]  # fmt: skip
    assert lines[1].endswith("disabled")
    assert "Anna is expert, and disabled" in typed("show", "anna")


def test_a_stolen_laptop(typed, accounts):
    """What an admin sees of a user, and how he ends it."""
    stolen = logged_in(accounts, "Viewer", Client("198.51.100.7", "A browser/1"))
    logged_in(accounts, "viewer")
    other = logged_in(accounts, "expert")
    text, token = accounts.create_token(stolen.user, PASSWORD, "night", [Scope.READ], 9, DESK)
    shown = typed("show", "VIEWER")
    assert "viewer is viewer" in shown and "browsers: 2" in shown and "tokens: 1" in shown
    assert re.search(r"since \d{4}-\d\d-\d\d \d\d:\d\d  198\.51\.100\.7  A browser/1", shown)
    assert f"{token.id}  night: read, never used" in shown
    assert text.split("_", 2)[2] not in shown and stolen.secret not in shown
    assert "browsers: 2" in typed("logout", "VIEWER")
    assert accounts.owner(stolen.secret) is None and accounts.owner(other.secret) is not None
    assert accounts.bearer(text) is not None  # which is said in its help
    assert isinstance(accounts.login("viewer", PASSWORD, DESK), Welcome)
    assert "browsers: 1" in typed("show", "viewer")


@pytest.mark.parametrize("command", ["passwd", "disable"])
def test_it_is_said_what_has_ended(typed, accounts, command):
    """A token of a monitor, say, that an admin had forgotten."""
    user = logged_in(accounts, "viewer").user
    for label in ("night", "monitor"):
        accounts.create_token(user, PASSWORD, label, [Scope.READ], 9, DESK)
    more = ["--password-stdin"] if command == "passwd" else []
    done = typed(command, "viewer", *more, stdin="other words of a test\n")
    assert "logins ended: 1, tokens ended: 2" in done
    assert "tokens ended: 2" in typed("log", "viewer")
    assert "tokens" in typed(command, "--help")


def test_a_password_that_is_not_utf_8(typed):
    said = typed("add", "x", "--password-stdin", stdin=b"four w\xf6rds of a test\n", code=2)
    assert "is not UTF-8" in said
    assert "x" not in typed("list").split()


@pytest.mark.parametrize("found", ["whole", "cut", "id", "id_"])
def test_a_token_that_was_published(typed, accounts, engine, found):
    """Whose it is need not be known, and not all of it be there."""
    text, token = accounts.create_token(
        of(engine, "expert"), PASSWORD, "night", [Scope.READ], 9, DESK
    )
    kept, _ = accounts.create_token(of(engine, "expert"), PASSWORD, "t", [Scope.READ], 9, DESK)
    given = {"whole": text, "cut": text[:40], "id": token.id, "id_": f"dqm_{token.id}"}[found]
    assert "'night'" in typed("revoke", given) and "tokens: 1" in typed("show", "expert")
    assert accounts.bearer(text) is None and accounts.bearer(kept) is not None
    assert "there is no such token" in typed("revoke", given, code=66)
    entry = accounts.entries()[0]
    assert (entry.event, entry.name) == ("token revoked", "expert") and token.id in entry.detail


def test_tokens_that_cannot_be_one(typed):
    for text in ("", "x", "%", "dqm_", "' OR 1=1", "0123456789abcde", "A" * 16, "0" * 17):
        assert "there is no such token" in typed("revoke", text, code=66)


def test_the_log_of_a_user(typed, accounts):
    """In whichever way he writes himself."""
    logged_in(accounts, "VIEWER")
    accounts.login("Viewer", "wrong", DESK)
    accounts.login("somebody else", "wrong", DESK)
    log = typed("log", "vIEWER").splitlines()
    assert [line.split("  ")[1:3] for line in log] == [
        ["viewer", "login"], ["viewer", "login failed"]
    ]  # fmt: skip
    everything = typed("log")
    assert "somebody" not in everything and "login failed  192.0.2.7  no such user" in everything
    assert "no user" in typed("log", "somebody", code=66)


@pytest.mark.parametrize("sudo", ["carla", None])
def test_the_log_says_who_did_it(typed, accounts, monkeypatch, sudo):
    """Several admins share the host; users may be called as they are."""
    if sudo is None:
        monkeypatch.delenv("SUDO_USER", raising=False)
    else:
        monkeypatch.setenv("SUDO_USER", sudo)
    typed("role", "viewer", "admin")
    typed("disable", "expert")
    user = logged_in(accounts, "viewer").user
    accounts.logout_everywhere(user, DESK)
    by = f"host:{sudo or pwd.getpwuid(os.getuid()).pw_name}"
    assert [(one.event, one.actor) for one in accounts.entries()] == [
        ("logout everywhere", "viewer"), ("login", "viewer"),
        ("user disabled", by), ("role changed", by),
    ]  # fmt: skip
    lines = typed("log").splitlines()
    assert lines[0].endswith(f"viewer  role changed  by {by}  viewer → admin")
    assert "by viewer" not in lines[-1]


def test_nobody_writes_into_the_log_that_another_one_did_it(typed, accounts):
    """What a browser calls itself is the end of a line, and one line."""
    browser = Client("192.0.2.7", "x\n\x1b[31m  by host:root")
    assert isinstance(accounts.login("viewer", PASSWORD, browser), Welcome)
    typed("role", "viewer", "expert")
    login, changed = typed("log", "viewer").splitlines()
    assert login.endswith("  viewer  login  192.0.2.7  x\ufffd\ufffd[31m  by host:root")
    assert "  viewer  role changed  by host:" in changed


def test_a_new_password_ends_the_wait_for_another_guess(typed, accounts):
    for _ in range(20):
        accounts.login("viewer", "wrong", DESK)
    assert accounts.login("viewer", PASSWORD, DESK).wait > 0
    changed = typed("passwd", "Viewer", "--password-stdin", stdin="other words of a test\n")
    assert "logins ended: 0, tokens ended: 0" in changed
    assert isinstance(accounts.login("viewer", "other words of a test", DESK), Welcome)


@pytest.mark.parametrize(
    "words", ["show", "logout", "disable", "log", "role viewer", "token --label x"]
)
def test_nobody_of_that_name(typed, words):
    command, *more = words.split()
    assert "there is no user 'nobody'" in typed(command, "nobody", *more, code=66)
