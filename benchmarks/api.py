"""The programming interface: lists of runs, asked at a steady rate of one process with accounts."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.orm import Session
from tornado.httpclient import AsyncHTTPClient, HTTPRequest

from benchmarks.bars import Result
from benchmarks.plan import SAMPLE_RUN, Plan
from benchmarks.servers import filled_stack
from benchmarks.synthetic import CAMERAS, read_sample
from dqm.demo.ports import LOOPBACK, answers, free_ports
from dqm.demo.processes import Guard, Supervised
from dqm.demo.stack import Stack
from dqm_app.accounts import tokens, users
from dqm_app.accounts.opening import open_accounts, upgrade
from dqm_app.accounts.roles import Role
from dqm_app.accounts.tokens import Scope

PER_SECOND = 20
ROWS = 50
WARM = 20
"""Questions before those that count."""


def measure(plan: Plan) -> list[Result]:
    """Measure the group ``api``."""
    plan.say("writing the database")
    camera = CAMERAS[0]
    runs = range(SAMPLE_RUN, SAMPLE_RUN + plan.table_runs)
    folder = plan.folder / "stack"
    with filled_stack(folder, {camera: runs}, read_sample().content) as stack:
        accounts = f"sqlite:///{plan.folder / 'accounts.sqlite'}"
        token = _token(accounts)
        with _dashboard(stack, plan.folder, accounts) as url:
            plan.say("asking for runs")
            seconds = asyncio.run(_ask(url, token, camera, runs, plan.api_questions))
    detail = {"runs": plan.table_runs, "questions": plan.api_questions, "seconds": seconds}
    return [
        Result("api_runs_p95", 1000 * statistics.quantiles(seconds, n=20)[-1], detail),
        Result("api_runs_p50", 1000 * statistics.median(seconds), detail),
    ]


def _token(accounts: str) -> str:
    engine = open_accounts(accounts)
    try:
        upgrade(engine)
        with Session(engine) as session, session.begin():
            anna = users.add(session, "anna", "correct horse battery", Role.VIEWER)
            text, _ = tokens.create(session, anna, "benchmark", [Scope.READ], 1)
            return text
    finally:
        engine.dispose()


@contextlib.contextmanager
def _dashboard(stack: Stack, folder: Path, accounts: str) -> Iterator[str]:
    """One process, in front of the replica of *stack*."""
    (port,) = free_ports(1)
    environment = stack.environment() | {
        "DQM_DB_URL": stack.replica_url,
        "DQM_AUTH": "accounts",
        "DQM_ACCOUNTS_URL": accounts,
        "BOKEH_SECRET_KEY": os.urandom(16).hex(),
        "DQM_SERVE_PORT": str(port),
        "DQM_NUM_PROCS": "1",
    }
    process = Supervised("serve", stack.command("serve"), environment, folder / "api.log")
    guard = Guard()
    try:
        process.start(guard)
        process.wait_until(lambda: answers(port), 60)
        yield f"http://{LOOPBACK}:{port}/api/v1"
    finally:
        process.stop()
        guard.close()


async def _ask(url: str, token: str, camera: str, runs: range, count: int) -> list[float]:
    """Seconds of each question; they begin at their times whether or not others were answered."""
    client = AsyncHTTPClient(max_clients=100)
    chance = random.Random(1)

    async def ask(at: float) -> float:
        await asyncio.sleep(max(at - time.monotonic(), 0))
        first = chance.choice(runs)
        query = f"limit={ROWS}&verdict=ok&verdict=none&min_events=1&first={first}"
        request = HTTPRequest(
            f"{url}/cameras/{camera}/runs?{query}", headers={"Authorization": f"Bearer {token}"}
        )
        began = time.monotonic()
        answer = await client.fetch(request)
        if answer.code != 200 or not answer.body:
            raise RuntimeError(f"{url} answered {answer.code}")
        return time.monotonic() - began

    start = time.monotonic()
    questions = itertools.count()
    asked = [ask(start + next(questions) / PER_SECOND) for _ in range(WARM + count)]
    return list(await asyncio.gather(*asked))[WARM:]
