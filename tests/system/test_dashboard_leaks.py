"""A page that is used for long, and its server, do not grow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from browsing import DashboardPage
from plots_page import CAMERA
from processes import LOOPBACK, ServerProcess, free_port

from benchmarks.bars import bars
from benchmarks.leaks import Growth, Sample, Walk
from benchmarks.processes import ProcessGroup
from dqm_db.settings import DatabaseSettings, load
from dqm_db.writer import open_writer
from ingest.reading import ReadJob, read_run

pytestmark = [pytest.mark.system, pytest.mark.browser, pytest.mark.timeout(400)]

SAMPLE = Path(__file__).parent.parent / "data" / f"{CAMERA}_DQM_Run6001.tar.gz"
RUNS = (6001, 6002, 6003)
GENEROUS = 3.0
"""Of the bars of ``make bench``: a short walk sees more of what grows at first and then stays."""


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A dashboard of three runs."""
    directory = tmp_path_factory.mktemp("leaks")
    url = f"file://{directory}/Data.fs"
    content = read_run(ReadJob(SAMPLE)).content
    assert content is not None
    with open_writer(load(DatabaseSettings, db_url=url, lock_dir=directory / "locks")) as writer:
        for run in RUNS:
            writer.store_run(replace(content, header=replace(content.header, run=run)), None)
    port = free_port()
    command = ["dqm", "serve", "--port", str(port), "--num-procs", "1"]
    with ServerProcess(command, port, directory / "log", {"DQM_DB_URL": url}) as server:
        yield server


@pytest.mark.parametrize("changes", [60, pytest.param(200, marks=pytest.mark.soak)])
def test_changes_of_run_and_view_leave_nothing_behind(browser, dashboard, changes):
    with DashboardPage(browser, f"http://{LOOPBACK}:{dashboard.port}/?camera={CAMERA}") as page:
        walk = Walk(page.page, ProcessGroup(dashboard.pid), RUNS)
        walk.warm_up()
        samples = walk.run(changes)
        assert len(samples) == changes // 4
        growth = Growth.of(samples)
        for name in ("heap", "nodes", "listeners", "rss"):
            scale = 1e3 if name in ("heap", "rss") else 1.0
            limit = bars()[f"leak_{name}"].limit
            assert limit is not None
            found = getattr(growth, name) / scale
            assert found <= GENEROUS * limit, f"{name}: {samples}"
        assert page.errors == []


def test_growth_is_seen():
    """A page that keeps 100 kB and two elements with each change."""
    samples = [
        Sample(change, 30_000_000 + 100_000 * change, 5000 + 2 * change, 700, 90_000_000)
        for change in range(4, 61, 4)
    ]
    growth = Growth.of(samples)
    assert (growth.heap, growth.nodes, growth.listeners, growth.rss) == (100_000, 2, 0, 0)
