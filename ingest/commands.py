"""The commands ``dqm runs``, ``get``, ``rm`` and ``release``: what is stored, and what is not.

What reads results files is imported where it is needed: astropy takes half a second to load.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import click

from dqm_db.content import RunHeader
from dqm_db.errors import RunNotFound
from dqm_db.settings import DatabaseSettings
from ingest.errors import RunChanged
from ingest.options import EXIT_CODES, camera_of, camera_option, database_option
from ingest.output import write_output


@click.command(epilog=EXIT_CODES)
@camera_option
@click.option("--limit", type=click.IntRange(min=1), help="Only the newest N runs of a camera.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, one object per line.")
@click.option("--csv", "as_csv", is_flag=True, help="As comma-separated values.")
@click.option(
    "--only-in",
    "volume",
    metavar="PATH",
    help="Runs of this volume of a server that the database does not have, or has otherwise.",
)
@database_option
def runs(
    settings: DatabaseSettings,
    camera: str | None,
    limit: int | None,
    as_json: bool,
    as_csv: bool,
    volume: str | None,
) -> None:
    """List the stored runs, newest first. Times are UTC."""
    from dqm_db.storage import open_database
    from ingest.listing import list_runs, own_runs_table, runs_table

    if as_json and as_csv:
        raise click.UsageError("--json or --csv, not both")
    if volume is not None and limit is not None:
        raise click.UsageError("--limit is not for --only-in")
    if volume is not None:
        rows = _only_in(settings, volume, camera)
    else:
        with open_database(settings) as database, database.snapshot() as snapshot:
            rows = list_runs(snapshot, camera, limit)
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
    elif as_csv:
        click.echo(_csv(rows), nl=False)
    elif volume is None:
        runs_table(rows)
    else:
        own_runs_table(rows)


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
        camera = camera_of(snapshot, run, camera)
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
    """Delete a run with all its data and its original.

    A pull will not fetch its file again, unless the file changes or `dqm release` allows it.
    """
    from dqm_db.writer import open_writer
    from ingest.attempts import removed

    # asked without the writer lock: an answer may take hours
    confirmed = None if yes else _confirm_deletion(settings, run, camera)
    with open_writer(settings) as writer:
        with writer.database.snapshot() as snapshot:
            camera = camera_of(snapshot, run, confirmed.camera if confirmed else camera)
            found = snapshot.header(camera, run).provenance
        if confirmed is not None and found != confirmed.provenance:
            raise RunChanged(
                f"{camera} run {run} has been replaced meanwhile (now from {found.source}): "
                "it was not deleted; call `dqm rm` again"
            )
        writer.delete_run(camera, run, instead=removed(camera, run, found, time.time()))
    click.echo(f"deleted {camera} run {run}")


@click.command(epilog=EXIT_CODES)
@click.argument("numbers", nargs=-1, type=int, metavar="[RUN]…")
@camera_option
@click.option("--all", "every", is_flag=True, help="All (of --camera, or of all cameras).")
@database_option
def release(
    settings: DatabaseSettings, numbers: tuple[int, ...], camera: str | None, every: bool
) -> None:
    """Let the next pull try files again that are in quarantine, wait, or were deleted."""
    from dqm_db.writer import open_writer

    if bool(numbers) == every:
        raise click.UsageError("give run numbers, or --all")
    with open_writer(settings) as writer:
        with writer.database.snapshot() as snapshot:
            failures = [one for one in snapshot.failures() if camera in (None, one.camera)]
        chosen = [one for one in failures if every or one.run in numbers]
        missing = sorted(set(numbers) - {one.run for one in chosen})
        if missing:
            runs = ", ".join(map(str, missing))
            raise RunNotFound(
                f"no file of run {runs} has failed; `dqm ingest --list-quarantine` shows which have"
            )
        for failure in chosen:
            writer.forget_failure(failure.camera, failure.run)
            click.echo(f"released {failure.camera} run {failure.run}")


def _confirm_deletion(settings: DatabaseSettings, run: int, camera: str | None) -> RunHeader:
    """Ask; the header of the run that the user wants to delete."""
    from dqm_db.storage import open_database

    with open_database(settings) as database, database.snapshot() as snapshot:
        header: RunHeader = snapshot.header(camera_of(snapshot, run, camera), run)
    source = header.provenance.source
    click.confirm(f"Delete {header.camera} run {run} (from {source})?", abort=True)
    return header


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


def _only_in(settings: DatabaseSettings, path: str, camera: str | None) -> list[dict[str, object]]:
    from dqm_db.errors import NoDataYet
    from dqm_db.own_runs import own_runs
    from dqm_db.storage import open_database
    from dqm_db.volume_database import SCHEME, open_volume
    from ingest.listing import list_own_runs

    with (
        open_database(settings) as database,
        open_volume(Path(path.removeprefix(SCHEME))) as volume,
        contextlib.ExitStack() as opened,
    ):
        try:
            snapshot = opened.enter_context(database.snapshot())
        except NoDataYet:
            snapshot = None  # everything is only there
        try:
            runs = [run for run in volume.runs() if camera in (None, run.camera)]
        except NoDataYet:
            runs = []
        return list_own_runs(own_runs(runs, snapshot))


def _csv(rows: list[dict[str, object]]) -> str:
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()
