"""Whether the accounts can be used, and what somebody should look at: for monitors."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Self

from sqlalchemy import select
from sqlalchemy.orm import Session

from dqm_app.accounts import users
from dqm_app.accounts.errors import AccountsUnavailable
from dqm_app.accounts.tables import TokenRow
from dqm_app.accounts.tokens import Scope, Token
from dqm_db.status.limits import DAY, Limits
from dqm_db.status.model import Item, Level
from dqm_db.status.words import duration


@dataclass(frozen=True, slots=True)
class AccountsFacts:
    """What the accounts say of themselves.

    Attributes
    ----------
    has_users : bool
    monitor : Token or None
        Of those with which monitors have read ``/metrics`` within a day, the one that ends first.
    """

    has_users: bool
    monitor: Token | None = None

    @classmethod
    def read(cls, session: Session) -> Self:
        """Those of now."""
        now = time.time()
        rows = session.scalars(
            select(TokenRow)
            .where(TokenRow.used > now - DAY, TokenRow.ends > now)
            .order_by(TokenRow.ends)
        )
        read = (Token.of(row) for row in rows)
        monitor = next((token for token in read if Scope.METRICS in token.scopes), None)
        return cls(users.exist(session), monitor)


def judge_accounts(facts: AccountsFacts | AccountsUnavailable, limits: Limits) -> list[Item]:
    """What is to be said of them, or of the error with which they answered."""
    key, title, now = "accounts", "Accounts", time.time()
    if isinstance(facts, AccountsUnavailable):
        text = f"Nobody can log in or open a page: {facts}."
        return [Item(Level.CRITICAL, key, title, text)]
    said = "" if facts.has_users else " Nobody has one yet: dqm user add NAME --role admin."
    items = [Item(Level.OK, key, title, f"They can be reached.{said}")]
    token = facts.monitor
    if token is not None:
        left = token.ends - now
        level = Level.WARNING if left < limits.token_warning else Level.OK
        advice = ": give the monitor another one" if level is Level.WARNING else ""
        text = f"The token {token.label!r} ({token.id}) ends in {duration(left)}{advice}."
        items.append(
            Item(level, "metrics-token", "Token of the monitor", text, value=left, unit="s")
        )
    return items
