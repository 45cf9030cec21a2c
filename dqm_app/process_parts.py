"""What each server process has one of, kept where Bokeh hands it to whoever asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dqm_app.api.parts import Api
    from dqm_app.downloads.parts import Downloads
    from dqm_app.login.gate import Gate
    from dqm_app.login.watch import AccountsWatch
    from dqm_app.metrics import Metrics
    from dqm_app.service import Service

_SERVICE = "dqm_service"
_METRICS = "dqm_metrics"
_GATE = "dqm_gate"
_ACCOUNTS = "dqm_accounts"
_DOWNLOADS = "dqm_downloads"
_API = "dqm_api"


def give_service(server_context: Any, service: Service) -> None:
    """Make *service* the one of this process's server."""
    setattr(server_context, _SERVICE, service)


def service_of(server_context: Any) -> Service:
    """The service of this process's server."""
    return getattr(server_context, _SERVICE)


def give_metrics(server_context: Any, metrics: Metrics) -> None:
    """Make *metrics* those of this process's server."""
    setattr(server_context, _METRICS, metrics)


def metrics_of(server_context: Any) -> Metrics:
    """The metrics of this process's server."""
    return getattr(server_context, _METRICS)


def give_gate(server_context: Any, gate: Gate) -> None:
    """Make *gate* the one of this process's server."""
    setattr(server_context, _GATE, gate)


def gate_of(server_context: Any) -> Gate:
    """Finds out who calls this process's server."""
    return getattr(server_context, _GATE)


def give_accounts(server_context: Any, accounts: AccountsWatch) -> None:
    """Make *accounts* what this process's server knows of the accounts."""
    setattr(server_context, _ACCOUNTS, accounts)


def accounts_of(server_context: Any) -> AccountsWatch:
    """What this process's server knows of the accounts."""
    return getattr(server_context, _ACCOUNTS)


def give_downloads(server_context: Any, downloads: Downloads) -> None:
    """Make *downloads* those of this process's server."""
    setattr(server_context, _DOWNLOADS, downloads)


def downloads_of(server_context: Any) -> Downloads:
    """The downloads of this process's server."""
    return getattr(server_context, _DOWNLOADS)


def give_api(server_context: Any, api: Api) -> None:
    """Make *api* the programming interface of this process's server."""
    setattr(server_context, _API, api)


def api_of(server_context: Any) -> Api:
    """What the programming interface of this process's server has."""
    return getattr(server_context, _API)
