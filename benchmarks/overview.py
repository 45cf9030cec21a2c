"""The overview, on which the page opens: beside a bare Bokeh page, and a change of run on it."""

from __future__ import annotations

import statistics

from benchmarks.bars import Result
from benchmarks.browser import TAILS, Chromium, Visit, chromium
from benchmarks.pages import OLDER_RUN, Sample, until_settled
from benchmarks.plan import SAMPLE_RUN, Plan
from benchmarks.servers import Server, bare_server, dashboard_of, filled_stack
from benchmarks.synthetic import CAMERAS, read_sample
from dqm_db.rechecking import recheck
from dqm_db.settings import DatabaseSettings, load
from dqm_db.writer import open_writer

OVERVIEW = "?view=overview"
PANEL = "#view-overview"
LEAST_MAPS = 20
"""Maps that the overview of the sample shows, at least."""


def measure(plan: Plan) -> list[Result]:
    """Measure the group ``overview``."""
    plan.say("writing the database")
    runs = {CAMERAS[0]: range(SAMPLE_RUN, SAMPLE_RUN + plan.changes + 5)}
    with (
        filled_stack(plan.folder / "stack", runs, read_sample().content) as stack,
        bare_server(plan.folder) as bare,
        chromium() as browser,
    ):
        settings = load(DatabaseSettings, db_url=stack.primary_url, lock_dir=plan.folder)
        with open_writer(settings) as writer:  # so that there are verdicts, and good runs
            for _ in recheck(writer, CAMERAS[0]):
                pass
        ours = dashboard_of(stack)
        pairs = _loads(plan, browser, ours, bare)
        changes = _changes(plan, browser, ours)
    idle = [[measured.idle for measured, _ in samples] for samples in pairs]
    median = [statistics.median(values) for values in idle]
    sizes = [measured.bytes for measured, _ in pairs[0]]
    detail = {
        "chromium": browser.version,
        "seconds": {"overview": idle[0], "bare": idle[1]},
        "median_of_paired_ratios": statistics.median(a / b for a, b in zip(*idle, strict=True)),
    }
    painted = [measured.idle for measured, _ in changes]
    return [
        Result("overview_idle_ratio", median[0] / median[1], detail),
        Result("overview_idle", median[0]),
        Result("overview_bytes", max(sizes) / 1e3),
        Result("overview_change", statistics.median(painted), {"seconds": painted}),
        Result("overview_change_cpu", statistics.fmean(cpu for _, cpu in changes)),
    ]


def _loads(
    plan: Plan, browser: Chromium, ours: Server, bare: Server
) -> tuple[list[Sample], list[Sample]]:
    """Cold loads of the overview and of the bare page, in turn."""
    samples: tuple[list[Sample], list[Sample]] = ([], [])
    for index in range(plan.warm_pages + plan.pages):
        plan.say(f"page {index + 1} of {plan.warm_pages + plan.pages}")
        for server, query, kept in ((ours, OVERVIEW, samples[0]), (bare, "", samples[1])):
            sample = _load(browser, server, query)
            if index >= plan.warm_pages:  # the first page of a server process imports modules
                kept.append(sample)
    return samples


def _load(browser: Chromium, server: Server, query: str) -> Sample:
    def attempt(tail: float) -> Sample:
        with browser.visit(server.signal) as visit:
            before = server.processes.cpu()
            measured = visit.load(server.url + query, tail)
            used = server.processes.cpu() - before
            if query:
                _check_painted(visit)
        return measured, used

    return until_settled(attempt)


def _check_painted(visit: Visit) -> None:
    """All small maps are there and show something."""
    drawn = visit.page.evaluate(
        """panel => [...document.querySelectorAll(`${panel} canvas`)].filter((canvas) => {
            const { width, height } = canvas;
            const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
            return data.some((value) => value !== 0);
        }).length""",
        PANEL,
    )
    if drawn < LEAST_MAPS:
        raise RuntimeError(f"{visit.page.url} says it is painted, but shows {drawn} maps")


def _changes(plan: Plan, browser: Chromium, server: Server) -> list[Sample]:
    with browser.visit(server.signal) as visit:
        visit.load(server.url + OVERVIEW, TAILS[-1])
        plan.say("changes of run")
        _change(visit, server)  # warm
        return [_change(visit, server) for _ in range(plan.changes)]


def _change(visit: Visit, server: Server) -> Sample:
    def attempt(tail: float) -> Sample:
        text = visit.page.inner_text(PANEL)
        before = server.processes.cpu()
        measured = visit.act(lambda: visit.page.keyboard.press(OLDER_RUN), tail)
        used = server.processes.cpu() - before
        if visit.page.inner_text(PANEL) == text:
            raise RuntimeError(f"{OLDER_RUN!r} changed nothing on {visit.page.url}")
        return measured, used

    return until_settled(attempt)
