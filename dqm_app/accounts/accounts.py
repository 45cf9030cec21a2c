"""All that `dqm_app.login` asks of the accounts, each in one transaction.

Everything here waits for a database: call it in a thread. `Accounts` may be shared by threads; make
it after the fork.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from dqm_app.accounts import audit, passwords, sessions, throttle, tokens, users
from dqm_app.accounts.audit import Entry, Event
from dqm_app.accounts.errors import WeakPassword
from dqm_app.accounts.facts import AccountsFacts
from dqm_app.accounts.opening import open_accounts, translated
from dqm_app.accounts.sessions import BrowserSession, Lifetime
from dqm_app.accounts.settings import AccountSettings
from dqm_app.accounts.tables import TEXT_LENGTH
from dqm_app.accounts.throttle import Admission, Counter
from dqm_app.accounts.tokens import Scope, Token
from dqm_app.accounts.users import ShutOut, User

HASHING_AT_ONCE = 2
"""Passwords that one process checks at the same time; each takes 64 MB and a processor."""


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks: the address, what the browser calls itself, and what its device cookie names it."""

    address: str
    browser: str = ""
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Welcome:
    """The password was right: the secret for the cookie, and until when it lasts (Unix seconds)."""

    user: User
    secret: str
    ends: float


@dataclass(frozen=True, slots=True)
class Refused:
    """Name or password are wrong, or the user is disabled: nobody is told which.

    `wait` is 0 when the password was looked at, else the seconds until another one will be.
    """

    wait: float = 0.0


