"""The servers that pages are taken from: plain Bokeh with the bare page, and stacks of our own."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import ProcessGroup
from benchmarks.synthetic import write_runs
from dqm.demo.ports import LOOPBACK, answers, free_ports
from dqm.demo.processes import Guard, Supervised
from dqm.demo.stack import Stack
from dqm_db.content import RunContent
from dqm_db.settings import DatabaseSettings, load

BARE_PAGE = Path(__file__).with_name("bare_page.py")
BARE_SIGNAL = "Bokeh.documents[0].is_idle || null"
"""Bokeh's own word that everything on the page is painted."""
SIGNAL = "document.documentElement.dataset.shown ?? null"
"""Set by the dashboard after the frame in which the answer to a request was painted."""


def process_count() -> int:
    """Processes of each dashboard: one per core, for the bare page as well."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Server:
    """Something that serves pages."""

    url: str
    signal: str
    processes: ProcessGroup


@contextlib.contextmanager
def bare_server(folder: Path) -> Iterator[Server]:
    """``bokeh serve`` with the bare page, in as many processes as the dashboard has."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "bokeh", "serve", "--port", str(port), "--address", LOOPBACK]
    command += ["--num-procs", str(process_count()), str(BARE_PAGE)]
    process = Supervised("bokeh serve", command, dict(os.environ), folder / "bare.log")
    guard = Guard()
    try:
        process.start(guard)
        process.wait_until(lambda: answers(port), 60)
        yield Server(
            f"http://{LOOPBACK}:{port}/{BARE_PAGE.stem}", BARE_SIGNAL, ProcessGroup(process.pid)
        )
    finally:
        process.stop()
        guard.close()


@contextlib.contextmanager
def filled_stack(
    folder: Path,
    runs: Mapping[str, range],
    content: RunContent,
    settings: Mapping[str, str] | None = None,
    dashboard: Mapping[str, str] | None = None,
    complete: Callable[[DatabaseSettings], object] = lambda _: None,
) -> Iterator[Stack]:
    """Primary, replica and dashboard on a database with *runs* (camera: numbers).

    *complete* may add to the database before it is served. The replica starts with a copy of the
    primary's file, as one that has followed it all along.
    """
    data = folder / "primary" / "filestorage" / "Data.fs"
    data.parent.mkdir(parents=True)
    url = f"file://{data}?blobstorage_dir={folder / 'primary' / 'blobstorage'}"
    database = load(DatabaseSettings, db_url=url, lock_dir=folder / "locks")
    write_runs(database, runs, content)
    complete(database)
    shutil.copytree(folder / "primary", folder / "replica")
    stack = Stack(folder, num_procs=process_count(), settings=settings)
    stack.dashboard.environment.update(dashboard or {})
    with stack:
        yield stack


def dashboard_of(stack: Stack) -> Server:
    """The dashboard of *stack*."""
    return Server(stack.dashboard_url, SIGNAL, ProcessGroup(stack.dashboard.pid))
