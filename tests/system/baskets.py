"""A dashboard from which baskets of runs are taken, and what its tests do with them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from browsing import DashboardPage
from processes import LOOPBACK, eventually
from visitors import PASSWORD, LoginServer, Visitor

from dqm_app.accounts.roles import Role
from dqm_app.accounts.tokens import Scope
from dqm_app.downloads.basket import Basket, Progress, State
from dqm_app.downloads.settings import DownloadSettings
from dqm_app.downloads.shelf import Shelf
from dqm_app.downloads.worker import LOCK
from dqm_client import Client
from dqm_db.settings import DatabaseSettings, load
from dqm_db.writer import open_writer
from ingest.reading import ReadJob, read_run

CAMERA = "NectarCAMQM"
SAMPLES = Path(__file__).parent.parent / "data"
STORED = (6001, 8001, 8003)
COPIES = range(9001, 9041)
"""Runs that hold what 6001 holds, so that a basket takes some time."""


def fill(folder: Path, url: str = "", copies: Sequence[int] = COPIES) -> None:
    """Store the sample runs, and run 6001 as each of *copies*, in ``Data.fs`` or at *url*."""
    url = url or f"file://{folder}/Data.fs"
    opened = load(DatabaseSettings, db_url=url, db_wait=20, lock_dir=folder / "locks")
    with open_writer(opened) as writer:
        for run in STORED:
            found = read_run(ReadJob(SAMPLES / f"{CAMERA}_DQM_Run{run}.tar.gz"))
            assert found.content is not None
            writer.store_run(found.content, found.original)
            for copy in copies if run == STORED[0] else ():
                header = replace(found.content.header, run=copy)
                writer.store_run(replace(found.content, header=header), found.original)


class Site(LoginServer):
    """The dashboard, with its folder of baskets."""

    def __init__(self, folder: Path, *options: str, **settings: str) -> None:
        url = f"file://{folder}/Data.fs"
        super().__init__(folder, *options, settings={"DQM_DB_URL": url} | settings)
        self.downloads = folder / "state" / "downloads"

    def wait_for_runs(self) -> None:
        """Until the dashboard has read the database."""
        client = self.client("expert")
        eventually(lambda: client.cameras() == [CAMERA], "the database is there")

    def client(self, name: str, *scopes: Scope) -> Client:
        token = self.token(name, scopes or (Scope.READ, Scope.DOWNLOAD))
        return Client(f"http://{LOOPBACK}:{self.port}", token)

    def expert(self) -> str:
        """The name of a new expert, who has no baskets."""
        name = f"expert-{os.urandom(4).hex()}"
        self.add(name, Role.EXPERT)
        return name

    def workers(self) -> list[int]:
        """Processes that build baskets of this dashboard."""
        return [pid for pid in family(self.pid) if b"--until-idle" in command(pid)]


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""  # it has ended


def family(pid: int) -> list[int]:
    """Processes below *pid*, at any depth."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(folder.name))
    found, left = [], [pid]
    while left:
        left += (children := parents.get(left.pop(), []))
        found += children
    return found


def original(run: int) -> bytes:
    return (SAMPLES / f"{CAMERA}_DQM_Run{run}.tar.gz").read_bytes()


def begun(visitor: Visitor, runs: list[int]) -> dict:
    """A basket that was begun in a browser."""
    body = json.dumps({"camera": CAMERA, "runs": runs}).encode()
    visitor.ask("/dqm_app")
    answer = visitor.ask("/downloads", "POST", body, {"X-XSRFToken": visitor.cookies["_xsrf"]})
    assert answer.status == 201, answer.text
    return json.loads(answer.text)


def state(visitor: Visitor, basket: dict) -> dict:
    return json.loads(visitor.ask(f"/downloads/{basket['id']}").text)


@contextlib.contextmanager
def being_built(site: Site, owner: str, runs: Sequence[int] = STORED) -> Iterator[Basket]:
    """A basket that stays as it is: somebody else builds it, and takes his time."""
    shelf = Shelf(DownloadSettings(downloads_dir=site.downloads))
    basket = shelf.make(owner, CAMERA, runs, 1_700_000 * len(runs))
    lock = os.open(basket.folder / LOCK, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        basket.note(Progress(State.BUILDING, 1, len(runs), 1_700_000, basket.size))
        yield basket
    finally:
        os.close(lock)
        shelf.remove(basket)


@contextlib.contextmanager
def stopped_worker(site: Site, begin: Callable[[], object] | None = None) -> Iterator[None]:
    """The worker of *site* does nothing meanwhile, with what *begin* begins neither.

    One that waits for another basket would have built it before it could be stopped; one that is
    just started needs a moment.
    """
    try:
        _send(site.workers(), signal.SIGSTOP)
        if begin is not None:
            begin()
        _send(eventually(site.workers, "a worker"), signal.SIGSTOP)
        yield
    finally:
        _send(site.workers(), signal.SIGCONT)


def _send(workers: Sequence[int], number: signal.Signals) -> None:
    for worker in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, number)


def log_in(page: DashboardPage, name: str) -> None:
    page["#name"].fill(name)
    page["#password"].fill(PASSWORD)
    page["form button[type=submit]"].click()
    page.settled()
