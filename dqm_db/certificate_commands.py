"""``dqm certs``: the certificates with which hosts recognise each other."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from dqm_db.authority import AUTHORITY_DAYS, HOST_DAYS, Authority
from dqm_db.certificates import KEY_FILE, Certificate, found_certificates
from dqm_db.errors import ConfigurationError, DQMError
from dqm_db.settings import SystemSettings, load
from dqm_db.signing_requests import LARGEST_INPUT, SigningRequest, install, make_request

LONGEST_DAYS = 36_500
WARN_DAYS = 30

DIRECTORY = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the CA.",
)
HOST_DIRECTORY = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of this host's ca.pem, cert.pem and key.pem.  [that of DQM_TLS_KEY]",
)
VALID_DAYS = click.IntRange(1, LONGEST_DAYS)


class CertificateExpires(DQMError):
    """A certificate has expired, or will soon."""

    exit_code = 1


@click.group()
def certs() -> None:
    """Make the certificates with which the hosts of the system recognise each other.

    One host keeps the CA. `dqm certs host` makes a folder for each host, to be copied there; or a
    host makes its key itself: dqm certs request, there, sign, here, and install, there.
    """


@certs.command()
@DIRECTORY
@click.option("--name", default="NectarCAM DQM CA", show_default=True, help="What it is called.")
@click.option(
    "--days", type=VALID_DAYS, default=AUTHORITY_DAYS, show_default=True, help="Its validity."
)
@click.option(
    "--renew",
    is_flag=True,
    help="Make the CA that is there valid anew, with its name and key.",
)
def ca(directory: Path, name: str, days: int, renew: bool) -> None:
    """Make the private CA: ca.pem and ca.key.

    Whoever has ca.key can pretend to be any host. It stays where it is.
    """
    authority = Authority(directory)
    made = authority.renew(days) if renew else authority.create(name, days)
    click.echo(f"{made.path}: valid until {_date(made)}")
    click.echo(f"its key is {authority.key_file}: keep it here, and safe", err=True)


@certs.command()
@click.argument("names", metavar="NAME…", nargs=-1, required=True)
@DIRECTORY
@click.option("--ip", "addresses", multiple=True, help="Address of the host; may be repeated.")
@click.option("--days", type=VALID_DAYS, default=HOST_DAYS, show_default=True, help="Its validity.")
@click.option(
    "--renew",
    is_flag=True,
    help="Replace certificate and key; NAME alone keeps the names of the old one.",
)
def host(
    names: tuple[str, ...],
    directory: Path,
    addresses: tuple[str, ...],
    days: int,
    renew: bool,
) -> None:
    """Make the certificate of a host: the folder hosts/NAME, to be copied to it as it is.

    Give all names and addresses under which others connect to it; localhost is added.
    """
    made = Authority(directory).issue([*names, *addresses], days, renew=renew)
    click.echo(f"{made.path}: {', '.join(made.names)}; valid until {_date(made)}")
    click.echo(f"copy {made.path.parent} to the host, with its modes", err=True)


@certs.command()
@click.argument("names", metavar="[NAME]…", nargs=-1)
@click.option("--ip", "addresses", multiple=True, help="Address to ask for; may be repeated.")
@HOST_DIRECTORY
def request(names: tuple[str, ...], addresses: tuple[str, ...], directory: Path | None) -> None:
    """Make a new key for this host, and print the request for its certificate.

    The key stays here, and the old one in use, until `dqm certs install`. Without NAME, who signs
    says for which names and addresses the certificate is.
    """
    click.echo(make_request(_here(directory), [*names, *addresses]), nl=False)


@certs.command()
@click.argument("names", metavar="NAME…", nargs=-1, required=True)
@DIRECTORY
@click.option("--ip", "addresses", multiple=True, help="Address of the host; may be repeated.")
@click.option("--days", type=VALID_DAYS, default=HOST_DAYS, show_default=True, help="Its validity.")
def sign(names: tuple[str, ...], directory: Path, addresses: tuple[str, ...], days: int) -> None:
    """Read a request, and print the certificate for it and that of the CA.

    Give all names and addresses under which others connect to the host; localhost is added. A
    request for others is refused.
    """
    asked = SigningRequest.parse(_standard_input())
    answer, made = Authority(directory).sign(asked, [*names, *addresses], days)
    click.echo(answer, nl=False)
    click.echo(f"signed: {', '.join(made.names)}; valid until {_date(made)}", err=True)


@certs.command("install")
@HOST_DIRECTORY
@click.option("--new-ca", is_flag=True, help="Accept another CA than that of the old certificate.")
def install_command(directory: Path | None, new_ca: bool) -> None:
    """Read what `dqm certs sign` prints, and put it and its key where this host has them."""
    made = install(_here(directory), _standard_input(), new_authority=new_ca)
    click.echo(f"{made.path}: {', '.join(made.names)}; valid until {_date(made)}")


@certs.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True), required=False)
@click.option(
    "--days",
    type=click.IntRange(0, LONGEST_DAYS),
    default=WARN_DAYS,
    show_default=True,
    help="End with code 1 when one expires within so many days.",
)
def show(path: Path | None, days: int) -> None:
    """List the certificates in a file, or in all files *.pem below a folder.

    Without PATH: those of DQM_TLS_CA and DQM_TLS_CERT.
    """
    now = time.time()
    if path is not None and (authority := Authority(path)).key_file.exists():
        authority.put_right()
    found = [one for place in _places(path) for one in found_certificates(place)]
    for one in found:
        left = one.days_left(now)
        when = f"{left:.0f} days left" if left >= 0 else "expired"
        names = "CA" if one.is_authority else ", ".join(one.names) or "valid for no name"
        click.echo(f"{_date(one)}  {when}  {one.name}  ({names})  {one.path}")
    soon = [one for one in found if one.days_left(now) < days]
    if soon:
        raise CertificateExpires(
            "; ".join(f"{one.path} expires on {_date(one)}" for one in soon)
            + ": make new ones with `dqm certs … --renew` and copy them to the hosts"
        )


def _standard_input() -> bytes:
    return sys.stdin.buffer.read(LARGEST_INPUT + 1)


def _here(directory: Path | None) -> Path:
    """The folder of this host's certificate."""
    if directory is not None:
        return directory
    key = load(SystemSettings).tls_key
    if key is None:
        raise ConfigurationError("which folder? give --dir, or set DQM_TLS_KEY")
    if key.name != KEY_FILE:
        raise ConfigurationError(f"DQM_TLS_KEY is not called {KEY_FILE}: give --dir")
    return key.parent


def _places(path: Path | None) -> list[Path]:
    if path is not None:
        return [path]
    settings = load(SystemSettings)
    places = [place for place in (settings.tls_ca, settings.tls_cert) if place is not None]
    if not places:
        raise ConfigurationError("which certificates? give a PATH, or set DQM_TLS_CERT")
    return places


def _date(certificate: Certificate) -> str:
    return f"{datetime.fromtimestamp(certificate.expires, UTC):%Y-%m-%d}"
