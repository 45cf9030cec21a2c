"""Users, logging in, tokens."""

from __future__ import annotations

import time

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
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from dqm_app.accounts import passwords, sessions, tokens, users
from dqm_app.accounts.accounts import Client, Refused, Welcome
from dqm_app.accounts.audit import Event
from dqm_app.accounts.errors import (
    BadName,
    LastAdmin,
    UserExists,
    UserNotFound,
    WeakPassword,
)
from dqm_app.accounts.roles import Role
from dqm_app.accounts.sessions import MOST_BROWSERS
from dqm_app.accounts.tables import SessionRow, Table, TokenRow, UserRow
from dqm_app.accounts.throttle import OF_NAME
from dqm_app.accounts.tokens import LONGEST_DAYS, MOST_ALIVE, Scope

__all__ = ["accounts", "cheap_hashes", "engine", "postgres", "url"]  # fixtures

pytestmark = pytest.mark.usefixtures("cheap_hashes")


# ---- users -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Anna", "anna", "ＡＮＮＡ", " anna "])
def test_names_that_look_the_same_are_one_user(engine, name):
    with Session(engine) as session, session.begin():
        users.add(session, "Anna", PASSWORD, Role.VIEWER)
    with Session(engine) as session, pytest.raises(UserExists):
        users.add(session, name, PASSWORD, Role.VIEWER)
    assert of(engine, name).name == "Anna"


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a\nb", "a\0b", "<b>", "a'b", "a" * 65, "\N{ZERO WIDTH SPACE}",
             "\u202eanna", "\ufdfa" * 20, "a;b", "a/b"]
)  # fmt: skip
def test_bad_names(engine, name):
    with Session(engine) as session, pytest.raises(BadName) as caught:
        users.add(session, name, PASSWORD, Role.VIEWER)
    assert str(caught.value).isprintable()


@given(st.text(max_size=80))
def test_any_name_is_taken_or_refused_in_words(name):
    try:
        checked = users._checked(name)
    except BadName as error:
        assert str(error).isprintable()
    else:
        assert checked.isprintable() and users.folded(checked) == users.folded(name)


def test_somebody_stays_an_admin(accounts, engine):
    with Session(engine) as session, pytest.raises(LastAdmin):
        users.disable(session, "admin")
    with Session(engine) as session, pytest.raises(LastAdmin):
        users.set_role(session, "admin", Role.EXPERT)
    with Session(engine) as session, session.begin():
        users.set_role(session, "expert", Role.ADMIN)
        users.disable(session, "admin")
    with Session(engine) as session, pytest.raises(LastAdmin):
        users.disable(session, "expert")


def test_whether_there_is_anybody(engine, url, accounts):
    assert accounts.has_users()
    with Session(engine) as session, session.begin():
        for row in session.scalars(select(UserRow)):
            session.delete(row)
    assert not accounts.has_users()


def test_a_user_who_is_not_there(engine):
    for change in (users.disable, users.enable):
        with Session(engine) as session, pytest.raises(UserNotFound):
            change(session, "nobody")
    with Session(engine) as session, pytest.raises(UserNotFound):
        users.set_role(session, "nobody", Role.ADMIN)


@pytest.mark.parametrize("name", ["' OR '1'='1", "admin'--", "%", "_dmin", 'admin"', "\0admin"])
def test_names_are_never_part_of_a_query(accounts, engine, name):
    with Session(engine) as session:
        assert users.stored(session, name) is None
    assert isinstance(accounts.login(name, PASSWORD, DESK), Refused)


# ---- logging in --------------------------------------------------------------------------------


def test_a_session_from_login_to_logout(accounts):
    welcome = logged_in(accounts, "Viewer")
    user, ends = accounts.owner(welcome.secret)
    assert user.name == "viewer" and time.time() < ends <= welcome.ends
    assert accounts.owner(welcome.secret[:-1] + "!") is None
    accounts.logout(welcome.secret, user, DESK)
    assert accounts.owner(welcome.secret) is None
    assert [entry.event for entry in accounts.entries()] == ["logout", "login"]


def test_the_database_holds_nothing_that_lets_anybody_in(accounts, engine):
    welcome = logged_in(accounts, "admin")
    token, _ = accounts.create_token(welcome.user, PASSWORD, "t", [Scope.READ], 1, DESK)
    found = []
    with engine.connect() as connection:
        for table in Table.metadata.sorted_tables:
            found += [repr(tuple(row)) for row in connection.execute(table.select())]
    stored = "\n".join(found)
    for secret in (PASSWORD, welcome.secret, token[len("dqm_0123456789abcdef_") :]):
        assert secret[:16] not in stored


