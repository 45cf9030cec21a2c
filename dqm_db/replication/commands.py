"""``dqm primary`` and ``dqm replica``: write ``zeo.conf`` from the settings and serve it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import click

from dqm_db.errors import ConfigurationError
from dqm_db.inherited_sockets import (
    CLIENTS,
    REPLICAS,
    InheritedSockets,
    is_open_to_all,
)
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

    Runs until SIGTERM or Ctrl-C and logs to the standard error. It listens at the sockets that it
    inherits, if there are any, instead of the addresses.
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
    until SIGTERM or Ctrl-C and logs to the standard error. It listens at the sockets that it
    inherits, if there are any, instead of the addresses.
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


@dataclass(frozen=True, slots=True)
class Entrances:
    """Where a server lets others in that has inherited sockets.

    Attributes
    ----------
    inherited : tuple of Address
    clients, replicas : Address or None
        What ``zeo.conf`` says instead of the settings.
    listens_itself : bool
        Whether clients connect at the address of the settings.
    """

    inherited: tuple[Address, ...]
    clients: Address | None
    replicas: Address | None
    listens_itself: bool

    @classmethod
    def of(cls, inherited: InheritedSockets) -> Entrances:
        """That of the *inherited* sockets.

        A container without a network gets those of its host, where commands that run in the
        container cannot connect: for them the server listens at its own address, too.

        Raises
        ------
        ConfigurationError
            Replicas would have to connect to a UNIX socket.
        """
        clients, replicas = inherited.named(CLIENTS), inherited.named(REPLICAS)
        for one in replicas:
            if one.address.path is not None:
                raise ConfigurationError(
                    f"the inherited socket {REPLICAS!r} is {one.address}: replicas connect by TCP"
                )
        # first the one that commands on this host can name
        here = sorted(
            (one.address for one in clients if not one.is_of_another_network()),
            key=lambda address: address.path is not None,
        )
        return cls(
            inherited=tuple(one.address for one in inherited),
            clients=here[0] if here else None,
            replicas=replicas[0].address if replicas else None,
            listens_itself=not here,
        )


def _serve(settings: ServerSettings, source: str | None) -> NoReturn:
    require_verified(unless=settings.unverified_versions)
    # Both import ZODB, which takes 0.3 s.
    from dqm_db.replication.roles import assigned
    from dqm_db.replication.server import restarting, serve

    inherited = InheritedSockets.take(CLIENTS, REPLICAS)
    with restarting(inherited):  # before volume.json is read: whoever changes it then sends SIGHUP
        volume = Volume(settings.data_dir)
        state = VolumeState.read(volume)
        role = assigned(settings, source, state)
        settings = role.settings
        system = load(SystemSettings)
        server_context(system)  # what is wrong with the certificates is said here
        tls = TLSFiles.of(system)
        entrances = Entrances.of(inherited)
        text = configuration(
            settings,
            source=role.source,
            tls=tls,
            clients=entrances.clients,
            replicas=entrances.replicas,
        )
        for one in inherited:
            click.echo(f"dqm: inherited the socket {one.address} ({one.name})", err=True)
        if role.notice:
            click.echo(f"dqm: warning: {role.notice}", err=True)
        own_clients = Address.parse(settings.zeo_address, "address")
        if entrances.listens_itself:
            listen(own_clients, "address").close()  # ZEO's own error is a page of usage
        own_replicas = replication_address(settings, role.source)
        addresses = [
            *entrances.inherited,
            *([own_clients] if entrances.listens_itself else []),
            *([own_replicas] if own_replicas and entrances.replicas is None else []),
        ]
        for listens_at in addresses:
            if not listens_at.is_loopback() and tls is None:
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
            if tls is not None and listens_at.path and is_open_to_all(Path(listens_at.path)):
                click.echo(
                    f"dqm: warning: every user of this host may connect to {listens_at}, without "
                    "a certificate: give the socket another SocketMode=, such as 0660",
                    err=True,
                )
        clients = [one.listener() for one in inherited.named(CLIENTS)]
        if entrances.listens_itself and (clients or own_clients.host == "::"):
            # beside the others; and at ::, where asyncio would leave IPv4 out
            clients.append(listen(own_clients, "address"))
        set_aside(volume, state)
        replicas = [one.listener() for one in inherited.named(REPLICAS)]
        serve(write_configuration(settings, text), clients, replicas)
    raise AssertionError("unreachable")
