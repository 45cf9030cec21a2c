"""The commands ``dqm ingest`` and ``dqm reparse``: results files into the database.

What reads results files is imported where it is needed: astropy takes half a second to load, and
cron calls this every few minutes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dqm_db.errors import DQMError, NoDataYet, WriteFailed
from dqm_db.settings import DatabaseSettings, load
from ingest.errors import NoInputFiles, printable
from ingest.options import (
    EXIT_CODES,
    RunRangesType,
    camera_of,
    camera_option,
    database_option,
    workers_option,
)
from ingest.outcomes import Status

if TYPE_CHECKING:
    from collections import Counter

    from dqm_db.writer import Writer
    from ingest.finding import RunRanges, Wanted
    from ingest.pull import Plan
    from ingest.settings import IngestSettings
    from ingest.stopping import StopRequest

SOME_FAILED = 1


@click.command(epilog=EXIT_CODES)
@click.argument("places", nargs=-1, metavar="[FILE|FOLDER|URL]…")
@camera_option
@click.option("--run", type=int, help="Run number, for one file whose name does not tell it.")
@click.option("--runs", type=RunRangesType(), help="Only these runs, e.g. 6000-6100,6200.")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]),
    help="Only files last changed at this time (UTC) or later.",
)
@click.option("--force", is_flag=True, help="Replace runs that are stored with other contents.")
@click.option("--update", is_flag=True, help="Replace runs whose file has changed at its source.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--list-quarantine", is_flag=True, help="List files that could not be stored.")
@click.option(
    "--last-pull",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Show the last pull; exit code 1 when it is older than that or had a problem.",
)
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), help="Default: DQM_LOG_FORMAT, or text."
)
@workers_option
@database_option
def ingest(
    settings: DatabaseSettings,
    places: tuple[str, ...],
    camera: str | None,
    run: int | None,
    runs: RunRanges | None,
    since: datetime | None,
    force: bool,
    update: bool,
    dry_run: bool,
    list_quarantine: bool,
    last_pull: float | None,
    log_format: str | None,
    workers: int | None,
) -> None:
    """Read results files and store their runs.

    A FILE is a tarball ({camera}_DQM_Run{run}.tar.gz) or a FITS file (then give --camera). FOLDERs
    and URLs are searched for both, and what is new there is stored: file:, http(s):, webdav(s):,
    root:, s3:, sftp:, dirac: and volume: ({camera} stands for all cameras). Without any, those in
    DQM_INGEST_SOURCES. What is stored already is skipped.
    """
    from ingest.finding import Wanted
    from ingest.pull_state import show_failures, show_last_pull
    from ingest.settings import IngestSettings

    if list_quarantine:
        show_failures(settings, camera, as_json=log_format == "json")
        return
    if last_pull is not None:
        is_well = show_last_pull(settings, last_pull, as_json=log_format == "json")
        sys.exit(0 if is_well else SOME_FAILED)
    options = load(IngestSettings, ingest_workers=workers, log_format=log_format)
    if options.log_format == "json":
        _log_as_json()
    asked = Asked.of(places or options.ingest_sources, run)
    moment = None if since is None else since.replace(tzinfo=UTC).timestamp()
    wanted = Wanted(camera, runs, moment)
    with _errors_as(options.log_format):
        if dry_run:
            _say_what_would_be_done(settings, options, asked, wanted, update=force or update)
        else:
            _ingest(settings, options, asked, wanted, run=run, force=force, update=force or update)


@contextlib.contextmanager
def _errors_as(form: str) -> Iterator[None]:
    """An error that ends the command, too, as a line that log collectors can read."""
    from ingest.report import JSONReporter

    try:
        yield
    except DQMError as error:
        if form != "json":
            raise
        JSONReporter().error(str(error))
        sys.exit(error.exit_code)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user named: files, and places to search for new ones."""

    files: tuple[Path, ...]
    places: tuple[str, ...]

    @classmethod
    def of(cls, names: Sequence[str], run: int | None) -> Asked:
        """Tell files from folders and URLs.

        Raises
        ------
        click.UsageError, NoInputFiles
        """
        from ingest.sources import is_url

        if not names:
            raise click.UsageError("name files, folders or URLs, or set DQM_INGEST_SOURCES")
        # os.path, since Path.is_dir and Path.exists raise where they may not look
        places = tuple(
            name
            for name in dict.fromkeys(names)
            if is_url(name) or os.path.isdir(name)  # noqa: PTH112
        )
        files = tuple(Path(name) for name in dict.fromkeys(names) if name not in places)
        if run is not None and (len(files) > 1 or places):
            raise click.UsageError("--run names one run: give it with one file only")
        if files and not places and not any(os.path.exists(path) for path in files):  # noqa: PTH110
            shown = ", ".join(printable(path) for path in files[:3])
            raise NoInputFiles(f"no such file: {shown}")
        return cls(files, places)


