"""What each server process has one of, kept where Bokeh hands it to whoever asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dqm_app.metrics import Metrics
    from dqm_app.service import Service

_SERVICE = "dqm_service"
_METRICS = "dqm_metrics"


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
