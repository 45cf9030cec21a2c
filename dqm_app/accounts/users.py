"""The people who may log in."""

from __future__ import annotations

import time
import unicodedata
from dataclasses import dataclass

from sqlalchemy import Select, delete, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from dqm_app.accounts import passwords
from dqm_app.accounts.errors import BadName, LastAdmin, UserExists, UserNotFound
from dqm_app.accounts.roles import Role
from dqm_app.accounts.tables import FOLDED_LENGTH, NAME_LENGTH, SessionRow, TokenRow, UserRow

_SIGNS = frozenset("._-@+")


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may log in.

    Attributes
    ----------
    id : int
    name : str
    role : Role
    disabled : bool
        May not log in for the time being.
    created, changed : float
        Unix seconds: when the user was made, and when the password was set last.
    """

    id: int
    name: str
    role: Role
    disabled: bool
    created: float
    changed: float

    @classmethod
    def of(cls, row: UserRow) -> User:
        """As a plain value, which may be kept after the transaction."""
        return cls(row.id, row.name, Role.of(row.role), row.disabled, row.created, row.changed)


@dataclass(frozen=True, slots=True)
class ShutOut:
    """A user whose logins have ended, and how many there were.

    Attributes
    ----------
    user : User
    browsers, tokens : int
        Those that had not ended before.
    """

    user: User
    browsers: int
    tokens: int

    @property
    def words(self) -> str:
        """For the log, and for whoever did it."""
        return f"logins ended: {self.browsers}, tokens ended: {self.tokens}"


def folded(name: str) -> str:
    """What two names share that are taken for the same."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


def add(session: Session, name: str, password: str, role: Role) -> User:
    """Store a new user.

    Raises
    ------
    BadName, WeakPassword
    UserExists
        Also when the names differ in capitals only.
    """
    name = _checked(name)
    stored = passwords.hashed(password, name)
    now = time.time()
    row = UserRow(
        key=folded(name),
        name=name,
        password=stored,
        role=role.word,
        disabled=False,
        created=now,
        changed=now,
    )
    session.add(row)
    try:
        session.flush()
    except IntegrityError as error:
        raise UserExists(
            f"there is a user {name!r} already: `dqm user passwd` and `dqm user role` change it"
        ) from error
    return User.of(row)


def exist(session: Session) -> bool:
    """Whether there is any user."""
    return session.scalar(select(UserRow.id).limit(1)) is not None


def everybody(session: Session) -> list[User]:
    """All users, by name."""
    return [User.of(row) for row in session.scalars(select(UserRow).order_by(UserRow.key))]


def stored(session: Session, name: str) -> UserRow | None:
    """The row of the user *name*, if there is one."""
    return _found(session, name, select(UserRow))


def locked(session: Session, name: str) -> UserRow | None:
    """The same, as it is now and stays until the end of this transaction.

    Otherwise PostgreSQL lets two transactions look at the same user at once, and each change what
    the other one relies on. Who locks counters of `throttle`, too, locks the user first.
    """
    as_it_is = select(UserRow).with_for_update().execution_options(populate_existing=True)
    return _found(session, name, as_it_is)


def required(session: Session, name: str) -> UserRow:
    """The row of the user *name*, locked; raises `UserNotFound`."""
    row = locked(session, name)
    if row is None:
        raise UserNotFound(f"there is no user {name!r}; `dqm user list` shows all")
    return row


def set_password(session: Session, name: str, password: str) -> ShutOut:
    """Give the user another password; whoever got in with the old one is out, and so are programs.

    Raises
    ------
    UserNotFound, WeakPassword
    """
    row = required(session, name)
    row.password = passwords.hashed(password, row.name)
    row.changed = time.time()
    return _shut_out(session, row)


def set_role(session: Session, name: str, role: Role) -> tuple[User, Role]:
    """Let the user do more, or less, from the next request on; the user, and the role before.

    Raises
    ------
    UserNotFound
    LastAdmin
        Nobody else is an admin.
    """
    _lock_with_admins(session, name)
    row = required(session, name)
    if role < Role.ADMIN:
        _require_other_admin(session, row)
    before = Role.of(row.role)
    row.role = role.word
    return User.of(row), before


def disable(session: Session, name: str) -> ShutOut:
    """Log the user out everywhere, end all tokens, and let him not in again.

    Raises
    ------
    UserNotFound
    LastAdmin
        Nobody else is an admin.
    """
    _lock_with_admins(session, name)
    row = required(session, name)
    _require_other_admin(session, row)
    row.disabled = True
    return _shut_out(session, row)


def enable(session: Session, name: str) -> User:
    """Let the user in again, with the password that he had; raises `UserNotFound`."""
    row = required(session, name)
    row.disabled = False
    return User.of(row)


def _found(session: Session, name: str, rows: Select[UserRow]) -> UserRow | None:
    if not name.isprintable():  # some databases take no such text
        return None
    return session.scalar(rows.where(UserRow.key == folded(name)))


def _checked(name: str) -> str:
    name = unicodedata.normalize("NFC", name).strip()
    # a few letters stand for up to 18
    if not 1 <= len(name) <= NAME_LENGTH or len(folded(name)) > FOLDED_LENGTH:
        raise BadName(f"a name has 1 to {NAME_LENGTH} characters, not {len(name)}")
    strange = sorted({sign for sign in name if not (sign.isalnum() or sign in _SIGNS)})
    if strange:
        raise BadName(
            f"the name {name!r} has {''.join(strange)!r}: take letters, digits and any of "
            f"{' '.join(sorted(_SIGNS))}"
        )
    return name


def _lock_with_admins(session: Session, name: str) -> None:
    # or the last two could be made less at the same moment; all in one order, so that nobody waits
    # for somebody who waits for him
    if not name.isprintable():  # nobody's, as `required` will say
        return
    wanted = or_(UserRow.role == Role.ADMIN.word, UserRow.key == folded(name))
    session.execute(select(UserRow.id).where(wanted).order_by(UserRow.id).with_for_update()).all()


def _require_other_admin(session: Session, row: UserRow) -> None:
    if row.role != Role.ADMIN.word or row.disabled:
        return
    others = session.scalar(
        select(func.count())
        .select_from(UserRow)
        .where(UserRow.role == Role.ADMIN.word, UserRow.disabled.is_(False), UserRow.id != row.id)
    )
    if not others:
        raise LastAdmin(
            f"{row.name!r} is the only admin: make another one first (`dqm user role NAME admin`)"
        )


def _shut_out(session: Session, row: UserRow) -> ShutOut:
    now, alive = time.time(), []
    for table in (SessionRow, TokenRow):
        ends = session.scalars(select(table.ends).where(table.user_id == row.id)).all()
        alive.append(sum(end > now for end in ends))
        session.execute(delete(table).where(table.user_id == row.id))
    return ShutOut(User.of(row), *alive)