def _ingest(
    settings: DatabaseSettings,
    options: IngestSettings,
    asked: Asked,
    wanted: Wanted,
    *,
    run: int | None,
    force: bool,
    update: bool,
) -> None:
    from dqm_db.writer import open_writer
    from ingest.archive import Limits
    from ingest.pipeline import ingest_files
    from ingest.pull import Puller
    from ingest.report import report
    from ingest.stopping import StopRequest

    started = time.time()
    limits = Limits(options.ingest_source_bytes, options.ingest_unpacked_bytes)
    with (
        StopRequest() as stop,
        open_writer(settings) as writer,
        _plans(asked, wanted, stop) as (plans, errors),
    ):
        outcomes = ingest_files(
            writer,
            asked.files,
            camera=wanted.camera,
            run=run,
            force=force,
            workers=_workers(options.ingest_workers, len(asked.files)),
            limits=limits,
            stop=stop,
        )
        puller = Puller(writer, options, wanted, update, options.ingest_workers, stop, errors)
        counts = report(
            chain(outcomes, puller.run(plans)),
            len(asked.files) + _total(plans),
            verb="ingest",
            remark=_others(plans),
            form=options.log_format,
            errors=errors,
        )
        code = _exit_code(stop, counts, errors)
        if asked.places:
            _note_pull(writer, started, asked.places, counts, errors, code)
    sys.exit(code)


def _say_what_would_be_done(
    settings: DatabaseSettings,
    options: IngestSettings,
    asked: Asked,
    wanted: Wanted,
    *,
    update: bool,
) -> None:
    from dqm_db.storage import open_database
    from ingest.attempts import Ledger, Named
    from ingest.outcomes import FileOutcome
    from ingest.pull import decide
    from ingest.report import report

    with open_database(settings) as database:
        try:
            with database.snapshot() as snapshot:
                ledger = Ledger.read(snapshot)
        except NoDataYet:
            ledger = Ledger({}, ())

    with _plans(asked, wanted, lambda: False) as (plans, errors):

        def outcomes() -> Iterator[FileOutcome]:
            for path in asked.files:
                yield FileOutcome(printable(path), Status.TO_DO)
            for plan in plans:
                new: list[Named] = []
                yield from decide(plan.found, ledger, wanted, new, update=update)
                for named in new:
                    shown = printable(named.file.path)
                    yield FileOutcome(shown, Status.TO_DO, named.camera, named.run)

        total = len(asked.files) + _total(plans)
        form = options.log_format
        counts = report(
            outcomes(), total, verb="dry run", remark=_others(plans), form=form, errors=errors
        )
    if errors:
        sys.exit(errors[0].exit_code)
    if not all(status.is_good for status in counts):
        sys.exit(SOME_FAILED)


@contextlib.contextmanager
def _plans(
    asked: Asked, wanted: Wanted, stop: Callable[[], bool]
) -> Iterator[tuple[list[Plan], list[DQMError]]]:
    """What was found in each place, and why nothing was found in the others."""
    from ingest.finding import CAMERA_IN_URL, find
    from ingest.pull import Plan
    from ingest.sources import is_url, open_url
    from ingest.sources.errors import SourceError

    plans: list[Plan] = []
    errors: list[DQMError] = []
    with contextlib.ExitStack() as opened:
        for place in asked.places:
            root, template, below = place.partition(CAMERA_IN_URL)
            try:
                source = open_url(root.rstrip("/") if template else place)
                opened.callback(source.close)
                found = find(source, wanted, (below or "/") if template else "", stop=stop)
            except SourceError as error:
                errors.append(error)
            else:
                plans.append(Plan(source, found))
        is_empty = not any(plan.found.files or plan.found.unread for plan in plans)
        everything = asked.places and not asked.files and wanted.runs is None is wanted.since
        if is_empty and everything and not errors and not any(map(is_url, asked.places)):
            # a person has mistyped it, or what is mounted there is gone
            names = ", ".join(printable(place) for place in asked.places)
            others = _others(plans)
            errors.append(
                NoInputFiles(
                    f"no results files in {names}: they are named …_DQM_Run….tar.gz"
                    + (f"; {others}" if others else "")
                )
            )
        yield plans, errors


def _total(plans: Sequence[Plan]) -> int:
    return sum(len(plan.found.files) + len(plan.found.unread) for plan in plans)


def _others(plans: Sequence[Plan]) -> str:
    from ingest.finding import remark

    return remark([plan.found for plan in plans])


def _note_pull(
    writer: Writer,
    started: float,
    places: Sequence[str],
    counts: Counter[Status],
    errors: Sequence[DQMError],
    code: int,
) -> None:
    from dqm_db.ingestion import Pull
    from dqm_db.urls import shown

    writer.note_pull(
        Pull(
            started=started,
            finished=time.time(),
            sources=tuple(printable(shown(place)) for place in places),
            counts={status.value: counts[status] for status in Status if counts[status]},
            exit_code=code,
            error="; ".join(str(error) for error in errors)[:500],
            host=socket.gethostname(),
        )
    )


def _log_as_json() -> None:
    from ingest.report import JSONLogFormatter

    handler = logging.StreamHandler()
    handler.setFormatter(JSONLogFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


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
                runs = [(camera_of(snapshot, run, camera), run) for run in numbers]
        outcomes = reparse_runs(
            writer,
            runs,
            force=force,
            every=every,
            workers=_workers(options.ingest_workers, len(runs)),
            stop=stop,
        )
        counts = report(outcomes, len(runs), verb="reparse")
    sys.exit(_exit_code(stop, counts))


def _workers(wanted: int, files: int) -> int:
    """Starting worker processes pays from the third file on."""
    return 0 if files <= 2 else min(wanted, files)


def _exit_code(stop: StopRequest, counts: Counter[Status], errors: Sequence[DQMError] = ()) -> int:
    """The exit code that fits what became of the files."""
    if stop():
        return stop.exit_code
    if counts[Status.NOT_WRITTEN]:
        return WriteFailed.exit_code
    if errors:
        return errors[0].exit_code
    return 0 if all(status.is_good for status in counts) else SOME_FAILED
