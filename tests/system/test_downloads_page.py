"""Baskets in a browser: what is said when one cannot be begun, and what other tabs see."""

from __future__ import annotations

import contextlib
import json
import re
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from baskets import (
    CAMERA,
    COPIES,
    STORED,
    Site,
    being_built,
    fill,
    log_in,
    original,
    stopped_worker,
)
from browsing import DashboardPage
from playwright.sync_api import APIResponse, Browser, Route
from processes import LOOPBACK, eventually

from dqm_app.accounts import users
from dqm_app.accounts.audit import Event
from dqm_app.accounts.roles import Role
from dqm_app.downloads.basket import DESCRIPTION, Basket, Progress, State
from dqm_app.downloads.settings import DownloadSettings
from dqm_app.downloads.shelf import Shelf

pytestmark = [pytest.mark.system, pytest.mark.browser]
MOST = len(STORED) + len(COPIES) - 1
"""Runs that a basket of this dashboard may have: one less than there are."""
BUILD, WRONG = ".runs-baskets .build", ".runs-baskets .wrong"
LINE, FETCH = ".runs-baskets li", ".runs-baskets .fetch:visible"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("downloads")
    fill(folder)
    with Site(folder, DQM_BASKET_RUNS=str(MOST), DQM_DOWNLOADS_USER_BYTES="40000000") as site:
        site.wait_for_runs()
        yield site


@pytest.fixture
def owner(site: Site) -> str:
    return site.expert()


@contextlib.contextmanager
def opened(browser: Browser, site: Site, name: str, view: str = "runs") -> Iterator[DashboardPage]:
    """The page of *name*, on the table of runs."""
    root = f"http://{LOOPBACK}:{site.port}"
    page = DashboardPage(browser, f"{root}/login")
    with contextlib.closing(page.page.context):
        page.page.goto(page.url)
        log_in(page, name)
        page.page.goto(f"{root}/?view={view}")
        page.settled()
        yield page


def choose(page: DashboardPage, runs: int) -> None:
    """Choose so many runs of the table, from the newest on."""
    page[".runs-grid"].focus()
    for at in range(runs):
        page.page.keyboard.press("Shift+ArrowDown" if at else "Space")
    page.wait_for(f"document.querySelector('.choice-of-runs b').innerText.startsWith('{runs} run')")


def said(page: DashboardPage) -> str:
    """What is said to be wrong, once something is."""
    page[f"{WRONG}:visible"].wait_for()
    return page.text(WRONG)


@contextlib.contextmanager
def another_is_built(site: Site, owner: str, page: DashboardPage) -> Iterator[None]:
    with being_built(site, owner):
        choose(page, 2)
        yield


@contextlib.contextmanager
def too_many_runs(site: Site, owner: str, page: DashboardPage) -> Iterator[None]:
    page[".runs-grid"].focus()
    page.page.keyboard.press("Control+a")
    yield


@contextlib.contextmanager
def own_share_taken(site: Site, owner: str, page: DashboardPage) -> Iterator[None]:
    shelf = Shelf(DownloadSettings(downloads_dir=site.downloads))
    basket = shelf.make(owner, CAMERA, [6001], 1_700_000)
    with basket.archive.open("wb") as archive:
        archive.truncate(39_000_000)
    basket.note(Progress(State.DONE, 1, 1, 1_700_000, 1_700_000))
    choose(page, 2)
    yield
    shelf.remove(basket)


@contextlib.contextmanager
def no_folder(site: Site, owner: str, page: DashboardPage) -> Iterator[None]:
    aside = site.downloads.with_name("aside")
    with contextlib.suppress(FileNotFoundError):
        site.downloads.rename(aside)
    site.downloads.write_text("not a folder")
    choose(page, 2)
    yield
    site.downloads.unlink()
    if aside.exists():
        aside.rename(site.downloads)


@contextlib.contextmanager
def too_large_a_request(site: Site, owner: str, page: DashboardPage) -> Iterator[None]:
    choose(page, 2)
    page.page.route(
        "**/downloads", lambda route: route.continue_(post_data=b" " * 200_001), times=1
    )
    yield


