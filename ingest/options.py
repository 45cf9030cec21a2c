"""Options and words that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from dqm_db.errors import RunNotFound
from dqm_db.settings import DatabaseSettings, load

if TYPE_CHECKING:
    from ingest.finding import RunRanges

EXIT_CODES = """\b
Exit codes:
    0  all is done, or was before
    1  some file or run could not be done; the others are done
    2  the command line is wrong
   65  the database is of another system or release, or damaged
   66  what was asked for is not there
   69  the database or the source does not answer, or holds nothing yet
   73  a file cannot be written, or would be overwritten (get)
   74  the server, or a disk, could not take what was to be written
   75  another command is writing, or a backup is being made (pack)
   77  a write was asked of a replica, or the source wants credentials
   78  a setting has no usable value
  130  stopped by Ctrl-C (ingest, reparse, recheck, import-legacy, rebuild-trends, pack)
  143  stopped by SIGTERM (the same)
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


class RunRangesType(click.ParamType):
    """``6000-6100,6200``."""

    name = "runs"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> RunRanges:
        """Parse it, or fail as click does."""
        from ingest.finding import RunRanges

        if isinstance(value, RunRanges):
            return value
        try:
            return RunRanges.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def camera_of(snapshot: Any, run: int, camera: str | None) -> str:
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
