"""``dqm simulate``."""

from __future__ import annotations

import dataclasses
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dqm.simulation.campaign import plan_campaign
from dqm.simulation.conditions import condition_named, named_conditions

DEFAULT_CAMERAS = ("NectarCAMQM", "NectarCAM2")


def _list_conditions(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        for named in named_conditions().values():
            click.echo(f"{named.name:<24}{named.description}")
        context.exit()


@click.command()
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory to write into; made when it does not exist.",
)
@click.option("--runs", type=click.IntRange(min=1), default=6, show_default=True)
@click.option(
    "--camera",
    "cameras",
    multiple=True,
    default=DEFAULT_CAMERAS,
    show_default=True,
    help="Repeat for several; the runs are shared between them.",
)
@click.option(
    "--condition",
    "conditions",
    multiple=True,
    metavar="NAME",
    help="What the runs are like; of several, they take one after the other in turn. "
    "By default most are healthy, with some of every other condition.",
)
@click.option(
    "--events",
    type=click.IntRange(min=1),
    help="Of each run; by default 300, or what its condition says.",
)
@click.option(
    "--leave-out",
    "left_out",
    multiple=True,
    metavar="CAMERA:RUN",
    help="A run of the series that is not wanted; repeat for several.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    help="Time (UTC) by which the last night of observations has ended; by default now.",
)
@click.option(
    "--list-conditions",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_conditions,
    help="List the conditions and stop.",
)
def simulate(
    out: Path,
    runs: int,
    cameras: tuple[str, ...],
    conditions: tuple[str, ...],
    events: int | None,
    left_out: tuple[str, ...],
    seed: int,
    until: datetime | None,
) -> None:
    """Write results files of simulated runs, packed as the grid job packs them.

    Prints the path of each file. The same options, --until among them, give the same files
    byte for byte.
    """
    for name in conditions:
        condition_named(name)
    end = until.replace(tzinfo=UTC).timestamp() if until else None
    plan = plan_campaign(list(dict.fromkeys(cameras)), runs, seed=seed, until=end, events=events)
    if conditions:
        plan = [
            dataclasses.replace(planned, condition=conditions[index % len(conditions)])
            for index, planned in enumerate(plan)
        ]
    plan = [planned for planned in plan if f"{planned.camera}:{planned.run}" not in left_out]
    out.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    # Paths go to standard output even where the bar is on a terminal, so that they can be piped;
    # where both are on the terminal, the bar has to step aside for each line.
    both_on_terminal = console.is_terminal and sys.stdout.isatty()
    with Progress(
        *columns, console=console, disable=not console.is_terminal, redirect_stdout=False
    ) as progress:
        task = progress.add_task("", total=len(plan))
        for planned in plan:
            progress.update(task, description=f"{planned.camera} run {planned.run}")
            path = planned.write(out)
            if both_on_terminal:
                console.print(path, highlight=False, soft_wrap=True)
            else:
                click.echo(path)
            progress.advance(task)
