"""``dqm status``."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence

import click

from dqm_db.settings import DatabaseSettings, WatchSettings, load
from dqm_db.status.collecting import Servers, ask_servers, facts_of_whichever_answers
from dqm_db.status.document import document
from dqm_db.status.judging import judge
from dqm_db.status.limits import Limits
from dqm_db.status.model import Item, Level, SystemStatus

EXIT_CODES = {Level.OK: 0, Level.UNKNOWN: 1, Level.WARNING: 1, Level.CRITICAL: 69}
"""2 would be the custom of monitors, but here it means that the command line is wrong."""
EPILOG = """\b
Exit codes:
    0  all is fine
    1  something is a warning, or cannot be found out
    2  the command line is wrong
   69  something is critical, such as a server that does not answer
   78  a setting has no usable value
"""


MoreItems = Callable[[Limits], Sequence[Item]]
"""Judges what is no server's, on this host."""


def status_command(*more: MoreItems) -> click.Command:
    """``dqm status``, which says also what *more* have found."""

    @click.command("status", epilog=EPILOG)
    @click.option("--db", metavar="URL", help="Database to look at, instead of DQM_DB_URL.")
    @click.option("--json", "as_json", is_flag=True, help="As one JSON object, for programs.")
    @click.option(
        "--watch",
        type=click.FloatRange(min=0.5),
        metavar="SECONDS",
        help="Again and again, until Ctrl-C.",
    )
    @click.pass_context
    def status(context: click.Context, db: str | None, as_json: bool, watch: float | None) -> None:
        """Say how the whole system is: servers, pulls, backups, and the dashboard of this host.

        Asks the servers of DQM_SERVERS, else those of DQM_DB_URL and DQM_PRIMARY_ZEO.
        """
        from dqm_db.status.table import console, table

        database = load(DatabaseSettings, db_url=db)
        settings = load(WatchSettings)
        servers, limits = Servers.of(database, settings), Limits.of(settings)
        screen = console()
        while True:
            found = collect(database, servers, limits, more)
            if as_json:
                click.echo(json.dumps(document(found), indent=None if watch else 2))
            else:
                if watch and screen.is_terminal:
                    screen.clear()
                screen.print(table(found))
            if watch is None:
                context.exit(EXIT_CODES[found.level])
            try:
                time.sleep(watch)
            except KeyboardInterrupt:  # as the help says
                context.exit(0)

    return status


def collect(
    database: DatabaseSettings, servers: Servers, limits: Limits, more: Sequence[MoreItems] = ()
) -> SystemStatus:
    """Ask everybody, read the database, judge."""
    found = asyncio.run(ask_servers(servers))
    facts, error = facts_of_whichever_answers(database, found)
    items = [item for judged in more for item in judged(limits)]
    return judge(found, facts, error, limits, time.time(), servers.certificate, items)
