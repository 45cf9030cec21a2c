"""The programming interface: lists of runs, asked at a steady rate of one process with accounts."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

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
COLUMNS = 50
"""Of the large tables."""
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
        token, other = _tokens(accounts)
        with _dashboard(stack, plan.folder, accounts) as url:
            plan.say("asking for runs")
            seconds = asyncio.run(_ask(url, token, camera, runs, plan.api_questions))
            plan.say("asking for runs, while somebody else asks for large tables")
            meanwhile, values = asyncio.run(
                _ask_meanwhile(url, token, other, camera, runs, plan.api_questions)
            )
    detail = {"runs": plan.table_runs, "questions": plan.api_questions, "seconds": seconds}
    ratio = statistics.median(meanwhile) / statistics.median(seconds)
    return [
        Result("api_during_tables", ratio, {"seconds": meanwhile, "values": values}),
        Result("api_runs_p95", 1000 * statistics.quantiles(seconds, n=20)[-1], detail),
        Result("api_runs_p50", 1000 * statistics.median(seconds), detail),
    ]


def _tokens(accounts: str) -> list[str]:
    """Of two users."""
    engine = open_accounts(accounts)
    try:
        upgrade(engine)
        with Session(engine) as session, session.begin():
            two = [
                users.add(session, name, "correct horse battery", Role.VIEWER)
                for name in ("anna", "ben")
            ]
            return [tokens.create(session, one, "benchmark", [Scope.READ], 1)[0] for one in two]
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


async def _ask_meanwhile(
    url: str, token: str, other: str, camera: str, runs: range, count: int
) -> tuple[list[float], int]:
    """The same while another user asks for one large VOTable after the other; values of each."""
    client = AsyncHTTPClient(force_instance=True, max_clients=10)
    headers = {"Authorization": f"Bearer {other}"}
    trends = f"{url}/cameras/{camera}/trends"

    async def table(address: str) -> bytes:
        answer = await client.fetch(HTTPRequest(address, headers=headers, request_timeout=120))
        return answer.body

    names = json.loads(await table(f"{trends}/names"))["data"]
    pairs = zip(names["quantity"], names["statistic"], strict=True)
    columns = [("column", ".".join(pair)) for pair in itertools.islice(pairs, COLUMNS)]
    address = f"{trends}?{urlencode(columns)}"
    values = json.loads(await table(address))["rows"] * (len(columns) + 1)

    async def tables() -> None:
        while True:
            await table(f"{address}&format=votable")

    asking = asyncio.create_task(tables())
    try:
        seconds = await _ask(url, token, camera, runs, count)
        if asking.done():  # it was refused, or failed
            await asking
    finally:
        asking.cancel()
    return seconds, values
