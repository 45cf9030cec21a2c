"""Commands that are called again and again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from datetime import time as time_of_day
from pathlib import Path

import click
import pytest
from processes import eventually

from dqm.repeat import Calls, Interval, TimeOfDay, _next_time

BIN = Path(sys.executable).parent


def test_intervals_are_seconds() -> None:
    given = ["30", "30s", "5m", "12h", "1d"]
    assert [Interval().convert(text, None, None) for text in given] == [30, 30, 300, 43200, 86400]


@pytest.mark.parametrize("text", ["", "0", "0m", "-5", "5 m", "1w", "1.5h", "m"])
def test_what_is_no_interval_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no time such as 5m"):
        Interval().convert(text, None, None)


@pytest.mark.parametrize("text", ["", "24:00", "1", "noon"])
def test_what_is_no_time_of_the_day_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no time of the day"):
        TimeOfDay().convert(text, None, None)


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("2024-05-03T00:00", "2024-05-03T01:30"),
        ("2024-05-03T01:30", "2024-05-04T01:30"),
        ("2024-12-31T23:59", "2025-01-01T01:30"),
    ],
)
def test_a_time_of_the_day_comes_next_on_this_day_or_the_next(now: str, due: str) -> None:
    at: time_of_day = TimeOfDay().convert("01:30", None, None)
    moments = [datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() for text in (now, due)]
    assert _next_time(at, moments[0]) == moments[1]


class Repeating:
    """`dqm repeat` with its file and its log."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.status = folder / "status.json"
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [BIN / "dqm", "repeat", *arguments],
                env=os.environ | {"DQM_REPEAT_STATUS": str(self.status)},
                stdout=log,
                stderr=log,
            )

    def __enter__(self) -> Repeating:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def health(self) -> tuple[int, str]:
        """Exit code and words of `dqm healthcheck`."""
        done = subprocess.run(
            [BIN / "dqm", "healthcheck", "repeat"],
            env=os.environ | {"DQM_REPEAT_STATUS": str(self.status)},
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.mark.system
def test_a_call_that_fails_is_told_and_repeated(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.write_text("3")
    script = f"echo output of a call; exit $(cat {code})"
    bad = (69, "dqm: the last call that ended, ended with 3; see the log\n")
    well = (0, "the last call went well\n")
    with Repeating(tmp_path, "--every", "1s", "sh", "-c", script) as repeating:
        eventually(lambda: repeating.health() == bad, "the failure is seen")
        code.write_text("0")
        eventually(lambda: repeating.health() == well, "another call, which went well")
        code.write_text("3")
        eventually(lambda: repeating.health() == bad, "another failure")
        repeating.process.send_signal(signal.SIGTERM)
        assert repeating.process.wait(30) == 0
    lines = repeating.log.read_text().splitlines()
    assert lines.count("output of a call") >= 3
    failures = [line for line in lines if "ended with 3; it is called again at 20" in line]
    assert len(failures) >= 2
    assert failures[0].startswith("dqm: warning: sh -c 'echo output of a call; ")


@pytest.mark.system
def test_exit_codes_that_are_fine_are_no_failures(tmp_path: Path) -> None:
    arguments = ("--every", "1d", "--fine", "75", "--fine", "1", "sh", "-c", "exit 75")
    with Repeating(tmp_path, *arguments) as repeating:
        eventually(lambda: repeating.health() == (0, "the last call went well\n"), "a call")
    assert repeating.log.read_text() == ""


@pytest.mark.system
def test_a_stop_waits_for_the_call_under_way(tmp_path: Path) -> None:
    orderly = f"trap 'sleep 0.2; echo orderly >{tmp_path}/end; exit 1' TERM"
    script = f"{orderly}; echo >{tmp_path}/started; while :; do sleep 0.05; done"
    with Repeating(tmp_path, "--every", "1h", "sh", "-c", script) as repeating:
        eventually((tmp_path / "started").exists, "the call")
        assert repeating.health() == (0, "a call is under way\n")
        repeating.process.send_signal(signal.SIGTERM)
        assert repeating.process.wait(30) == 0
    assert (tmp_path / "end").read_text() == "orderly\n"


@pytest.mark.system
def test_a_call_at_a_time_of_the_day_waits_for_it(tmp_path: Path) -> None:
    in_some_hours = datetime.fromtimestamp(time.time() + 6 * 3600, UTC)
    with Repeating(tmp_path, "--at", f"{in_some_hours:%H:%M}", "false") as repeating:
        eventually(repeating.status.exists, "its file")
        assert repeating.health() == (0, "the first call is not due yet\n")
        calls = Calls(**json.loads(repeating.status.read_text()))
        assert abs(calls.next - in_some_hours.timestamp()) <= 60
        # as if the clock had passed it, and the process hung
        calls.next -= 86400
        calls.write(repeating.status)
        assert repeating.health()[0] == 69


@pytest.mark.system
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--every", "1s", "no-such-program"], 78, "cannot start 'no-such-program'"),
        (["true"], 2, "give either --every or --at"),
        (["--every", "1s", "--at", "01:30", "true"], 2, "give either --every or --at"),
    ],
)
def test_what_cannot_be_repeated_is_said(
    tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    with Repeating(tmp_path, *arguments) as repeating:
        assert repeating.process.wait(60) == code
    assert said in repeating.log.read_text()


@pytest.mark.system
@pytest.mark.parametrize("text", ["", "{}", "[]", '{"next": 1, "started": null}'])
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    at = datetime.fromtimestamp(time.time() + 6 * 3600, UTC)
    with Repeating(tmp_path, "--at", f"{at:%H:%M}", "true") as repeating:
        eventually(repeating.status.exists, "its file")
        repeating.status.write_text(text)
        code, said = repeating.health()
        assert (code, "nothing that can be read" in said) == (69, True)
