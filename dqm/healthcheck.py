"""``dqm healthcheck``: whether what this host or container serves answers.

Container engines call it every few seconds, in each container: so it needs nothing but Python's own
library, and reads the few settings that it needs by itself. Loading all settings, or what speaks to
servers elsewhere (`dqm_db.server_answers`), takes four times as long.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
import socket
import ssl
import struct
import time
from collections.abc import Sequence
from pathlib import Path

import click

from dqm_db.errors import ConfigurationError, DQMError

DEFAULTS = {
    # as in the settings classes (tests/dqm/test_healthcheck.py)
    "DQM_REPEAT_STATUS": "",
    "DQM_SERVE_ADDRESS": "127.0.0.1",
    "DQM_SERVE_PORT": "5006",
    "DQM_SERVE_PREFIX": "",
    "DQM_TLS_CA": "",
    "DQM_TLS_CERT": "",
    "DQM_TLS_KEY": "",
    "DQM_ZEO_ADDRESS": "127.0.0.1:8100",
}
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

_ARE_YOU_OK = struct.pack(">I", 4) + b"ruok"
_LONGEST_ANSWER = 262_144


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


def setting(variable: str) -> str:
    """Value of one of `DEFAULTS`: of the environment, of the folder of secrets, or the default."""
    if variable in os.environ:
        return os.environ[variable]
    given = os.environ.get("DQM_SECRETS_DIR") or os.environ.get("CREDENTIALS_DIRECTORY")
    try:
        return (Path(given or "/run/secrets") / variable).read_text("utf-8").strip()
    except FileNotFoundError:
        return DEFAULTS[variable]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read the secret {variable} ({error})") from error


def _address(text: str, variable: str) -> tuple[str, int]:
    """Where somebody on this host reaches what listens at ``PORT`` or ``HOST:PORT``."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal():
        raise ConfigurationError(f"{variable}: {text!r} is no HOST:PORT")
    return _here(host.removeprefix("[").removesuffix("]")) if host else "127.0.0.1", int(port)


def _server(patience: float) -> str:
    listen = setting("DQM_ZEO_ADDRESS")
    host, port = _address(listen, "DQM_ZEO_ADDRESS")
    try:
        with socket.create_connection((host, port), patience) as plain:
            authority = setting("DQM_TLS_CA")
            if authority:
                tls = ssl.create_default_context(cafile=authority)
                # it may be certified for other names than that of loopback
                tls.check_hostname = False
                tls.load_cert_chain(setting("DQM_TLS_CERT"), setting("DQM_TLS_KEY"))
                with tls.wrap_socket(plain) as connection:
                    status = _ask(connection)
            else:
                status = _ask(plain)
        role = status["1"].get("dqm", {}).get("role", "server")
        return f"{role} answers at {listen}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotHealthy(f"{host}:{port} does not answer: {error or repr(error)}") from error


def _ask(connection: socket.socket) -> dict[str, dict[str, dict[str, str]]]:
    """What a server says of itself (`dqm_db.server_answers` describes how)."""
    with connection.makefile("rb") as stream:

        def message() -> bytes:
            (length,) = struct.unpack(">I", stream.read(4).ljust(4, b"\xff"))
            if length > _LONGEST_ANSWER:
                raise ValueError("it is no ZEO server, or hung up")
            return stream.read(length)

        message()  # its greeting
        connection.sendall(_ARE_YOU_OK)
        return json.loads(message())


def _dashboard(patience: float) -> str:
    place = f"{setting('DQM_SERVE_ADDRESS')}:{setting('DQM_SERVE_PORT')}"
    host, port = _here(setting("DQM_SERVE_ADDRESS")), setting("DQM_SERVE_PORT")
    if not port.isdecimal():
        raise ConfigurationError(f"DQM_SERVE_PORT: {port!r} is no port")
    connection = http.client.HTTPConnection(host, int(port), timeout=patience)
    _get(connection, f"{setting('DQM_SERVE_PREFIX')}/health", place)
    return f"dashboard answers at {place}"


def _site(patience: float) -> str:
    listen = os.environ.get("DQM_WEB_LISTEN", "443").split()[0]
    here, port = _address(listen, "DQM_WEB_LISTEN")
    tls = ssl.create_default_context()
    tls.check_hostname = False  # it is for browsers to say whether they trust it
    tls.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection(here, port, timeout=patience, context=tls)
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
    path = setting("DQM_REPEAT_STATUS")
    if not path:
        raise ConfigurationError("DQM_REPEAT_STATUS is not set, here or for dqm repeat")
    try:
        calls = json.loads(Path(path).read_text("utf-8"))  # dqm.repeat.Calls
        started, ended, due, is_fine, code = (
            calls[name] for name in ("started", "ended", "next", "is_fine", "exit_code")
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotHealthy(f"dqm repeat has noted nothing that can be read ({error!r})") from error
    is_under_way = started is not None and ended is None
    if is_fine is False:
        raise NotHealthy(f"the last call that ended, ended with {code}; see the log")
    if not is_under_way and time.time() > due + LATE:
        raise NotHealthy(f"a call was due {time.time() - due:.0f} s ago")
    if is_under_way:
        return "a call is under way"
    return "the last call went well" if is_fine else "the first call is not due yet"
