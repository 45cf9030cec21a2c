"""What the puller has left in the database, for people and for monitoring."""

from __future__ import annotations

import json
import time
from dataclasses import asdict

import click

from dqm_db.settings import DatabaseSettings
from dqm_db.storage import open_database
from ingest.export import iso_utc
from ingest.listing import failures_table


def show_failures(settings: DatabaseSettings, camera: str | None, *, as_json: bool) -> None:
    """Print the files that could not be stored (of one *camera*), those in quarantine first.

    Raises
    ------
    DatabaseUnavailable, NoDataYet
    """
    with open_database(settings) as database, database.snapshot() as snapshot:
        failures = [one for one in snapshot.failures() if camera in (None, one.camera)]
    if as_json:
        for failure in failures:
            click.echo(json.dumps(asdict(failure)))
    else:
        failures_table(failures)


def show_last_pull(settings: DatabaseSettings, age: float, *, as_json: bool) -> bool:
    """Print the last pull; whether it ended well, and not longer ago than *age* (s).

    Raises
    ------
    DatabaseUnavailable, NoDataYet
    """
    with open_database(settings) as database, database.snapshot() as snapshot:
        pull = snapshot.last_pull()
    if pull is None:
        click.echo("null" if as_json else "nothing was ever pulled")
        return False
    if as_json:
        click.echo(json.dumps(asdict(pull)))
    else:
        counts = ", ".join(f"{number} {status}" for status, number in pull.counts.items())
        said = [f"{iso_utc(pull.finished)} on {pull.host}", counts, pull.error]
        click.echo("; ".join(part for part in said if part) + f"; exit code {pull.exit_code}")
    return not pull.exit_code and time.time() - pull.finished <= age
