"""Login, account and downloads below a prefix: of the dashboard alone, and behind nginx."""

from __future__ import annotations

import contextlib
import json
import re
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from baskets import CAMERA, STORED, Site, being_built, fill, log_in, original
from browsing import DashboardPage
from playwright.sync_api import Browser
from processes import LOOPBACK, eventually, free_port
from visitors import Visitor, logged_in
from website import Website

from dqm_app.accounts.tokens import Scope

pytestmark = [pytest.mark.system, pytest.mark.browser]
PREFIX = "/dqm"


@dataclass
class Place:
    """A dashboard below `PREFIX`, and where browsers find it."""

    site: Site
    url: str


@pytest.fixture(scope="module", params=["alone", "nginx"])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("prefix")
    fill(folder, copies=())
    port = free_port()
    with ExitStack() as stack:
        site = stack.enter_context(
            Site(
                folder,
                "--use-xheaders",
                DQM_SERVE_PREFIX=PREFIX,
                DQM_ALLOWED_ORIGINS=f"localhost:{port}",
            )
        )
        url = f"http://{LOOPBACK}:{site.port}{PREFIX}/"
        if request.param == "nginx":
            web = Website(folder, [site.port], prefix=PREFIX, port=port)
            url = stack.enter_context(web).url
        # which waits for the database, too
        visitor = Visitor(site, {"Authorization": f"Bearer {site.token('expert', [Scope.READ])}"})
        eventually(lambda: CAMERA in visitor.ask(f"{PREFIX}/api/v1/cameras").text, "it is there")
        yield Place(site, url)


def test_from_the_login_to_the_archive_and_out(browser: Browser, place: Place) -> None:
    owner = place.site.expert()
    page = DashboardPage(browser, f"{place.url}?view=runs&run=8001", trusting=True)
    with contextlib.closing(page.page.context):
        page.page.goto(page.url)
        assert page.page.url.startswith(f"{place.url}login?next=%2Fdqm%2F")
        page["#name"].fill(owner)
        page["#password"].fill("not the password")
        page["form button[type=submit]"].click()
        page[".fault"].wait_for()
        log_in(page, owner)
        assert page.page.url.startswith(f"{place.url}dqm_app?")
        assert (page.address["view"], page.address["run"]) == ("runs", "8001")
        page[".runs-grid"].focus()
        page.page.keyboard.press("Control+a")
        with being_built(place.site, owner):
            page[".runs-baskets .build"].click()
            page[".runs-baskets .wrong:visible"].wait_for()
            assert page.text(".runs-baskets .wrong").startswith("Another archive of yours")
        page[".runs-baskets .build"].click()
        link = page[".runs-baskets .fetch:visible"]
        link.wait_for()
        assert re.fullmatch(rf"{PREFIX}/downloads/[0-9a-f]{{32}}/file", link.get_attribute("href"))
        with page.page.expect_download() as download:
            link.click()
        with tarfile.open(download.value.path()) as tar:
            assert len(tar.getnames()) == len(STORED) + 2
        page[".facts details summary"].last.click()
        with page.page.expect_download() as download:
            page["a.original"].click()
        assert Path(download.value.path()).read_bytes() == original(8001)
        page[".runs-baskets li button"].click()
        page[".runs-baskets li"].wait_for(state="detached")
        page[".bar a.user"].click()
        page.page.wait_for_url(f"{place.url}account")
        page["a"].filter(has_text="Dashboard").click()
        page.settled()
        page.page.goto(f"{place.url}account")
        page["button"].filter(has_text="Log out").first.click()
        page.page.wait_for_url(f"{place.url}login")
        page.page.goto(f"{place.url}account")
        assert page.page.url.startswith(f"{place.url}login?next=%2Fdqm%2Faccount")
        assert not page.errors


def test_a_part_of_an_archive(place: Place) -> None:
    visitor = logged_in(place.site, place.site.expert(), prefix=PREFIX)
    visitor.ask("/dqm_app")
    body = json.dumps({"camera": CAMERA, "runs": [8003]}).encode()
    begun = visitor.ask("/downloads", "POST", body, {"X-XSRFToken": visitor.cookies["_xsrf"]})
    assert begun.status == 201
    basket = json.loads(begun.text)
    address = begun.header("Location").removeprefix(PREFIX)
    assert address == f"/downloads/{basket['id']}"
    eventually(
        lambda: json.loads(visitor.ask(address).text)["file"] == f"{PREFIX}{address}/file", "done"
    )
    part = visitor.ask(f"{address}/file", headers={"Range": "bytes=0-9"})
    assert (part.status, part.text) == (206, "8003/Necta")
    assert part.header("Content-Range").startswith("bytes 0-9/")
    assert Visitor(place.site).ask(f"{address}/file").status == 404, "not without the prefix"
