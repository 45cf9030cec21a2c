"""The commands ``dqm ingest``, ``runs``, ``get``, ``rm`` and ``reparse``.

What reads results files is imported where it is needed: astropy takes half a second to load.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import os
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dqm_db.content import RunHeader
from dqm_db.errors import RunNotFound, WriteFailed
from dqm_db.settings import DatabaseSettings, load
from ingest.errors import NoInputFiles, RunChanged, printable
from ingest.output import write_output

if TYPE_CHECKING:
    from collections import Counter

    from ingest.pipeline import Status
    from ingest.stopping import StopRequest

SOME_FAILED = 1

EXIT_CODES = """\b
Exit codes:
    0  all is done, or was before
    1  some file or run could not be done; the others are done
    2  the command line is wrong
   65  the database is of another system or release, or damaged
   66  what was asked for is not there
   69  the database does not answer, or holds nothing yet
   73  a file cannot be written, or would be overwritten (get)
   74  the server, or a disk, could not take what was to be written
   75  another command is writing
   77  a write was asked of a replica
   78  a setting has no usable value
  130  stopped by Ctrl-C (ingest, reparse)
  143  stopped by SIGTERM (ingest, reparse)
"""


def database_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--db`` and pass the settings as *settings*."""

    @click.option("--db", metavar="URL", help="Database to open, instead of DQM_DB_URL.")
    @functools.wraps(command)
    def with_settings(db: str | None, **arguments: Any) -> Any:
        return command(settings=load(DatabaseSettings, db_url=db), **arguments)

    return with_settings


camera_option = click.option("--camera", metavar="NAME", help="Camera, e.g. NectarCAMQM.")
workers_option = click.option(
    "--workers",
    type=click.IntRange(min=0),
    help="Processes that parse; 0: none but this one. Default: DQM_INGEST_WORKERS.",
)


@click.command(epilog=EXIT_CODES)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@camera_option
@click.option("--run", type=int, help="Run number, for one file whose name does not tell it.")
@click.option("--force", is_flag=True, help="Replace runs that are stored with other contents.")
@workers_option
@database_option
def ingest(
    settings: DatabaseSettings,
    paths: tuple[Path, ...],
    camera: str | None,
    run: int | None,
    force: bool,
    workers: int | None,
) -> None:
    """Read results files and store their runs.

    PATHS are tarballs ({camera}_DQM_Run{run}.tar.gz), FITS files (then give --camera), or folders
    that are searched for both. A file that is stored already is skipped.
    """
    from dqm_db.writer import open_writer
    from ingest.archive import Limits
    from ingest.pipeline import find_files, ingest_files
    from ingest.report import report
    from ingest.settings import IngestSettings
    from ingest.stopping import StopRequest

    found = find_files(paths)
    files = found.files
    others = f"files not named like results files: {found.others}" if found.others else ""
    if not files and not found.unread:
        names = ", ".join(printable(path) for path in paths)
        raise NoInputFiles(
            f"no results files in {names}: they are named …_DQM_Run….tar.gz"
            + (f"; {others}" if others else "")
        )
    # Path.exists raises where it may not look
    if files and not any(os.path.exists(path) for path in files):  # noqa: PTH110
        names = ", ".join(printable(path) for path in files[:3])
        raise NoInputFiles(f"no such file: {names}")
    if run is not None and len(files) > 1:
        raise click.UsageError(f"--run names one run, but there are {len(files)} files")
    options = load(IngestSettings, ingest_workers=workers)
    limits = Limits(options.ingest_source_bytes, options.ingest_unpacked_bytes)
    with StopRequest() as stop, open_writer(settings) as writer:
        outcomes = ingest_files(
            writer,
            files,
            camera=camera,
            run=run,
            force=force,
            workers=_workers(options.ingest_workers, len(files)),
            limits=limits,
            stop=stop,
        )
        total = len(found.unread) + len(files)
        counts = report(chain(found.unread, outcomes), total, verb="ingest", remark=others)
    _finish(stop, counts)


