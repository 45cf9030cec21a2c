"""What login adds to a page: a dashboard with accounts and one without, visited in turn."""

from __future__ import annotations

import statistics

from sqlalchemy.orm import Session

from benchmarks.bars import Result
from benchmarks.browser import Chromium, chromium
from benchmarks.pages import MAPS, Sample, until_settled
from benchmarks.plan import SAMPLE_RUN, Plan
from benchmarks.servers import Server, dashboard_of, filled_stack
from benchmarks.synthetic import CAMERAS, read_sample
from dqm.demo.stack import Stack
from dqm_app.accounts import users
from dqm_app.accounts.opening import open_accounts, upgrade
from dqm_app.accounts.roles import Role

NAME, PASSWORD = "anna", "four words of a benchmark"
"""Of a user who exists while this is measured."""
PAUSE = 1.0
"""Seconds before each page. Two of them and a page of the other dashboard are more than the two
seconds for which a process remembers who calls (`KnownOwners`)."""


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
        chromium() as browser,
    ):
        _let_in(accounts)
        servers = {"without": dashboard_of(without), "with": dashboard_of(accounts)}
        cookies = _log_in(browser, servers["with"])
        samples: dict[str, list[Sample]] = {name: [] for name in servers}
        pages = 2 * plan.pages
        for index in range(-plan.warm_pages, pages):
            plan.say(f"page {index + 1} of {pages}")
            for name, server in servers.items():
                sample = _load(browser, server, cookies if name == "with" else [])
                if index >= 0:
                    samples[name].append(sample)
        common = {"chromium": browser.version}
    return [
        _difference("login_page", [s.shown for s, _ in samples["with"]],
                    [s.shown for s, _ in samples["without"]], common),
        _difference("login_cpu", [cpu for _, cpu in samples["with"]],
                    [cpu for _, cpu in samples["without"]], common),
    ]  # fmt: skip


def _let_in(stack: Stack) -> None:
    engine = open_accounts(f"sqlite:///{stack.directory}/state/accounts.sqlite")
    upgrade(engine)
    with Session(engine) as session, session.begin():
        users.add(session, NAME, PASSWORD, Role.VIEWER)
    engine.dispose()


def _log_in(browser: Chromium, server: Server) -> list[dict[str, object]]:
    """Log in as people do; the cookies of that."""
    with browser.visit(server.signal) as visit:
        visit.page.goto(server.url)
        visit.page.fill("#name", NAME)
        visit.page.fill("#password", PASSWORD)
        visit.page.press("#password", "Enter")
        visit.page.wait_for_url("**/dqm_app*")
        return [dict(cookie) for cookie in visit.page.context.cookies()]


def _load(browser: Chromium, server: Server, cookies: list[dict[str, object]]) -> Sample:
    """One cold load, when the server remembers nothing of this browser."""

    def attempt(tail: float) -> Sample:
        with browser.visit(server.signal) as visit:
            visit.page.context.add_cookies(cookies)  # type: ignore[arg-type]
            visit.page.wait_for_timeout(1000 * PAUSE)
            before = server.processes.cpu()
            measured = visit.load(server.url + MAPS, tail)
            used = server.processes.cpu() - before
            if "/login" in visit.page.url:
                raise RuntimeError("the login is over")
        return measured, used

    return until_settled(attempt)


def _difference(
    key: str, with_: list[float], without: list[float], common: dict[str, object]
) -> Result:
    """The median of the differences of pairs, ms."""
    pairs = [1000 * (one - other) for one, other in zip(with_, without, strict=True)]
    detail = {"with": with_, "without": without, "pairs_ms": pairs, **common}
    return Result(key, statistics.median(pairs), detail)
