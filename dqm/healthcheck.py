"""``dqm healthcheck``: whether what this host or container serves answers."""

from __future__ import annotations

import asyncio
import http.client
import ipaddress
import os
import ssl
import time
from collections.abc import Sequence
from pathlib import Path

import click

from dqm_db.errors import ConfigurationError, DQMError
from dqm_db.settings import ServerSettings, SystemSettings, load

ROLES = {
    # command of `dqm`: what it is
    "primary": "server",
    "replica": "server",
    "serve": "dashboard",
    "repeat": "repeat",
}
SITE = "site"
SITE_PROGRAM = "web.sh"
LATE = 60.0
"""Seconds after which a call that was not made is missed."""


class NotHealthy(DQMError):
    """What should answer here does not, or has failed."""

    exit_code = 69


@click.command()
@click.argument("role", required=False, type=click.Choice(sorted({*ROLES.values(), SITE})))
@click.option("--patience", type=click.FloatRange(min=0.1), default=5.0, show_default=True)
def healthcheck(role: str | None, patience: float) -> None:
    """Say whether what is served here answers: exit code 0, or 69.

    The server of the database is asked at DQM_ZEO_ADDRESS, the dashboard at DQM_SERVE_ADDRESS and
    DQM_SERVE_PORT, the site of nginx at DQM_WEB_LISTEN; of `dqm repeat`, the last call counts.
    Without a role it is that of the container's first process.
    """
    if role is None:
        role = _role_of_container()
        if role is None:
            click.echo("nothing is served here, and it runs")
            return
        if "LISTEN_FDS" in os.environ:
            raise ConfigurationError(
                "the sockets here are systemd's, which knows by itself whether they are served"
            )
    match role:
        case "server":
            said = _server(patience)
        case "dashboard":
            said = _dashboard(patience)
        case "site":
            said = _site(patience)
        case _:
            said = _repeat()
    click.echo(said)


def _role_of_container() -> str | None:
    """By the command line of the first process; None: neither a server nor the like."""
    return role_of(Path("/proc/1/cmdline").read_text("utf-8", "replace").split("\0"))


def role_of(words: Sequence[str]) -> str | None:
    """What serves who was started with these *words*: ``tini -- dqm primary``."""
    programs = [word.rpartition("/")[2] for word in words]
    if SITE_PROGRAM in programs:
        return SITE
    following = words[programs.index("dqm") + 1 :] if "dqm" in programs else ()
    return ROLES.get(next((word for word in following if not word.startswith("-")), ""))


def _here(host: str) -> str:
    """Where somebody on this host reaches what listens at *host*."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def _server(patience: float) -> str:
    from dqm_db.replication.addresses import Address
    from dqm_db.server_answers import ask_status
    from dqm_db.tls import client_context

    address = Address.parse(load(ServerSettings).zeo_address, "DQM_ZEO_ADDRESS")
    tls = client_context(load(SystemSettings))
    if tls is not None:
        tls.check_hostname = False  # it may be certified for other names than that of loopback
    answer = asyncio.run(ask_status(_here(address.host), address.port, patience, tls))
    return f"{answer.role or 'server'} answers at {address}"


def _dashboard(patience: float) -> str:
    from dqm_app.settings import DashboardSettings

    settings = load(DashboardSettings)
    host = _here(settings.serve_address)
    connection = http.client.HTTPConnection(host, settings.serve_port, timeout=patience)
    _get(connection, f"{settings.serve_prefix}/health", f"{host}:{settings.serve_port}")
    return f"dashboard answers at {settings.serve_address}:{settings.serve_port}"


def _site(patience: float) -> str:
    listen = os.environ.get("DQM_WEB_LISTEN", "443").split()[0]
    host, _, port = listen.rpartition(":")
    if not port.isdecimal():
        raise ConfigurationError(f"DQM_WEB_LISTEN: {listen!r} is no PORT or ADDRESS:PORT")
    here = _here(host.strip("[]")) if host else "127.0.0.1"
    tls = ssl.create_default_context()
    tls.check_hostname = False  # it is for browsers to say whether they trust it
    tls.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection(here, int(port), timeout=patience, context=tls)
    path = f"{os.environ.get('DQM_WEB_PREFIX', '')}/alive"
    _get(connection, path, f"{here}:{port}", os.environ.get("DQM_WEB_ORIGIN"))
    return f"site and dashboard answer at {listen}"


def _get(
    connection: http.client.HTTPConnection, path: str, place: str, host: str | None = None
) -> None:
    """Ask for *path*; raises `NotHealthy` for any other answer than 200."""
    try:
        connection.request("GET", path, headers={"Host": host} if host else {})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise NotHealthy(f"{place} does not answer: {error}") from error
    finally:
        connection.close()
    if status != http.client.OK:
        raise NotHealthy(f"{place} answers with {status} to {path}")


def _repeat() -> str:
    from dqm.repeat import Calls, RepeatSettings

    path = load(RepeatSettings).repeat_status
    if path is None:
        raise ConfigurationError("DQM_REPEAT_STATUS is not set, here or for dqm repeat")
    try:
        calls = Calls.read(path)
    except (OSError, ValueError) as error:
        raise NotHealthy(f"dqm repeat has noted nothing that can be read ({error})") from error
    is_under_way = calls.started is not None and calls.ended is None
    if calls.is_fine is False:
        raise NotHealthy(f"the last call that ended, ended with {calls.exit_code}; see the log")
    if not is_under_way and time.time() > calls.next + LATE:
        raise NotHealthy(f"a call was due {time.time() - calls.next:.0f} s ago")
    if is_under_way:
        return "a call is under way"
    return "the last call went well" if calls.is_fine else "the first call is not due yet"
