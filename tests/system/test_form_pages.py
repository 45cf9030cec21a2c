"""Pages with forms as people see them: on a phone, and by keys."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from browsing import DashboardPage
from playwright.sync_api import Browser
from processes import LOOPBACK
from visitors import PASSWORD, LoginServer, Visitor, logged_in

from dqm_app.accounts.tokens import Scope

pytestmark = [pytest.mark.system, pytest.mark.browser]
PHONE = (390, 844)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoginServer]:
    with LoginServer(tmp_path_factory.mktemp("forms"), processes=1) as server:
        yield server


@contextlib.contextmanager
def account_of(browser: Browser, server: LoginServer, name: str) -> Iterator[DashboardPage]:
    """The page of *name* on a phone."""
    root = f"http://{LOOPBACK}:{server.port}"
    page = DashboardPage(browser, f"{root}/login?next=/account", size=PHONE)
    with contextlib.closing(page.page.context):
        page.page.goto(page.url)
        page["#name"].fill(name)
        page["#password"].fill(PASSWORD)
        page["#password"].press("Enter")
        page.page.wait_for_url(f"{root}/account")
        yield page
        assert page.errors == []


def test_what_ends_a_login_or_a_token_is_in_sight_on_a_phone(browser, server):
    logged_in(server, "admin", headers={"User-Agent": "Mozilla/5.0 (iPad) Version/17.5 Safari/6"})
    server.token("admin", [Scope.READ, Scope.DOWNLOAD, Scope.METRICS])
    with account_of(browser, server, "admin") as page:
        for button in page["button"].all():
            box = button.bounding_box()
            assert box is not None and 0 <= box["x"] <= box["x"] + box["width"] <= PHONE[0]
        assert page.page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
        page["button[aria-label^='Log out Safari 17, iPad']"].click()
        assert page.text(".done") == "That browser is logged out."
        page["button[aria-label='Revoke the token test']"].click()
        assert page.text(".done") == "The token does not work any more."


def test_who_typed_a_wrong_password_types_nothing_else_again(browser, server):
    with account_of(browser, server, "expert") as page:
        page["#label"].fill('night "report"')
        page["#days"].fill("7")
        page["#scope-read"].uncheck()
        page["#scope-download"].check()
        page["#password"].fill("some other words")
        page["#password"].press("Enter")
        page[".fault"].wait_for()
        assert page["#label"].input_value() == 'night "report"'
        assert page["#days"].input_value() == "7"
        ticked = [page[f"#scope-{scope}"].is_checked() for scope in ("read", "download")]
        assert ticked == [False, True]
        page["#password"].fill(PASSWORD)
        page["#password"].press("Enter")
        assert page.text(".secret").startswith("dqm_")
        assert page["#label"].input_value() == ""  # the next one is for something else
        assert "take files away" in page.text("tbody:has-text('night') tr")


def test_an_error_says_what_to_do_and_leads_on(server):
    page = {"Accept": "text/html"}
    viewer = logged_in(server, "viewer")
    refused = viewer.ask("/metrics", headers=page)
    assert refused.status == 403 and "Your account may not see this." in refused.text
    stale = viewer.ask("/account/revoke", "POST", b"", page)  # without the token of the form
    assert stale.status == 403 and "load it anew" in stale.text
    stranger = Visitor(server).ask("/metrics", headers=page)
    assert stranger.status == 401 and "Log in first." in stranger.text
    for answer in (refused, stale, stranger):
        assert 'href="/">To the dashboard' in answer.text
        assert "Try again" not in answer.text  # it would be the same