@click.command(epilog=EXIT_CODES)
@click.argument("numbers", nargs=-1, type=int, metavar="[RUN]…")
@camera_option
@click.option("--all", "every", is_flag=True, help="All runs (of --camera, or of all cameras).")
@click.option("--force", is_flag=True, help="Also runs that the present parser has read.")
@workers_option
@database_option
def reparse(
    settings: DatabaseSettings,
    numbers: tuple[int, ...],
    camera: str | None,
    every: bool,
    force: bool,
    workers: int | None,
) -> None:
    """Read stored runs again from their originals, after an upgrade.

    Each is replaced in one transaction; runs that the present parser has read are left alone.
    """
    from dqm_db.writer import open_writer
    from ingest.reparse import reparse_runs
    from ingest.report import report
    from ingest.settings import IngestSettings
    from ingest.stopping import StopRequest

    if bool(numbers) == every:
        raise click.UsageError("give run numbers, or --all")
    options = load(IngestSettings, ingest_workers=workers)
    with StopRequest() as stop, open_writer(settings) as writer:
        with writer.database.snapshot() as snapshot:
            if every:
                cameras = snapshot.cameras() if camera is None else (camera,)
                runs = [(name, run) for name in cameras for run in snapshot.runs(name)]
            else:
                runs = [(_camera_of(snapshot, run, camera), run) for run in numbers]
        outcomes = reparse_runs(
            writer,
            runs,
            force=force,
            workers=_workers(options.ingest_workers, len(runs)),
            stop=stop,
        )
        counts = report(outcomes, len(runs), verb="reparse")
    _finish(stop, counts)


@click.command(epilog=EXIT_CODES)
@camera_option
@click.option("--limit", type=click.IntRange(min=1), help="Only the newest N runs of a camera.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, one object per line.")
@click.option("--csv", "as_csv", is_flag=True, help="As comma-separated values.")
@database_option
def runs(
    settings: DatabaseSettings,
    camera: str | None,
    limit: int | None,
    as_json: bool,
    as_csv: bool,
) -> None:
    """List the stored runs, newest first. Times are UTC."""
    from dqm_db.storage import open_database
    from ingest.listing import list_runs, runs_table

    if as_json and as_csv:
        raise click.UsageError("--json or --csv, not both")
    with open_database(settings) as database, database.snapshot() as snapshot:
        rows = list_runs(snapshot, camera, limit)
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
    elif as_csv:
        click.echo(_csv(rows), nl=False)
    else:
        runs_table(rows)


@click.command(epilog=EXIT_CODES)
@click.argument("run", type=int)
@click.argument("quantity", required=False)
@camera_option
@click.option("--format", "form", type=click.Choice(["csv", "fits"]), help="Of a quantity.")
@click.option("--archive", is_flag=True, help="The archive as it came, instead of the FITS file.")
@click.option("--list", "listing", is_flag=True, help="List what the run holds.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="File to write; - is standard output.",
)
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
@database_option
def get(
    settings: DatabaseSettings,
    run: int,
    quantity: str | None,
    camera: str | None,
    form: str | None,
    archive: bool,
    listing: bool,
    output: Path | None,
    overwrite: bool,
) -> None:
    """Take away a run's original file or one of its quantities.

    Without QUANTITY: the results file, byte for byte as it was ingested. With one: its values as
    CSV (on standard output unless -o is given) or as FITS, with units and provenance.
    """
    from dqm_db.storage import open_database
    from ingest.listing import list_quantities

    if sum([archive, listing, quantity is not None]) > 1:
        raise click.UsageError("give one of QUANTITY, --archive and --list")
    if form is not None and quantity is None:
        raise click.UsageError("--format needs a QUANTITY; --list shows which there are")
    with open_database(settings) as database, database.snapshot() as snapshot:
        camera = _camera_of(snapshot, run, camera)
        if listing:
            list_quantities(snapshot, camera, run)
            return
        if quantity is None:
            data, name = _original(snapshot, camera, run, archive)
        else:
            data, name = _quantity(snapshot, camera, run, quantity.upper(), form or "csv")
            if output is None and form != "fits":
                output = Path("-")
    write_output(data, output or Path(name), overwrite=overwrite)


