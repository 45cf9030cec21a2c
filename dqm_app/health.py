"""What monitors and load balancers ask: ``/health``, ``/ready`` and ``/metrics``."""

from __future__ import annotations

import hmac
import os
import time
from http import HTTPStatus
from typing import ClassVar

from dqm_app.accounts.tokens import Scope
from dqm_app.login.access import Access, Guarded
from dqm_app.login.visitors import bearer_of
from dqm_app.process_parts import accounts_of, metrics_of, service_of
from dqm_app.readiness import readiness

HEALTH = r"/health"
READY = r"/ready"
METRICS = r"/metrics"


class Monitored(Guarded):
    """Answers a question of a monitor; answers are never stored on the way."""

    access: ClassVar[Access] = Access.OPEN

    def set_default_headers(self) -> None:
        """Every answer is of this moment."""
        self.set_header("Cache-Control", "no-store")

    def _log(self) -> None:
        """Log nothing: monitors ask every few seconds, and a 503 is an answer like any other."""


class HealthCheck(Monitored):
    """Says that this process lives: its event loop answers, whatever the database does."""

    def get(self) -> None:
        """Answer at once."""
        self.write({"alive": True, "process": os.getpid(), "now": time.time()})

    head = get


class ReadyCheck(Monitored):
    """Says whether pages can be served, with 200 or 503."""

    def get(self) -> None:
        """Answer from what is known already."""
        accounts = accounts_of(self.server_context).state
        answer = readiness(service_of(self.server_context), accounts=accounts)
        if not answer["ready"]:
            self.set_status(HTTPStatus.SERVICE_UNAVAILABLE)
        self.write(answer)

    head = get


class MetricsPage(Monitored):
    """Gives the metrics of all processes of this dashboard; they tell how much it is used."""

    access: ClassVar[Access] = Access.ADMIN
    scope: ClassVar[Scope | None] = Scope.METRICS

    async def prepare(self) -> None:
        """Let the monitor of DQM_METRICS_TOKEN in, and whom the accounts know."""
        if not self._is_monitor():
            await super().prepare()

    def _is_monitor(self) -> bool:
        secret = service_of(self.server_context).settings.metrics_token
        if secret is None:
            return False
        shown, right = bearer_of(self), secret.get_secret_value().encode()
        return shown is not None and hmac.compare_digest(shown.encode(), right)

    async def get(self) -> None:
        """In the format that is asked for."""
        accept = self.request.headers.get("Accept", "")
        page, media = await metrics_of(self.server_context).page(accept)
        self.set_header("Content-Type", media)
        self.write(page)
