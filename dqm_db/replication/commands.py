"""``dqm primary`` and ``dqm replica``: write ``zeo.conf`` from the settings and serve it."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import click

from dqm_db.errors import ConfigurationError
from dqm_db.replication.addresses import Address, listen
from dqm_db.replication.configuration import (
    configuration,
    replication_address,
    write_configuration,
)
from dqm_db.replication.versions import require_verified
from dqm_db.settings import ServerSettings, SystemSettings, load
from dqm_db.tls import VARIABLES, TLSFiles, server_context
from dqm_db.volume.aside import set_aside
from dqm_db.volume.layout import Volume
from dqm_db.volume.state import VolumeState

DATA_DIR = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Volume for filestorage/Data.fs, blobstorage/ and zeo.conf.  [DQM_DATA_DIR; dqm-data]",
)
ADDRESS = click.option(
    "--address",
    metavar="HOST:PORT",
    help="Where clients connect.  [DQM_ZEO_ADDRESS; 127.0.0.1:8100]",
)
NETWORK_IS_PRIVATE = click.option(
    "--network-is-private",
    is_flag=True,
    default=None,
    help="Listen beyond loopback without TLS.  [DQM_NETWORK_IS_PRIVATE]",
)


@click.command()
@DATA_DIR
@ADDRESS
@click.option(
    "--replication-address",
    "zrs_address",
    metavar="HOST:PORT",
    help="Where replicas connect.  [DQM_ZRS_ADDRESS; 127.0.0.1:5000]",
)
@NETWORK_IS_PRIVATE
def primary(
    data_dir: Path | None,
    address: str | None,
    zrs_address: str | None,
    network_is_private: bool | None,
) -> None:
    """Serve the primary database: the one that accepts writes.

    Runs until SIGTERM or Ctrl-C and logs to the standard error.
    """
    settings = load(
        ServerSettings,
        data_dir=data_dir,
        zeo_address=address,
        zrs_address=zrs_address,
        network_is_private=network_is_private,
    )
    _serve(settings, source=None)


@click.command()
@click.option(
    "--from",
    "source",
    metavar="HOST:PORT",
    help="Replication address of the primary, or of another replica.  [DQM_PRIMARY]",
)
@DATA_DIR
@ADDRESS
@click.option(
    "--replication-address",
    "zrs_address",
    metavar="HOST:PORT",
    help="Where further replicas connect to this one.  [DQM_ZRS_ADDRESS; none do]",
)
@NETWORK_IS_PRIVATE
def replica(
    source: str | None,
    data_dir: Path | None,
    address: str | None,
    zrs_address: str | None,
    network_is_private: bool | None,
) -> None:
    """Serve a copy that follows a primary; its clients can only read.

    The data directory must be the replica's own: empty at first, never another server's. Runs
    until SIGTERM or Ctrl-C and logs to the standard error.
    """
    settings = load(
        ServerSettings,
        data_dir=data_dir,
        zeo_address=address,
        zrs_address=zrs_address,
        primary=source,
        network_is_private=network_is_private,
    )
    if settings.primary is None:
        raise ConfigurationError(
            "whom to follow? give the primary's replication address: --from HOST:PORT, "
            "or DQM_PRIMARY"
        )
    _serve(settings, source=settings.primary)


def _serve(settings: ServerSettings, source: str | None) -> NoReturn:
    require_verified(unless=settings.unverified_versions)
    # Both import ZODB, which takes 0.3 s.
    from dqm_db.replication.roles import assigned
    from dqm_db.replication.server import restarting, serve

    with restarting():  # before volume.json is read: whoever changes it then sends SIGHUP
        volume = Volume(settings.data_dir)
        state = VolumeState.read(volume)
        role = assigned(settings, source, state)
        settings = role.settings
        system = load(SystemSettings)
        server_context(system)  # what is wrong with the certificates is said here
        tls = TLSFiles.of(system)
        text = configuration(settings, source=role.source, tls=tls)
        if role.notice:
            click.echo(f"dqm: warning: {role.notice}", err=True)
        clients = Address.parse(settings.zeo_address, "address")
        listen(clients, "address").close()  # ZEO's own error is a page of usage
        for listens_at in (clients, replication_address(settings, role.source)):
            if listens_at and not listens_at.is_loopback() and tls is None:
                said = (
                    f"{listens_at} is not loopback: without TLS, whoever reaches it can read "
                    "everything, and write where clients connect to a primary"
                )
                if not settings.network_is_private:
                    raise ConfigurationError(
                        f"{said}; set {VARIABLES} (see `dqm certs`), or say --network-is-private "
                        "if nobody else can reach it"
                    )
                click.echo(f"dqm: warning: {said}", err=True)
        set_aside(volume, state)
        serve(write_configuration(settings, text))
    raise AssertionError("unreachable")
