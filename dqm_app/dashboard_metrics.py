"""What monitors get of the dashboard itself, beside databases and servers."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from dqm_app.downloads.basket import State
from dqm_app.downloads.facts import ShelfFacts
from dqm_app.downloads.parts import Downloads
from dqm_app.login.watch import AccountsState, AccountsWatch
from dqm_app.metrics import one_value


def dashboard_metrics(accounts: AccountsWatch, downloads: Downloads) -> Iterator[Metric]:
    """All of it."""
    yield from accounts_metrics(accounts)
    if downloads.facts is not None:
        yield from shelf_metrics(downloads.facts)


def shelf_metrics(facts: ShelfFacts) -> Iterator[Metric]:
    """Of the baskets of runs."""
    baskets = GaugeMetricFamily("dqm_baskets", "Baskets of runs, by state.", labels=["state"])
    for state in State:
        baskets.add_metric([str(state)], facts.baskets.get(state, 0))
    yield baskets
    yield one_value("dqm_baskets_bytes", "What they take of the disk, or will.", facts.bytes)
    yield one_value("dqm_baskets_limit_bytes", "What they may take.", facts.most_bytes)
    yield one_value(
        "dqm_baskets_waiting_since_timestamp_seconds",
        "Since when the oldest basket waits that nobody builds.",
        facts.waiting_since,
    )
    yield one_value(
        "dqm_baskets_idle_since_timestamp_seconds",
        "Since when no worker has built anything although a basket waits.",
        facts.idle_since,
    )


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