class Accounts:
    """The accounts of a dashboard.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Of tables that `dqm_app.accounts.opening.upgrade` has brought up to date.
    settings : AccountSettings
    """

    def __init__(self, engine: Engine, settings: AccountSettings) -> None:
        self.lifetime = Lifetime.of(settings)
        self._engine = engine
        self._reader = engine.execution_options(dqm_read_only=True)
        self._audit_days = settings.audit_days
        self._hashing = threading.BoundedSemaphore(HASHING_AT_ONCE)

    @classmethod
    def open(cls, settings: AccountSettings) -> Self:
        """Those of the settings; raises as `open_accounts`."""
        return cls(open_accounts(settings.url), settings)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    # ---- browsers ------------------------------------------------------------------------------

    def login(self, name: str, password: str, client: Client) -> Welcome | Refused:
        """Check a password and begin a session."""
        counters = self._counters(name, client)
        admission, stored, right = self._look(name, password, counters)
        if admission.wait > 0:
            return Refused(admission.wait)
        with self._writing() as session:
            row = users.locked(session, name)
            # it may have been changed meanwhile
            if not right or row is None or row.password != stored or row.disabled:
                reason = "disabled" if right and row is not None and row.disabled else ""
                known, reason = (row.name, reason) if row else ("", audit.NO_SUCH_USER)
                audit.note(session, Event.LOGIN_FAILED, known, client.address, reason)
                _note_limits(session, admission, known, client)
                return Refused()
            throttle.forgive(session, counters)
            if passwords.is_outdated(row.password):
                row.password = passwords.hashed_again(password)
            secret, ends = sessions.begin(
                session, row.id, self.lifetime, client.address, client.browser
            )
            user = User.of(row)
            _note(session, Event.LOGIN, user, client, client.browser[:TEXT_LENGTH])
            audit.forget(session, self._audit_days)
            return Welcome(user, secret, ends)

    def wait(self, name: str, client: Client) -> float:
        """Seconds until `login` would look at a password; it is no attempt to ask that."""
        with self._reading() as session:
            return throttle.wait(session, self._counters(name, client))

    def has_users(self) -> bool:
        """Whether anybody has an account yet."""
        with self._reading() as session:
            return users.exist(session)

    def facts(self) -> AccountsFacts:
        """How they are."""
        with self._reading() as session:
            return AccountsFacts.read(session)

    def owner(self, secret: str) -> tuple[User, float] | None:
        """Who has logged in with *secret*, and until when (Unix seconds); None: nobody any more."""
        with self._reading() as session:
            return sessions.owner(session, secret, self.lifetime)

    def touch(self, secret: str) -> None:
        """The session was used."""
        with self._writing() as session:
            sessions.touch(session, secret)

    def logout(self, secret: str, user: User, client: Client) -> None:
        """End this session."""
        with self._writing() as session:
            sessions.end(session, secret)
            _note(session, Event.LOGOUT, user, client)

    def logout_everywhere(self, user: User, client: Client) -> int:
        """End all sessions of a user; how many there were."""
        with self._writing() as session:
            ended = sessions.end_all(session, user.id)
            _note(session, Event.LOGOUT_EVERYWHERE, user, client, f"{ended} sessions")
            return ended

    def end_session(self, user: User, number: str, client: Client) -> bool:
        """End one of the sessions of a user; whether there was one."""
        return self._end(sessions.end_numbered, Event.SESSION_ENDED, user, number, client)

    def sessions_of(self, user: User) -> list[BrowserSession]:
        """Where a user has logged in."""
        with self._reading() as session:
            return sessions.of_user(session, user.id, self.lifetime)

    def change_password(self, user: User, old: str, new: str, client: Client) -> Refused | ShutOut:
        """Give a user another password, log all browsers out, and end all tokens.

        Guessing the old one is as slow as at the login.

        Raises
        ------
        WeakPassword
            Also when it is the old one.
        """
        passwords.check(new, user.name)  # which is no guess
        if new == old:
            raise WeakPassword("the new password is the old one: take some other words")
        stored = self._confirmed(user, old, client, "the old password, to change it")
        if isinstance(stored, Refused):
            return stored
        with self._hashing, self._writing() as session:
            if not _has_still(session, user, stored):
                return Refused()
            shut = users.set_password(session, user.name, new)
            _note(session, Event.PASSWORD_CHANGED, user, client, shut.words)
            return shut

    # ---- programs ------------------------------------------------------------------------------

    def bearer(self, text: str) -> tuple[User, Token] | None:
        """Whose token *text* is, with the scopes that its user still may have; None: nobody's."""
        with self._reading() as session:
            return tokens.bearer(session, text)

    def token_used(self, token: Token) -> None:
        """The token was used."""
        with self._writing() as session:
            tokens.touch(session, token.id)

    def create_token(
        self,
        user: User,
        password: str,
        label: str,
        scopes: Collection[Scope],
        days: float,
        client: Client,
    ) -> tuple[str, Token] | Refused:
        """Make a token, which outlives the session that asks for it: so the password is asked for.

        Guessing that is as slow as at the login. Raises `ValueError` as `tokens.create`.
        """
        tokens.check(user, label, scopes, days)  # which is no guess
        stored = self._confirmed(user, password, client, "the password, for a token")
        if isinstance(stored, Refused):
            return stored
        with self._writing() as session:
            if not _has_still(session, user, stored):
                return Refused()
            text, token = tokens.create(session, user, label, scopes, days)
            _note(session, Event.TOKEN_CREATED, user, client, token.words)
            return text, token

    def revoke_token(self, user: User, token_id: str, client: Client) -> bool:
        """End a token of a user; whether there was one."""
        return self._end(tokens.revoke, Event.TOKEN_REVOKED, user, token_id, client)

    def tokens_of(self, user: User) -> list[Token]:
        """Tokens of a user."""
        with self._writing() as session:
            return tokens.of_user(session, user.id)

    # ---- the audit log -------------------------------------------------------------------------

    def note_once(self, event: Event, user: User, client: Client, detail: str) -> None:
        """Remember what a user does, perhaps over and over; see `audit.note_once`."""
        with self._writing() as session:
            audit.note_once(session, event, user.name, client.address, detail, actor=user.name)

    def entries(self, *, name: str | None = None, most: int = 200) -> list[Entry]:
        """What was done, the newest first."""
        with self._reading() as session:
            return audit.read(session, name=name, most=most)

    # ---- passwords of who is in already ---------------------------------------------------------

    def _confirmed(self, user: User, password: str, client: Client, what: str) -> str | Refused:
        # the hash that *password* fits, to be looked at again by the transaction that relies on it
        counters = self._counters(user.name, client)
        admission, stored, right = self._look(user.name, password, counters)
        if admission.wait > 0:
            return Refused(admission.wait)
        with self._writing() as session:
            if not right or stored is None:
                _note(session, Event.LOGIN_FAILED, user, client, what)
                _note_limits(session, admission, user.name, client)
                return Refused()
            throttle.forgive(session, counters)
            return stored

    def _look(
        self, name: str, password: str, counters: tuple[Counter, ...]
    ) -> tuple[Admission, str | None, bool]:
        # the hash of that user, and whether *password* is right, which is not looked at if it has
        # to wait
        with self._writing() as session:
            admission = throttle.admit(session, counters)
            if admission.wait > 0:
                return admission, None, False
            row = users.stored(session, name)
            stored = None if row is None else row.password
        with self._hashing:  # outside of the transaction: it takes long
            return admission, stored, passwords.is_right(stored, password)

    # ---- transactions --------------------------------------------------------------------------

    @staticmethod
    def _counters(name: str, client: Client) -> tuple[Counter, ...]:
        if client.device is not None:
            return (Counter.of_browser(name, client.device),)
        return Counter.of_name(name), Counter.of_address(client.address)

    def _end(
        self,
        end: Callable[[Session, int, str], bool],
        event: Event,
        user: User,
        what: str,
        client: Client,
    ) -> bool:
        with self._writing() as session:
            ended = end(session, user.id, what)
            if ended:
                _note(session, event, user, client, what)
            return ended

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        with translated(self._engine), Session(self._engine) as session, session.begin():
            yield session

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        with translated(self._engine), Session(self._reader) as session:
            yield session


def _note(session: Session, event: Event, user: User, client: Client, detail: str = "") -> None:
    audit.note(session, event, user.name, client.address, detail, actor=user.name)


def _note_limits(session: Session, admission: Admission, name: str, client: Client) -> None:
    for limit in admission.reached:
        detail = f"{limit.free} failures {limit.of}"
        audit.note(session, Event.GUESSES_LIMITED, name, client.address, detail)


def _has_still(session: Session, user: User, stored: str) -> bool:
    """Whether it may go on: the password may have been changed while it was looked at."""
    row = users.locked(session, user.name)
    return row is not None and row.password == stored and not row.disabled
