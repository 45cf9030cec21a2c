"""What a page and a change on it cost: time, bytes and server CPU, beside a bare Bokeh page.

Three servers run side by side and are visited in turn: the dashboard with 1 camera and 3 runs, the
same with 3 cameras and 3,000 runs, and plain Bokeh with the bare page.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.bars import Result
from benchmarks.browser import (
    TAILS,
    Chromium,
    Measured,
    NotSettled,
    Visit,
    chromium,
    drawn_fraction,
)
from benchmarks.plan import SAMPLE_RUN, Plan
from benchmarks.processes import ProcessGroup
from benchmarks.servers import Server, bare_server, dashboard_of, filled_stack
from benchmarks.synthetic import CAMERAS, read_sample

OLDER_RUN, NEXT_QUANTITY = "[", "."
MAPS = "?view=maps"
"""The view with the most points of all, which is measured here."""
LEAST_DRAWN = 0.02
"""Fraction of a plot's pixels that must not be background for it to count as painted."""

Sample = tuple[Measured, float]
"""What the browser saw, and the CPU seconds that the server used meanwhile."""


def measure(plan: Plan) -> list[Result]:
    """Measure the group ``pages``."""
    plan.say("writing the databases")
    content = read_sample().content
    few = {CAMERAS[0]: range(SAMPLE_RUN, SAMPLE_RUN + 3)}
    many = {
        camera: range(SAMPLE_RUN, SAMPLE_RUN + plan.large_runs)
        for camera in CAMERAS[: plan.large_cameras]
    }
    with (
        filled_stack(plan.folder / "small", few, content) as small,
        filled_stack(plan.folder / "large", many, content) as large,
        bare_server(plan.folder) as bare,
        chromium() as browser,
    ):
        servers = {"small": dashboard_of(small), "large": dashboard_of(large), "bare": bare}
        loads = measure_loads(plan, browser, servers)
        changes = measure_changes(plan, browser, servers["large"])
        idle_cpu = _idle_cpu(servers["large"].processes, plan.idle_seconds)
        results = [*_of_loads(loads, idle_cpu), *_of_changes(changes, idle_cpu)]
    common = {"chromium": browser.version, "large_runs": plan.large_runs * plan.large_cameras}
    return [Result(r.key, r.value, {**r.detail, **common}) for r in results]


def measure_loads(
    plan: Plan, browser: Chromium, servers: dict[str, Server]
) -> dict[str, list[Sample]]:
    """Cold loads of the first page of each server, one after the other in turn."""
    samples: dict[str, list[Sample]] = {name: [] for name in servers}
    queries = {name: "" if name == "bare" else MAPS for name in servers}
    for name, server in servers.items():  # the first page of a server process imports modules
        for _ in range(plan.warm_pages):
            load(browser, server, queries[name])
    for index in range(plan.pages):
        plan.say(f"page {index + 1} of {plan.pages}")
        for name, server in servers.items():
            samples[name].append(load(browser, server, queries[name]))
    return samples


def load(browser: Chromium, server: Server, query: str = "") -> Sample:
    """One cold load, whose largest plot is checked to show something."""

    def attempt(tail: float) -> Sample:
        with browser.visit(server.signal) as visit:
            before = server.processes.cpu()
            measured = visit.load(server.url + query, tail)
            used = server.processes.cpu() - before
            _check_painted(visit)
        return measured, used

    return until_settled(attempt)


def measure_changes(plan: Plan, browser: Chromium, server: Server) -> dict[str, list[Sample]]:
    """Changes by key on one open page: to runs not looked at before, then through quantities."""
    samples: dict[str, list[Sample]] = {}
    with browser.visit(server.signal) as visit:
        visit.load(server.url + MAPS, TAILS[-1])
        for name, key in (("run", OLDER_RUN), ("quantity", NEXT_QUANTITY)):
            plan.say(f"changes of {name}")
            _change(visit, server, key)  # warm
            samples[name] = [_change(visit, server, key) for _ in range(plan.changes)]
    return samples


def _change(visit: Visit, server: Server, key: str) -> Sample:
    def attempt(tail: float) -> Sample:
        picture = visit.canvas()
        before = server.processes.cpu()
        measured = visit.act(lambda: visit.page.keyboard.press(key), tail)
        used = server.processes.cpu() - before
        if visit.canvas() == picture:
            raise RuntimeError(f"{key!r} changed nothing on {visit.page.url}")
        return measured, used

    return until_settled(attempt)


def until_settled(attempt: Callable[[float], Sample]) -> Sample:
    """Try once more and look longer when a page took its time to come to rest.

    Raises
    ------
    NotSettled
        It does not rest, however long one looks.
    """
    for tail in TAILS[:-1]:
        try:
            return attempt(tail)
        except NotSettled:
            continue
    return attempt(TAILS[-1])


def _check_painted(visit: Visit) -> None:
    drawn = drawn_fraction(visit.canvas())
    if drawn < LEAST_DRAWN:
        raise RuntimeError(f"{visit.page.url} says it is painted, its plot shows nothing: {drawn}")


def _idle_cpu(processes: ProcessGroup, seconds: float) -> float:
    """CPU seconds per second that a server uses while nobody asks for anything."""
    before = processes.cpu()
    time.sleep(seconds)
    return (processes.cpu() - before) / seconds


def _of_loads(loads: dict[str, list[Sample]], idle_cpu: float) -> list[Result]:
    idle = {name: [measured.idle for measured, _ in samples] for name, samples in loads.items()}
    median = {name: statistics.median(values) for name, values in idle.items()}
    frames = {name: [measured.frames for measured, _ in samples] for name, samples in loads.items()}
    used = [cpu for _, cpu in loads["large"]]
    largest = max((measured for measured, _ in loads["large"]), key=lambda page: page.bytes)
    times = {
        "seconds": idle,
        "medians": median,
        "median_of_paired_ratios": {
            f"{name}/{other}": statistics.median(
                a / b for a, b in zip(idle[name], idle[other], strict=True)
            )
            for name, other in (("small", "bare"), ("large", "small"))
        },
        "frames": frames,
    }
    return [
        Result("page_idle_ratio", median["small"] / median["bare"], times),
        Result("page_idle_large_ratio", median["large"] / median["small"], times),
        Result("page_idle", median["small"]),
        Result("bare_page_idle", median["bare"]),
        Result("page_bytes", largest.bytes / 1e3, {"transferred": largest.transferred}),
        Result(
            "page_cpu",
            statistics.fmean(used),
            {
                "seconds": used,
                "bare": [cpu for _, cpu in loads["bare"]],
                "idle_cpu_per_second": idle_cpu,
            },
        ),
    ]


def _of_changes(changes: dict[str, list[Sample]], idle_cpu: float) -> list[Result]:
    painted = {name: [m.idle for m, _ in samples] for name, samples in changes.items()}
    shown = {name: [m.shown for m, _ in samples] for name, samples in changes.items()}
    sizes = {name: [m.bytes for m, _ in samples] for name, samples in changes.items()}
    used = {name: statistics.fmean(cpu for _, cpu in s) for name, s in changes.items()}
    detail: dict[str, Any] = {"seconds": painted, "answered_seconds": shown}
    return [
        Result("change_run_painted", statistics.median(painted["run"]), detail),
        Result("change_quantity_painted", statistics.median(painted["quantity"]), detail),
        Result("change_bytes", max(map(max, sizes.values())) / 1e3, {"bytes": sizes}),
        Result(
            "change_cpu",
            max(used.values()),
            {"mean_seconds": used, "idle_cpu_per_second": idle_cpu},
        ),
    ]