def test_each_login_is_a_session_of_its_own(accounts):
    first, second = logged_in(accounts, "viewer"), logged_in(accounts, "viewer")
    other = logged_in(accounts, "expert")
    assert len(accounts.sessions_of(first.user)) == 2
    number = sessions.number(first.secret)
    assert not accounts.end_session(other.user, number, DESK)  # of somebody else
    assert accounts.end_session(first.user, number, DESK)
    assert not accounts.end_session(first.user, number, DESK)
    assert accounts.owner(first.secret) is None
    assert accounts.owner(second.secret) is not None
    assert accounts.logout_everywhere(first.user, DESK) == 1
    assert accounts.owner(second.secret) is None
    assert accounts.owner(other.secret) is not None


def test_sessions_end_by_themselves(engine, accounts, monkeypatch):
    welcome = logged_in(accounts, "viewer")
    now = time.time()
    idle, most = accounts.lifetime.idle, accounts.lifetime.most
    monkeypatch.setattr(sessions.time, "time", lambda: now + idle - 60)
    assert accounts.owner(welcome.secret) is not None
    accounts.touch(welcome.secret)
    monkeypatch.setattr(sessions.time, "time", lambda: now + 2 * idle - 120)
    assert accounts.owner(welcome.secret) is not None
    monkeypatch.setattr(sessions.time, "time", lambda: now + 2 * idle)
    assert accounts.owner(welcome.secret) is None
    assert accounts.sessions_of(welcome.user) == []
    # used all the time, it ends nevertheless
    with Session(engine) as session, session.begin():
        row = session.get(sessions.SessionRow, sessions.digest(welcome.secret))
        row.seen = now + most
    monkeypatch.setattr(sessions.time, "time", lambda: now + most + 1)
    assert accounts.owner(welcome.secret) is None


def test_a_new_password_logs_everybody_out(accounts, engine):
    """Programs, too."""
    welcome = logged_in(accounts, "viewer")
    token, _ = accounts.create_token(welcome.user, PASSWORD, "t", [Scope.READ], 1, DESK)
    refused = accounts.change_password(welcome.user, "wrong", "other words of a test", DESK)
    assert refused == Refused()
    with pytest.raises(WeakPassword):
        accounts.change_password(welcome.user, PASSWORD, PASSWORD, DESK)
    with pytest.raises(WeakPassword):
        accounts.change_password(welcome.user, PASSWORD, "short", DESK)
    assert accounts.owner(welcome.secret) is not None
    logged_in(accounts, "viewer")
    accounts.create_token(of(engine, "expert"), PASSWORD, "t", [Scope.READ], 1, DESK)
    for ends in (welcome.ends - 1e6, welcome.ends):  # one has ended already
        with Session(engine) as session, session.begin():
            _, made = tokens.create(session, welcome.user, "t", [Scope.READ], 1)
            session.get_one(TokenRow, made.id).ends = ends
    done = accounts.change_password(welcome.user, PASSWORD, "other words of a test", DESK)
    assert (done.user.name, done.browsers, done.tokens) == ("viewer", 2, 2)
    assert accounts.owner(welcome.secret) is None and accounts.bearer(token) is None
    assert isinstance(accounts.login("viewer", PASSWORD, DESK), Refused)
    assert isinstance(accounts.login("viewer", "other words of a test", DESK), Welcome)


def test_a_disabled_user_is_out_and_stays_out(accounts, engine):
    welcome = logged_in(accounts, "expert")
    token, _ = accounts.create_token(welcome.user, PASSWORD, "t", [Scope.READ], 1, DESK)
    with Session(engine) as session, session.begin():
        users.disable(session, "expert")
    assert accounts.owner(welcome.secret) is None and accounts.bearer(token) is None
    assert accounts.login("expert", PASSWORD, DESK) == Refused()
    with Session(engine) as session, session.begin():
        users.enable(session, "expert")
    assert accounts.owner(welcome.secret) is None and accounts.bearer(token) is None
    assert isinstance(accounts.login("expert", PASSWORD, DESK), Welcome)


def test_a_disabled_user_has_no_session_and_no_token_whatever_is_stored(accounts, engine):
    """One can begin at the moment in which an admin ends all others."""
    welcome = logged_in(accounts, "expert")
    token, _ = accounts.create_token(welcome.user, PASSWORD, "t", [Scope.READ], 1, DESK)
    assert accounts.owner(welcome.secret) is not None and accounts.bearer(token) is not None
    with Session(engine) as session, session.begin():
        users.stored(session, "expert").disabled = True
    assert accounts.owner(welcome.secret) is None and accounts.bearer(token) is None


