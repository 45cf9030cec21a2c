"""``dqm worker``: builds baskets of runs for dashboards."""

from __future__ import annotations

import logging

import click

from dqm_app.downloads.settings import DownloadSettings
from dqm_app.downloads.worker import Worker
from dqm_db.settings import load


@click.command()
@click.option(
    "--until-idle",
    is_flag=True,
    help="End when there is nothing left to do, as those do that the dashboard starts.",
)
@click.option("--lock", type=int, hidden=True)
def worker(until_idle: bool, lock: int | None) -> None:
    """Build the baskets of runs that users of the dashboard have chosen.

    Needed only with DQM_DOWNLOADS_QUEUE; without it the dashboard starts a worker when one is
    needed. Runs until SIGTERM or Ctrl-C, and leaves the basket at hand to the next worker.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(name)s: %(message)s")
    logging.getLogger("huey").setLevel(logging.WARNING)
    working = Worker(load(DownloadSettings))
    if until_idle:
        working.run_until_idle(lock)
    else:
        working.run()
