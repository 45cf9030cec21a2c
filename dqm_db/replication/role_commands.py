"""``dqm promote``, ``dqm demote``, ``dqm resync``: change what the server of a volume is."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click

from dqm_db.peers import ask_servers, configured_servers, known_servers
from dqm_db.replication.addresses import Address
from dqm_db.replication.commands import DATA_DIR
from dqm_db.replication.errors import RoleRefused
from dqm_db.replication.fencing import highest_epoch
from dqm_db.replication.local_server import LOOKED_EVERY, LocalServer
from dqm_db.replication.promotion import (
    OLD_PRIMARY_IS_OFF,
    is_primary_already,
    others,
    require_followable,
    require_promotable,
)
from dqm_db.server_answers import ServerAnswer
from dqm_db.settings import ServerSettings, load
from dqm_db.volume.aside import aside_directory
from dqm_db.volume.fence import DEMOTED, SERVING
from dqm_db.volume.layout import Volume, bytes_below
from dqm_db.volume.state import PRIMARY, PROMOTED, REPLICA, VolumeState

COMPLETE_WITHIN = 10.0
"""Seconds for a replica to get the last transaction of a demoted primary."""
ANYWAY = "--anyway"
CONNECTS_WITHIN = 3.0
"""Seconds for the server that a replica follows to accept a connection, if it is on."""


@click.command()
@DATA_DIR
@click.option(
    OLD_PRIMARY_IS_OFF,
    is_flag=True,
    help="The old primary was not demoted, but it is off. What it had not sent yet is lost.",
)
@click.option(
    "--replication-address",
    "feeds_at",
    metavar="HOST:PORT",
    help="Where replicas connect to it then.  [as it is now; else DQM_ZRS_ADDRESS of the server; "
    "127.0.0.1:5000]",
)
def promote(data_dir: Path | None, old_primary_is_off: bool, feeds_at: str | None) -> None:
    """Make the replica on this host the primary.

    The planned way loses nothing: first `dqm demote` on the primary's host, then this. The server
    accepts writes at the address where its clients are now; a new epoch begins in the database,
    so that no server of an older one is written to any more.
    """
    if feeds_at is not None:
        feeds_at = str(Address.parse(feeds_at, "--replication-address"))
    server = _server(data_dir)
    answers = _others(server)
    if is_primary_already(server) and highest_epoch(answers) <= server.epoch:
        click.echo(f"{server.address} is the primary already, in epoch {server.epoch}")
        return
    forced = old_primary_is_off and server.fence_state != DEMOTED
    require_promotable(
        server,
        answers,
        old_primary_is_off=old_primary_is_off,
        source_is_on=forced and server.source is not None and _is_on(server.source),
    )
    now = time.time()
    state = VolumeState(
        role=PRIMARY,
        feeds_at=feeds_at or server.state.feeds_at or _text(server.feeds_at),
        begin_epoch=PROMOTED,
        after_epoch=server.state.after_epoch,  # of a restored volume that never was a primary
        at=now,
        why=_decided("promote", OLD_PRIMARY_IS_OFF) if forced else _decided("promote"),
    )
    answer = server.become(
        state,
        lambda answer: (
            answer.role == PRIMARY
            and answer.fence_state == SERVING
            and (answer.epoch or 0) > server.epoch
        ),
    )
    if answer is None:
        click.echo(f"{server.volume.root}: primary from its next start on; no server runs there")
    else:
        click.echo(f"{server.address} is the primary, in epoch {answer.epoch}")
    told = LocalServer.of(server.volume) if answer is not None else server
    click.echo(
        "  start it with `dqm primary` from now on; the other servers follow it with `dqm demote "
        f"--follow {told.feeds_at or 'HOST:PORT'}`, a former primary, too"
    )


@click.command()
@DATA_DIR
@click.option(
    "--follow",
    "successor",
    metavar="HOST:PORT",
    required=True,
    help="Where the server that is to be the primary listens for replicas.",
)
def demote(data_dir: Path | None, successor: str) -> None:
    """Let the server on this host follow another one, and accept no writes any more.

    The primary's last transaction says that it is the last one. Once a replica has that, it has
    everything, and can be promoted. This server goes on feeding its replicas. A former primary
    that comes back, or a replica, is only told to follow another server.
    """
    address = Address.parse(successor, "--follow")
    server = _server(data_dir)
    require_followable(server, address)
    answers = _others(server)
    highest = highest_epoch(answers)
    ends_epoch = _ends_epoch(server, highest)
    state = VolumeState(
        role=REPLICA,
        source=str(address).lower(),  # as it stands in zeo.conf
        feeds_at=server.state.feeds_at or _text(server.feeds_at),
        demote=ends_epoch,
        set_aside=server.state.set_aside,
        at=time.time(),
        why=_decided("demote", "--follow", str(address)),
    )

    told = server.answer
    if told is not None and told.source == state.source == server.state.source and not ends_epoch:
        click.echo(f"{server.address} follows {address} already")
        return

    def follows(answer: ServerAnswer) -> bool:
        ended = answer.fence_state == DEMOTED or (answer.epoch or 0) > server.epoch
        return (
            answer.role == REPLICA and answer.source == state.source and (ended or not ends_epoch)
        )

    answer = server.become(state, follows)
    if answer is None:
        click.echo(f"{server.volume.root}: follows {address} from its next start on")
    else:
        click.echo(f"{server.address} follows {address}")
    if ends_epoch:
        click.echo(
            f"  epoch {server.epoch} ends with its last transaction; a replica that has it can be "
            "promoted: `dqm promote` on its host"
        )
        if answer is not None:
            complete = _complete(answer, answers)
            click.echo(f"  these have it: {', '.join(map(str, complete)) or 'none yet'}")
    elif highest > server.epoch:
        click.echo(
            f"  another server is in epoch {highest}, this one in {server.epoch}: if it has "
            "transactions of its own, it is refused, which its log and `dqm status` say; then "
            "`dqm resync`"
        )
    click.echo(f"  start it with `dqm replica --from {address}` from now on")


@click.command()
@DATA_DIR
@click.option(
    ANYWAY,
    is_flag=True,
    help="Also when its source does not answer: until it does, the replica has nothing to serve.",
)
def resync(data_dir: Path | None, anyway: bool) -> None:
    """Let the replica on this host begin anew, with its old files set aside.

    For a replica that is refused because it has transactions that its primary has not, or whose
    files are damaged. Nothing is deleted: the old files stay in the volume until somebody removes
    them.
    """
    server = _server(data_dir, look=False)  # the files may be damaged
    if server.role == PRIMARY:
        raise RoleRefused(
            f"{server.address} is a primary: its files are what others are copied from; when it "
            "is a former primary, `dqm demote --follow HOST:PORT` comes first"
        )
    volume = server.volume
    state = server.state
    source = server.source if state.source is None else Address.parse(state.source, "source")
    if source is not None and not anyway and not _is_on(source):
        raise RoleRefused(
            f"{source}, from which the new copy is to come, accepts no connections: until it does, "
            f"this replica would have nothing to serve. Start it first; {ANYWAY} begins anew "
            "nevertheless"
        )
    if not state.set_aside:  # else it was decided already, and is only to be finished
        decided = _decided("resync")
        why = decided if state.role is None else f"{state.why.partition('; ')[0]}; {decided}"
        state = replace(state, set_aside=True, demote=False, at=time.time(), why=why)
    aside = aside_directory(volume, state.at)
    held = bytes_below(volume.data_file.parent) + bytes_below(volume.blob_dir)
    free = shutil.disk_usage(volume.root).free
    click.echo(
        f"the old files, {_gigabytes(held)}, go to {aside}; the new copy needs as much again, "
        f"{_gigabytes(free)} are free"
    )
    if free < held:
        click.echo(
            "dqm: warning: the new copy may not fit; the replica then waits for room", err=True
        )
    answer = server.become(
        state, lambda answer: answer.role == REPLICA and (answer.started or 0) >= state.at
    )
    if answer is None:
        click.echo(f"{volume.root}: begins anew at its next start; no server runs there")
    else:
        click.echo(f"{server.address} begins anew, following {answer.source}")
    click.echo(
        f"  runs that only the old files have: `dqm ingest volume:{aside} --dry-run` lists them, "
        f"without --dry-run they are stored; once nothing in {aside.name}/ is needed, remove it"
    )


def _server(data_dir: Path | None, *, look: bool = True) -> LocalServer:
    return LocalServer.of(Volume(load(ServerSettings, data_dir=data_dir).data_dir), look=look)


def _others(server: LocalServer) -> dict[Address, ServerAnswer]:
    """What the other servers of the database say that are known and answer."""
    if not configured_servers():
        click.echo(
            "dqm: warning: DQM_SERVERS is not set, so not all servers can be asked what they are",
            err=True,
        )
    return others(server, ask_servers(known_servers()))


def _ends_epoch(server: LocalServer, highest: int) -> bool:
    """Whether *server* is the primary of its epoch, which nobody has ended; others: *highest*."""
    if highest > server.epoch or server.fence_state != SERVING:
        return False
    if server.answer is None and server.state.demote:
        return True  # it was decided already, and is only to be finished
    return server.role == PRIMARY and server.state.begin_epoch is None


def _complete(
    demoted: ServerAnswer, asked: Mapping[Address, ServerAnswer]
) -> dict[Address, ServerAnswer]:
    """Those of the servers *asked* before that have the last transaction of the one *demoted*.

    Waits a while for the first.
    """
    end = time.monotonic() + COMPLETE_WITHIN
    while True:
        found = {
            address: answer
            for address, answer in ask_servers(asked).items()
            if answer.last_transaction == demoted.last_transaction
        }
        if found or not asked or time.monotonic() > end:
            return found
        time.sleep(LOOKED_EVERY)


def _is_on(address: Address) -> bool:
    try:
        socket.create_connection(address, CONNECTS_WITHIN).close()
    except OSError:  # refused, unreachable, unknown or silent: off
        return False
    return True


def _text(address: Address | None) -> str | None:
    return None if address is None else str(address)


def _decided(*command: str) -> str:
    return f"dqm {' '.join(command)}, {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} UTC"


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"
