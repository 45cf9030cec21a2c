"""Who has logged in, from which browser.

A browser keeps a secret of 256 random bits; here is only its digest. So whoever reads the database
cannot pretend to be anybody, and a session that is ended here is ended everywhere.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from dqm_app.accounts.audit import printable
from dqm_app.accounts.tables import TEXT_LENGTH, SessionRow, UserRow
from dqm_app.accounts.users import User

if TYPE_CHECKING:
    from dqm_app.accounts.settings import AccountSettings

MOST_BROWSERS = 100
"""Of one user; a program that logs in each time it asks for something would fill the disk."""
SEEN_SECONDS = 60.0
"""How exactly it is known when a session was used last: not every request is a write."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long a session lasts, in seconds: in all, and without a request."""

    most: float
    idle: float

    @classmethod
    def of(cls, settings: AccountSettings) -> Self:
        """As the settings have it."""
        return cls(settings.session_hours * 3600, settings.session_idle_hours * 3600)


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """A browser in which somebody has logged in.

    Attributes
    ----------
    number : str
        Names the session on the page of sessions; of no use to get in.
    began, seen, ends : float
        Unix seconds.
    address, browser : str
        From where it was begun.
    """

    number: str
    began: float
    seen: float
    ends: float
    address: str
    browser: str


def digest(secret: str) -> bytes:
    """What is stored of the secret of a session or a token, 32 bytes."""
    return hashlib.sha256(secret.encode()).digest()


def begin(
    session: Session, user_id: int, lifetime: Lifetime, address: str, browser: str
) -> tuple[str, float]:
    """Store a new session; returns its secret, and until when it lasts at most.

    A user with `MOST_BROWSERS` others loses one that was used for less than `SEEN_SECONDS`, or
    else longest ago; the row of the user should be locked, see `users.locked`.
    """
    secret, now = secrets.token_urlsafe(32), time.time()
    ends = now + lifetime.most
    session.execute(delete(SessionRow).where(SessionRow.ends < now))
    own = select(SessionRow.digest).where(SessionRow.user_id == user_id)
    # those of a program that logs in a hundred times a minute are newer than those of its user
    is_used = SessionRow.seen > SessionRow.began
    best_first = own.order_by(is_used.desc(), SessionRow.seen.desc(), SessionRow.began.desc())
    unused = session.scalars(best_first.offset(MOST_BROWSERS - 1)).all()
    session.execute(delete(SessionRow).where(SessionRow.digest.in_(unused)))
    session.add(
        SessionRow(
            digest=digest(secret),
            user_id=user_id,
            began=now,
            seen=now,
            ends=ends,
            address=address,
            browser=printable(browser)[:TEXT_LENGTH],
        )
    )
    return secret, ends


def owner(session: Session, secret: str, lifetime: Lifetime) -> tuple[User, float] | None:
    """Whose session it is, and until when it lasts without another request.

    None when it has ended, or its user may not log in any more.
    """
    now = time.time()
    found = session.execute(
        select(SessionRow, UserRow)
        .join(UserRow, UserRow.id == SessionRow.user_id)
        .where(SessionRow.digest == digest(secret))
    ).one_or_none()
    if found is None:
        return None
    row, user = found
    ends = min(row.ends, row.seen + lifetime.idle)
    if ends <= now or user.disabled:
        return None
    return User.of(user), ends


def touch(session: Session, secret: str) -> None:
    """Remember that the session was used just now."""
    now = time.time()
    row = session.get(SessionRow, digest(secret))
    if row is not None and now - row.seen > SEEN_SECONDS:
        row.seen = now


def end(session: Session, secret: str) -> None:
    """Log this browser out."""
    session.execute(delete(SessionRow).where(SessionRow.digest == digest(secret)))


def end_numbered(session: Session, user_id: int, number: str) -> bool:
    """Log one browser of a user out; whether there was one."""
    for row in session.scalars(select(SessionRow).where(SessionRow.user_id == user_id)):
        if _number(row) == number:
            session.delete(row)
            return True
    return False


def end_all(session: Session, user_id: int) -> int:
    """Log a user out everywhere; the number of sessions that were ended."""
    rows = session.scalars(select(SessionRow).where(SessionRow.user_id == user_id)).all()
    for row in rows:
        session.delete(row)
    return len(rows)


def of_user(session: Session, user_id: int, lifetime: Lifetime) -> list[BrowserSession]:
    """Those of a user that have not ended, the one used last first."""
    now = time.time()
    rows = session.scalars(
        select(SessionRow)
        .where(
            SessionRow.user_id == user_id,
            SessionRow.ends > now,
            SessionRow.seen > now - lifetime.idle,
        )
        .order_by(SessionRow.seen.desc())
    )
    return [
        BrowserSession(_number(row), row.began, row.seen, row.ends, row.address, row.browser)
        for row in rows
    ]


def number(secret: str) -> str:
    """The number by which the session of this secret is listed."""
    return hashlib.sha256(digest(secret)).hexdigest()[:16]


def _number(row: SessionRow) -> str:
    return hashlib.sha256(row.digest).hexdigest()[:16]