@contextlib.contextmanager
def a_proxy_that_answers(site: Site, owner: str, page: DashboardPage) -> Iterator[None]:
    choose(page, 2)
    page.page.route("**/downloads", lambda route: route.fulfill(status=429, body="<html>"), times=1)
    yield


@contextlib.contextmanager
def no_network(site: Site, owner: str, page: DashboardPage) -> Iterator[None]:
    choose(page, 2)
    page.page.context.set_offline(True)
    yield
    page.page.context.set_offline(False)


Trouble = Callable[[Site, str, DashboardPage], contextlib.AbstractContextManager[None]]
SENTENCES: dict[Trouble, str] = {
    another_is_built: "Another archive of yours is being built: wait until it is done, or cancel "
    "it.",
    too_many_runs: f"An archive has at most {MOST} runs, not {MOST + 1}: choose fewer.",
    own_share_taken: "Your archives take 39.0 MB of your 40.0 MB, and this one needs 3.5 MB: "
    "choose fewer runs, or remove archives that you have fetched.",
    no_folder: "Archives cannot be built just now: try again later, or tell the admin, to whom the "
    "log of the dashboard says why.",
    too_large_a_request: "These are too many runs: choose fewer.",
    a_proxy_that_answers: "This was too much at once. Try again in a minute.",
    no_network: "The server does not answer. Try again in a moment.",
}


@pytest.mark.parametrize("trouble", SENTENCES, ids=lambda trouble: trouble.__name__)
def test_what_cannot_be_begun_is_said_with_what_to_do(browser, site, owner, trouble):
    with opened(browser, site, owner) as page, trouble(site, owner, page):
        chosen = page.text(".choice-of-runs b")
        page[BUILD].click()
        assert said(page) == SENTENCES[trouble]
        assert page[WRONG].get_attribute("role") == "alert"
        assert page.text(".choice-of-runs b") == chosen, "so that it can be tried again"


def test_who_may_no_more_is_told(browser, site, owner):
    """By another role, meanwhile; what is offered goes with the next page."""
    with opened(browser, site, owner) as page:
        choose(page, 2)
        with site.changing() as session, session.begin():
            users.set_role(session, owner, Role.VIEWER)
        words = (
            "You may not take files away any more. An admin can change that; then reload the page."
        )

        def refused() -> bool:
            page[BUILD].click()
            page.page.wait_for_timeout(100)
            return page[WRONG].inner_text() == words

        with being_built(site, owner):  # so that nothing is begun until the change is known
            eventually(refused, "it is said")


@pytest.mark.parametrize("gone", [re.compile("session"), re.compile("")], ids=["login", "all"])
def test_who_was_logged_out_is_told_and_finds_his_choice_again(browser, site, owner, gone):
    with opened(browser, site, owner) as page:
        choose(page, 3)
        page.page.context.clear_cookies(name=gone)
        page[BUILD].click()
        assert said(page) == (
            "You are not logged in any more. Reload the page to log in; what is chosen stays "
            "chosen."
        )
        page.page.reload()
        log_in(page, owner)
        page.wait_for("document.querySelector('.choice-of-runs b')?.innerText.startsWith('3 runs')")
        page[BUILD].click()
        page[FETCH].wait_for()


def test_a_session_that_ended_is_no_archive(browser, site, owner):
    """Neither the page to log in on, nor what says that a file is gone, is saved as one."""
    with opened(browser, site, owner) as page:
        choose(page, 2)
        page[BUILD].click()
        page[FETCH].wait_for()
        saved: list[object] = []
        page.page.on("download", lambda download: saved.append(download))
        kept = page.page.context.cookies()
        page.page.context.clear_cookies()
        page[FETCH].click()
        assert said(page).startswith("You are not logged in any more.")
        page.page.context.add_cookies(kept)
        with page.page.expect_download() as download:
            page[FETCH].click()
        with tarfile.open(download.value.path()) as tar:
            assert len(tar.getnames()) == 4
        assert len(saved) == 1
        assert page[WRONG].is_hidden()


