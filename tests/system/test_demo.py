"""`dqm demo` as users meet it: an address that answers, and an end that leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from dqm.demo.ports import free_ports
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import open_database

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]


def wait_for(condition: Callable[[], bool], timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


class Demo:
    """A running `dqm demo`, what it has printed, and all processes that it has started."""

    def __init__(self, temporary: Path, *arguments: str) -> None:
        self.port = free_ports(1)[0]
        where = ["--free-ports", "--port", str(self.port)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dqm", "demo", *where, *arguments],
            env={
                **os.environ,
                "TMPDIR": str(temporary),
                "DQM_LOCK_DIR": str(temporary / "locks"),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )
        self.printed = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                self.printed += line

    def wait_until_printed(self, pattern: str) -> re.Match[str]:
        def seen() -> bool:
            assert self.process.poll() is None or found(), self.printed
            return found() is not None

        def found() -> re.Match[str] | None:
            return re.search(pattern, self.printed)

        wait_for(seen)
        match = found()
        assert match is not None
        return match

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> int:
        """Wait until it has ended and give its exit code."""
        code = self.process.wait(60)
        self._reader.join(60)
        return code


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    started: list[Demo] = []

    def start(*arguments: str) -> Demo:
        started.append(Demo(tmp_path, *arguments))
        return started[-1]

    yield start
    for demo in started:
        if demo.process.poll() is None:  # only when a test has failed
            demo.process.terminate()
            demo.end()


def none_left(processes: list[psutil.Process]) -> bool:
    def runs(process: psutil.Process) -> bool:
        try:
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    return not any(map(runs, processes))


def runs_at(url: str) -> dict[str, list[int]]:
    with open_database(load(DatabaseSettings, db_url=url)) as database, database.snapshot() as now:
        return {camera: now.catalogue(camera).columns["run"].tolist() for camera in now.cameras()}


def test_it_fills_and_shows_and_ends_on_ctrl_c(start: Callable[..., Demo], tmp_path: Path) -> None:
    demo = start("--runs", "4", "--num-procs", "2")
    url = demo.wait_until_printed(r"http://\S+/")[0]
    assert url == f"http://127.0.0.1:{demo.port}/"
    with urllib.request.urlopen(url, timeout=30) as page:
        assert page.status == 200 and b"<html" in page.read().lower()

    demo.wait_until_printed("All 4 runs are stored")
    primary = demo.wait_until_printed(r"DQM_DB_URL=(\S+)")[1]
    stored = runs_at(primary)
    assert sorted(map(len, stored.values())) == [2, 2]

    processes = demo.descendants()
    names = {process.cmdline()[3] for process in processes if "dqm" in process.cmdline()}
    assert {"primary", "replica", "serve"} <= names
    os.killpg(demo.process.pid, signal.SIGINT)  # as the terminal does: to the whole group
    assert demo.end() == 0, demo.printed
    assert none_left(processes)
    with pytest.raises(ProcessLookupError):
        os.killpg(demo.process.pid, 0)
    assert not list(tmp_path.glob("dqm-demo-*")), "the temporary folder is still there"
    assert "Traceback" not in demo.printed and "killed" not in demo.printed


def test_it_keeps_a_folder_and_goes_on_with_it(start: Callable[..., Demo], tmp_path: Path) -> None:
    arguments = ("--num-procs", "1", "--dir", str(tmp_path / "kept"))
    first = start("--runs", "2", *arguments)
    first.wait_until_printed("All 2 runs are stored")
    stored = runs_at(first.wait_until_printed(r"DQM_DB_URL=(\S+)")[1])
    processes = first.descendants()
    first.process.terminate()
    assert first.end() == 0, first.printed
    assert none_left(processes)
    kept = {path.name for path in (tmp_path / "kept").iterdir()}
    assert {"primary", "replica", "logs"} <= kept and "incoming" not in kept

    second = start("--runs", "300", *arguments)
    second.wait_until_printed("2 of 300 runs are here, the others are on their way")
    url = second.wait_until_printed(r"DQM_DB_URL=(\S+)")[1]

    def goes_on() -> bool:
        now = runs_at(url)
        assert all(set(runs) <= set(now[camera]) for camera, runs in stored.items())
        return sum(map(len, now.values())) > 2

    wait_for(goes_on)
    second.process.terminate()
    assert second.end() == 0, second.printed


def test_killed_it_leaves_nothing(start: Callable[..., Demo], tmp_path: Path) -> None:
    demo = start("--runs", "200", "--num-procs", "2")
    demo.wait_until_printed(r"http://\S+/")  # and runs are being simulated and ingested
    processes = demo.descendants()
    assert len(processes) >= 5
    demo.process.kill()
    assert demo.end() == -signal.SIGKILL
    wait_for(lambda: none_left(processes))
    assert not list(tmp_path.glob("dqm-demo-*")), "the temporary folder is still there"


def test_stopped_while_it_starts_it_leaves_nothing(
    start: Callable[..., Demo], tmp_path: Path
) -> None:
    demo = start("--runs", "200", "--num-procs", "1")
    demo.wait_until_printed("Starting")
    wait_for(lambda: len(demo.descendants()) >= 2)
    processes = demo.descendants()
    demo.process.terminate()
    assert demo.end() == 0, demo.printed
    assert none_left(processes)
    assert not list(tmp_path.glob("dqm-demo-*"))


@pytest.mark.parametrize("victim", ["primary", "replica"])
def test_a_process_that_dies_ends_it_with_the_reason(
    start: Callable[..., Demo], victim: str
) -> None:
    demo = start("--runs", "1", "--num-procs", "1")
    demo.wait_until_printed(r"http://\S+/")
    processes = demo.descendants()
    [process] = [p for p in processes if victim in p.cmdline()]
    process.kill()
    assert demo.end() == 70
    assert none_left(processes)
    assert f"{victim} ended by itself (SIGKILL)" in demo.printed
    assert f"logs/{victim}.log" in demo.printed and "are left in" in demo.printed
