"""What programs show instead of a password: ``dqm_ID_SECRET``, with a scope and an end.

The prefix lets scanners of repositories find tokens that were published by mistake.
"""

from __future__ import annotations

import enum
import hmac
import re
import secrets
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from dqm_app.accounts.errors import TokenNotFound
from dqm_app.accounts.roles import Role
from dqm_app.accounts.sessions import SEEN_SECONDS, digest
from dqm_app.accounts.tables import NAME_LENGTH, TokenRow, UserRow
from dqm_app.accounts.users import User

LONGEST_DAYS = 366.0
MOST_ALIVE = 50
"""Tokens of one user at the same time."""
_FORM = re.compile(r"dqm_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_NAMED = re.compile(r"(?:dqm_)?([0-9a-f]{16})(?:_.*)?")
"""The id of a token, or as much of the token as somebody has found."""


@enum.unique
class Scope(enum.StrEnum):
    """What a token is for; its user must be allowed to do that, too."""

    READ = "read"
    """The API."""
    DOWNLOAD = "download"
    """Original files and baskets."""
    METRICS = "metrics"
    """``/metrics``, for a monitor."""

    @property
    def needs(self) -> Role:
        """The least role with which a token may have this scope."""
        return {Scope.READ: Role.VIEWER, Scope.DOWNLOAD: Role.EXPERT, Scope.METRICS: Role.ADMIN}[
            self
        ]


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is listed; its secret is known only to whom it was given.

    Attributes
    ----------
    id, label : str
    scopes : frozenset of Scope
    created, ends : float
        Unix seconds.
    used : float or None
        Unix seconds, to the minute.
    """

    id: str
    label: str
    scopes: frozenset[Scope]
    created: float
    ends: float
    used: float | None

    @property
    def words(self) -> str:
        """Which token it is, and what for."""
        return f"{self.id} {self.label}: {' '.join(sorted(self.scopes))}"

    @classmethod
    def of(cls, row: TokenRow) -> Token:
        """As a plain value, which may be kept after the transaction."""
        scopes = frozenset(Scope(word) for word in row.scopes.split())
        return cls(row.id, row.label, scopes, row.created, row.ends, row.used)


def check(user: User, label: str, scopes: Collection[Scope], days: float) -> None:
    """Refuse what `create` would not make; raises `ValueError` as that does."""
    if not scopes:
        possible = ", ".join(scope for scope in Scope if user.role >= scope.needs)
        raise ValueError(f"a token needs a scope; a token of {user.name} may have: {possible}")
    for scope in sorted(scopes):
        if user.role < scope.needs:
            raise ValueError(f"the scope {scope!s} is for {scope.needs.word}s")
    if not 0 < days <= LONGEST_DAYS:
        raise ValueError(f"a token ends after some days, {LONGEST_DAYS:.0f} at most")
    if not 1 <= len(label.strip()) <= NAME_LENGTH or not label.strip().isprintable():
        raise ValueError(f"the label has 1 to {NAME_LENGTH} printable characters")


def create(
    session: Session, user: User, label: str, scopes: Iterable[Scope], days: float
) -> tuple[str, Token]:
    """Make a token; the text that is shown once, and what is listed of it.

    Raises
    ------
    ValueError
        No scope, one that the role of *user* does not allow, days out of range, or the user has
        too many; the row of the user should be locked, see `users.locked`.
    """
    wanted, label = frozenset(scopes), label.strip()
    check(user, label, wanted, days)
    secret, now = secrets.token_urlsafe(32), time.time()
    alive = select(func.count()).where(TokenRow.user_id == user.id, TokenRow.ends > now)
    if session.scalar(alive.select_from(TokenRow)) >= MOST_ALIVE:  # type: ignore[operator]
        raise ValueError(f"{user.name} has {MOST_ALIVE} tokens: revoke one that nobody needs")
    row = TokenRow(
        id=secrets.token_hex(8),
        user_id=user.id,
        label=label,
        digest=digest(secret),
        scopes=" ".join(sorted(wanted)),
        created=now,
        ends=now + days * 86_400,
        used=None,
    )
    session.add(row)
    return f"dqm_{row.id}_{secret}", Token.of(row)


def bearer(session: Session, text: str) -> tuple[User, Token] | None:
    """Whose token it is; None when it is none, has ended, or its user may not log in."""
    form = _FORM.fullmatch(text)
    if form is None:
        return None
    now = time.time()
    found = session.execute(
        select(TokenRow, UserRow)
        .join(UserRow, UserRow.id == TokenRow.user_id)
        .where(TokenRow.id == form[1])
    ).one_or_none()
    if found is None:
        return None
    row, user = found
    if not hmac.compare_digest(row.digest, digest(form[2])) or row.ends <= now or user.disabled:
        return None
    allowed = User.of(user)
    token = Token.of(row)
    scopes = frozenset(scope for scope in token.scopes if allowed.role >= scope.needs)
    return allowed, Token(token.id, token.label, scopes, token.created, token.ends, token.used)


def touch(session: Session, token_id: str) -> None:
    """Remember that the token was used just now."""
    now = time.time()
    row = session.get(TokenRow, token_id)
    if row is not None and now - (row.used or 0.0) > SEEN_SECONDS:
        row.used = now


def revoke(session: Session, user_id: int, token_id: str) -> bool:
    """End a token of a user; whether there was one."""
    row = session.get(TokenRow, token_id)
    if row is None or row.user_id != user_id:
        return False
    session.delete(row)
    return True


def revoke_found(session: Session, text: str) -> tuple[User, Token]:
    """End the token that *text* is, or whose id it is; whose it was, and what.

    Raises
    ------
    TokenNotFound
    """
    named = _NAMED.fullmatch(text.strip())
    row = None if named is None else session.get(TokenRow, named[1])
    if row is None:
        raise TokenNotFound(
            "there is no such token any more: give it whole, or its id as `dqm user show` lists it"
        )
    user, token = User.of(session.get_one(UserRow, row.user_id)), Token.of(row)
    session.delete(row)
    return user, token


def of_user(session: Session, user_id: int) -> list[Token]:
    """Those of a user that have not ended, the newest first; ended ones are forgotten."""
    session.execute(delete(TokenRow).where(TokenRow.ends < time.time()))
    rows = session.scalars(
        select(TokenRow).where(TokenRow.user_id == user_id).order_by(TokenRow.created.desc())
    )
    return [Token.of(row) for row in rows]
