"""What monitors get of the dashboard itself, beside databases and servers: its accounts."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from dqm_app.login.watch import AccountsState, AccountsWatch
from dqm_app.metrics import one_value


def accounts_metrics(accounts: AccountsWatch) -> Iterator[Metric]:
    """Of the accounts; nothing where nobody logs in, or before anybody has asked."""
    state, facts = accounts.state, accounts.facts
    if state in (AccountsState.NONE, AccountsState.STARTING):
        return
    yield one_value("dqm_accounts_reachable", "1 if users can log in.", state is AccountsState.OK)
    monitor = None if facts is None else facts.monitor
    yield one_value(
        "dqm_metrics_token_expiry_timestamp_seconds",
        "When the first token ends with which a monitor reads this.",
        None if monitor is None else monitor.ends,
    )