def test_a_password_that_is_changed_while_it_is_looked_at(accounts, engine, monkeypatch):
    def is_right(stored: str, password: str) -> bool:
        with Session(engine) as session, session.begin():
            users.set_password(session, "viewer", "other words of a test")
        return True

    monkeypatch.setattr(passwords, "is_right", is_right)
    assert accounts.login("viewer", PASSWORD, DESK) == Refused()
    assert accounts.sessions_of(of(engine, "viewer")) == []


def test_a_role_holds_at_once(accounts, engine):
    welcome = logged_in(accounts, "expert")
    with Session(engine) as session, session.begin():
        users.set_role(session, "expert", Role.VIEWER)
    user, _ = accounts.owner(welcome.secret)
    assert user.role is Role.VIEWER


def test_outdated_hashes_are_made_again(accounts, engine, monkeypatch):
    with Session(engine) as session:
        before = users.stored(session, "viewer").password
    stronger = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)
    monkeypatch.setattr(passwords, "_hasher", lambda: stronger)
    logged_in(accounts, "viewer")
    with Session(engine) as session:
        after = users.stored(session, "viewer").password
    assert after != before and not passwords.is_outdated(after)
    logged_in(accounts, "viewer")


# ---- tokens ------------------------------------------------------------------------------------


def test_a_token_from_first_to_last(accounts, engine):
    expert = of(engine, "expert")
    text_, token = accounts.create_token(
        expert, PASSWORD, " night ", [Scope.READ, Scope.DOWNLOAD], 1, DESK
    )
    user, found = accounts.bearer(text_)
    assert user == expert and found.scopes == {Scope.READ, Scope.DOWNLOAD}
    assert found.label == "night" and found.used is None
    accounts.token_used(found)
    assert [one.used is not None for one in accounts.tokens_of(expert)] == [True]
    assert not accounts.revoke_token(of(engine, "admin"), token.id, DESK)  # somebody else's
    assert accounts.revoke_token(expert, token.id, DESK)
    assert accounts.bearer(text_) is None and accounts.tokens_of(expert) == []


def test_a_token_asks_for_the_password(accounts, engine):
    """A page that was left open makes none; guessing there is as slow as at the login."""
    user = logged_in(accounts, "viewer").user
    made = (user, PASSWORD, "t", [Scope.READ], 1, DESK)
    with pytest.raises(ValueError):  # what could not be made anyway is no guess
        for _ in range(10):
            accounts.create_token(user, "wrong", "", [Scope.READ], 1, DESK)
    for _ in range(OF_NAME.free):
        assert accounts.create_token(user, "wrong", "t", [Scope.READ], 1, DESK) == Refused()
    assert accounts.create_token(*made).wait > 0
    assert accounts.login("viewer", PASSWORD, DESK).wait > 0
    assert accounts.tokens_of(user) == []
    failed = [one for one in accounts.entries(name="viewer") if one.event == Event.LOGIN_FAILED]
    assert {entry.detail for entry in failed} == {"the password, for a token"}
    assert len(failed) == OF_NAME.free
    text_, _ = accounts.create_token(*made[:-1], Client("192.0.2.9", "Firefox", "his device"))
    assert accounts.bearer(text_) is not None


@pytest.mark.parametrize("change", ["password", "disabled"])
def test_no_token_is_made_while_its_user_is_shut_out(accounts, engine, monkeypatch, change):
    """The admin is quicker than the check of the password."""
    user = of(engine, "viewer")

    def is_right(stored: str, password: str) -> bool:
        with Session(engine) as session, session.begin():
            if change == "password":
                users.set_password(session, "viewer", "other words of a test")
            else:
                users.disable(session, "viewer")
        return True

    monkeypatch.setattr(passwords, "is_right", is_right)
    assert accounts.create_token(user, PASSWORD, "t", [Scope.READ], 1, DESK) == Refused()
    assert accounts.tokens_of(user) == []
    monkeypatch.setattr(passwords, "is_right", lambda stored, password: is_right(stored, "") and 1)
    assert accounts.change_password(user, PASSWORD, "third words of a test", DESK) == Refused()