def test_an_archive_whose_time_is_over(browser, site, owner):
    """As on a page that was left open since yesterday."""
    with opened(browser, site, owner) as page:
        choose(page, 2)
        page[BUILD].click()
        page[FETCH].wait_for()
        [basket] = Shelf(DownloadSettings(downloads_dir=site.downloads)).of(owner)
        described = json.loads((basket.folder / DESCRIPTION).read_text())
        over = {**described, "ends": time.time() - 1}
        (basket.folder / DESCRIPTION).write_text(json.dumps(over))
        page[FETCH].click()
        assert said(page) == (
            "This file is not there any more: it was removed, or its time is over."
        )
        page[LINE].wait_for(state="detached")


def test_other_tabs_see_it_and_may_cancel_it(browser, site, owner):
    """Which the other process of this dashboard may serve; a reload finds it, too."""
    with opened(browser, site, owner) as page:
        other = page.page.context.new_page()
        other.goto(page.page.url)
        other.wait_for_selector(".runs-grid .body .row")
        choose(page, 20)
        with stopped_worker(site, page[BUILD].click):
            page[LINE].wait_for()
            other.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            other.locator(LINE).wait_for()
            bar = other.locator(f"{LINE} progress")
            assert bar.get_attribute("aria-label").startswith(f"How far {CAMERA}-")
            other.reload()
            other.locator(LINE).wait_for()
            cancel = other.locator(f"{LINE} button")
            assert cancel.inner_text() == "Cancel"
            cancel.focus()
            other.keyboard.press("Enter")
            other.locator(LINE).wait_for(state="detached")
            assert other.evaluate("document.activeElement.className").startswith("runs-grid")
            page[LINE].wait_for(state="detached")
        choose(page, 1)
        page[BUILD].click()
        page[FETCH].wait_for()
        page.wait_for("document.querySelector('.runs-baskets [role=status].unseen').textContent")
        assert page[".runs-baskets .unseen"].inner_text().endswith(".tar is ready.")


def test_a_list_from_before_a_basket_was_begun_takes_it_from_no_page(browser, site, owner):
    held: list[tuple[Route, APIResponse]] = []

    def hold(route: Route) -> None:
        if route.request.method == "GET" and not held:
            held.append((route, route.fetch()))
        else:
            route.continue_()

    with opened(browser, site, owner) as page:
        page.page.route("**/downloads", hold)
        with page.page.expect_request("**/downloads"):
            page.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        choose(page, 2)
        page[BUILD].click()
        page[LINE].wait_for()
        page.page.evaluate("""() => {
          window.removed = 0;
          const count = ({ removedNodes }) => { window.removed += removedNodes.length; };
          new MutationObserver((all) => all.forEach(count))
            .observe(document.querySelector(".runs-baskets ul"), { childList: true });
        }""")
        [(route, answer)] = held
        assert answer.json() == {"baskets": []}
        route.fulfill(response=answer)
        page[FETCH].wait_for()
        assert page.page.evaluate("window.removed") == 0


def test_what_is_wrong_with_a_basket_stands_beside_it(browser, site, owner):
    shelf = Shelf(DownloadSettings(downloads_dir=site.downloads))
    with being_built(site, owner, range(9001, 9011)) as basket:
        waits = "the database does not answer; it goes on when it does"
        basket.note(Progress(State.BUILDING, 3, 10, 5_100_000, basket.size, waits))
        with opened(browser, site, owner) as page:
            assert page.text(f"{LINE} .words") == f"3 of 10 runs, 5.10 MB of 17.0 MB; {waits}"
            basket.note(Progress(State.FAILED, 3, 10, 5_100_000, basket.size, "the disk is full"))
            page.wait_for("document.querySelector('.runs-baskets li').dataset.state === 'failed'")
            assert page.text(f"{LINE} .words") == "Failed: the disk is full"
            assert page[f"{LINE} button"].all_inner_texts() == ["Try again", "Remove"]
    assert isinstance(basket, Basket) and shelf.get(basket.id) is None


