"""``dqm worker`` builds baskets of runs for dashboards, ``dqm baskets`` lists and removes them."""

from __future__ import annotations

import logging

import click

from dqm_app.downloads.errors import BasketNotFound
from dqm_app.downloads.settings import DownloadSettings
from dqm_app.downloads.shelf import Shelf
from dqm_app.downloads.worker import Worker
from dqm_db.settings import load
from dqm_db.status.words import size, utc_minute


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


@click.group()
def baskets() -> None:
    """List and remove the baskets of runs of all users, on the host that has their folder.

    Users remove their own on the page of the dashboard; all are gone after DQM_DOWNLOADS_HOURS.
    """


@baskets.command("list")
def list_() -> None:
    """List all of them, the newest first, with the end of each in UTC."""
    for basket in Shelf(load(DownloadSettings)).everybody():
        progress = basket.progress()
        ends = utc_minute(basket.ends)
        shown = f"{basket.id}  {progress.state:<8}  {size(progress.of_bytes):>8}  until {ends}"
        click.echo(
            f"{shown}  {basket.owner or 'anybody'}: {len(basket.runs)} runs of {basket.camera}"
        )


@baskets.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
def remove(ids: tuple[str, ...]) -> None:
    """Remove those with these ids, also while they are being built."""
    shelf = Shelf(load(DownloadSettings))
    found = {basket_id: shelf.get(basket_id) for basket_id in ids}
    for basket_id, basket in found.items():
        if basket is None:
            raise BasketNotFound(
                f"there is no basket {basket_id} in {shelf.folder}: `dqm baskets list` lists them"
            )
    for basket in found.values():
        if basket is not None:
            shelf.remove(basket)
            click.echo(f"{basket.id} of {basket.owner or 'anybody'} is removed")
