"""``dqm demo``: the whole system on this machine, until it is told to stop."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dqm.demo.filling import Filling
from dqm.demo.ports import LOOPBACK, USUAL, StackPorts, is_free
from dqm.demo.series import DEFAULT_RUNS, Series, stored_runs
from dqm.demo.stack import Stack
from dqm_db.errors import ConfigurationError

LOOK_EVERY = 0.1  # s


class StopRequested(Exception):
    """The user, or the system, wants an end."""


@click.command()
@click.option(
    "--runs",
    type=click.IntRange(min=1),
    help=f"Runs to simulate; those that --dir holds count.  [{DEFAULT_RUNS}, or as --dir had]",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help=f"Port of the dashboard.  [{USUAL.dashboard}, or a free one when it is taken]",
)
@click.option(
    "--free-ports",
    "anywhere",
    is_flag=True,
    help="Listen on any free ports, even where the usual ones are not taken.",
)
@click.option(
    "--num-procs",
    type=click.IntRange(min=0),
    default=0,
    help="Processes of the dashboard.  [one for each processor]",
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the data and the logs here, and go on with what is here.  [a temporary folder]",
)
@click.option("--keep", is_flag=True, help="Do not remove the temporary folder at the end.")
def demo(
    runs: int | None,
    port: int | None,
    anywhere: bool,
    num_procs: int,
    directory: Path | None,
    keep: bool,
) -> None:
    """Run everything on this machine: primary, replica and dashboard, with simulated runs.

    The processes are those of production, on loopback. They run until Ctrl-C or SIGTERM.
    """
    logging.basicConfig(level=logging.WARNING, format="dqm demo: %(message)s")
    ports = choose_ports(port, anywhere=anywhere)
    with stop_signals() as poll, home(directory, keep=keep) as folder:
        transient = directory is None and not keep
        stack = Stack(folder, ports=ports, num_procs=num_procs, transient=transient)
        filling = plan_filling(stack, runs)
        try:
            run(stack, filling, poll)
        except StopRequested:
            click.echo("\nStopping the dashboard, the replica and the primary.")
        finally:
            stack.stop()
            filling.discard()


def plan_filling(stack: Stack, runs: int | None) -> Filling:
    """What is to be simulated into *stack*, besides what its folder holds from an earlier demo."""
    series = Series.of(stack.directory, runs)
    stored = stored_runs(stack.directory / "primary")
    return Filling(stack, series, frozenset(stored & series.planned()) if stored else frozenset())


def run(stack: Stack, filling: Filling, poll: Callable[[], None]) -> None:
    """Start *stack*, fill it, and watch over it until *poll* raises."""
    click.echo(f"Starting primary, replica and dashboard; their logs are in {stack.directory}/logs")
    if not filling.complete:
        filling.start()
    stack.start(poll=poll)
    if not filling.complete:
        fill(stack, filling, poll)
    else:
        announce(stack, f"{stack.directory} holds all {filling.runs} runs; nothing is added.")
    while True:
        poll()
        stack.check()
        time.sleep(LOOK_EVERY)


def fill(stack: Stack, filling: Filling, poll: Callable[[], None]) -> None:
    """Ingest the simulated runs, and announce the dashboard when the first one is stored."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    present, announced = filling.stored, False
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("Ingesting simulated runs", total=filling.runs)
        while True:
            if filling.stored and not announced:
                held = f"{present} of {filling.runs} runs are here, the others"
                what = held if present else f"{filling.runs} runs of two cameras"
                announce(stack, f"{what} are on their way.")
                announced = True
            if filling.complete:
                break
            poll()
            stack.check()
            filling.step()
            progress.update(task, completed=filling.stored)
            time.sleep(LOOK_EVERY)
    click.echo(f"All {filling.runs} runs are stored.")


def announce(stack: Stack, what: str) -> None:
    """Print where to look."""
    click.echo(
        f"\n  {stack.dashboard_url}\n\n"
        f"{what} Ctrl-C stops everything.\n"
        f"Other commands reach this database with DQM_DB_URL={stack.primary_url}\n"
        f"and, only to read, the replica with DQM_DB_URL={stack.replica_url}\n"
    )


def choose_ports(dashboard: int | None, *, anywhere: bool = False) -> StackPorts:
    """The usual ports, and free ones in place of those that are taken, which is said.

    Parameters
    ----------
    dashboard
        The dashboard's port, when one is wanted.
    anywhere
        Whether the usual ports do not matter.

    Raises
    ------
    ConfigurationError
        When the port that was asked for is taken.
    """
    if dashboard is not None and not is_free(dashboard):
        raise ConfigurationError(f"port {dashboard} of {LOOPBACK} is taken; choose another --port")
    ports = StackPorts.choose(dashboard)
    if anywhere:
        return ports
    chosen = dataclasses.asdict(ports)
    for name, usual in dataclasses.asdict(USUAL).items():
        if chosen[name] == dashboard:
            continue
        if is_free(usual) and usual != dashboard:
            chosen[name] = usual
        else:
            what = name.replace("_", "'s ")
            click.echo(f"Port {usual} is taken by something else; the {what} gets {chosen[name]}.")
    return StackPorts(**chosen)


@contextlib.contextmanager
def home(directory: Path | None, *, keep: bool) -> Iterator[Path]:
    """The folder of data and logs; a temporary one is removed unless it is wanted or needed."""
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        yield directory.resolve()
        return
    folder = Path(tempfile.mkdtemp(prefix="dqm-demo-"))
    try:
        yield folder
    except Exception:
        click.echo(f"dqm demo: data and logs are left in {folder}", err=True)
        raise
    if keep:
        click.echo(f"Data and logs are in {folder}; see them again: dqm demo --dir {folder}")
    else:
        shutil.rmtree(folder)


@contextlib.contextmanager
def stop_signals() -> Iterator[Callable[[], None]]:
    """Take note of Ctrl-C, SIGTERM and the end of the terminal; the yielded function raises then.

    A signal only sets a mark, so that none can come between the start of a process and the note
    of its id.
    """
    received: list[int] = []

    def poll() -> None:
        if received:
            raise StopRequested

    before = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield poll
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