def failed(site: Site, owner: str, runs: Sequence[int]) -> Basket:
    """A basket that nobody could build."""
    shelf = Shelf(DownloadSettings(downloads_dir=site.downloads))
    basket = shelf.make(owner, CAMERA, runs, 1_700_000 * len(runs))
    basket.note(Progress(State.FAILED, 0, len(runs), 0, basket.size, "the disk is full"))
    return basket


def focused(page: DashboardPage) -> str:
    """Where keys go: what is there to be read."""
    return str(page.page.evaluate("document.activeElement.innerText"))


@pytest.mark.parametrize("by_keys", [False, True], ids=["click", "keys"])
def test_what_failed_is_tried_again(browser, site, owner, by_keys):
    """One of the very same runs is in its place, for all tabs; the focus stays with it."""
    runs = [6001, *COPIES[3:7], COPIES[9]]
    old = failed(site, owner, runs)
    with opened(browser, site, owner) as page:
        again = page[f"{LINE} .again"]
        again.wait_for()
        if by_keys:
            page[".runs-grid"].focus()
            for _ in range(10):
                page.page.keyboard.press("Tab")
                if focused(page) == "Try again":
                    break
            page.page.keyboard.press("Enter")
        else:
            again.dblclick()  # is one click
        page[FETCH].wait_for()
        again.wait_for(state="detached")
        assert page[LINE].count() == 1
        assert focused(page).startswith(f"{CAMERA}: 6 runs, 6001–{COPIES[9]}")
        assert page[WRONG].is_hidden()
        [new] = Shelf(DownloadSettings(downloads_dir=site.downloads)).of(owner)
        assert new.id != old.id and list(new.runs) == runs
        page.page.keyboard.press("Tab")
        assert focused(page) == "Fetch"
        assert not page.errors
    assert sum(entry.event == Event.BASKET for entry in site.log_of(owner)) == 1


def test_what_failed_waits_for_its_turn(browser, site, owner):
    """One at a time; and what cannot be tried again stays, with what to do."""
    old = failed(site, owner, [6001, 8001])
    with opened(browser, site, owner) as page:
        again = page[f"{LINE} .again"]
        with being_built(site, owner, COPIES[:5]):
            again.focus()
            page.page.keyboard.press("Enter")
            assert said(page) == (
                "Another archive of yours is being built: wait until it is done, or cancel it."
            )
            assert focused(page) == "Try again"
        page.page.route("**/downloads/*", lambda route: route.abort(), times=1)
        again.click()
        page.wait_for(f"document.querySelector('{WRONG}').innerText.startsWith('The server does')")
        [left] = Shelf(DownloadSettings(downloads_dir=site.downloads)).of(owner)
        assert left.id == old.id
        again.click()
        page[FETCH].wait_for()
        again.wait_for(state="detached")
        assert page[WRONG].is_hidden()


def test_what_was_removed_meanwhile_is_not_tried_again(browser, site, owner):
    """Or has a run that is there no more: no basket comes of it."""
    shelf = Shelf(DownloadSettings(downloads_dir=site.downloads))
    failed(site, owner, [6001, 7999])
    with opened(browser, site, owner) as page:
        page[f"{LINE} .again"].click()
        assert said(page) == f"{CAMERA} has no run 7999."
        [left] = shelf.of(owner)
        shelf.remove(left)
        page[f"{LINE} .again"].click()
        page[LINE].wait_for(state="detached")
        assert said(page) == "This archive is not there any more."
        assert shelf.of(owner) == []