@click.command(epilog=EXIT_CODES)
@click.argument("run", type=int)
@camera_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@database_option
def rm(settings: DatabaseSettings, run: int, camera: str | None, yes: bool) -> None:
    """Delete a run with all its data and its original."""
    from dqm_db.writer import open_writer

    # asked without the writer lock: an answer may take hours
    confirmed = None if yes else _confirm_deletion(settings, run, camera)
    with open_writer(settings) as writer:
        with writer.database.snapshot() as snapshot:
            camera = _camera_of(snapshot, run, confirmed.camera if confirmed else camera)
            found = snapshot.header(camera, run).provenance
        if confirmed is not None and found != confirmed.provenance:
            raise RunChanged(
                f"{camera} run {run} has been replaced meanwhile (now from {found.source}): "
                "it was not deleted; call `dqm rm` again"
            )
        writer.delete_run(camera, run)
    click.echo(f"deleted {camera} run {run}")


def _confirm_deletion(settings: DatabaseSettings, run: int, camera: str | None) -> RunHeader:
    """Ask; the header of the run that the user wants to delete."""
    from dqm_db.storage import open_database

    with open_database(settings) as database, database.snapshot() as snapshot:
        header: RunHeader = snapshot.header(_camera_of(snapshot, run, camera), run)
    source = header.provenance.source
    click.confirm(f"Delete {header.camera} run {run} (from {source})?", abort=True)
    return header


def _camera_of(snapshot: Any, run: int, camera: str | None) -> str:
    """The camera of *run*: the one given, or the only one that has it."""
    if camera is not None:
        if not snapshot.has_run(camera, run):
            snapshot.header(camera, run)  # raises RunNotFound with the right words
        return camera
    having = [name for name in snapshot.cameras() if snapshot.has_run(name, run)]
    if not having:
        raise RunNotFound(f"no camera has a run {run}; `dqm runs` lists what is stored")
    if len(having) > 1:
        raise click.UsageError(
            f"run {run} exists for {' and '.join(having)}: say which with --camera"
        )
    return having[0]


def _original(snapshot: Any, camera: str, run: int, archive: bool) -> tuple[bytes, str]:
    from ingest.archive import open_original

    header: RunHeader = snapshot.header(camera, run)
    original = snapshot.original(camera, run)
    if not archive:
        return open_original(original, header.provenance), Path(header.provenance.results_name).name
    if original.media != "tar":
        raise RunNotFound(
            f"{camera} run {run} did not come in an archive; without --archive you get its file"
        )
    return original.data, Path(header.provenance.source).name


def _quantity(
    snapshot: Any,
    camera: str,
    run: int,
    quantity: str,
    form: str,
) -> tuple[bytes, str]:
    from ingest.export import quantity_table

    entries = {entry.name: entry for entry in snapshot.quantities(camera, run)}
    if quantity not in entries:
        raise RunNotFound(
            f"{camera} run {run} has no quantity {quantity}; "
            f"`dqm get {run} --camera {camera} --list` shows which it has"
        )
    entry = entries[quantity]
    if entry.unavailable is not None:
        raise RunNotFound(f"{camera} run {run}, {quantity}: {entry.unavailable}")
    columns = snapshot.columns(camera, run, quantity)
    table = quantity_table(snapshot.header(camera, run), quantity, entry.kind, columns)
    data = table.to_fits() if form == "fits" else table.to_csv().encode()
    return data, f"{camera}_Run{run}_{quantity}.{form}"


def _csv(rows: list[dict[str, object]]) -> str:
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def _workers(wanted: int, files: int) -> int:
    """Starting worker processes pays from the third file on."""
    return 0 if files <= 2 else min(wanted, files)


def _finish(stop: StopRequest, counts: Counter[Status]) -> None:
    """End with the exit code that fits what became of the files."""
    from ingest.pipeline import Status

    if stop():
        sys.exit(stop.exit_code)
    if counts[Status.NOT_WRITTEN]:
        sys.exit(WriteFailed.exit_code)
    if not all(status.is_good for status in counts):
        sys.exit(SOME_FAILED)
