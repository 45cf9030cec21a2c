"""What the user, or the log of cron, sees of a long run of files: bad ones, a bar, a summary."""

from __future__ import annotations

import json
import logging
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ingest.outcomes import FileOutcome, Status

Format = Literal["text", "json"]

_QUIET = frozenset(
    {Status.SKIPPED, Status.CHANGED, Status.WAITING, Status.QUARANTINED, Status.PASSED_OVER}
)
"""Said for each file they would drown the rest: there are thousands at each call from cron."""


class Reporter(ABC):
    """Says what happens while it happens, to standard error; the summary goes to standard out."""

    @abstractmethod
    def outcome(self, outcome: FileOutcome) -> None:
        """What became of a file."""

    @abstractmethod
    def error(self, text: str) -> None:
        """What went wrong with more than one file."""

    @abstractmethod
    def summary(
        self, verb: str, counts: Counter[Status], total: int, seconds: float, remark: str
    ) -> None:
        """What became of all, once, at the end."""


class TextReporter(Reporter):
    """For people: bad files only, one line each."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def outcome(self, outcome: FileOutcome) -> None:
        """A line for what went wrong, or is to be done."""
        if not outcome.status.is_good or outcome.status is Status.TO_DO:
            self._print(f"{outcome.status.value}: {outcome.source}", outcome.message)

    def error(self, text: str) -> None:
        """A line as of any other command."""
        self._print("dqm", text)

    def summary(
        self, verb: str, counts: Counter[Status], total: int, seconds: float, remark: str
    ) -> None:
        """One line, see `summary_line`."""
        line = summary_line(verb, counts, total, seconds)
        click.echo(f"{line}; {remark}" if remark else line)

    def _print(self, head: str, text: str) -> None:
        line = f"{head}: {text}" if text else head
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class JSONReporter(Reporter):
    """For a log collector: one object per line, ``time`` (ISO 8601, UTC) and ``event`` in each."""

    def outcome(self, outcome: FileOutcome) -> None:
        """``event`` "file": all but those that were left alone as before."""
        if outcome.status in _QUIET:
            return
        self._write(
            "file",
            level="info" if outcome.status.is_good else "error",
            status=outcome.status.value,
            source=outcome.source,
            camera=outcome.camera,
            run=outcome.run,
            kind=outcome.kind,
            message=outcome.message,
        )

    def error(self, text: str) -> None:
        """``event`` "error"."""
        self._write("error", level="error", message=text)

    def summary(
        self, verb: str, counts: Counter[Status], total: int, seconds: float, remark: str
    ) -> None:
        """``event`` "summary", to standard out."""
        fields = {status.value: counts[status] for status in Status if counts[status]}
        self._write(
            "summary",
            err=False,
            level="info",
            command=verb,
            counts=fields,
            total=total,
            seconds=round(seconds, 3),
            remark=remark,
        )

    def _write(self, event: str, *, err: bool = True, **fields: object) -> None:
        click.echo(json.dumps({"time": _now(), "event": event, **fields}), err=err)


class JSONLogFormatter(logging.Formatter):
    """Records of the logging module as further lines of a `JSONReporter`."""

    def format(self, record: logging.LogRecord) -> str:
        """One JSON object."""
        fields = {"level": record.levelname.lower(), "message": record.getMessage()}
        return json.dumps({"time": _now(), "event": "log", "logger": record.name, **fields})


def report(
    outcomes: Iterable[FileOutcome],
    total: int,
    *,
    verb: str,
    remark: str = "",
    form: Format = "text",
    errors: Iterable[Exception] = (),
) -> Counter[Status]:
    """Consume *outcomes*, saying what is worth it; then the *errors*, and the summary.

    A progress bar is shown on a terminal only. The summary ends with the *remark* and is printed
    also when *outcomes* raises. *errors* may grow until then.
    """
    console = Console(stderr=True)
    counts: Counter[Status] = Counter()
    started = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        disable=form == "json" or not console.is_terminal,
    )
    reporter = JSONReporter() if form == "json" else TextReporter(bar.console)
    try:
        with bar as progress:
            task = progress.add_task(verb, total=total)
            for outcome in outcomes:
                counts[outcome.status] += 1
                reporter.outcome(outcome)
                progress.advance(task)
    finally:
        for error in errors:
            reporter.error(str(error))
        reporter.summary(verb, counts, total, time.monotonic() - started, remark)
    return counts


def summary_line(verb: str, counts: Counter[Status], total: int, seconds: float) -> str:
    """E.g. ``ingest: 3 stored, 1 failed of 4 in 0.8 s (5.0/s)``."""
    done = sum(counts.values())
    parts = [f"{counts[status]} {status.value}" for status in Status if counts[status]]
    if done < total:
        parts.append(f"{total - done} not done")
    rate = f" ({done / seconds:.1f}/s)" if done > 1 and seconds > 0 else ""
    return f"{verb}: {', '.join(parts) or 'nothing done'} of {total} in {seconds:.1f} s{rate}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
