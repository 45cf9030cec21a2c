"""What `dqm demo` decides before and besides the processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import astuple, replace
from pathlib import Path
from typing import NoReturn
from unittest.mock import ANY

import pytest
from click.testing import CliRunner
from synthetic_runs import a_run

from dqm.demo import commands
from dqm.demo.commands import StopRequested, choose_ports, home, plan_filling, stop_signals
from dqm.demo.filling import FIRST_BATCH, LARGEST_BATCH, Filling
from dqm.demo.ports import USUAL, StackPorts, free_ports
from dqm.demo.processes import ProcessFailed
from dqm.demo.series import DEFAULT_RUNS, Series, stored_runs
from dqm.demo.stack import Stack
from dqm.simulation.commands import simulate
from dqm_app.settings import DashboardSettings
from dqm_db.errors import ConfigurationError
from dqm_db.replication.configuration import REPLICATION_ADDRESS
from dqm_db.settings import DatabaseSettings, ServerSettings, load
from dqm_db.writer import open_writer


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_taken_port_that_was_asked_for_is_an_error(taken: int) -> None:
    with pytest.raises(ConfigurationError, match=f"port {taken} of 127.0.0.1 is taken"):
        choose_ports(taken)


def test_the_usual_ports_are_the_defaults_of_the_commands() -> None:
    server = ServerSettings.model_fields
    assert server["zeo_address"].default == f"127.0.0.1:{USUAL.primary}"
    assert DatabaseSettings.model_fields["db_url"].default == f"zeo://127.0.0.1:{USUAL.primary}"
    assert f"127.0.0.1:{USUAL.primary_replication}" == REPLICATION_ADDRESS
    assert DashboardSettings.model_fields["serve_port"].default == USUAL.dashboard


def test_usual_ports_are_taken_where_they_are_free_and_the_others_said(
    taken: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = StackPorts(taken, *free_ports(3))
    monkeypatch.setattr(commands, "USUAL", usual)
    ports = choose_ports(None)
    assert ports.primary != taken
    assert ports == replace(usual, primary=ports.primary)
    said = f"Port {taken} is taken by something else; the primary gets {ports.primary}.\n"
    assert capsys.readouterr().out == said

    assert choose_ports(usual.replica) == replace(
        ports, dashboard=usual.replica, primary=ANY, replica=ANY
    )
    free = choose_ports(None, anywhere=True)
    assert not set(astuple(free)) & set(astuple(usual))


def test_a_temporary_folder_is_removed() -> None:
    with home(None, keep=False) as folder:
        (folder / "primary").mkdir()
    assert not folder.exists()


def test_a_temporary_folder_is_kept_when_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with home(None, keep=True) as folder:
        pass
    assert folder.exists() and f"--dir {folder}" in capsys.readouterr().out
    folder.rmdir()


def test_a_temporary_folder_is_left_after_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ProcessFailed), home(None, keep=False) as folder:
        raise ProcessFailed("primary ended by itself")
    assert folder.exists() and str(folder) in capsys.readouterr().err
    folder.rmdir()


def test_a_folder_of_the_user_is_made_and_kept(tmp_path: Path) -> None:
    with home(tmp_path / "a" / "b", keep=False) as folder:
        assert folder == tmp_path / "a" / "b"
    assert folder.is_dir()


def test_a_folder_remembers_its_series(tmp_path: Path) -> None:
    first = Series.of(tmp_path, 5)
    assert Series.of(tmp_path) == first and first.runs == 5
    assert Series.of(tmp_path, 8) == replace(first, runs=8) == Series.of(tmp_path)
    assert len(first.planned()) == 5 and first.planned() < Series.of(tmp_path).planned()
    (tmp_path / "new").mkdir()
    assert Series.of(tmp_path / "new").runs == DEFAULT_RUNS


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"runs": 3, "until": "yesterday"}'])
def test_a_note_that_no_demo_wrote_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "series.json").write_text(text)
    with pytest.raises(ConfigurationError, match=r"series\.json is not what a demo writes"):
        Series.of(tmp_path)


def test_only_the_runs_that_a_folder_lacks_are_simulated(tmp_path: Path) -> None:
    series = Series.of(tmp_path, 5)
    planned = sorted(series.planned())
    assert plan_filling(Stack(tmp_path), None).stored == 0
    data = tmp_path / "primary" / "filestorage" / "Data.fs"
    data.parent.mkdir(parents=True)
    settings = load(DatabaseSettings, db_url=f"file://{data}", lock_dir=tmp_path / "locks")
    with open_writer(settings) as writer:
        for camera, run in [*planned[1:4], ("Other", 7)]:
            writer.store_run(a_run(run, camera), None)
    filling = plan_filling(Stack(tmp_path), None)
    assert (filling.stored, filling.runs, filling.complete) == (3, 5, False)
    out = tmp_path / "out"
    simulated = CliRunner().invoke(
        simulate, ["--out", str(out), *series.options(stored_runs(tmp_path / "primary"))]
    )
    assert simulated.exit_code == 0
    assert {path.name for path in out.iterdir()} == {
        f"{camera}_DQM_Run{run}.tar.gz" for camera, run in (planned[0], planned[4])
    }


def test_signals_are_noted_and_their_handlers_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_signals() as poll:
        poll()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(StopRequested):
            poll()
    assert signal.getsignal(signal.SIGTERM) is before


class ScriptedStack(Stack):
    """A stack whose `simulate` and `ingest` are small scripts."""

    simulate = "import sys, pathlib; [pathlib.Path(sys.argv[2], f'{i}.tar.gz').touch() for i in "
    ingest = "raise SystemExit(0)"

    def command(self, name: str, *arguments: str) -> list[str]:  # type: ignore[override]
        code = {"simulate": f"{self.simulate} range(int(sys.argv[4]))]", "ingest": self.ingest}
        return [sys.executable, "-c", code.get(name, ""), *arguments]


class SilentStack(Stack):
    """A stack without processes."""

    def start(self, *, poll: object = None) -> None:
        pass


def test_a_full_folder_is_shown_and_nothing_is_simulated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop() -> NoReturn:
        raise StopRequested

    stack, series = SilentStack(tmp_path), Series.of(tmp_path, 2)
    filling = Filling(stack, series, frozenset(series.planned()))
    with pytest.raises(StopRequested):
        commands.run(stack, filling, stop)
    said = capsys.readouterr().out
    assert f"{tmp_path} holds all 2 runs; nothing is added" in said
    assert f"DQM_DB_URL={stack.primary_url}\n" in said
    assert f"DQM_DB_URL={stack.replica_url}\n" in said
    assert not (tmp_path / "incoming").exists()


def fill(stack: Stack, runs: int) -> Filling:
    filling = Filling(stack, Series.of(stack.directory, runs))
    filling.start()
    try:
        while not filling.complete:
            filling.step()
    finally:
        stack.stop()
        left = list((stack.directory / "incoming").glob("*"))
        filling.discard()
        assert not (stack.directory / "incoming").exists()
    assert not left
    return filling


def test_filling_stores_every_run_in_batches(tmp_path: Path) -> None:
    stack = ScriptedStack(tmp_path)
    stack.ingest = "import sys; print(len(sys.argv) - 1)"
    runs = 2 * LARGEST_BATCH + 3
    assert fill(stack, runs).stored == runs
    batches = list(map(int, (tmp_path / "logs" / "ingest.log").read_text().split()))
    assert sum(batches) == runs
    assert batches[0] <= FIRST_BATCH and max(batches) <= LARGEST_BATCH


def test_a_run_that_is_not_stored_is_an_error(tmp_path: Path) -> None:
    stack = ScriptedStack(tmp_path)
    stack.ingest = "print('run 3 is at fault'); raise SystemExit(1)"
    with pytest.raises(ProcessFailed, match=r"(?s)ingest ended.*exit code 1.*run 3 is at fault"):
        fill(stack, 5)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("raise SystemExit('no space');", r"(?s)simulate ended.*exit code 1.*no space"),
        ("import sys; [0 for i in", r"only 0 of 5 runs were simulated"),
    ],
)
def test_runs_that_are_not_simulated_are_an_error(
    tmp_path: Path, script: str, message: str
) -> None:
    stack = ScriptedStack(tmp_path)
    stack.simulate = script if "[" in script else f"import sys; {script} [0 for i in"
    with pytest.raises(ProcessFailed, match=message):
        fill(stack, 5)


def test_the_guard_starts_without_the_environment() -> None:
    ended = subprocess.run(
        [sys.executable, "-I", "-S", commands.__file__.replace("commands", "guard")],
        input="",
        text=True,
        capture_output=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
