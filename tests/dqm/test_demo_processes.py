"""Supervision of processes: order, leftovers, logs, and what happens when the supervisor dies."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from dqm.demo import guard as guard_module
from dqm.demo.guard import group_lives, watched_groups
from dqm.demo.ports import StackPorts, answers, free_ports, is_free
from dqm.demo.processes import Guard, ProcessFailed, Supervised
from dqm.demo.stack import Stack

# Starts a child of its own, says so, and waits; a stubborn one ignores SIGTERM.
PARENT = """
import signal, subprocess, sys, time
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def guard() -> Iterator[Guard]:
    guard = Guard()
    yield guard
    guard.close()


def python(name: str, code: str, log: Path, *arguments: str) -> Supervised:
    return Supervised(name, [sys.executable, "-c", code, *arguments], dict(os.environ), log)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def child_of(process: Supervised) -> int:
    process.wait_until(lambda: b"child" in process.log.read_bytes(), 30)
    return int(process.log.read_text().split()[1])


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("manner", ["willing", "stubborn"])
def test_stop_leaves_nothing(guard: Guard, tmp_path: Path, manner: str) -> None:
    process = python("parent", PARENT, tmp_path / "log", manner)
    process.start(guard)
    pid, child = process.pid, child_of(process)
    process.stop(timeout=30 if manner == "willing" else 0.2)
    assert not process.running
    wait_for(lambda: not is_alive(pid) and not is_alive(child))
    process.check()  # stopped on purpose: not a failure


def test_kill_leaves_nothing_and_it_can_start_again(guard: Guard, tmp_path: Path) -> None:
    process = python("parent", PARENT, tmp_path / "log")
    process.start(guard)
    first, child = process.pid, child_of(process)
    process.kill()
    wait_for(lambda: not is_alive(first) and not is_alive(child))
    process.start(guard)
    assert process.running and process.pid != first
    with pytest.raises(ProcessFailed, match="runs already"):
        process.start(guard)
    process.stop()


def test_end_by_itself_is_reported_with_the_log(guard: Guard, tmp_path: Path) -> None:
    code = "for i in range(100): print('line', i)\nraise SystemExit(3)"
    process = python("primary", code, tmp_path / "primary.log")
    process.start(guard)
    with pytest.raises(ProcessFailed, match=r"primary ended by itself \(exit code 3\)") as caught:
        process.wait_until(lambda: False, 30)
    message = str(caught.value)
    assert str(tmp_path / "primary.log") in message
    assert message.endswith("line 99") and "line 60\n" not in message
    assert caught.value.exit_code == 70
    process.stop()


def test_end_by_a_signal_is_named(guard: Guard, tmp_path: Path) -> None:
    process = python("replica", "import time; time.sleep(600)", tmp_path / "log")
    process.start(guard)
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(ProcessFailed, match=r"replica ended by itself \(SIGKILL\)"):
        process.wait_until(lambda: False, 30)


def test_not_ready_in_time(guard: Guard, tmp_path: Path) -> None:
    process = python("serve", "import time; time.sleep(600)", tmp_path / "log")
    process.start(guard)
    with pytest.raises(ProcessFailed, match="serve was not ready within 0 s"):
        process.wait_until(lambda: False, 0.0)
    process.stop()


def test_processes_are_out_of_reach_of_the_terminal(guard: Guard, tmp_path: Path) -> None:
    process = python("primary", "import time; time.sleep(600)", tmp_path / "log")
    process.start(guard)
    assert os.getsid(process.pid) == process.pid != os.getsid(0)
    process.stop()


SUPERVISOR = """
import sys, time
from pathlib import Path
from dqm.demo.processes import Guard, Supervised
guard, log = Guard(), Path(sys.argv[1])
process = Supervised("p", [sys.executable, "-c", sys.argv[2], sys.argv[3]], {}, log)
process.start(guard)
process.wait_until(lambda: b"child" in log.read_bytes(), 30)
print(process.pid, guard._process.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("manner", ["willing", "stubborn"])
def test_a_killed_supervisor_leaves_nothing(tmp_path: Path, manner: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(tmp_path / "log"), PARENT, manner],
        stdout=subprocess.PIPE,
        text=True,
    ) as supervisor:
        assert supervisor.stdout is not None
        process, guard_pid = map(int, supervisor.stdout.readline().split())
        child = int((tmp_path / "log").read_text().split()[1])
        assert is_alive(process) and is_alive(child) and is_alive(guard_pid)
        supervisor.kill()
    wait_for(lambda: not any(map(is_alive, (process, child, guard_pid))))


def test_the_guard_spares_what_was_taken_off_the_list() -> None:
    assert watched_groups(["+5\n", "+7\n", "-5\n", "-9\n", "+8\n"]) == [7, 8]


@pytest.mark.parametrize(("lines", "left"), [("", False), ("-999999\n", False), ("keep\n", True)])
def test_the_folder_of_a_killed_parent_is_removed(tmp_path: Path, lines: str, left: bool) -> None:
    folder = tmp_path / "dqm-demo-x"
    (folder / "primary").mkdir(parents=True)
    subprocess.run(
        [sys.executable, "-I", "-S", guard_module.__file__, folder],
        input=lines,
        text=True,
        check=True,
    )
    assert folder.exists() is left


def test_a_guard_that_is_closed_leaves_the_folder(tmp_path: Path) -> None:
    guard = Guard(tmp_path)
    guard.close()
    assert tmp_path.exists()


def test_a_group_without_members_does_not_live() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    process.wait()
    assert not group_lives(process.pid)


def test_ports_are_different_and_free() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20 and all(map(is_free, ports))
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert answers(taken) and not is_free(taken)
    assert not answers(ports[0])


def test_a_stack_is_told_everything_by_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DQM_DB_URL", "zeo://elsewhere:8100")
    monkeypatch.setenv("DQM_DB_POOL", "3")
    monkeypatch.setenv("DQM_LOCK_DIR", "/the/callers")
    ports = StackPorts.choose(dashboard=5006)
    stack = Stack(tmp_path, ports=ports, num_procs=2, settings={"DQM_KEEP_ALIVE": "5"})
    assert ports.dashboard == 5006 and stack.dashboard_url == "http://127.0.0.1:5006/"
    assert stack.dashboard.environment["DQM_DB_URL"] == f"zeo://127.0.0.1:{ports.replica}"
    assert stack.environment()["DQM_DB_URL"] == f"zeo://127.0.0.1:{ports.primary}"
    source = stack.replica.environment["DQM_PRIMARY"]
    assert source == stack.primary.environment["DQM_ZRS_ADDRESS"]
    assert "DQM_ZRS_ADDRESS" not in stack.replica.environment, "nobody follows the replica"
    assert stack.environment()["DQM_LOCK_DIR"] == "/the/callers"
    for process in stack.processes:
        assert "DQM_DB_POOL" not in process.environment
        assert process.environment["DQM_KEEP_ALIVE"] == "5"
    folders = [p.environment.get("DQM_DATA_DIR") for p in stack.processes]
    assert folders == [str(tmp_path / "primary"), str(tmp_path / "replica"), None]