def test_a_token_never_does_more_than_its_user(accounts, engine):
    with pytest.raises(ValueError, match="download"):
        accounts.create_token(of(engine, "viewer"), PASSWORD, "t", [Scope.DOWNLOAD], 1, DESK)
    text_, _ = accounts.create_token(of(engine, "admin"), PASSWORD, "t", list(Scope), 1, DESK)
    with Session(engine) as session, session.begin():
        users.set_role(session, "expert", Role.ADMIN)
        users.set_role(session, "admin", Role.VIEWER)
    user, token = accounts.bearer(text_)
    assert user.role is Role.VIEWER and token.scopes == {Scope.READ}


def test_a_token_ends(accounts, engine, monkeypatch):
    text_, token = accounts.create_token(of(engine, "viewer"), PASSWORD, "t", [Scope.READ], 1, DESK)
    monkeypatch.setattr(tokens.time, "time", lambda: token.ends + 1)
    assert accounts.bearer(text_) is None
    assert accounts.tokens_of(of(engine, "viewer")) == []


@pytest.mark.parametrize(
    ("label", "scopes", "days"),
    [("", [Scope.READ], 1), ("a\nb", [Scope.READ], 1), ("a" * 65, [Scope.READ], 1),
     ("a", [], 1), ("a", [Scope.READ], 0), ("a", [Scope.READ], -1),
     ("a", [Scope.READ], LONGEST_DAYS + 1), ("a", [Scope.READ], float("nan")),
     ("a", [Scope.READ], float("inf"))],
)  # fmt: skip
def test_tokens_that_are_not_made(accounts, engine, label, scopes, days):
    with pytest.raises(ValueError) as caught:
        accounts.create_token(of(engine, "viewer"), PASSWORD, label, scopes, days, DESK)
    assert "download" not in str(caught.value)  # which a viewer could not choose
    assert accounts.tokens_of(of(engine, "viewer")) == []


def test_a_user_has_so_many_browsers_and_keeps_those_that_are_used(accounts, engine):
    unused, used = logged_in(accounts, "viewer"), logged_in(accounts, "viewer")
    other = logged_in(accounts, "expert")
    with Session(engine) as session, session.begin():
        for welcome, seen in ((used, 70.0), (other, 0.0)):  # before all that follow
            row = session.get_one(SessionRow, sessions.digest(welcome.secret))
            row.began -= 100.0
            row.seen = row.began + seen
    for _ in range(MOST_BROWSERS - 1):
        logged_in(accounts, "viewer")
    assert len(accounts.sessions_of(used.user)) == MOST_BROWSERS
    assert accounts.owner(unused.secret) is None
    logged_in(accounts, "viewer")
    assert len(accounts.sessions_of(used.user)) == MOST_BROWSERS
    assert accounts.owner(used.secret) is not None and accounts.owner(other.secret) is not None


def test_nobody_has_tokens_without_end(accounts, engine):
    """Those that have ended do not count."""
    viewer = of(engine, "viewer")
    with Session(engine) as session, session.begin():
        for number in range(MOST_ALIVE + 10):
            _, made = tokens.create(session, viewer, "t", [Scope.READ], 1)
            if number % 6 == 0:
                session.get_one(TokenRow, made.id).ends = 0.0
    while len(accounts.tokens_of(viewer)) < MOST_ALIVE:
        accounts.create_token(viewer, PASSWORD, "t", [Scope.READ], 1, DESK)
    with pytest.raises(ValueError, match="revoke"):
        accounts.create_token(viewer, PASSWORD, "t", [Scope.READ], 1, DESK)
    expert = of(engine, "expert")
    accounts.create_token(expert, PASSWORD, "t", [Scope.READ], 1, DESK)
    accounts.revoke_token(viewer, accounts.tokens_of(viewer)[0].id, DESK)
    accounts.create_token(viewer, PASSWORD, "t", [Scope.READ], 1, DESK)


def test_forged_tokens(accounts, engine):
    good, token = accounts.create_token(of(engine, "viewer"), PASSWORD, "t", [Scope.READ], 1, DESK)
    other, _ = accounts.create_token(of(engine, "expert"), PASSWORD, "t", [Scope.READ], 1, DESK)
    swapped = f"dqm_{token.id}_{other.rpartition('_')[2]}"
    changed = good[:-2] + ("A" if good[-2] != "A" else "B") + good[-1]
    for text_ in ("", good[:-1], good + "x", good.upper(), changed, f"dqm_{token.id}_", swapped,
                  f"dqm_{token.id}_%", good.replace("dqm_", "dqm_' OR 1=1")):  # fmt: skip
        assert accounts.bearer(text_) is None, text_
