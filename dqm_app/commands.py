"""``dqm serve``: the dashboard, with settings that suit it."""

from __future__ import annotations

import functools
import gc
import logging
import os
import secrets
import signal
import socket
import sys

import click

from dqm_app.accounts.settings import STARTED_BY, AccountSettings
from dqm_app.downloads.settings import DownloadSettings
from dqm_app.settings import DashboardSettings
from dqm_db.errors import ConfigurationError
from dqm_db.inherited_sockets import BROWSERS, InheritedSockets
from dqm_db.settings import DatabaseSettings, load, secret

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
    with a key made for this start when that is not set. It listens at the sockets that it inherits,
    if there are any, instead of --address and --port.
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
        Nothing can listen on that address and port, or a setting has no usable value.
    AccountsUnavailable, NewerAccounts
    """
    for number in (signal.SIGTERM, signal.SIGINT):  # until the server has handlers of its own
        signal.signal(number, lambda *_: sys.exit(0))

    key = secret("BOKEH_SECRET_KEY")
    downloads = load(DownloadSettings)
    if key is None and downloads.downloads_queue:
        from dqm_app.downloads.queue import check_queue

        check_queue(downloads)  # a key of this start is not that of the workers
    if key is None and load(AccountSettings).auth == "accounts":
        log.warning(
            "BOKEH_SECRET_KEY is not set: everybody logs in again after a restart, and other hosts "
            "take no login of this one; `bokeh secret` makes a key"
        )
    # where the application's hooks, and Bokeh, look for it
    os.environ["BOKEH_SECRET_KEY"] = key = key or secrets.token_urlsafe(32)
    os.environ[STARTED_BY] = "1"

    # Nothing of what is imported is garbage; looking for some takes a fifth of the start, and in
    # each process makes copies of memory that they share.
    gc.disable()
    from dqm_app.processes import Supervisor
    from dqm_app.server import load_application, serve_application
    from dqm_app.server_settings import ServerSettings

    ServerSettings.read()  # the application reads them again, where Bokeh would hide what is wrong
    sockets = _sockets(settings)
    application = load_application()
    gc.freeze()
    gc.enable()
    serve_one = functools.partial(
        serve_application,
        application,
        settings,
        sockets,
        secret_key=key,
        use_xheaders=use_xheaders,
    )
    if settings.processes == 1:
        serve_one(child=False)
    else:
        Supervisor(settings.processes, lambda: serve_one(child=True)).run()


def _sockets(settings: DashboardSettings) -> list[socket.socket]:
    """Those that were inherited, else one at the address of *settings*; says where they listen."""
    inherited = InheritedSockets.take(BROWSERS)
    for one in inherited:
        shown = one.address if one.address.path else f"http://{one.address}{settings.serve_prefix}/"
        click.echo(f"{shown} (inherited)")
    if inherited:
        if not settings.allowed_origins and all(one.address.path for one in inherited):
            click.echo(
                "dqm: warning: pages will not work, since a UNIX socket has no name that browsers "
                "use: set DQM_ALLOWED_ORIGINS to the one in their address bars",
                err=True,
            )
        return [one.listener() for one in inherited]

    from bokeh.server.util import bind_sockets

    try:
        sockets, port = bind_sockets(settings.serve_address, settings.serve_port)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {settings.serve_address}:{settings.serve_port}: {error.strerror}; "
            "choose another one with --address and --port"
        ) from error
    click.echo(f"http://{settings.serve_address}:{port}{settings.serve_prefix}/")
    return sockets
