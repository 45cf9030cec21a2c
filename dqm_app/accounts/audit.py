"""Remembers who did what, from where: logins, tokens, downloads, changes of users."""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from dqm_app.accounts.tables import ACTOR_LENGTH, NAME_LENGTH, TEXT_LENGTH, AuditRow


@enum.unique
class Event(enum.StrEnum):
    """What was done."""

    LOGIN = "login"
    LOGIN_FAILED = "login failed"
    GUESSES_LIMITED = "must wait after failures"
    LOGOUT = "logout"
    LOGOUT_EVERYWHERE = "logout everywhere"
    SESSION_ENDED = "session ended"
    PASSWORD_CHANGED = "password changed"  # noqa: S105
    TOKEN_CREATED = "token created"  # noqa: S105
    TOKEN_REVOKED = "token revoked"  # noqa: S105
    DOWNLOAD = "download"
    BASKET = "basket"
    USER_ADDED = "user added"
    USER_ROLE = "role changed"
    USER_DISABLED = "user disabled"
    USER_ENABLED = "user enabled"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was done.

    Attributes
    ----------
    at : float
        Unix seconds.
    event : str
    name : str
        The user; empty when somebody typed the name of nobody.
    address : str
        Of the browser or program; empty for commands on the host itself.
    detail : str
    actor : str
        Who did it: a user, or ``host:NAME`` who typed a command; empty if that is not known.
    """

    at: float
    event: str
    name: str
    address: str
    detail: str
    actor: str


HOST = "host:"
"""Before the login name of whoever typed a command; no name of a user has a colon."""
AGAIN_SECONDS = 3600.0
"""What is done over and over, as a program fetches a file in parts, is noted once in this time."""
NO_SUCH_USER = "no such user"
"""Detail of a failed login with the name of nobody. What was typed is not kept, since it may be a
password in the wrong field (as login.defs has it, ``LOG_UNKFAIL_ENAB``)."""


def note(
    session: Session,
    event: Event,
    name: str,
    address: str = "",
    detail: str = "",
    *,
    actor: str = "",
) -> None:
    """Add an entry; what is too long is cut, and what is not printable replaced.

    *name* is that of a user as he writes it himself, or empty; *actor* as in `Entry`.
    """
    session.add(_row(event, name, address, detail, actor))


def note_once(
    session: Session, event: Event, name: str, address: str, detail: str, *, actor: str
) -> None:
    """The same, unless there is such an entry of the last `AGAIN_SECONDS`."""
    row = _row(event, name, address, detail, actor)
    same = select(AuditRow.id).where(
        AuditRow.name == row.name,
        AuditRow.at > row.at - AGAIN_SECONDS,
        AuditRow.event == row.event,
        AuditRow.address == row.address,
        AuditRow.detail == row.detail,
    )
    if session.scalar(same.limit(1)) is None:
        session.add(row)


def _row(event: Event, name: str, address: str, detail: str, actor: str) -> AuditRow:
    return AuditRow(
        at=time.time(),
        event=event.value,
        name=printable(name)[:NAME_LENGTH],
        address=printable(address)[:64],
        detail=printable(detail)[:TEXT_LENGTH],
        actor=printable(actor)[:ACTOR_LENGTH],
    )


def read(
    session: Session, *, name: str | None = None, after: float = 0.0, most: int = 200
) -> list[Entry]:
    """The newest entries first, of one user if *name* is given, as he writes it."""
    query = select(AuditRow).where(AuditRow.at > after)
    if name is not None:
        query = query.where(AuditRow.name == name)
    rows = session.scalars(query.order_by(AuditRow.at.desc(), AuditRow.id.desc()).limit(most))
    return [Entry(row.at, row.event, row.name, row.address, row.detail, row.actor) for row in rows]


def forget(session: Session, days: float) -> None:
    """Remove what is older than so many days."""
    session.execute(delete(AuditRow).where(AuditRow.at < time.time() - days * 86_400))


def printable(text: str) -> str:
    """A line of a log must stay one line, whatever browsers say that they are."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
