"""One server process of ``dqm serve``: Bokeh's server around the application in this folder."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
from collections.abc import Sequence
from pathlib import Path
from socket import AF_UNIX, socket

from bokeh.application.application import Application
from bokeh.command.util import build_single_handler_application
from bokeh.server.auth_provider import NullAuth
from bokeh.server.server import BaseServer
from bokeh.server.tornado import BokehTornado
from bokeh.server.util import create_hosts_allowlist
from bokeh.settings import settings as bokeh_settings
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop

from dqm_app.accounts.settings import AccountSettings
from dqm_app.login.provider import LoginProvider
from dqm_app.settings import DashboardSettings
from dqm_db.service_manager import READY, notify
from dqm_db.settings import load

APPLICATION = Path(__file__).parent

# A session whose page is gone lives for the first and is found by the second: below 40 s together,
# with room for a page that is slow to open its websocket.
UNUSED_LIFETIME_MS = 15_000
CHECK_UNUSED_MS = 5_000
KEEP_ALIVE_MS = 25_000  # proxies give up on silent connections after 60 s
TOKEN_SECONDS = 300
# What a view sends shrinks to a quarter, for 1 ms and 110 kB of memory for each page; the levels
# above gain a tenth more.
COMPRESSION = 1
COMPRESSION_MEMORY = 5


def load_application() -> Application:
    """The application in this folder; loaded before the fork, processes share its memory."""
    return build_single_handler_application(str(APPLICATION))


def serve_application(
    application: Application,
    settings: DashboardSettings,
    sockets: Sequence[socket],
    *,
    secret_key: str,
    use_xheaders: bool,
    child: bool,
) -> None:
    """Serve on *sockets* until SIGTERM (or SIGINT, unless this is a child of a supervisor)."""
    tornado = routed(application, settings, origins(settings, sockets), secret_key)
    http = HTTPServer(tornado, xheaders=use_xheaders)  # within `dqm_app.limits`
    http.add_sockets(sockets)
    loop = IOLoop.current()
    server = BaseServer(loop, tornado, http)
    if not child:
        notify(READY)
        asyncio.get_event_loop().add_signal_handler(signal.SIGINT, loop.stop)
    server.run_until_shutdown()


def routed(
    application: Application, settings: DashboardSettings, hosts: Sequence[str], secret_key: str
) -> BokehTornado:
    """What answers each address; pages opened from *hosts* may open a websocket."""
    return BokehTornado(
        {f"/{APPLICATION.name}": application},
        prefix=settings.serve_prefix,
        extra_websocket_origins=list(hosts),
        sign_sessions=True,
        secret_key=(bokeh_settings.secret_key() or secret_key).encode(),
        session_token_expiration=TOKEN_SECONDS,
        unused_session_lifetime_milliseconds=UNUSED_LIFETIME_MS,
        check_unused_sessions_milliseconds=CHECK_UNUSED_MS,
        keep_alive_milliseconds=KEEP_ALIVE_MS,
        websocket_compression_level=COMPRESSION,
        websocket_compression_mem_level=COMPRESSION_MEMORY,
        include_headers=[],  # they would only make the token longer
        include_cookies=[],
        auth_provider=LoginProvider() if load(AccountSettings).auth == "accounts" else NullAuth(),
        xsrf_cookies=True,
    )


def origins(settings: DashboardSettings, sockets: Sequence[socket]) -> list[str]:
    """Hosts from which pages may open a websocket: those allowed, and this machine's own names.

    A UNIX socket has none of its own: its pages come from the web server before it.
    """
    own = set()
    for listener in sockets:
        if listener.family == AF_UNIX:
            continue
        host, port = listener.getsockname()[:2]
        names = {"localhost", "127.0.0.1", settings.serve_address, host}
        own |= {
            f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
            for name in names
            if not _is_unspecified(name)
        }
    allowed = settings.allowed_origins
    return [*(create_hosts_allowlist(allowed, None) if allowed else ()), *sorted(own)]


def _is_unspecified(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False  # a host name
