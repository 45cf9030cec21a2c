"""Whether the accounts can be reached, as one dashboard process finds out every few seconds."""

from __future__ import annotations

import enum
import time
from dataclasses import replace

from dqm_app.accounts.accounts import Accounts
from dqm_app.accounts.errors import AccountsUnavailable
from dqm_app.accounts.facts import AccountsFacts, judge_accounts
from dqm_app.login.gate import Gate
from dqm_app.patience import PATIENCE_SECONDS, PatientQuestion
from dqm_app.short_silence import GRACE_SECONDS
from dqm_db.status.limits import Limits
from dqm_db.status.model import Item, Level


class AccountsState(enum.StrEnum):
    """What is known of the accounts."""

    NONE = "none"  # DQM_AUTH=none
    STARTING = "starting"  # nobody has asked yet
    OK = "ok"
    DOWN = "down"


class AccountsWatch:
    """Asks the accounts how they are.

    Parameters
    ----------
    gate : Gate
    limits : Limits

    Attributes
    ----------
    facts : AccountsFacts or None
        As of the last time that they answered.
    """

    def __init__(self, gate: Gate, limits: Limits) -> None:
        self.facts: AccountsFacts | None = None
        self._gate = gate
        self._limits = limits
        self._error: AccountsUnavailable | None = None
        self._silent_since: float | None = None
        self._question: PatientQuestion[AccountsFacts] = PatientQuestion()

    @property
    def state(self) -> AccountsState:
        """As of a few seconds ago."""
        if self._gate.accounts is None:
            return AccountsState.NONE
        if self._error is not None:
            return AccountsState.DOWN
        return AccountsState.STARTING if self.facts is None else AccountsState.OK

    async def items(self) -> list[Item]:
        """Ask, and judge: a silence that has just begun is a warning."""
        accounts = self._gate.accounts
        if accounts is None:
            return []
        try:
            self.facts = await self._ask(accounts)
        except AccountsUnavailable as error:
            self._error = error
        else:
            self._error = self._silent_since = None
            return judge_accounts(self.facts, self._limits)
        now = time.monotonic()
        if self._silent_since is None:
            self._silent_since = now
        items = judge_accounts(self._error, self._limits)
        if now - self._silent_since < GRACE_SECONDS:
            return [replace(item, level=Level.WARNING) for item in items]
        return items

    async def _ask(self, accounts: Accounts) -> AccountsFacts:
        """One question at a time: threads that wait for a silent server are those of the login."""
        try:
            return await self._question.answer(lambda: self._gate.run(accounts.facts))
        except TimeoutError as error:
            raise AccountsUnavailable(
                f"the database of accounts does not answer within {PATIENCE_SECONDS:.0f} s"
            ) from error
