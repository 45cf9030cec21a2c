"""What login adds to a page: a dashboard with accounts and one without, visited in turn.

In a browser, as users see it; and by the websocket client of the sessions, since a browser's own
work is the same for both and varies by more than the server's part of what is looked for.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable

from playwright.sync_api import Cookie
from sqlalchemy.orm import Session

from benchmarks.bars import Result
from benchmarks.browser import Chromium, Measured, chromium
from benchmarks.pages import MAPS, until_settled
from benchmarks.plan import SAMPLE_RUN, Plan
from benchmarks.servers import Server, dashboard_of, filled_stack
from benchmarks.session_client import open_page
from benchmarks.synthetic import CAMERAS, read_sample
from dqm.demo.stack import Stack
from dqm_app.accounts import users
from dqm_app.accounts.opening import open_accounts, upgrade
from dqm_app.accounts.roles import Role

NAME, PASSWORD = "anna", "four words of a benchmark"
"""Of a user who exists while this is measured."""
PAUSE = 2.1
"""Seconds before each page: longer than a process remembers who calls (`ShortMemory`)."""

Sample = tuple[float, float]
"""Seconds until the page was there, and CPU seconds that the server used meanwhile."""


def measure(plan: Plan) -> list[Result]:
    """Measure the group ``login``."""
    plan.say("writing the databases")
    content = read_sample().content
    runs = {CAMERAS[0]: range(SAMPLE_RUN, SAMPLE_RUN + 3)}
    with (
        filled_stack(plan.folder / "open", runs, content) as without,
        filled_stack(
            plan.folder / "accounts", runs, content, dashboard={"DQM_AUTH": "accounts"}
        ) as accounts,
    ):
        _let_in(accounts)
        servers = {"without": dashboard_of(without), "with": dashboard_of(accounts)}
        with chromium() as browser:
            cookies = _log_in(browser, servers["with"])
            seen = _pairs(
                plan, 2, servers, lambda server, name: _look(browser, server, cookies[name])
            )
            version = browser.version
        loaded = _pairs(plan, 4, servers, lambda server, name: _load(server, cookies[name]))
    page, cpu = _differences(loaded)
    browser_page, _ = _differences(seen)
    return [
        Result(
            "login_browser",
            statistics.median(browser_page),
            {"pairs_ms": browser_page, "chromium": version},
        ),
        Result("login_page", statistics.median(page), {"pairs_ms": page}),
        Result("login_cpu", statistics.median(cpu), {"pairs_ms": cpu}),
    ]


def _let_in(stack: Stack) -> None:
    engine = open_accounts(f"sqlite:///{stack.directory}/state/accounts.sqlite")
    upgrade(engine)
    with Session(engine) as session, session.begin():
        users.add(session, NAME, PASSWORD, Role.VIEWER)
    engine.dispose()


def _log_in(browser: Chromium, server: Server) -> dict[str, list[Cookie]]:
    """Log in as people do; the cookies for each server, of which one gives none."""
    with browser.visit(server.signal) as visit:
        visit.page.goto(server.url)
        visit.page.fill("#name", NAME)
        visit.page.fill("#password", PASSWORD)
        visit.page.press("#password", "Enter")
        visit.page.wait_for_url("**/dqm_app*")
        return {"with": visit.page.context.cookies(), "without": []}


def _pairs(
    plan: Plan, times: int, servers: dict[str, Server], load: Callable[[Server, str], Sample]
) -> dict[str, list[Sample]]:
    """Pages of both servers in turn, each first in every other pair."""
    samples: dict[str, list[Sample]] = {name: [] for name in servers}
    pages = times * plan.pages
    for index in range(-times * plan.warm_pages, pages):
        plan.say(f"page {index + 1} of {pages}")
        for name in sorted(servers, reverse=index % 2 == 0):
            time.sleep(PAUSE)
            sample = load(servers[name], name)
            if index >= 0:
                samples[name].append(sample)
    return samples


def _look(browser: Chromium, server: Server, cookies: list[Cookie]) -> Sample:
    """Open the page in a browser with nothing in its caches, until its first view is painted."""

    def attempt(tail: float) -> tuple[Measured, float]:
        with browser.visit(server.signal) as visit:
            visit.page.context.add_cookies(cookies)  # type: ignore[arg-type]
            before = server.processes.cpu()
            measured = visit.load(server.url + MAPS, tail)
            used = server.processes.cpu() - before
            if "/login" in visit.page.url:
                raise RuntimeError("the login is over")
        return measured, used

    measured, used = until_settled(attempt)
    return measured.shown, used


def _load(server: Server, cookies: list[Cookie]) -> Sample:
    """The same by the websocket client, until the first view has arrived."""
    header = "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in cookies)

    async def opened() -> float:
        began = time.perf_counter()
        page = await open_page(f"{server.url}dqm_app{MAPS}", header)
        taken = time.perf_counter() - began
        await page.close()
        return taken

    before = server.processes.cpu()
    taken = asyncio.run(opened())
    return taken, server.processes.cpu() - before


def _differences(samples: dict[str, list[Sample]]) -> tuple[list[float], list[float]]:
    """With login less without, of each pair: ms until the page, ms of CPU."""
    pairs = list(zip(samples["with"], samples["without"], strict=True))
    seconds, cpu = ([1000 * (one[part] - other[part]) for one, other in pairs] for part in (0, 1))
    return seconds, cpu
