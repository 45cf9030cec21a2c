"""What it takes to look at a statistic, or at a single pixel, over thousands of runs.

Every sample asks for something that the server has not read before: another quantity, or a pixel of
another module.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from benchmarks.bars import Result
from benchmarks.browser import TAILS, Chromium, Measured, NotSettled, Visit, chromium
from benchmarks.plan import SAMPLE_RUN, Plan
from benchmarks.servers import Server, dashboard_of, filled_stack
from benchmarks.synthetic import CAMERAS, make_camera_history, read_sample
from dqm_db.content import N_MODULES, PIXELS_PER_MODULE
from dqm_db.settings import DatabaseSettings
from dqm_db.writer import open_writer

CAMERA = CAMERAS[0]
NEXT_QUANTITY = "."
WITH_STRIPS = """
(() => {
  const shown = document.documentElement.dataset.shown ?? null;
  const rows = window.Bokeh?.documents.at(-1)?.get_model_by_name("pixel-deviations-rows") ?? null;
  return shown === null || rows === null ? shown : rows.data.y.length === 0 ? null : `${shown} all`;
})()
"""
"""Like `benchmarks.servers.SIGNAL`, but of a biography only once all quantities are there."""

FURTHER_QUANTITIES = """
(() => {
  const select = document.getElementById("quantity");
  const available = [...select.options].filter((option) => !option.disabled);
  return available.length - 1 - available.indexOf(select.selectedOptions[0]);
})()
"""
"""How often the key of the next quantity finds one."""

POINTS = """
(() => {
  const view = new URLSearchParams(location.search).get("view");
  const source = view === "pixel" ? "pixel-history-values" : "trends-plot-points";
  return Bokeh.documents.at(-1).get_model_by_name(source)?.data.run.length ?? 0;
})()
"""
"""How many runs the view in front shows."""


def measure(plan: Plan) -> list[Result]:
    """Measure the group ``trends``."""
    plan.say(f"writing {plan.trend_runs} runs")
    runs = range(SAMPLE_RUN, SAMPLE_RUN + plan.trend_runs)
    content = read_sample().content

    def complete(settings: DatabaseSettings) -> None:
        with open_writer(settings) as writer:
            make_camera_history(writer, CAMERA, runs)

    with (
        filled_stack(plan.folder / "stack", {CAMERA: runs}, content, complete=complete) as stack,
        chromium() as browser,
    ):
        server = dashboard_of(stack)
        trends = measure_trends(plan, browser, server)
        first = [
            _open_biography(plan, browser, server, server.signal, index)
            for index in range(plan.trend_changes)
        ]
        everything = [
            _open_biography(plan, browser, server, WITH_STRIPS, plan.trend_changes + index)
            for index in range(plan.trend_changes)
        ]
    websocket = [measured.transferred["websocket"] for measured in everything]
    return [
        *_of_trends(trends),
        Result("pixel_first", statistics.median(m.shown for m in first), _detail(first)),
        Result("pixel_all", statistics.median(m.idle for m in everything), _detail(everything)),
        Result("pixel_bytes", max(websocket) / 1e3, {"bytes": websocket}),
    ]


def measure_trends(plan: Plan, browser: Chromium, server: Server) -> dict[str, list[Measured]]:
    """Clicks that open the view, each on a page of its own, then changes of the quantity."""
    opened = []
    for index in range(plan.trend_changes):
        plan.say(f"trends, page {index + 1} of {plan.trend_changes}")
        with browser.visit(server.signal) as visit:
            visit.load(f"{server.url}?camera={CAMERA}&view=maps", TAILS[-1])
            opened.append(
                _until_settled(
                    visit, lambda v: v.page.click('[data-view="trends"]'), plan.trend_runs
                )
            )
            if index + 1 < plan.trend_changes:
                continue
            plan.say("trends, changes of quantity")
            changed = [
                _until_settled(
                    visit, lambda v: v.page.keyboard.press(NEXT_QUANTITY), plan.trend_runs
                )
                for _ in range(min(plan.trend_changes, visit.page.evaluate(FURTHER_QUANTITIES)))
            ]
    return {"open": opened, "quantity": changed}


def _open_biography(
    plan: Plan, browser: Chromium, server: Server, signal: str, index: int
) -> Measured:
    """The click that leads from a picked pixel on a map to its biography."""
    module = (31 * index + 7) % N_MODULES
    plan.say(f"biography of module {module}")
    pixel = module * PIXELS_PER_MODULE + index % PIXELS_PER_MODULE
    with browser.visit(signal) as visit:
        visit.load(f"{server.url}?camera={CAMERA}&view=maps&pixels={pixel}", TAILS[-1])
        visit.page.wait_for_selector("#toolbar-maps .picked a")
        return _until_settled(
            visit, lambda v: v.page.click("#toolbar-maps .picked a"), plan.trend_runs
        )


def _until_settled(visit: Visit, action: Callable[[Visit], object], runs: int) -> Measured:
    """What *action* takes until all *runs* are shown.

    It cannot be repeated, so that the page is watched for long enough at once.
    """
    try:
        measured = visit.act(lambda: action(visit), TAILS[-1])
    except NotSettled as error:
        raise RuntimeError(f"{visit.page.url} does not come to rest") from error
    points = visit.page.evaluate(POINTS)
    if points < runs:
        raise RuntimeError(f"{visit.page.url} shows {points} of {runs} runs")
    return measured


def _of_trends(samples: dict[str, list[Measured]]) -> list[Result]:
    painted = {name: statistics.median(m.idle for m in found) for name, found in samples.items()}
    sizes = {name: [m.transferred["websocket"] for m in found] for name, found in samples.items()}
    detail = {name: [m.idle for m in found] for name, found in samples.items()}
    return [
        Result("trend_painted", max(painted.values()), {"seconds": detail, "medians": painted}),
        Result("trend_bytes", max(map(max, sizes.values())) / 1e3, {"bytes": sizes}),
    ]


def _detail(samples: Sequence[Measured]) -> dict[str, list[float]]:
    return {"shown": [m.shown for m in samples], "idle": [m.idle for m in samples]}
