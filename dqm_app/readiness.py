"""Whether a dashboard process should get visitors: it can read the database, which is fresh."""

from __future__ import annotations

import time
from typing import Any

from dqm_app.database_health import State
from dqm_app.login.watch import AccountsState
from dqm_app.service import Service
from dqm_db.server_answers import transaction_time
from dqm_db.status.collecting import primary_of

READABLE = (State.OK, State.EMPTY, State.WAITING)
"""States in which pages get what they ask for, be it slowly."""


def lag_seconds(service: Service, now: float) -> float | None:
    """How long the primary has had something that *service* does not see; None: not known.

    Parameters
    ----------
    service
        It asks the primary of ``DQM_PRIMARY_ZEO`` every few seconds. Without that setting, it
        is the one found among all servers a moment ago; the age of the last transaction here is
        then the most that it can be.
    now
        Unix seconds.
    """
    replica = service.freshness.replica
    if service.settings.primary is not None:
        if replica is None or replica.silent_since is not None:
            return None
        return 0.0 if replica.behind_since is None else max(0.0, now - replica.behind_since)
    status, seen = service.system.status, service.last_transaction
    primary = None if status is None else primary_of(status.servers)
    if primary is None or primary.answer is None or seen is None:
        return None
    if seen >= primary.answer.last_transaction:
        return 0.0
    made = transaction_time(seen)
    return None if made is None else max(0.0, now - made)


def readiness(
    service: Service,
    now: float | None = None,
    accounts: AccountsState = AccountsState.NONE,
) -> dict[str, Any]:
    """The answer of ``/ready``.

    Accounts that cannot be reached are a reason to look, and none to send visitors elsewhere: all
    dashboards of a site share them, so that a proxy would take away every one, and nobody would be
    left to say why.

    Returns
    -------
    dict
        ``ready``; ``reasons`` why not, and what else visitors will miss, sentences; ``database``,
        the state of `Health`; ``accounts``, that of `AccountsState`; ``lag_seconds`` and its limit
        ``lag_alert_seconds``.
    """
    now = time.time() if now is None else now
    health = service.health
    lag = lag_seconds(service, now)
    limit = service.settings.lag_alert
    reasons = []
    if health.state not in READABLE:
        reasons.append(health.text or "The database has not answered yet.")
    if lag is not None and lag > limit:
        reasons.append(
            f"The database is {lag:.0f} s behind the primary, more than the {limit:g} s of "
            "DQM_LAG_ALERT."
        )
    is_ready = not reasons
    if accounts is AccountsState.DOWN:
        reasons.append("The accounts cannot be reached: nobody can log in, or open a page.")
    return {
        "ready": is_ready,
        "reasons": reasons,
        "database": str(health.state),
        "database_since": health.since,
        "accounts": str(accounts),
        "lag_seconds": lag,
        "lag_alert_seconds": limit,
    }
