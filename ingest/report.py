"""What the user sees of a long run of files: one line per bad one, a bar, a summary."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ingest.pipeline import FileOutcome, Status


def report(
    outcomes: Iterable[FileOutcome], total: int, *, verb: str, remark: str = ""
) -> Counter[Status]:
    """Consume *outcomes*: bad ones go to standard error as they come, the summary to standard out.

    A progress bar is shown on a terminal only. The summary ends with the *remark* and is printed
    also when *outcomes* raises.
    """
    console = Console(stderr=True)
    counts: Counter[Status] = Counter()
    started = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    try:
        with Progress(
            *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
        ) as progress:
            task = progress.add_task(verb, total=total)
            for outcome in outcomes:
                counts[outcome.status] += 1
                if not outcome.status.is_good:
                    progress.console.print(
                        f"{outcome.status.value}: {outcome.source}: {outcome.message}",
                        markup=False,
                        highlight=False,
                        soft_wrap=True,
                    )
                progress.advance(task)
    finally:
        summary = summary_line(verb, counts, total, time.monotonic() - started)
        click.echo(f"{summary}; {remark}" if remark else summary)
    return counts


def summary_line(verb: str, counts: Counter[Status], total: int, seconds: float) -> str:
    """E.g. ``ingest: 3 stored, 1 failed of 4 in 0.8 s (5.0/s)``."""
    done = sum(counts.values())
    parts = [f"{counts[status]} {status.value}" for status in Status if counts[status]]
    if done < total:
        parts.append(f"{total - done} not done")
    rate = f" ({done / seconds:.1f}/s)" if done > 1 and seconds > 0 else ""
    return f"{verb}: {', '.join(parts) or 'nothing done'} of {total} in {seconds:.1f} s{rate}"
