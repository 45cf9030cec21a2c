"""Logins that end while a page is open: nothing stays there as if it were new."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest
from browsing import DashboardPage
from processes import LOOPBACK
from sqlalchemy import select
from visitors import PAGE, PASSWORD, LoginServer, Visitor, closed, logged_in, open_socket, run

from dqm_app.accounts.roles import Role
from dqm_app.accounts.tables import SessionRow, UserRow
from dqm_app.login.sockets import LOGGED_OUT

pytestmark = pytest.mark.system
SAID = "Your login has ended"
HOUR = 3600.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoginServer]:
    """Whose logins last for a week, and for a day without a request."""
    with LoginServer(tmp_path_factory.mktemp("ends"), quick=True) as server:
        yield server


def change(server: LoginServer, name: str, how: Callable[[SessionRow], object]) -> None:
    """Change what is stored of the sessions of a user."""
    with server.changing() as session, session.begin():
        of_user = select(SessionRow).join(UserRow, UserRow.id == SessionRow.user_id)
        rows = session.scalars(of_user.where(UserRow.name == name)).all()
        assert rows
        for row in rows:
            how(row)


@pytest.mark.parametrize(
    ("name", "age"),
    [("over", {"ends": 0.0}), ("idle", {"seen": -24 * HOUR - 1}), ("both", {"ends": -HOUR})],
)
def test_an_open_page_is_closed_when_its_login_has_ended(server, name, age):
    server.add(name)
    visitor, other = logged_in(server, name), logged_in(server, "viewer")

    def grow_old(row: SessionRow) -> None:
        for column, seconds in age.items():
            setattr(row, column, time.time() + seconds)

    async def scenario() -> int | None:
        websocket = await open_socket(visitor, visitor.ask(PAGE).token)
        kept = await open_socket(other, other.ask(PAGE).token)
        change(server, name, grow_old)
        code = await asyncio.wait_for(closed(websocket), 30)
        assert kept.close_code is None
        kept.close()
        await closed(kept)
        return code

    assert run(scenario()) == LOGGED_OUT
    assert visitor.ask("/api/v1/cameras").status == 401
    answer = visitor.ask(f"{PAGE}?run=1")
    assert answer.asks_for_login
    assert SAID in visitor.ask(answer.header("Location")).text
    assert SAID not in visitor.login(name, "wrong").text  # one thing at a time
    assert visitor.login(name).status == 303
    assert other.is_in()


def test_nobody_else_is_told_of_a_login(server):
    assert SAID not in Visitor(server).ask("/login").text
    visitor = logged_in(server, "viewer")
    visitor.form("/logout")
    assert SAID not in visitor.ask("/login").text
    forged = Visitor(server, cookies={"dqm-session": "2|1:0|10:0000000000|11:dqm-session|0:|00"})
    assert SAID not in forged.ask("/login").text


def test_the_setting_is_what_a_login_lasts(tmp_path):
    """However much the page is used."""
    seconds = 8.0
    options = {"processes": 1, "roles": [Role.VIEWER], "quick": True}
    settings = {"DQM_SESSION_HOURS": str(seconds / HOUR)}
    with LoginServer(tmp_path, settings=settings, **options) as server:
        visitor = logged_in(server, "viewer")
        began = time.monotonic()

        async def scenario() -> int | None:
            websocket = await open_socket(visitor, visitor.ask(PAGE).token)
            return await asyncio.wait_for(closed(websocket), 60)

        assert run(scenario()) == LOGGED_OUT
        assert time.monotonic() - began > seconds - 4
        assert visitor.ask(PAGE).asks_for_login
        assert SAID in visitor.ask("/login").text


@pytest.mark.browser
def test_an_open_page_says_so_and_leads_back_to_where_it_was(server, browser):
    server.add("watching")
    url = f"http://{LOOPBACK}:{server.port}/dqm_app?camera=NectarCAMQM&run=6310&view=maps"
    page = DashboardPage(browser, url)
    try:
        page.page.goto(url)
        for _ in range(2):  # also when it happens again
            page.page.wait_for_url("**/login?next=*")
            page.page.fill("#name", "watching")
            page.page.fill("#password", PASSWORD)
            page.page.press("#password", "Enter")
            page.page.wait_for_url("**/dqm_app?*")
            page.page.wait_for_function("() => globalThis.Bokeh && Bokeh.documents.length > 0")
            address = page.page.url
            change(server, "watching", lambda row: setattr(row, "ends", time.time()))
            page.page.wait_for_selector("#lost:not([hidden])")
            assert "shows what it had" in page.text("#lost")
            page.page.wait_for_selector(f".note:has-text('{SAID}')")
        page.page.fill("#name", "watching")
        page.page.fill("#password", PASSWORD)
        page.page.press("#password", "Enter")
        page.page.wait_for_url("**/dqm_app?*")
        assert page.page.url == address and "run=6310" in address
    finally:
        page.__exit__()
