"""The commands ``dqm import-legacy`` and ``dqm rebuild-trends``.

What parses and computes is imported where it is needed, as in the other commands.
"""

from __future__ import annotations

import contextlib
import sys
import time
import warnings
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

import click

from dqm_db.errors import WriteFailed
from dqm_db.settings import DatabaseSettings
from dqm_db.urls import file_path, shown
from ingest.errors import NoInputFiles, one_line, printable
from ingest.ingest_commands import SOME_FAILED
from ingest.options import EXIT_CODES, RunRangesType, camera_option, database_option
from ingest.outcomes import Status

if TYPE_CHECKING:
    from rich.progress import Progress

    from dqm_db.content import Quantity, Statistics
    from dqm_db.legacy import LegacyDatabase
    from ingest.finding import RunRanges
    from ingest.legacy import FoundRuns


@click.command("import-legacy", epilog=EXIT_CODES)
@click.argument("uri")
@click.option("--camera", metavar="NAME", help="Only this one; also that of keys that tell none.")
@click.option("--runs", type=RunRangesType(), help="Only these runs, e.g. 6000-6100,6200.")
@click.option("--force", is_flag=True, help="Replace runs that are stored with other contents.")
@click.option("--dry-run", is_flag=True, help="Read everything, but only say what would be done.")
@database_option
def import_legacy(
    settings: DatabaseSettings,
    uri: str,
    camera: str | None,
    runs: RunRanges | None,
    force: bool,
    dry_run: bool,
) -> None:
    """Store the runs of a database that nectarchain's own tools wrote.

    URI is its address, e.g. zeo://127.0.0.1:8100 or file:///data/Data.fs; it is only read. Keys are
    {camera}_Run{run}; for those that start with NectarCAM_Run give --camera. A run that is stored
    already is skipped; one that came from a results file is kept unless --force is given. There
    are no original files in such a database: dqm get has none of these runs, nor has dqm reparse.
    """
    from dqm_db.legacy import open_legacy
    from dqm_db.storage import open_database
    from dqm_db.writer import open_writer
    from ingest.archive import CAMERA_NAME
    from ingest.legacy import find_runs, import_runs
    from ingest.report import report
    from ingest.stopping import StopRequest

    if camera is not None and not CAMERA_NAME.fullmatch(camera):
        raise click.BadParameter(f"{camera!r} cannot be a camera", param_hint="--camera")
    if uri.startswith("file://") and not file_path(uri).exists():
        raise NoInputFiles(f"{shown(uri)}: there is no such file")
    with StopRequest() as stop, open_legacy(settings, uri) as legacy:
        found = find_runs(legacy, camera=camera, runs=runs)
        if not found.runs and not found.unread:
            raise NoInputFiles(_nothing(legacy, found))
        with contextlib.ExitStack() as opened:
            writer = None if dry_run else opened.enter_context(open_writer(settings))
            database = writer.database if writer else opened.enter_context(open_database(settings))
            outcomes = import_runs(legacy, found.runs, database, writer, force=force, stop=stop)
            counts = report(
                chain(found.unread, outcomes),
                len(found.unread) + len(found.runs),
                verb="dry run" if dry_run else "import-legacy",
                remark=_others(found),
            )
    if stop():
        sys.exit(stop.exit_code)
    if counts[Status.NOT_WRITTEN]:
        sys.exit(WriteFailed.exit_code)
    if not all(status.is_good for status in counts):
        sys.exit(SOME_FAILED)


def _others(found: FoundRuns) -> str:
    return f"keys that name no run: {found.others}" if found.others else ""


def _nothing(legacy: LegacyDatabase, found: FoundRuns) -> str:
    url = shown(legacy.settings.db_url)
    keys = legacy.keys()
    named = len(keys) - found.others
    if named:
        return f"{url} holds {named} runs, but none that is wanted: look at --camera and --runs"
    names = ", ".join(printable(key) for key in keys[:3]) or "nothing"
    return f"{url} holds no runs of nectarchain, whose keys are …_Run…; its root holds {names}"


@click.command("rebuild-trends", epilog=EXIT_CODES)
@camera_option
@database_option
def rebuild_trends(settings: DatabaseSettings, camera: str | None) -> None:
    """Compute catalogue, trends, verdicts and pixel history again from the stored runs.

    After an upgrade that brings new statistics, or when one of them is damaged. Of --camera, or of
    all. Readers see the old ones until those of a camera are complete, also when this is stopped.
    """
    from dqm_db.rebuilding import rebuild
    from dqm_db.writer import open_writer
    from ingest.stopping import StopRequest

    started = time.monotonic()
    failures = 0
    with StopRequest() as stop, open_writer(settings) as writer:
        with writer.database.snapshot() as snapshot:
            cameras = snapshot.cameras() if camera is None else (camera,)
            sizes = {name: len(snapshot.runs(name)) for name in cameras}
        unchanged = list(sizes)
        with _progress() as progress:
            task = progress.add_task("rebuild-trends", total=sum(sizes.values()))
            for name, size in sizes.items():
                runs = 0
                for one in rebuild(writer, name, _statistics, stop=stop):
                    runs += 1
                    if one.error is not None:
                        failures += 1
                        line = f"failed: {name} run {one.run}: {one_line(one.error)}"
                        progress.console.print(line, markup=False, highlight=False, soft_wrap=True)
                    progress.advance(task)
                if runs < size:
                    break
                unchanged.remove(name)
    done = sum(size for name, size in sizes.items() if name not in unchanged)
    failed = f", {failures} failed" if failures else ""
    left = f"; stopped, unchanged: {', '.join(unchanged)}" if unchanged else ""
    seconds = time.monotonic() - started
    click.echo(f"rebuild-trends: {done} runs{failed} in {seconds:.1f} s{left}")
    if unchanged:
        sys.exit(stop.exit_code)
    if failures:
        sys.exit(SOME_FAILED)


def _statistics(quantities: Sequence[Quantity]) -> Statistics:
    import numpy as np

    from ingest.statistics import compute_statistics

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # means of nothing: left out, as at first
        return compute_statistics(quantities)


def _progress() -> Progress:
    """A bar, on a terminal only."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)
