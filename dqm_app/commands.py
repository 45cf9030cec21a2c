"""``dqm serve``: the dashboard, with settings that suit it."""

from __future__ import annotations

import functools
import logging
import os
import secrets
import signal
import sys

import click

from dqm_app.accounts.settings import STARTED_BY, AccountSettings
from dqm_app.settings import DashboardSettings
from dqm_db.errors import ConfigurationError
from dqm_db.settings import DatabaseSettings, load

log = logging.getLogger(__name__)


@click.command()
@click.option("--address", help="Address to listen on.  [DQM_SERVE_ADDRESS]")
@click.option("--port", type=int, help="Port to listen on; 0 picks one.  [DQM_SERVE_PORT]")
@click.option("--num-procs", type=int, help="Processes; 0: one per processor.  [DQM_NUM_PROCS]")
@click.option("--db", metavar="URL", help="Database to show.  [DQM_DB_URL]")
@click.option(
    "--allow-websocket-origin",
    "origins",
    multiple=True,
    metavar="HOST:PORT",
    help="Where pages may come from; loopback always may.  [DQM_ALLOWED_ORIGINS]",
)
@click.option("--prefix", help="Path below which a proxy serves the dashboard.  [DQM_SERVE_PREFIX]")
@click.option("--use-xheaders", is_flag=True, help="Trust X-Real-Ip and X-Scheme of the proxy.")
@click.option("-v", "--verbose", is_flag=True, help="Log every connection.")
def serve(
    address: str | None,
    port: int | None,
    num_procs: int | None,
    db: str | None,
    origins: tuple[str, ...],
    prefix: str | None,
    use_xheaders: bool,
    verbose: bool,
) -> None:
    """Serve the dashboard until Ctrl-C or SIGTERM.

    It starts whether or not the database answers, and shows new runs by itself. Users log in
    (`dqm user`) unless DQM_AUTH is `none`. Logins and sessions are signed with BOKEH_SECRET_KEY, or
    with a key made for this start when that is not set.
    """
    if db is not None:
        os.environ["DQM_DB_URL"] = db  # read again by the application's hooks
    load(DatabaseSettings)
    settings = load(
        DashboardSettings,
        serve_address=address,
        serve_port=port,
        num_procs=num_procs,
        allowed_origins=origins or None,
        serve_prefix=prefix,
    )
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(process)d %(name)s: %(message)s")
    logging.getLogger("dqm_app").setLevel(logging.INFO)
    run(settings, use_xheaders=use_xheaders)


def run(settings: DashboardSettings, *, use_xheaders: bool = False) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises
    ------
    ConfigurationError
        Nothing can listen on that address and port.
    """
    for number in (signal.SIGTERM, signal.SIGINT):  # until the server has handlers of its own
        signal.signal(number, lambda *_: sys.exit(0))

    from bokeh.server.util import bind_sockets

    try:
        sockets, port = bind_sockets(settings.serve_address, settings.serve_port)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {settings.serve_address}:{settings.serve_port}: {error.strerror}; "
            "choose another one with --address and --port"
        ) from error
    click.echo(f"http://{settings.serve_address}:{port}{settings.serve_prefix}/")

    if load(AccountSettings).auth == "accounts" and not os.environ.get("BOKEH_SECRET_KEY"):
        log.warning(
            "BOKEH_SECRET_KEY is not set: everybody logs in again after a restart, and other hosts "
            "take no login of this one; `bokeh secret` makes a key"
        )
    secret = os.environ.get("BOKEH_SECRET_KEY") or secrets.token_urlsafe(32)
    os.environ["BOKEH_SECRET_KEY"] = secret
    os.environ[STARTED_BY] = "1"
    from dqm_app.processes import Supervisor
    from dqm_app.server import load_application, serve_application

    serve_one = functools.partial(
        serve_application,
        load_application(),
        settings,
        sockets,
        port,
        secret_key=secret,
        use_xheaders=use_xheaders,
    )
    if settings.processes == 1:
        serve_one(child=False)
    else:
        Supervisor(settings.processes, lambda: serve_one(child=True)).run()
