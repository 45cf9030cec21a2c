"""The table of all runs of a camera: opening it, and filtering it by key."""

from __future__ import annotations

import statistics

from benchmarks.bars import Result
from benchmarks.browser import QUIET, TAILS, Chromium, Measured, Visit, chromium
from benchmarks.plan import SAMPLE_RUN, Plan
from benchmarks.servers import SIGNAL, Server, dashboard_of, filled_stack
from benchmarks.synthetic import CAMERAS, read_sample

FILTER = "#runs-text"
OTHER_VIEW = "trigger"
"""The view from which the table is opened."""
KEYS = ("1", "2", "3", "Backspace", "Backspace", "Backspace")
"""Each of them changes how many runs match."""
COUNT = "document.querySelector('.runs-result .count')?.textContent ?? ''"


def measure(plan: Plan) -> list[Result]:
    """Measure the group ``runs``."""
    plan.say("writing the database")
    camera = CAMERAS[0]
    runs = {camera: range(SAMPLE_RUN, SAMPLE_RUN + plan.table_runs)}
    with (
        filled_stack(plan.folder / "stack", runs, read_sample().content) as stack,
        chromium() as browser,
    ):
        server = dashboard_of(stack)
        opened, pressed = _measure(plan, browser, server)
    detail = {"chromium": browser.version, "runs": plan.table_runs}
    return [
        Result("table_open", statistics.median(m.idle for m in opened), detail | _times(opened)),
        Result("table_bytes", max(m.bytes for m in opened) / 1e3, detail),
        Result("table_key", statistics.median(m.idle for m in pressed), detail | _times(pressed)),
    ]


def _times(measured: list[Measured]) -> dict[str, list[float]]:
    return {"seconds": [m.idle for m in measured], "answered": [m.shown for m in measured]}


def _measure(
    plan: Plan, browser: Chromium, server: Server
) -> tuple[list[Measured], list[Measured]]:
    """Cold openings of the table on pages of their own, and key strokes in its filter."""
    opened: list[Measured] = []
    pressed: list[Measured] = []
    for index in range(plan.warm_pages + plan.pages):
        plan.say(f"table {index + 1} of {plan.warm_pages + plan.pages}")
        with browser.visit(f"({SIGNAL}) && ({SIGNAL}) + ({COUNT})") as visit:
            visit.load(f"{server.url}?view={OTHER_VIEW}", TAILS[1])
            measured = _open(visit)
            _check_rows(visit, plan.table_runs)
            if index < plan.warm_pages:
                continue
            opened.append(measured)
            pressed += [_press(visit, key) for key in KEYS]
    return opened, pressed


def _open(visit: Visit) -> Measured:
    return visit.act(lambda: visit.page.click("[data-view=runs]"), TAILS[1])


def _press(visit: Visit, key: str) -> Measured:
    visit.page.focus(FILTER)
    visit.page.wait_for_timeout(1000 * QUIET)

    def press() -> None:
        visit.page.keyboard.press(key)
        visit.page.evaluate("document.activeElement.blur()")  # a caret blinks, which draws frames

    return visit.act(press)


def _check_rows(visit: Visit, runs: int) -> None:
    text = visit.page.inner_text(".runs-result .count")
    shown = visit.page.locator(".runs-grid .body .row").count()
    if f"{runs:,} runs" not in text or not 0 < shown < 100:
        raise RuntimeError(f"{visit.page.url} shows {shown} rows of “{text}”, not of {runs}")
