"""``python -m benchmarks``: measure, print the table, write JSON. Also as ``make bench``."""

from __future__ import annotations

import functools
import importlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.status import Status

from benchmarks import report
from benchmarks.bars import Result
from benchmarks.plan import Plan

# in the order in which they are measured: the cheap ones first
GROUPS = {
    "storage": "benchmarks.storage",
    "history": "benchmarks.history",
    "ingest": "benchmarks.ingestion",
    "pull": "benchmarks.pulling",
    "dirac": "benchmarks.dirac",
    "replication": "benchmarks.replication",
    "activation": "benchmarks.activation",
    "kills": "benchmarks.kills",
    "backup": "benchmarks.backups",
    "freshness": "benchmarks.freshness",
    "pages": "benchmarks.pages",
    "login": "benchmarks.login",
    "overview": "benchmarks.overview",
    "runs": "benchmarks.run_table",
    "api": "benchmarks.api",
    "downloads": "benchmarks.downloads",
    "trends": "benchmarks.trends",
    "leaks": "benchmarks.leaks",
    "load": "benchmarks.load",
    "sessions": "benchmarks.sessions",
}


def _groups(context: click.Context, parameter: click.Parameter, text: str) -> tuple[str, ...]:  # noqa: ARG001
    wanted = [name.strip() for name in text.split(",") if name.strip()] or list(GROUPS)
    unknown = [name for name in wanted if name not in GROUPS]
    if unknown:
        raise click.BadParameter(f"no group {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    return tuple(name for name in GROUPS if name in wanted)


@click.command()
@click.option("--only", "groups", default="", callback=_groups, help="Groups, e.g. pages,ingest.")
@click.option("--quick", is_flag=True, help="Few repetitions: shows that it works, not how fast.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=report.FOLDER,
    help="Folder of the JSON file.",
)
@click.option("--readme", is_flag=True, help="Put the results of a full run into README.md here.")
@click.option("--keep", is_flag=True, help="Keep databases and logs, and say where.")
def main(groups: tuple[str, ...], quick: bool, out: Path, readme: bool, keep: bool) -> None:
    """Measure the system beside the bars it has to meet.

    Exit code 1: a group failed. A missed bar is shown in the table and is no failure.
    """
    console = Console(stderr=True)
    if readme and (quick or set(groups) != set(GROUPS)):
        raise click.UsageError("--readme needs a full run: no --quick, no --only")
    if os.getloadavg()[0] > 0.5 * len(os.sched_getaffinity(0)) and not quick:
        console.print("[yellow]this machine is busy: times will be too long, ratios noisy[/]")
    results: list[Result] = []
    failures: dict[str, str] = {}
    folder = Path(tempfile.mkdtemp(prefix="dqm-bench-"))
    try:
        for name in groups:
            scratch = folder / name
            scratch.mkdir()
            with console.status(name) as status:
                say = functools.partial(_say, status, name)
                plan = Plan.small(scratch, say) if quick else Plan(scratch, say)
                try:
                    measured = importlib.import_module(GROUPS[name]).measure(plan)
                except Exception as error:
                    # the other groups are still worth their time
                    failures[name] = f"{type(error).__name__}: {error}"
                    console.print_exception()
                    continue
            results += measured
            if len(groups) > 1:
                report.show(measured, console)
            if not keep:
                shutil.rmtree(scratch, ignore_errors=True)
        path = report.write(results, failures, out, quick=quick)
    finally:
        if keep:
            console.print(f"databases and logs: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    report.show(results, Console())
    console.print(f"written: {path}")
    for name, text in failures.items():
        console.print(f"[bold red]{name} failed:[/] {text}")
    if readme and not failures:
        report.write_readme(results)
    sys.exit(1 if failures else 0)


def _say(status: Status, group: str, text: str) -> None:
    status.update(f"{group}: {text}")


if __name__ == "__main__":
    main()
