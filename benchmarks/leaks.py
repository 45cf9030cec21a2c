"""Whether a page that is used for long, and its server, stay as large as they were."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from urllib.parse import urlencode

from playwright.sync_api import Page

from benchmarks.bars import Result
from benchmarks.browser import chromium
from benchmarks.plan import SAMPLE_RUN, Plan
from benchmarks.processes import ProcessGroup
from benchmarks.servers import SIGNAL, filled_stack
from benchmarks.synthetic import CAMERAS, read_sample

RUNS = 3
"""Few, so that whatever the server keeps of runs it has soon."""
CHANGES_PER_SAMPLE = 4
AT_REST = """() => document.body.getAttribute("aria-busy") === "false"
  && Number(document.documentElement.dataset.shown)
     === JSON.parse(Bokeh.documents.at(-1).get_model_by_name("page").state).seq"""


@dataclass(frozen=True, slots=True)
class Sample:
    """What page and server take.

    Attributes
    ----------
    change : int
        How many changes there were before.
    heap : int
        Bytes of the page's JavaScript objects, garbage collected.
    nodes, listeners : int
        Of the page's documents; those of lost elements that something still refers to count.
    rss : int
        Resident bytes of all processes of the dashboard.
    """

    change: int
    heap: int
    nodes: int
    listeners: int
    rss: int


@dataclass(frozen=True, slots=True)
class Growth:
    """From the first to the last quarter of a walk, per change; medians."""

    heap: float
    nodes: float
    listeners: float
    rss: float

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Growth:
        """Of the samples of a walk, at least four."""
        quarter = max(1, len(samples) // 4)
        ends = samples[:quarter], samples[-quarter:]
        before, after = (
            {
                field: statistics.median(getattr(sample, field) for sample in part)
                for field in ("change", "heap", "nodes", "listeners", "rss")
            }
            for part in ends
        )
        changes = after.pop("change") - before.pop("change")
        return cls(**{field: (after[field] - before[field]) / changes for field in after})


class Walk:
    """Goes through runs and views of an open page, again and again.

    Parameters
    ----------
    page : Page
        Shows the dashboard.
    processes : ProcessGroup
        Of the dashboard.
    runs : sequence of int
    """

    def __init__(self, page: Page, processes: ProcessGroup, runs: Sequence[int]) -> None:
        self._page = page
        self._processes = processes
        self._runs = runs
        self._session = page.context.new_cdp_session(page)
        self._session.send("Performance.enable")
        links = page.locator("#view-list a").all()
        self.views = [str(link.get_attribute("data-view")) for link in links]

    def warm_up(self) -> None:
        """Show every view of every run: what is kept on purpose is there then."""
        for view in self.views:
            self._page.click(f'#view-list a[data-view="{view}"]')
            self._rest()
            for _ in self._runs:
                self._step()

    def run(self, changes: int) -> list[Sample]:
        """Change view and run in turn, *changes* times in all; samples on the way."""
        samples = []
        views = itertools.cycle(self.views)
        for change in range(changes):
            if change % 2:
                self._step()
            else:
                self._page.click(f'#view-list a[data-view="{next(views)}"]')
                self._rest()
            if change % CHANGES_PER_SAMPLE == CHANGES_PER_SAMPLE - 1:
                samples.append(self.sample(change + 1))
        return samples

    def sample(self, change: int) -> Sample:
        """Measure now."""
        # what is only waiting to be collected may need a second round, e.g. for weak references
        for _ in range(2):
            self._session.send("HeapProfiler.collectGarbage")
        metrics = self._session.send("Performance.getMetrics")["metrics"]
        found = {metric["name"]: int(metric["value"]) for metric in metrics}
        return Sample(
            change=change,
            heap=found["JSHeapUsedSize"],
            nodes=found["Nodes"],
            listeners=found["JSEventListeners"],
            rss=sum(self._processes.rss().values()),
        )

    def _step(self) -> None:
        """To the next older run, from the oldest one to the newest."""
        older = self._page.locator("#older")
        if older.is_enabled():
            older.click()
        else:
            self._page.keyboard.press("l")
        self._rest()

    def _rest(self) -> None:
        self._page.wait_for_function(AT_REST)


def measure(plan: Plan) -> list[Result]:
    """Measure the group ``leaks``."""
    plan.say("writing the database")
    runs = range(SAMPLE_RUN, SAMPLE_RUN + RUNS)
    with (
        filled_stack(plan.folder / "stack", {CAMERAS[0]: runs}, read_sample().content) as stack,
        chromium() as browser,
        browser.visit(SIGNAL) as visit,
    ):
        visit.page.goto(f"{stack.dashboard_url}?{urlencode({'camera': CAMERAS[0]})}")
        visit.page.wait_for_function(AT_REST)
        walk = Walk(visit.page, ProcessGroup(stack.dashboard.pid), runs)
        plan.say("every view of every run")
        walk.warm_up()
        plan.say(f"{plan.leak_changes} changes of view and run")
        samples = walk.run(plan.leak_changes)
    growth = Growth.of(samples)
    detail = {"samples": [asdict(sample) for sample in samples]}
    return [
        Result("leak_heap", growth.heap / 1e3, detail),
        Result("leak_nodes", growth.nodes),
        Result("leak_listeners", growth.listeners),
        Result("leak_rss", growth.rss / 1e3),
    ]
