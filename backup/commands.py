"""The commands ``dqm backup …``.

What does the work is imported where it is needed, as in the other commands.
"""

from __future__ import annotations

import functools
import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from backup.errors import (
    BackupFailed,
    BackupsLocked,
    BackupUnwritable,
    DamagedBackup,
    OtherDatabase,
)
from backup.settings import BackupSettings
from dqm_db.errors import ConfigurationError, DQMError
from dqm_db.operations import OperationName
from dqm_db.settings import ServerSettings, load
from dqm_db.volume.errors import MaintenanceUnderWay

if TYPE_CHECKING:
    from backup.place import BackupPlace, Backups
    from backup.retention import Keep
    from backup.verify import Verified, Verifier

FOLDER = click.Path(path_type=Path, file_okay=False)
EXIT_CODES = """\b
Exit codes:
    0  all is done
    2  the command line is wrong
   65  a backup, or the volume, is damaged
   66  there is no such backup, or none to build on
   73  a folder cannot be used, has no room, is not empty, or has another database
   74  a disk is full or broken; nothing was made
   75  a pack is under way, a server uses the data, or another command the backups
   78  a setting has no usable value
"""


def place_option(name: str, what: str) -> Callable[..., Any]:
    """Add the option *name* and pass the folder of backups as *place*."""

    def wrap(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.option(name, "folder", type=FOLDER, help=f"{what}  [DQM_BACKUP_DIR]")
        @functools.wraps(command)
        def with_place(folder: Path | None, **arguments: Any) -> Any:
            from backup.place import BackupPlace

            root = load(BackupSettings, backup_dir=folder).backup_dir
            if root is None:
                raise ConfigurationError(f"where are the backups? give {name} or DQM_BACKUP_DIR")
            return command(place=BackupPlace(root.absolute()), **arguments)

        return with_place

    return wrap


from_option = place_option("--from", "Folder of the backups.")


@click.group(epilog=EXIT_CODES)
def backup() -> None:
    """Back up a volume while its server runs, check backups, restore them."""
    # A server that has just been started, or a copy, has an index that does not fit: ZODB then
    # reads the file instead, and says so where nobody needs to know.
    logging.getLogger("ZODB.FileStorage").addFilter(_matters)


@backup.command(epilog=EXIT_CODES)
@click.option("--data-dir", type=FOLDER, help="Volume of a server.  [DQM_DATA_DIR; dqm-data]")
@place_option("--to", "Folder of backups, on another disk than the volume.")
@click.option("--full", "wanted", flag_value="full", help="Copy all of Data.fs.")
@click.option(
    "--incremental", "wanted", flag_value="incremental", help="Copy what is new, or fail."
)
@click.option(
    "--keep", metavar="7d,4w,12m", help="Remove others then.  [DQM_BACKUP_KEEP; all stay]"
)
def create(
    place: BackupPlace,
    data_dir: Path | None,
    wanted: Literal["full", "incremental"] | None,
    keep: str | None,
) -> None:
    """Back up a volume, at one point in time, while its server runs.

    Of Data.fs only what is new is copied where that is possible, unless one of the options says
    otherwise. Each blob is kept once for all backups of the folder.
    """
    from backup.create import create_backup
    from backup.progress import shown_progress
    from backup.retention import Keep
    from dqm_db.volume.layout import Volume

    rules = load(BackupSettings, backup_keep=keep).backup_keep
    kept = None if rules is None else Keep.parse(rules)
    volume = Volume(load(ServerSettings, data_dir=data_dir).data_dir)
    started = time.time()
    try:
        with shown_progress() as progress:
            made = create_backup(volume, place, wanted, progress)
    except (MaintenanceUnderWay, BackupsLocked):
        raise  # somebody else is at it, and will say how it went
    except DQMError as error:
        _note(OperationName.BACKUP, started, str(error), ok=False)
        raise
    manifest = made.manifest
    text = (
        f"{manifest.kind} backup {made.name}: {manifest.bytes / 1e6:.1f} MB, "
        f"{len(manifest.blobs)} blobs, in {manifest.seconds:.1f} s"
    )
    click.echo(f"{text}; last transaction {manifest.tid}")
    last = place.read().found[-1]
    if last.age > made.age:
        click.echo(
            f"dqm: warning: {last.name} counts as newer (epoch {last.manifest.epoch}, transaction "
            f"{last.manifest.tid}) than this backup (epoch {manifest.epoch}): {volume.root} is "
            "that of a former primary or of a replica that lags, or was restored from elsewhere",
            err=True,
        )
    facts = {
        "bytes": manifest.bytes,
        "seconds": manifest.seconds,
        "tid": manifest.tid,
        "kind": manifest.kind,
    }
    _note(OperationName.BACKUP, started, text, ok=True, facts=facts)
    if kept is not None:
        try:
            _prune(place, kept, dry_run=False)
        except BackupsLocked as error:  # the next one removes them
            click.echo(f"dqm: warning: no old backups were removed: {error}", err=True)


@backup.command("list", epilog=EXIT_CODES)
@from_option
@click.option("--json", "as_json", is_flag=True, help="As JSON, one object per line.")
def list_(place: BackupPlace, as_json: bool) -> None:
    """List the backups, oldest first. Times are UTC."""
    from rich.console import Console
    from rich.table import Table

    from backup.listing import row, verified
    from backup.manifest import moment

    backups = place.read()
    if as_json:
        for one in backups.found:
            click.echo(json.dumps(row(one, is_usable=backups.is_usable(one))))
        for name, text in sorted(backups.damaged.items()):
            click.echo(json.dumps({"name": name, "usable": False, "fault": text}))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in (
        "backup",
        "kind",
        "MB",
        "blobs",
        "last transaction",
        "database created",
        "verified",
    ):
        justify: Literal["left", "right"] = "right" if heading in ("MB", "blobs") else "left"
        table.add_column(heading, justify=justify, no_wrap=heading != "verified")
    for one in backups.found:
        manifest = one.manifest
        table.add_row(
            one.name,
            manifest.kind,
            f"{manifest.bytes / 1e6:.1f}",
            str(len(manifest.blobs)),
            manifest.tid,
            "–" if manifest.database is None else moment(manifest.database),
            verified(one, is_usable=backups.is_usable(one)),
        )
    for name, text in sorted(backups.damaged.items()):
        table.add_row(name, "damaged", "", "", "", "", text)
    console = Console()
    if not console.is_terminal:
        console.width = 1000  # a pipe has no width
    console.print(table)


@backup.command(epilog=EXIT_CODES)
@click.argument("which", required=False)
@from_option
@click.option("--all", "every", is_flag=True, help="All backups.")
@click.option(
    "--work", type=FOLDER, help="Folder with room for a Data.fs; that of the backups by default."
)
def verify(place: BackupPlace, which: str | None, every: bool, work: Path | None) -> None:
    """Check a backup, the newest one by default: read every record and blob of it.

    Its Data.fs is put together in a temporary folder. All digests must be those of the backup; each
    current record must load, and all that it refers to must be there.
    """
    from backup.place import VERIFYING
    from backup.progress import shown_progress
    from backup.verify import Verifier

    if every and which is not None:
        raise click.UsageError("give WHICH or --all, not both")
    started = time.time()
    place.clear_unread(VERIFYING)
    try:
        with place.reading(), shown_progress() as progress:
            backups = place.read()
            verifier = Verifier(place, backups, work, progress)
            found = verifier.verify_all() if every else [_verify_one(verifier, backups, which)]
    # No room, a disk that cannot be read, or no telling which is the newest.
    except (BackupUnwritable, BackupFailed, OtherDatabase) as error:
        _note(OperationName.BACKUP_VERIFICATION, started, str(error), ok=False)
        raise
    for one in found:
        for fault in one.faults:
            click.echo(f"{one.name}: {fault}", err=True)
        if not one.faults:
            click.echo(
                f"{one.name}: sound, {one.transactions} transactions, {one.bytes / 1e6:.1f} MB"
            )
    if verifier.not_kept is not None:
        click.echo(f"dqm: warning: `list` will not show it ({verifier.not_kept})", err=True)
    damaged = [one.name for one in found if one.faults]
    seconds = time.time() - started
    size = sum(one.bytes for one in found)
    text = (
        f"damaged: {', '.join(damaged)}"
        if damaged
        else f"{len(found)} of {len(backups.found)} backups checked, up to {found[-1].name}: sound"
        if found
        else "there is no backup"
    )
    facts = {"bytes": size, "seconds": round(seconds, 3), "backups": len(found)}
    _note(OperationName.BACKUP_VERIFICATION, started, text, ok=not damaged, facts=facts)
    if damaged:
        raise DamagedBackup(
            f"{len(damaged)} of {len(found)} backups cannot be restored ({', '.join(damaged)}): "
            "make a full one now (`dqm backup create --full`), and look after the disk"
        )


@backup.command(epilog=EXIT_CODES)
@click.option("--to", "target", type=FOLDER, required=True, help="Empty folder, or none yet.")
@click.option(
    "--at",
    "until",
    metavar="TIME",
    help="The newest backup not after this time: ISO 8601, UTC unless it says otherwise.",
)
@click.option("--backup", "which", metavar="NAME", help="This backup.")
@from_option
def restore(place: BackupPlace, target: Path, until: str | None, which: str | None) -> None:
    """Make a volume from a backup, the newest one by default, and check all of it.

    The first server that is started on it as primary begins a new epoch: replicas, and caches of
    clients, that know more than the backup are refused from then on.
    """
    from backup.progress import shown_progress
    from backup.restore import restore as restore_volume
    from dqm_db.volume.layout import Volume

    if until is not None and which is not None:
        raise click.UsageError("give --at or --backup, not both")
    with place.reading(), shown_progress() as progress:
        backups = place.read()
        if which is not None:
            chosen = backups.named(which)
        else:
            chosen = backups.newest(None if until is None else _unix(until))
        click.echo(
            f"restoring {chosen.manifest.kind} backup {chosen.name} ({chosen.utc}) of "
            f"{chosen.manifest.database_text}, made on {chosen.manifest.host}"
        )
        restore_volume(place, backups.chain(chosen), Volume(target), progress)
    click.echo(
        f"{target} is as it was then, up to transaction {chosen.manifest.tid}: all records and "
        "blobs are there. Start its primary, then `dqm resync` on each replica's host"
    )


@backup.command(epilog=EXIT_CODES)
@from_option
@click.option("--keep", metavar="7d,4w,12m", help="Backups to keep.  [DQM_BACKUP_KEEP]")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
def prune(place: BackupPlace, keep: str | None, dry_run: bool) -> None:
    """Remove old backups: all that --keep does not name, and blobs that no other one needs.

    7d keeps the newest backup of each of the last seven days that have one; w, m and y: weeks,
    months, years. What a kept backup needs stays, and always the last sound one.
    """
    from backup.retention import Keep

    rules = load(BackupSettings, backup_keep=keep).backup_keep
    if rules is None:
        raise ConfigurationError("which backups to keep? give --keep or DQM_BACKUP_KEEP")
    _prune(place, Keep.parse(rules), dry_run=dry_run)


@backup.command(epilog=EXIT_CODES)
@click.argument("data_dir", type=FOLDER, metavar="DIR")
@click.option("--dry-run", is_flag=True, help="Only say what would be cut.")
@click.option("--however-much", is_flag=True, help="Cut also what tar cannot have missed.")
def repair(data_dir: Path, dry_run: bool, however_much: bool) -> None:
    """Bring a volume that was restored from a tar file to its last whole transaction.

    A copy that tar makes of a volume in use can have transactions without their blobs, from while
    tar was running. They are cut, and kept beside. Its server must not run.
    """
    from backup.repair import repair as repair_volume
    from backup.repair import time_of
    from dqm_db.volume.layout import Volume

    done = repair_volume(Volume(data_dir), however_much=however_much, dry_run=dry_run)
    would = "would be " if dry_run else ""
    for one in done.cut:
        at = datetime.fromtimestamp(time_of(one.tid), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        click.echo(f"{would}cut: {one.description or 'transaction'} ({at}, {one.tid.hex()})")
    if done.bytes or done.blobs:
        click.echo(
            f"{would}cut: {len(done.cut)} transactions, {done.bytes} bytes of Data.fs, "
            f"{len(done.blobs)} blobs; {would}kept in {done.aside}"
        )
    else:
        click.echo("nothing to cut: all transactions have their blobs")


def _matters(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Ignoring index for")


def _verify_one(verifier: Verifier, backups: Backups, which: str | None) -> Verified:
    from backup.verify import Verified

    try:
        chosen = backups.newest() if which is None else backups.named(which)
    except DamagedBackup as error:
        return Verified(which or max(backups.damaged), (str(error),))
    return verifier.verify(chosen)[-1]


def _prune(place: BackupPlace, keep: Keep, *, dry_run: bool) -> None:
    from backup.prune import prune as prune_place

    pruned = prune_place(place, keep, dry_run=dry_run)
    for name in pruned.names:
        click.echo(f"{'would remove' if dry_run else 'removed'} {name}")
    verb = "would be " if dry_run else ""
    backups = "1 backup" if len(pruned.names) == 1 else f"{len(pruned.names)} backups"
    click.echo(f"{backups} {verb}removed, {pruned.freed / 1e6:.1f} MB {verb}freed")
    if pruned.blobs_left:
        click.echo(
            "dqm: warning: no blobs were removed, since nobody knows which ones a damaged backup "
            f"needs: {pruned.blobs_left}; remove its folder if it is given up",
            err=True,
        )


def _note(name: OperationName, started: float, text: str, *, ok: bool, facts: Any = None) -> None:
    from backup.noting import note

    note(name, started, text, ok=ok, facts=facts)


def _unix(text: str) -> float:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no time as in ISO 8601, e.g. 2026-05-03T12:00", param_hint="--at"
        ) from None
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
