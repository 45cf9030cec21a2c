"""``dqm certs``: the certificates with which hosts recognise each other."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import click

from dqm_db.authority import AUTHORITY_DAYS, HOST_DAYS, Authority
from dqm_db.certificates import Certificate, found_certificates
from dqm_db.errors import ConfigurationError, DQMError
from dqm_db.settings import SystemSettings, load

LONGEST_DAYS = 36_500
WARN_DAYS = 30

DIRECTORY = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the CA.",
)
VALID_DAYS = click.IntRange(1, LONGEST_DAYS)


class CertificateExpires(DQMError):
    """A certificate has expired, or will soon."""

    exit_code = 1


@click.group()
def certs() -> None:
    """Make the certificates with which the hosts of the system recognise each other.

    One host keeps the CA; `dqm certs host` makes a folder for each host, to be copied there.
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
