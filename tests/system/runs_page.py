"""The run table in a browser, and the runs that its tests have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from browsing import DashboardPage
from many_runs import Row
from playwright.sync_api import Browser
from processes import LOOPBACK, ServerProcess, free_port

from dqm_db.content import RunContent
from dqm_db.ingestion import REMOVED, Failure
from dqm_db.settings import DatabaseSettings, load
from ingest.reading import ReadJob, read_run

CAMERA = "NectarCAMQM"
NIGHTS, PER_NIGHT = 150, 20
FIRST = 10_001
EVENING = datetime(2026, 1, 1, 20, tzinfo=UTC).timestamp()
OK, INFO, WARNING, BAD, UNKNOWN, NOT_JUDGED = 0, 1, 2, 3, 4, -1
GRID = ".runs-grid"
LINE = f"{GRID} .body .row"
TEXT = "#runs-text"
COUNT = ".runs-result .count"
VERDICT_CYCLE = (OK, OK, OK, OK, INFO)
BROKEN = "the gzip stream ends early"
LOAD_FILTERS = """async () => {
  const { imports } = JSON.parse(document.querySelector("script[type=importmap]").textContent);
  const name = Object.keys(imports).find((name) => name.endsWith("/runs_filter.js"));
  globalThis.filters = await import(name);
}"""


def rows() -> list[Row]:
    """3,000 runs: 20 on each of 150 nights from 1 January 2026; run 10,001 is the first.

    The last run of every tenth night is bad, that of the fifth after it a warning. Runs 10,011 and
    10,012 (of the first night), 10,071 and 10,072 (of the fourth) are not stored.
    """
    made = []
    for night in range(NIGHTS):
        for at in range(PER_NIGHT):
            run = FIRST + night * PER_NIGHT + at
            verdict = VERDICT_CYCLE[at % 5]
            if at == PER_NIGHT - 1:
                verdict = {0: BAD, 5: WARNING}.get(night % 10, OK)
            start = EVENING + 86_400 * night + 900 * at
            made.append(Row(run, start, 10 + at, events=run - 10_000, verdict=verdict))
    gone = {10_011, 10_012, 10_071, 10_072}
    return [row for row in made if row.run not in gone]


FAILURES = (
    Failure(CAMERA, 10_012, "/grid/a", "CorruptFile", BROKEN, 1, 1.0, 2.0, None),
    Failure(CAMERA, 10_071, "/grid/b", REMOVED, "deleted", 1, 1.0, 2.0, None),
)
TOTAL = NIGHTS * PER_NIGHT - 4
NEWEST = FIRST + NIGHTS * PER_NIGHT - 1


@dataclass
class Site:
    """A dashboard, and the list of runs beside its database."""

    url: str
    list: Path


@contextmanager
def dashboard(directory: Path, database: str, **environment: str) -> Iterator[Site]:
    """A dashboard of *database*; its run list is only looked at when ``DQM_RUN_LIST`` says so."""
    port = free_port()
    command = ["dqm", "serve", "--port", str(port), "--num-procs", "1"]
    variables = {"DQM_DB_URL": database, "DQM_WATCH_INTERVAL": "0.05", **environment}
    with ServerProcess(command, port, directory / "dashboard.log", variables):
        yield Site(f"http://{LOOPBACK}:{port}/", directory / "runs.csv")


def sample() -> RunContent:
    """What all rows hold."""
    path = Path(__file__).parent.parent / "data" / f"{CAMERA}_DQM_Run6001.tar.gz"
    content = read_run(ReadJob(path)).content
    assert content is not None
    return content


def settings_of(directory: Path, url: str) -> DatabaseSettings:
    return load(DatabaseSettings, db_url=url, lock_dir=directory / "locks")


def opened(browser: Browser, site: Site, filter_: str = "", **options) -> RunsPage:
    query = f"?camera={CAMERA}&view=runs" + (f"&filter={filter_}" if filter_ else "")
    return RunsPage(browser, site.url + query, **options)


class RunsPage(DashboardPage):
    """A page on the table of runs."""

    def lines(self) -> list[list[str]]:
        """The texts of the cells of the lines in sight, from the top; a gap has one."""
        return self.page.evaluate(
            """() => {
              const grid = document.querySelector(".runs-grid");
              const head = grid.querySelector(".head").getBoundingClientRect().bottom;
              const end = grid.getBoundingClientRect().bottom;
              return [...grid.querySelectorAll(".body .row")]
                .map((row) => [row.getBoundingClientRect(), row])
                .filter(([box]) => box.top >= head - 1 && box.bottom <= end)
                .sort(([one], [other]) => one.top - other.top)
                .map(([, row]) => [...row.querySelectorAll(":scope > :not(.pick)")]
                  .map((cell) => cell.innerText.trim()));
            }"""
        )

    def runs(self) -> list[int]:
        """The runs in sight, from the top."""
        return [int(cells[1]) for cells in self.lines() if len(cells) > 1]

    def gaps(self) -> list[str]:
        return [cells[0] for cells in self.lines() if len(cells) == 1]

    def counts(self, text: str) -> RunsPage:
        """Wait until that many runs are said to be there."""
        self.wait_for(f"document.querySelector('{COUNT}').textContent === '{text}'")
        return self

    def night(self, day: str):
        """The cell of a night, by its evening."""
        number = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() // 86_400)
        return self[f'.night[data-night="{number}"]']

    def cut(self, selector: str) -> list[str]:
        """Texts that have not enough room."""
        return self.page.evaluate(
            "(selector) => [...document.querySelectorAll(selector)]"
            ".filter(node => node.scrollWidth > node.clientWidth + 1).map(node => node.innerText)",
            selector,
        )

    def top(self) -> float:
        return self[GRID].evaluate("grid => grid.scrollTop")
