"""The tables of the database of accounts; times are Unix seconds.

What lets somebody in is never stored as it is: passwords as argon2 hashes, tokens and the secrets
of sessions as SHA-256, which is enough for 256 random bits.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Float, ForeignKey, Index, Integer, LargeBinary, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAME_LENGTH = 64
FOLDED_LENGTH = 3 * NAME_LENGTH
TEXT_LENGTH = 500
ACTOR_LENGTH = 80


class Table(DeclarativeBase):
    """What all tables share: names of constraints that migrations can refer to."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class UserRow(Table):
    """Somebody who may log in; `key` is the name folded, so that Anna and anna are one."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    key: Mapped[str] = mapped_column(String(FOLDED_LENGTH), unique=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    password: Mapped[str] = mapped_column(String(256))
    role: Mapped[str] = mapped_column(String(16))
    disabled: Mapped[bool] = mapped_column(Boolean, default=False)
    created: Mapped[float] = mapped_column(Float)
    changed: Mapped[float] = mapped_column(Float)
    """When the password was set last."""


class SessionRow(Table):
    """A browser in which somebody has logged in; `digest` is that of its secret."""

    __tablename__ = "sessions"

    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    began: Mapped[float] = mapped_column(Float)
    seen: Mapped[float] = mapped_column(Float)
    ends: Mapped[float] = mapped_column(Float, index=True)
    address: Mapped[str] = mapped_column(String(64))
    browser: Mapped[str] = mapped_column(String(TEXT_LENGTH))


class TokenRow(Table):
    """What a program shows instead of a password; `scopes` are words separated by blanks."""

    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    label: Mapped[str] = mapped_column(String(NAME_LENGTH))
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    scopes: Mapped[str] = mapped_column(String(TEXT_LENGTH))
    created: Mapped[float] = mapped_column(Float)
    ends: Mapped[float] = mapped_column(Float, index=True)
    used: Mapped[float | None] = mapped_column(Float, nullable=True)


class AttemptRow(Table):
    """How often somebody has failed: one counter per user, address or known browser."""

    __tablename__ = "attempts"

    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    failures: Mapped[int] = mapped_column(Integer)
    last: Mapped[float] = mapped_column(Float, index=True)


class AuditRow(Table):
    """Something that was done; `name` is a copy, since users can go while this stays.

    `actor` is who did it: a user, or ``host:`` and a login name on the host; empty if not known.
    """

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[float] = mapped_column(Float, index=True)
    event: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    address: Mapped[str] = mapped_column(String(64))
    detail: Mapped[str] = mapped_column(String(TEXT_LENGTH))
    actor: Mapped[str] = mapped_column(String(ACTOR_LENGTH), default="", server_default="")

    __table_args__ = (Index("ix_audit_name_at", "name", "at"),)
