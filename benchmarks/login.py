"""What login adds to a page: a dashboard with accounts and one without, visited in turn.

Without a browser, whose work is the same for both and varies more than what is looked for.
"""

from __future__ import annotations

import asyncio
import statistics
import time

from sqlalchemy.orm import Session

from benchmarks.bars import Result
from benchmarks.browser import Chromium, chromium
from benchmarks.pages import MAPS
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
"""Seconds before each pair: longer than a process remembers who calls (`KnownOwners`)."""

Sample = tuple[float, float]


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
            cookie = _log_in(browser, servers["with"])
        samples: dict[str, list[Sample]] = {name: [] for name in servers}
        pages = 4 * plan.pages
        for index in range(-4 * plan.warm_pages, pages):
            plan.say(f"page {index + 1} of {pages}")
            time.sleep(PAUSE)
            for name, server in servers.items():
                sample = _load(server, cookie if name == "with" else "")
                if index >= 0:
                    samples[name].append(sample)
    return [
        _difference(
            key, *([sample[part] for sample in samples[name]] for name in ("with", "without"))
        )
        for part, key in enumerate(("login_page", "login_cpu"))
    ]


def _let_in(stack: Stack) -> None:
    engine = open_accounts(f"sqlite:///{stack.directory}/state/accounts.sqlite")
    upgrade(engine)
    with Session(engine) as session, session.begin():
        users.add(session, NAME, PASSWORD, Role.VIEWER)
    engine.dispose()


def _log_in(browser: Chromium, server: Server) -> str:
    """Log in as people do; the header with the cookies of that."""
    with browser.visit(server.signal) as visit:
        visit.page.goto(server.url)
        visit.page.fill("#name", NAME)
        visit.page.fill("#password", PASSWORD)
        visit.page.press("#password", "Enter")
        visit.page.wait_for_url("**/dqm_app*")
        cookies = visit.page.context.cookies()
        return "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in cookies)


def _load(server: Server, cookie: str) -> Sample:
    """Open the page, when the server remembers nothing of this browser: seconds, CPU seconds."""

    async def opened() -> float:
        began = time.perf_counter()
        page = await open_page(f"{server.url}dqm_app{MAPS}", cookie)
        taken = time.perf_counter() - began
        await page.close()
        return taken

    before = server.processes.cpu()
    taken = asyncio.run(opened())
    return taken, server.processes.cpu() - before


def _difference(key: str, with_: list[float], without: list[float]) -> Result:
    """The median of the differences of pairs, ms."""
    pairs = [1000 * (one - other) for one, other in zip(with_, without, strict=True)]
    detail = {"with": with_, "without": without, "pairs_ms": pairs}
    return Result(key, statistics.median(pairs), detail)
