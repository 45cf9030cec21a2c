"""What Bokeh calls when a server process starts and stops; the routes are added on import.

(`app_hooks.py` is Bokeh's name for this file. It is run before the server reads its routes.)
"""

from __future__ import annotations

import gc
import os
import sys
from typing import Any

from bokeh.core.validation import silence
from bokeh.core.validation.warnings import EMPTY_LAYOUT

from dqm_app.api.parts import Api
from dqm_app.downloads.parts import Downloads
from dqm_app.limits import limit_clients
from dqm_app.log_lines import keep_lines_printable
from dqm_app.login.watch import AccountsWatch
from dqm_app.metrics_folder import MetricsFolder
from dqm_app.process_parts import (
    api_of,
    downloads_of,
    gate_of,
    give_accounts,
    give_api,
    give_downloads,
    give_gate,
    give_metrics,
    give_service,
    service_of,
)
from dqm_app.processes import stop_with_parent
from dqm_app.routes import add_routes
from dqm_app.server_settings import ServerSettings
from dqm_app.service import Service
from dqm_app.system_page import SystemPage
from dqm_db.errors import DQMError
from dqm_db.status.limits import Limits
from dqm_db.storage import open_database

METRICS = MetricsFolder.make()
add_routes()
limit_clients()
keep_lines_printable()
silence(EMPTY_LAYOUT, True)  # views are put into their containers when they are first looked at
STARTED_IN = os.getpid()  # the process that forks, if there are several
try:
    SETTINGS = ServerSettings.read()
except DQMError as error:
    # `dqm serve` has found out before; Bokeh would print pages of its own code around an exception
    print(f"dqm: {error}", file=sys.stderr)
    sys.exit(error.exit_code)


def on_server_loaded(server_context: Any) -> None:
    """Start what all sessions of this process share; runs after the fork, on the event loop."""
    # these look for the files of the process
    from dqm_app.dashboard_metrics import dashboard_metrics
    from dqm_app.metrics import Metrics, ProcessMeters

    meters = ProcessMeters(METRICS)
    service = Service(
        SETTINGS.dashboard,
        lambda: open_database(SETTINGS.database, must_answer=False),
        SETTINGS.servers,
        meters,
        SystemPage.of(SETTINGS.database),
    )
    # Bokeh collects garbage whenever a session ends: not among the modules and classes again
    gc.collect()
    gc.freeze()
    gate = SETTINGS.login.open_gate(meters)
    limits = Limits.of(SETTINGS.dashboard)
    accounts = AccountsWatch(gate, limits)
    downloads = Downloads(SETTINGS.downloads, limits)
    service.system.ask_also(accounts.items)
    service.system.ask_also(downloads.items)
    service.start()
    give_service(server_context, service)
    give_gate(server_context, gate)
    give_accounts(server_context, accounts)
    give_api(server_context, Api(SETTINGS.dashboard.read_threads))
    downloads.start()
    give_downloads(server_context, downloads)
    give_metrics(
        server_context, Metrics(service, METRICS, lambda: dashboard_metrics(accounts, downloads))
    )
    if os.getpid() != STARTED_IN:
        stop_with_parent(STARTED_IN)


def process_request(request: Any) -> dict[str, Any]:
    """What the token of a page says besides: for which login it is."""
    return SETTINGS.login.token_payload(request)


def on_session_destroyed(session_context: Any) -> None:
    """Stop what is done for a page that is gone."""
    service_of(session_context.server_context).session_closed(session_context.id)


def on_server_unloaded(server_context: Any) -> None:
    """Close the databases."""
    service_of(server_context).close()
    gate_of(server_context).close()
    downloads_of(server_context).close()
    api_of(server_context).close()
    if os.getpid() != STARTED_IN and os.getppid() != STARTED_IN:
        METRICS.remove()  # the parent, who would, is gone
