"""The command ``dqm pack``: what is no longer needed leaves the disks of all servers."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from dqm_db.errors import ConfigurationError
from dqm_db.settings import DatabaseSettings
from ingest.errors import one_line
from ingest.options import EXIT_CODES, database_option

if TYPE_CHECKING:
    from dqm_db.operations import Operation
    from dqm_db.replication.addresses import Address
    from dqm_db.server_packing import PackedServer
    from dqm_db.writer import Writer

SECONDS_PER_DAY = 86_400.0


@click.command(epilog=EXIT_CODES)
@click.option(
    "--days",
    type=click.FloatRange(min=0),
    default=7.0,
    show_default=True,
    help="Keep what was replaced or deleted in the last so many days.",
)
@click.option(
    "--servers",
    metavar="HOST:PORT,…",
    help="All servers, primary and replicas, instead of DQM_SERVERS.",
)
@click.option("--anyway", is_flag=True, help="Also when a server is down, or lacks transactions.")
@database_option
def pack(settings: DatabaseSettings, days: float, servers: str | None, anyway: bool) -> None:
    """Drop what was replaced or deleted, from the files of all servers.

    Folds statistics first, then packs each replica and at last the primary to the same time. The
    runs themselves stay. Not while a backup of the server is made. It cannot be undone: what is
    packed away is in backups only.
    """
    from dqm_db.operations import Operation, OperationName
    from dqm_db.server_packing import look_at, mark, pack_servers, refuse
    from dqm_db.writer import open_writer
    from ingest.stopping import StopRequest

    addresses = _addresses(settings, servers)
    started = time.time()
    until = started - days * SECONDS_PER_DAY
    with StopRequest() as stop, open_writer(settings) as writer, _progress() as say:
        say("folding")
        _fold(writer)
        _warn_without_backup(writer, until)
        say("waiting for the replicas")
        fit = look_at(addresses, until, mark(writer))
        for remark in fit.remarks:
            click.echo(f"dqm: warning: {remark}", err=True)
        if anyway:
            for fault in fit.faults:
                click.echo(f"dqm: warning: {fault}", err=True)
        else:
            refuse(fit)
        done: list[PackedServer] = []
        for packed in pack_servers(
            settings, fit, until, begin=lambda where: say(f"packing {where}"), stop=stop
        ):
            done.append(packed)
            click.echo(_line(packed))
        text, facts = _summary(done, len(fit.servers), until)
        is_well = len(done) == len(fit.servers) and all(one.error is None for one in done)
        writer.note_operation(
            Operation.ended(OperationName.PACK, started, text, ok=is_well, facts=facts)
        )
    click.echo(f"pack: {text}")
    if stop():
        sys.exit(stop.exit_code)
    errors = [one.error for one in done if one.error is not None]
    if errors:
        sys.exit(errors[0].exit_code)


def _addresses(settings: DatabaseSettings, servers: str | None) -> Sequence[Address]:
    from dqm_db.peers import known_servers, named_servers
    from dqm_db.urls import shown

    if not settings.db_url.startswith("zeo://"):
        raise ConfigurationError(
            f"{shown(settings.db_url)} is not a server's: give the primary's in DQM_DB_URL"
        )
    return known_servers(settings) if servers is None else named_servers(servers, "--servers")


def _fold(writer: Writer) -> None:
    with writer.database.snapshot() as snapshot:
        cameras = snapshot.cameras()
    for camera in cameras:
        writer.fold(camera)


def _warn_without_backup(writer: Writer, until: float) -> None:
    """Say when something that is packed away now is in no backup."""
    from dqm_db.operations import OperationName

    with writer.database.snapshot() as snapshot:
        backup = snapshot.operations().get(OperationName.BACKUP)
    warning = missing_backup(backup, until)
    if warning is not None:
        click.echo(f"dqm: warning: {warning}", err=True)


def missing_backup(backup: Operation | None, until: float) -> str | None:
    """What to warn of when everything up to *until* (Unix seconds) is packed away; None: nothing.

    Parameters
    ----------
    backup
        The last one that was tried, which is all that the database remembers; None: there was none.
    until
        To when is packed.
    """
    from ingest.export import iso_utc

    if backup is None:
        return "no backup is known: what is packed away now is nowhere else"
    when = iso_utc(backup.started)
    if not backup.ok:
        return (
            f"the last backup, of {when}, failed: unless an older one is good, what is packed away "
            "now is nowhere else"
        )
    if backup.started < until:
        return (
            f"the last backup is of {when}: what was replaced or deleted between then and "
            f"{iso_utc(until)} is nowhere else"
        )
    return None


def _line(packed: PackedServer) -> str:
    name = f"{packed.address} ({packed.role})"
    if packed.error is not None:
        return f"{name}: not packed: {one_line(packed.error)}"
    gained = packed.gained
    if not gained:
        return f"{name}: packed"
    return (
        f"{name}: Data.fs {_change(gained, 'file')}, originals {_change(gained, 'blobs')}, "
        f"{gained.get('seconds', 0.0):.1f} s"
    )


def _change(gained: Mapping[str, float], part: str) -> str:
    before, after = gained.get(f"{part}_before", 0), gained.get(f"{part}_after", 0)
    return f"{before / 1e6:.1f} → {after / 1e6:.1f} MB"


def _summary(
    done: Sequence[PackedServer], wanted: int, until: float
) -> tuple[str, dict[str, float | int | str]]:
    from ingest.export import iso_utc

    packed = [one for one in done if one.error is None]
    before = sum(_size(one, "before") for one in packed)
    after = sum(_size(one, "after") for one in packed)
    facts: dict[str, float | int | str] = {
        "until": until,
        "servers": len(packed),
        "bytes_before": before,
        "bytes_after": after,
    }
    gain = f"{(before - after) / 1e6:.1f} of {before / 1e6:.1f} MB given back"
    left = f", {wanted - len(packed)} not" if len(packed) < wanted else ""
    plural = "" if len(packed) == 1 else "s"
    return f"{len(packed)} server{plural} packed{left}, up to {iso_utc(until)}; {gain}", facts


def _size(packed: PackedServer, when: str) -> int:
    return int(packed.gained.get(f"file_{when}", 0) + packed.gained.get(f"blobs_{when}", 0))


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Says what is being done, on a terminal only."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _text: None
        return
    with console.status("pack") as status:
        yield lambda text: status.update(f"pack: {text}")
