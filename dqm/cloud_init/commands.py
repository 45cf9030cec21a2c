"""``dqm cloud-init``: user-data of the two machines."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import click

from dqm.cloud_init import values as checked
from dqm.cloud_init.filling import LARGEST, fill_in, without_login
from dqm.shipped import shipped
from dqm_db.errors import ConfigurationError
from ingest.errors import OutputExists, OutputUnwritable

DEFAULT_REBOOT = "12:30"
"""UTC: when no camera takes data, and somebody is at work."""

KEY_KINDS = ("ssh-", "ecdsa-", "sk-")

BOTH = "both"


@click.command("cloud-init")
@click.option(
    "--role",
    type=click.Choice(["rw", "ro", BOTH]),
    required=True,
    help="rw: primary, puller and backups; ro: replica and dashboard; both: a file of each.",
)
@click.option(
    "--ssh-key",
    "ssh_keys",
    metavar="FILE|KEY",
    multiple=True,
    required=True,
    help="Public key of who may log in as nectarcam, or a file with some; may be repeated.",
)
@click.option(
    "--password-hash",
    metavar="HASH|-",
    required=True,
    help="Of the password at the console, from `mkpasswd --method=yescrypt`; - reads it.",
)
@click.option(
    "--primary",
    metavar="HOST",
    help="Name or address of the machine rw.  [--hostname, for rw]",
)
@click.option(
    "--secondary",
    metavar="HOST",
    help="Name or address of the machine ro.  [--hostname, for ro]",
)
@click.option("--hostname", metavar="NAME", help="Name of this machine.  [its HOST, or dqm-ROLE]")
@click.option(
    "--release",
    metavar="URL",
    required=True,
    help="Folder of the release to install: https://… or file:///….",
)
@click.option(
    "--release-sha256",
    metavar="DIGEST|FILE",
    required=True,
    help="SHA-256 of SHA256SUMS in it, or a copy of that file.",
)
@click.option(
    "--with",
    "flavour",
    type=click.Choice(["venv", "containers"]),
    default="venv",
    show_default=True,
    help="How the program is installed.",
)
@click.option(
    "--server-name",
    metavar="NAME",
    help="For ro: name of the dashboard's site.  [--secondary, or --hostname]",
)
@click.option(
    "--no-login",
    is_flag=True,
    help="For ro: who can connect sees everything, as suits a private network (DQM_AUTH=none).",
)
@click.option(
    "--source",
    "sources",
    metavar="URL",
    multiple=True,
    help="For rw: where results files are pulled from; may be repeated.",
)
@click.option(
    "--reboot",
    metavar="HH:MM|off",
    default=DEFAULT_REBOOT,
    show_default=True,
    help="When, in UTC, to restart after a security update that needs it.",
)
@click.option(
    "--template",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Your own copy of dqm-web-app-ROLE_cloud-init.yml.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="File to write, which must not exist; for both, the folder of rw.yml and ro.yml.  "
    "[the standard output; for both, this folder]",
)
def cloud_init(
    role: str,
    ssh_keys: tuple[str, ...],
    password_hash: str,
    primary: str | None,
    secondary: str | None,
    hostname: str | None,
    release: str,
    release_sha256: str,
    flavour: str,
    server_name: str | None,
    no_login: bool,
    sources: tuple[str, ...],
    reboot: str,
    template: Path | None,
    output: Path | None,
) -> None:
    """Write the user-data with which a machine installs itself: one is rw, the other ro.

    Give both the same --primary and --secondary, or let them be written at once. What each value
    must be is checked; none can change anything else of the user-data.
    """
    _check_together(role, hostname, template, no_login)
    shared = {
        "SSH_KEY": _ssh_keys(ssh_keys),
        "PASSWORD_HASH": _password_hash(password_hash),
        "WITH": flavour,
        "RELEASE": checked.release(release, "--release"),
        "RELEASE_SHA256": _sha256(release_sha256),
        "SOURCES": " ".join(checked.source(one, "--source") for one in sources),
        **_reboot(reboot),
    }
    texts = {}
    for one in ("rw", "ro") if role == BOTH else (role,):
        values = _names(one, primary, secondary, hostname, server_name)
        path = template or shipped("cloud-init") / f"dqm-web-app-{one}_cloud-init.yml"
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"cannot read the template {path} ({error})") from error
        if no_login and one == "ro":
            text = without_login(text, str(path))
        texts[one] = fill_in(text, shared | values, str(path))
    for one, text in texts.items():
        file = (output or Path()) / f"{one}.yml" if role == BOTH else output
        if file is None:
            click.echo(text, nl=False)
        else:
            _write(file, text)
        size = f"{len(text.encode())} bytes of user-data; clouds take {LARGEST}"
        click.echo(f"{file}: {size}" if file else size, err=True)


def _check_together(role: str, hostname: str | None, template: Path | None, no_login: bool) -> None:
    """Raise `ConfigurationError` for options that mean nothing for *role*."""
    if role == BOTH and (hostname or template):
        option = "--hostname" if hostname else "--template"
        raise ConfigurationError(f"{option} is of one machine; call this with --role rw and ro")
    if role == "rw" and no_login:
        raise ConfigurationError("--no-login is for --role ro: rw has no dashboard")


def _names(
    role: str,
    primary: str | None,
    secondary: str | None,
    hostname: str | None,
    server_name: str | None,
) -> dict[str, str]:
    """What machines and site are called, for the placeholders of one machine."""
    primary, secondary, hostname = _hosts(role, primary, secondary, hostname)
    return {
        "HOSTNAME": hostname,
        "PRIMARY": primary,
        "SECONDARY": secondary,
        "PRIMARY_HOST": checked.bracketed(primary),
        "SECONDARY_HOST": checked.bracketed(secondary),
        "SERVER_NAME": _server_name(server_name, secondary, hostname),
    }


def _hosts(
    role: str, primary: str | None, secondary: str | None, hostname: str | None
) -> tuple[str, str, str]:
    """Primary, secondary, and the name of this machine, which may stand for its host."""
    options = {"--primary": primary, "--secondary": secondary}
    own = "--primary" if role == "rw" else "--secondary"
    options[own] = options[own] or hostname
    for option, given in options.items():
        if not given:
            which = (
                "this machine, as the other one reaches it" if option == own else "the other one"
            )
            raise ConfigurationError(f"give {option} HOST, the name or address of {which}")
    hosts = {option: checked.host(given or "", option) for option, given in options.items()}
    if hosts["--primary"] == hosts["--secondary"]:
        raise ConfigurationError(f"--primary and --secondary are both {hosts[own]}")
    if hostname:
        name = checked.host_name(hostname, "--hostname")
    else:
        name = hosts[own] if checked.is_name(hosts[own]) else f"dqm-{role}"
    return hosts["--primary"], hosts["--secondary"], name


def _server_name(given: str | None, secondary: str, hostname: str) -> str:
    if given:
        return checked.host_name(given, "--server-name")
    return secondary if checked.is_name(secondary) else hostname


def _ssh_keys(given: Iterable[str]) -> list[str]:
    lines = []
    for one in given:
        if one.startswith(KEY_KINDS) and " " in one:
            lines.append(one)
            continue
        try:
            text = Path(one).read_text("utf-8")
        except (OSError, UnicodeDecodeError, ValueError) as error:
            raise ConfigurationError(
                f"--ssh-key: cannot read the file {one!r} ({error})"
            ) from error
        found = [line for line in text.splitlines() if line.strip() and line[0] != "#"]
        if not found:
            raise ConfigurationError(f"--ssh-key: there is no key in {one}")
        lines += found
    return list(dict.fromkeys(checked.ssh_key(line, "--ssh-key") for line in lines))


def _password_hash(given: str) -> str:
    text = sys.stdin.readline() if given == "-" else given
    return checked.password_hash(text, "--password-hash")


def _sha256(given: str) -> str:
    if Path(given).is_file():
        try:
            return hashlib.sha256(Path(given).read_bytes()).hexdigest()
        except OSError as error:
            raise ConfigurationError(
                f"--release-sha256: cannot read {given} ({error.strerror})"
            ) from error
    return checked.sha256(given, "--release-sha256")


def _reboot(given: str) -> dict[str, str]:
    when = checked.reboot_time(given, "--reboot")
    return {
        "REBOOT": "false" if when == "off" else "true",
        "REBOOT_TIME": DEFAULT_REBOOT if when == "off" else when,
    }


def _write(path: Path, text: str) -> None:
    """Make the file, for its owner only: it has the hash of a password."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise OutputExists(f"{path} exists; remove it, or choose another --output") from error
    except OSError as error:
        raise OutputUnwritable(f"cannot write {path} ({error.strerror})") from error