def test_keys_alone_will_do(browser, site, owner):
    """The focus never falls back to the top of the page."""
    with opened(browser, site, owner) as page:
        keys = page.page.keyboard
        focused = "document.activeElement.closest('.runs-baskets, .runs-grid')?.className"
        choose(page, 2)
        for _ in range(40):
            keys.press("Tab")
            if page[BUILD].evaluate("node => node === document.activeElement"):
                break
        keys.press("Enter")
        page[FETCH].wait_for()
        assert page.page.evaluate(f"document.activeElement.matches('{LINE}')")
        keys.press("Tab")
        assert page[FETCH].evaluate("node => node === document.activeElement")
        with page.page.expect_download() as download:
            keys.press("Enter")
        assert download.value.suggested_filename.startswith(f"{CAMERA}-")
        keys.press("Tab")
        keys.press("Enter")
        page[LINE].wait_for(state="detached")
        assert page.page.evaluate(focused).startswith("runs-grid")


def test_sizes_are_never_powers_of_ten(browser, site, owner):
    with opened(browser, site, owner) as page:
        said = page.page.evaluate(
            """async (sizes) => {
              const map = document.querySelector("script[type=importmap]").textContent;
              const names = Object.keys(JSON.parse(map).imports);
              const name = names.find((one) => one.endsWith("/format.js"));
              const { bytes } = await import(name);
              return sizes.map(bytes);
            }""",
            [999, 1000, 999_600, 1_708_987, 999_960_000, 1_000_000_000, 999_700_000_000],
        )
        assert said == [
            "999 B", "1.00 kB", "1.00 MB", "1.71 MB", "1.00 GB", "1.00 GB", "1.00 TB",
        ]  # fmt: skip


def test_the_original_of_the_run_in_front(browser, site, owner):
    with opened(browser, site, owner, "runs&run=8001") as page:
        page[".facts details summary"].last.click()
        with page.page.expect_download() as download:
            page["a.original"].click()
        assert Path(download.value.path()).read_bytes() == original(8001)
        assert download.value.suggested_filename == f"{CAMERA}_DQM_Run8001.tar.gz"
        page.page.context.clear_cookies()
        page["a.original"].click()
        page[".facts [role=alert]:not(:empty)"].wait_for()
        assert "You are not logged in any more." in page.text(".facts [role=alert]")


def test_a_viewer_saves_the_numbers_of_a_plot(browser, site):
    """The files that runs were read from are for experts; what a plot shows is not."""
    with opened(browser, site, "viewer", "maps&run=8001") as page:
        page["#toolbar-maps .export summary"].click()
        button = page["#toolbar-maps .export-row button"].filter(has_text="CSV").first
        with page.page.expect_download() as download:
            button.click()
        assert "8001" in Path(download.value.path()).read_text()
        assert page["a.original"].count() == 0


def test_without_accounts_everybody_takes_files_away(browser, tmp_path):
    """One after the other, since nobody has a name; and whoever looks sees all archives."""
    fill(tmp_path, copies=())
    with Site(tmp_path, DQM_AUTH="none") as site:
        page = DashboardPage(browser, f"http://{LOOPBACK}:{site.port}/?view=runs")
        with page:
            page[".runs-grid .body .row"].first.wait_for()
            choose(page, 2)
            with being_built(site, ""):
                page[BUILD].click()
                assert said(page) == (
                    "An archive for somebody is being built: wait until it is done, or cancel it."
                )
            page[BUILD].click()
            page[FETCH].wait_for()
            with page.page.expect_download() as download:
                page[FETCH].click()
            with tarfile.open(download.value.path()) as tar:
                assert len(tar.getnames()) == 4
            assert page[".bar a.user"].count() == 0


def test_all_columns_are_in_sight_beside_the_calendar_and_a_scroll_bar(browser, site, owner):
    with opened(browser, site, owner) as page:
        page.wait_for("document.querySelectorAll('.runs-grid.picking .body .row').length > 3")
        page.page.evaluate("document.querySelector('.runs-grid').style.marginRight = '15px'")
        cut = page.page.evaluate(
            """() => [".runs-grid", ".runs-grid .row > span", ".runs-grid .head button"]
                .flatMap((parts) => [...document.querySelectorAll(parts)])
                .filter((part) => part.scrollWidth > part.clientWidth)
                .map((part) => part.innerText)"""
        )
        assert cut == []
