"""``dqm repeat``: calls a command again and again, where no timer of systemd and no cron is."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Any

import click
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from dqm_db.errors import ConfigurationError
from dqm_db.settings import load

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class RepeatSettings(BaseSettings):
    """Where it is told how calls went."""

    model_config = SettingsConfigDict(env_prefix="DQM_", extra="ignore")

    repeat_status: Path | None = Field(
        None,
        description="File in which `dqm repeat` notes its last call, for `dqm healthcheck`.",
    )


@dataclass
class Calls:
    """How calls of a command went, as the file of `RepeatSettings` has it.

    Attributes
    ----------
    command
        Program and arguments.
    next
        When the next call is due, unix seconds.
    started, ended
        Of the last call, unix seconds; None: there was none, or it has not ended.
    exit_code
        Of the last call that has ended; negative: the number of the signal that killed it.
    is_fine
        Whether that was one of those that count as success.
    """

    command: Sequence[str]
    next: float
    started: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    is_fine: bool | None = None

    def write(self, path: Path) -> None:
        """Replace the file at once, so that no reader sees half of it."""
        part = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            part.write_text(json.dumps(asdict(self)), "utf-8")
            part.replace(path)
        except OSError as error:
            raise ConfigurationError(f"DQM_REPEAT_STATUS: cannot write {path} ({error})") from error


class Interval(click.ParamType):
    """Seconds, or a number with s, m, h or d."""

    name = "TIME"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Seconds, at least 1."""
        found = re.fullmatch(r"([0-9]{1,6})([smhd]?)", str(value))
        seconds = int(found[1]) * SECONDS[found[2] or "s"] if found else 0
        if seconds < 1:
            self.fail(f"{value!r} is no time such as 5m, 90s or 12h", param, ctx)
        return float(seconds)


class TimeOfDay(click.ParamType):
    """HH:MM."""

    name = "HH:MM"

    def convert(self, value: Any, param: Any, ctx: Any) -> time_of_day:
        """That time in UTC."""
        try:
            return datetime.strptime(str(value), "%H:%M").replace(tzinfo=UTC).timetz()
        except ValueError:
            self.fail(f"{value!r} is no time of the day such as 01:30", param, ctx)


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--every", type=Interval(), help="Time from one start to the next, e.g. 5m.")
@click.option("--at", type=TimeOfDay(), help="Time of the day, in UTC, instead.")
@click.option(
    "--fine", type=int, multiple=True, help="Exit code that is a success, too; may be repeated."
)
@click.argument("command", nargs=-1, required=True, metavar="COMMAND [ARG]…")
def repeat(
    every: float | None, at: time_of_day | None, fine: tuple[int, ...], command: tuple[str, ...]
) -> None:
    """Call COMMAND again and again, until SIGTERM or Ctrl-C.

    A call that fails is reported, and the next one made as always; calls never overlap. What
    COMMAND prints is passed on. A stop is passed on to the call under way, and waits for its end.
    """
    if (every is None) == (at is None):
        raise click.UsageError("give either --every or --at")
    status = load(RepeatSettings).repeat_status
    first = time.time() if at is None else _next_time(at, time.time())
    following = (
        (lambda started: started + every)
        if every is not None
        else (lambda started: _next_time(at or time_of_day(), started))
    )
    Repetition(command, {0, *fine}, following, status).run(first)


class Repetition:
    """Calls *command* whenever it is due.

    Parameters
    ----------
    command
        Program and arguments.
    fine
        Exit codes of calls that went well.
    following
        When the call after that at a time is due, unix seconds.
    status
        File to note it in.
    """

    def __init__(
        self,
        command: Sequence[str],
        fine: set[int],
        following: Callable[[float], float],
        status: Path | None,
    ) -> None:
        self._command = command
        self._fine = fine
        self._following = following
        self._status = status
        self._stopped = Event()
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, first: float) -> None:
        """Call it at *first* (unix seconds) and whenever it is due, until a signal.

        Raises
        ------
        ConfigurationError
            There is no such program, or the file cannot be written.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        calls = Calls(self._command, first)
        self._note(calls)
        while not self._stopped.wait(max(0.0, calls.next - time.time())):
            calls.started, calls.ended = time.time(), None
            # after a call that took longer than its time the next one comes at once, not all missed
            calls.next = self._following(calls.started)
            self._note(calls)
            code = self._call()
            calls.ended, calls.exit_code, calls.is_fine = time.time(), code, code in self._fine
            self._note(calls)
            self._say(calls)

    def _call(self) -> int:
        try:
            self._process = subprocess.Popen(self._command)
        except OSError as error:
            raise ConfigurationError(
                f"cannot start {self._command[0]!r} ({error.strerror}): name a program, such as "
                "`dqm repeat --every 5m dqm ingest`"
            ) from error
        if self._stopped.is_set():  # before there was anything to stop
            self._process.terminate()
        code = self._process.wait()
        self._process = None
        return code

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopped.set()
        if self._process is not None:
            self._process.terminate()

    def _note(self, calls: Calls) -> None:
        if self._status is not None:
            calls.write(self._status)

    def _say(self, calls: Calls) -> None:
        """One line for a call that failed; one that went well has said so itself."""
        if calls.is_fine or self._stopped.is_set():
            return
        due = datetime.fromtimestamp(max(calls.next, time.time()), UTC)
        click.echo(
            f"dqm: warning: {shlex.join(self._command)} ended with {calls.exit_code}; it is called "
            f"again at {due:%Y-%m-%d %H:%M:%S} UTC",
            err=True,
        )


def _next_time(at: time_of_day, after: float) -> float:
    """Unix seconds of the first time that it is *at* (UTC) later than *after*."""
    moment = datetime.fromtimestamp(after, UTC)
    due = datetime.combine(moment.date(), at)
    return (due if due > moment else due + timedelta(days=1)).timestamp()
