"""Originals and baskets of a real dashboard with accounts, two processes and a worker on demand."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import signal
import tarfile
from collections.abc import Iterator

import pytest
from baskets import (
    CAMERA,
    COPIES,
    STORED,
    Site,
    begun,
    command,
    family,
    fill,
    log_in,
    original,
    state,
    stopped_worker,
)
from browsing import DashboardPage
from playwright.sync_api import Browser
from processes import LOOPBACK, DatabaseServer, eventually
from visitors import Visitor, logged_in

from dqm_app.accounts.audit import Event
from dqm_app.accounts.tokens import Scope
from dqm_app.downloads.basket import PROGRESS, Basket
from dqm_client import ApiError

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("downloads")
    fill(folder)
    with Site(folder) as site:
        site.wait_for_runs()
        yield site


@pytest.fixture
def owner(site: Site) -> str:
    return site.expert()


def test_a_basket_for_a_notebook(site, owner, tmp_path):
    told: list[tuple[str, int, int]] = []
    client = site.client(owner)
    file = client.basket(
        CAMERA, STORED, tmp_path / "runs.tar", progress=lambda *now: told.append(now)
    )
    with tarfile.open(file) as tar:
        for run in STORED:
            name = f"{run}/{CAMERA}_DQM_Run{run}.tar.gz"
            assert tar.extractfile(name).read() == original(run)
        rows = list(csv.DictReader(io.TextIOWrapper(tar.extractfile("runs.csv"))))
    assert [int(row["run"]) for row in rows] == list(STORED)
    assert told[-1] == ("fetching", file.stat().st_size, file.stat().st_size)
    assert json.loads(
        Visitor(site, {"Authorization": f"Bearer {site.token(owner, [Scope.DOWNLOAD])}"})
        .ask("/downloads")
        .text
    ) == {"baskets": []}  # removed when it had been fetched
    events = [(entry.event, entry.detail) for entry in site.log_of(owner)]
    assert [event for event, _ in events if event in (Event.BASKET, Event.DOWNLOAD)] == [
        Event.DOWNLOAD, Event.BASKET,
    ]  # fmt: skip
    assert any("3 runs of NectarCAMQM" in detail for _, detail in events)


def test_the_original_of_one_run(site, owner, tmp_path):
    file = site.client(owner).original(CAMERA, 8001, tmp_path / "run.tar.gz")
    assert file.read_bytes() == original(8001)
    text = site.token(owner, [Scope.DOWNLOAD])
    program = Visitor(site, {"Authorization": f"Bearer {text}"})
    for start in range(20):
        part = {"Range": f"bytes={start}-{start}"}
        assert program.ask(f"/originals/{CAMERA}/8001", headers=part).status == 206
    noted = [one.detail for one in site.log_of(owner) if one.event == Event.DOWNLOAD]
    assert [one for one in noted if "in parts" in one and text[4:20] in one] == noted[:1]
    assert f"{CAMERA} run 8001, with the token" in noted[1]


def test_a_basket_is_its_owners(site, owner):
    visitor, other = logged_in(site, owner), logged_in(site, "admin")
    basket = begun(visitor, [6001])
    eventually(lambda: state(visitor, basket)["state"] == "done", "it is built")
    assert state(visitor, basket)["numbers"] == [6001]
    for path in (f"/downloads/{basket['id']}", f"/downloads/{basket['id']}/file"):
        own = visitor.ask(path)
        assert own.status == 200 and own.header("X-Content-Type-Options") == "nosniff"
        assert other.ask(path, headers={"If-None-Match": own.header("Etag")}).status == 404
    assert basket["id"] not in other.ask("/downloads").text
    token = {"X-XSRFToken": other.cookies.get("_xsrf", "")}
    other.ask("/dqm_app")
    token = {"X-XSRFToken": other.cookies["_xsrf"]}
    address = f"/downloads/{basket['id']}"
    assert other.ask(address, "DELETE", headers=token).status == 404
    assert visitor.ask(address, "DELETE").status == 403  # another site has no token
    token = {"X-XSRFToken": visitor.cookies["_xsrf"]}
    assert visitor.ask(address, "DELETE", headers=token).status == 204
    assert visitor.ask(address).status == 404


def test_who_may_take_files_away(site, owner):
    viewer = logged_in(site, "viewer")
    for path in ("/downloads", f"/downloads/{'0' * 32}", f"/originals/{CAMERA}/6001"):
        assert viewer.ask(path).status == 403
        assert Visitor(site).ask(path).status == 401
    reader = site.client(owner, Scope.READ)
    assert len(reader.runs(CAMERA)) == len(STORED) + len(COPIES)
    with pytest.raises(ApiError) as refused:
        reader.original(CAMERA, 6001, site.downloads / "never")
    assert refused.value.status == 403
    with pytest.raises(ApiError) as refused:
        site.client(owner, Scope.DOWNLOAD).cameras()
    assert refused.value.status == 403


def test_what_is_no_choice_is_refused(site, owner):
    visitor = logged_in(site, owner)
    visitor.ask("/dqm_app")
    token = {"X-XSRFToken": visitor.cookies["_xsrf"]}
    for body, status in [
        (b"", 400), (b"[]", 400), (b"[" * 100_000, 400), (b'{"camera": "NectarCAMQM"}', 400),
        (b'{"camera": "NectarCAMQM", "runs": []}', 400),
        (b'{"camera": "NectarCAMQM", "runs": [1e400]}', 400),
        (b'{"camera": "../..", "runs": [6001]}', 404),
        (b'{"camera": "NectarCAMQM", "runs": [6001, 7]}', 404),
        (b" " * 200_001, 413),
    ]:  # fmt: skip
        assert visitor.ask("/downloads", "POST", body, token).status == status, body[:60]
    assert json.loads(visitor.ask("/downloads").text) == {"baskets": []}


def test_a_folder_that_cannot_be_read_is_said(site, owner):
    """To whom asks how far a basket is, too, and in one line of the log."""
    visitor = logged_in(site, owner)
    visitor.ask("/dqm_app")
    token = {"X-XSRFToken": visitor.cookies["_xsrf"]}
    one = f"/downloads/{'0' * 32}"
    aside = site.downloads.with_name("aside")
    with contextlib.suppress(FileNotFoundError):
        site.downloads.rename(aside)
    site.downloads.write_text("not a folder")
    try:
        before = site.text()
        answer = visitor.ask("/downloads")
        assert answer.status == 503 and "tell the admin" in json.loads(answer.text)["detail"]
        assert visitor.ask(one, "DELETE", headers=token).status in (404, 503)
        log = eventually(lambda: site.text().removeprefix(before), "the reason in the log")
        assert str(site.downloads) in log and "Traceback" not in log
    finally:
        site.downloads.unlink()
        if aside.exists():
            aside.rename(site.downloads)


def test_one_at_a_time_and_a_killed_worker(site, owner):
    """The basket is taken up again, from its beginning, as soon as its owner looks at it."""
    visitor = logged_in(site, owner)
    basket = begun(visitor, [*STORED, *COPIES])
    [worker] = eventually(site.workers, "a worker")[:1]
    os.kill(worker, signal.SIGSTOP)
    try:
        body = json.dumps({"camera": CAMERA, "runs": [6001]}).encode()
        token = {"X-XSRFToken": visitor.cookies["_xsrf"]}
        answer = visitor.ask("/downloads", "POST", body, token)
        stopped = state(visitor, basket)
        assert stopped["state"] == "done" or answer.status == 409
    finally:
        os.kill(worker, signal.SIGKILL)
    folder = site.downloads / basket["id"]
    if stopped["state"] != "done":
        (folder / PROGRESS).unlink(missing_ok=True)  # as if it had been killed before it began
    eventually(lambda: state(visitor, basket)["state"] == "done", "another one builds it")
    with tarfile.open(Basket.read(folder).archive) as tar:
        assert len(tar.getnames()) == len(STORED) + len(COPIES) + 2


def test_a_restarted_dashboard_goes_on_unasked(tmp_path):
    """Dashboard and worker are killed in the middle; nobody has a page open."""
    fill(tmp_path)
    with Site(tmp_path) as site:
        site.wait_for_runs()
        basket = begun(logged_in(site, "expert"), [*STORED, *COPIES])
        [worker] = eventually(site.workers, "a worker")[:1]
        os.kill(worker, signal.SIGSTOP)
        site.kill()
        os.kill(worker, signal.SIGKILL)
        archive = site.downloads / basket["id"] / "basket.tar"
        assert not archive.exists(), "it was too fast"
        site.start()
        eventually(archive.exists, "it is built")
        with tarfile.open(archive) as tar:
            assert len(tar.getnames()) == len(STORED) + len(COPIES) + 2


def test_a_replica_that_is_away_for_a_while(tmp_path):
    """The basket waits, says so, can be cancelled, and is built when the replica is back."""
    with DatabaseServer(tmp_path, "primary") as database:
        fill(tmp_path, database.url)
        with Site(tmp_path, DQM_DB_URL=database.url, DQM_DB_WAIT="0.5") as site:
            site.wait_for_runs()
            visitor, other = logged_in(site, "expert"), logged_in(site, "admin")
            basket = begun(visitor, [*STORED, *COPIES])
            with stopped_worker(site):
                second = begun(other, [*STORED, *COPIES])
                assert state(visitor, basket)["state"] != "done", "it was too fast"
                database.kill()
            waits = "the database does not answer; it goes on when it does"
            eventually(lambda: state(visitor, basket)["text"] == waits, "it is said")
            token = {"X-XSRFToken": other.cookies["_xsrf"]}
            assert other.ask(f"/downloads/{second['id']}", "DELETE", headers=token).status == 204
            database.start()
            eventually(lambda: state(visitor, basket)["state"] == "done", "it is built")
            assert state(visitor, basket)["text"] == ""


def test_the_worker_ends_with_the_dashboard(tmp_path):
    fill(tmp_path, copies=())
    with Site(tmp_path) as site:
        site.wait_for_runs()
        begun(logged_in(site, "expert"), [6001])
        eventually(site.workers, "a worker")
        processes = family(site.pid)
        site.send(signal.SIGTERM)
        site.process.wait(60)
    eventually(lambda: not any(command(pid) for pid in processes), "no process is left")


@pytest.mark.browser
def test_baskets_on_the_page(browser: Browser, site: Site, owner: str) -> None:
    page = DashboardPage(browser, f"http://{LOOPBACK}:{site.port}/login")
    page.page.goto(page.url)
    log_in(page, owner)
    with contextlib.closing(page.page.context):
        page.page.goto(f"http://{LOOPBACK}:{site.port}/?view=runs")
        page.settled()
        boxes = page[".runs-grid .body .pick input"]
        boxes.nth(1).click()
        boxes.nth(5).click(modifiers=["Shift"])
        words = page[".choice-of-runs b"]
        assert words.inner_text().startswith("5 runs chosen")
        page[".runs-grid"].focus()
        page.page.keyboard.press("Control+a")
        assert words.inner_text().startswith(f"{len(STORED) + len(COPIES)} runs chosen")
        assert page[".runs-grid .head .pick input"].is_checked()
        page.page.keyboard.press("Escape")
        assert not page[".choice-of-runs"].is_visible()
        page.page.keyboard.press("Space")
        page.page.keyboard.press("Shift+ArrowDown")
        assert words.inner_text().startswith("2 runs chosen")
        page[".runs-baskets .build"].click()
        page[".runs-baskets .fetch"].wait_for()
        with page.page.expect_download() as download:
            page[".runs-baskets .fetch"].click()
        with tarfile.open(download.value.path()) as tar:
            assert len(tar.getnames()) == 4
        page.page.reload()
        page.settled()
        page[".runs-baskets .fetch"].wait_for()
        assert not page[".choice-of-runs"].is_visible()
        page[".runs-baskets li button"].click()
        page[".runs-baskets li"].wait_for(state="detached")
        assert page[".runs-baskets .wrong"].is_hidden()
        assert not page.errors


@pytest.mark.browser
def test_who_only_looks_is_offered_nothing(browser: Browser, site: Site) -> None:
    page = DashboardPage(browser, f"http://{LOOPBACK}:{site.port}/login")
    page.page.goto(page.url)
    log_in(page, "viewer")
    with contextlib.closing(page.page.context):
        page.page.goto(f"http://{LOOPBACK}:{site.port}/?view=runs")
        page.settled()
        page[".runs-grid .body .row"].first.wait_for()
        assert page[".runs-grid .pick, .runs-baskets, a.original"].count() == 0
        assert not page.errors
