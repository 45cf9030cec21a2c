"""Logging in and out of a real dashboard of several processes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import quote

import pytest
from browsing import DashboardPage
from postgres_server import postgres_server
from processes import LOOPBACK, ServerProcess, eventually, free_port
from quick_looks import SECONDS
from visitors import (
    APPLICATION,
    PAGE,
    PASSWORD,
    LoginServer,
    Visitor,
    closed,
    logged_in,
    open_socket,
    run,
)

from dqm_app.accounts import users
from dqm_app.accounts.roles import Role
from dqm_app.accounts.tokens import Scope
from dqm_app.login.sockets import LOGGED_OUT

pytestmark = pytest.mark.system
ASKED = 12
"""Requests on connections of their own, of which each process gets some."""


@pytest.fixture(scope="module", params=["dqm serve", "bokeh serve"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """For all tests of this module."""
    plain = request.param == "bokeh serve"
    with LoginServer(tmp_path_factory.mktemp("login"), plain=plain, quick=True) as server:
        yield server


def everywhere(visitor: Visitor) -> set[bool]:
    """What all processes say to whether the visitor is in."""
    return {visitor.is_in() for _ in range(ASKED)}


def test_in_and_out_again(server):
    visitor = Visitor(server)
    wanted = "/dqm_app?camera=NectarCAMQM&run=6310&view=maps"
    answer = visitor.ask(wanted)
    assert answer.asks_for_login
    form = visitor.ask(answer.header("Location"))
    [kept] = re.findall(r'name="next" value="([^"]*)"', form.text)
    answer = visitor.login("Viewer", next=kept.replace("&amp;", "&"))
    assert (answer.status, answer.header("Location")) == (303, wanted)
    assert everywhere(visitor) == {True}
    assert "viewer" in visitor.ask("/account").text
    old = dict(visitor.cookies)
    answer = visitor.form("/logout")
    assert (answer.status, answer.header("Location")) == (303, "/login")
    assert everywhere(visitor) == {False}
    eventually(lambda: everywhere(Visitor(server, cookies=dict(old))) == {False}, "no replay")


def test_the_cookies_of_plain_http(server):
    visitor = Visitor(server)
    visitor.ask("/login")
    answer = visitor.login("viewer")
    set_ = [value for name, value in answer.headers if name.lower() == "set-cookie"]
    assert len(set_) == 2
    for line in set_:
        assert re.match(r"dqm-(session|device)=", line)
        assert "HttpOnly" in line and "SameSite=Lax" in line and "Path=/" in line


def test_logging_out_everywhere_ends_what_is_open(server):
    """Also the websockets, in all processes."""
    here, there = logged_in(server, "expert"), logged_in(server, "expert")
    other = logged_in(server, "viewer")

    async def open_pages() -> list:
        return [await open_socket(who, who.ask(PAGE).token) for who in (here, there) * 3]

    async def scenario() -> list[int | None]:
        sockets = await open_pages()
        kept = await open_socket(other, other.ask(PAGE).token)
        assert here.form("/logout", {"everywhere": "yes"}).status == 303
        codes = await asyncio.wait_for(asyncio.gather(*map(closed, sockets)), 30)
        assert kept.close_code is None and kept.protocol is not None
        kept.close()
        await closed(kept)
        return codes

    assert run(scenario()) == [LOGGED_OUT] * 6
    eventually(lambda: everywhere(there) == {False}, "the other browser is out")
    assert everywhere(other) == {True}


def test_a_new_login_is_a_new_session(server):
    """Who plants his own session in a browser sees nothing of what is done after the login."""
    attacker = logged_in(server, "viewer")
    victim = Visitor(server, cookies=dict(attacker.cookies))
    victim.login("expert")
    assert victim.session != attacker.session
    assert "expert" in victim.ask("/account").text
    assert "<h1>viewer</h1>" in attacker.ask("/account").text


def test_changes_of_a_user_hold_within_seconds(server):
    server.add("changing", Role.EXPERT)
    visitor = logged_in(server, "changing")
    program = Visitor(server, {"Authorization": f"Bearer {server.token('changing', [Scope.READ])}"})
    address = "/originals/NectarCAMQM/1"
    assert visitor.ask(address).status != 403
    assert program.ask("/api/v1/openapi.json").status == 200
    with server.changing() as session, session.begin():
        users.set_role(session, "changing", Role.VIEWER)
    eventually(lambda: {visitor.ask(address).status for _ in range(ASKED)} == {403}, "a viewer now")
    assert everywhere(visitor) == {True}
    with server.changing() as session, session.begin():
        users.disable(session, "changing")
    eventually(lambda: everywhere(visitor) == {False}, "out")
    eventually(
        lambda: {program.ask("/api/v1/openapi.json").status for _ in range(ASKED)} == {401}, "so"
    )
    assert visitor.login("changing").status == 403


def test_the_account_page(server):
    server.add("selfish", Role.EXPERT)
    visitor, other = logged_in(server, "selfish"), logged_in(server, "selfish")
    page = visitor.ask("/account").text
    assert "this browser" in page and "Who did what" not in page
    [number] = re.findall(r'name="number" value="(\w+)"', page)
    assert "logged out" in visitor.form("/account/session", {"number": number}).text
    eventually(lambda: everywhere(other) == {False}, "the other browser is out")
    wanted = {"label": "<b>n</b>", "days": "1", "scope": "read"}
    for password in ("", "wrong"):
        answer = visitor.form("/account/token", wanted | {"password": password})
        assert answer.status == 403 and "This is not your password" in answer.text
        assert "dqm_" not in answer.text and "None yet" in answer.text
        assert 'value="&lt;b&gt;n&lt;/b&gt;"' in answer.text  # nobody types it again
    made = visitor.form("/account/token", wanted | {"password": PASSWORD}).text
    assert "<b>n</b>" not in made
    [token] = re.findall(r"dqm_[0-9a-f]{16}_[\w-]{43}", made)
    program = Visitor(server, {"Authorization": f"Bearer {token}"})
    assert program.ask("/api/v1/openapi.json").status == 200
    for days in ("nan", "inf", "-1", "1e999", "x", ""):
        fields = {"label": "n", "days": days, "scope": "read", "password": PASSWORD}
        answer = visitor.form("/account/token", fields)
        assert answer.status == 400 and "No token was made: " in answer.text
        assert "days" in answer.text.partition("No token was made: ")[2].partition("<")[0]
    for scope in ("", "all"):
        fields = {"label": "n", "days": "1", "scope": scope, "password": PASSWORD}
        answer = visitor.form("/account/token", fields)
        assert answer.status == 400 and "tick what the token may do" in answer.text
    revoked = visitor.form("/account/revoke", {"token": token[4:20]}).text
    assert "does not work any more" in revoked
    eventually(
        lambda: {program.ask("/api/v1/openapi.json").status for _ in range(ASKED)} == {401}, "so"
    )
    words = {"old": PASSWORD, "new": "other words of a test", "again": "other words of a test"}
    assert "two ways" in visitor.form("/account/password", words | {"again": "x"}).text
    wrong = visitor.form("/account/password", words | {"old": "wrong"})
    assert wrong.status == 403 and "This is not your password" in wrong.text
    assert (
        "Not changed" in visitor.form("/account/password", words | {"new": "s", "again": "s"}).text
    )
    server.token("selfish", [Scope.READ])
    assert "log out everywhere and end 1 token<" in visitor.ask("/account").text
    before = Visitor(server, cookies=dict(visitor.cookies))
    answer = visitor.form("/account/password", words)
    assert answer.status == 303
    eventually(lambda: everywhere(before) == {False}, "so is this browser")
    page = visitor.ask(answer.header("Location")).text
    assert "Your password is changed" in page and "1 token for programs ended" in page
    assert "is changed" not in visitor.ask("/login?changed=<b>").text
    assert visitor.login("selfish", "other words of a test").status == 303
    assert "Who did what" in logged_in(server, "admin").ask("/account").text


def test_a_page_that_was_left_open_makes_no_token(server):
    """Nor finds out the password."""
    server.add("absent")
    visitor = logged_in(server, "absent")
    fields = {"label": "n", "days": "366", "scope": "read"}
    statuses = [
        visitor.form("/account/token", fields | {"password": f"guess {number}"}).status
        for number in range(30)
    ]
    assert statuses[:10] == [403] * 10 and set(statuses) == {403, 429}
    answer = visitor.form("/account/token", fields | {"password": PASSWORD})
    assert answer.status == 429 and answer.header("Retry-After").isdigit()
    words = {"old": PASSWORD, "new": "other words of a test", "again": "other words of a test"}
    assert visitor.form("/account/password", words).status == 429
    assert "None yet" in visitor.ask("/account").text
    assert "failed" in {word for one in server.log_of("absent") for word in one.event.split()}


def test_the_login_says_how_the_first_user_is_made(tmp_path):
    with LoginServer(tmp_path, roles=[]) as server:
        visitor = Visitor(server)
        hint = "dqm user add NAME --role admin"
        assert hint in visitor.ask("/login").text
        answer = visitor.login("admin")
        assert answer.status == 403 and hint in answer.text
        server.add("anna", Role.ADMIN)
        eventually(
            lambda: not any(hint in visitor.ask("/login").text for _ in range(ASKED)), "somebody is"
        )
        assert "Ask the admin" in visitor.ask("/login").text
        logged_in(server, "anna")


def test_over_tls_cookies_are_of_this_host_alone(tmp_path):
    """Behind a proxy, below a path."""
    options = ["--use-xheaders", "--prefix", "/nectarcam"]
    with LoginServer(tmp_path, *options, processes=1) as server:
        visitor = Visitor(server, {"X-Scheme": "https", "X-Real-Ip": "192.0.2.7"}, "/nectarcam")
        page = visitor.ask(PAGE)
        assert page.header("Location").startswith("/nectarcam/login?next=%2Fnectarcam%2Fdqm_app")
        form = visitor.ask("/login")
        answer = visitor.login("viewer")
        assert answer.header("Location") == "/nectarcam/"
        set_ = [value for one in (form, answer) for name, value in one.headers
                if name.lower() == "set-cookie"]  # fmt: skip
        assert sorted(line.partition("=")[0] for line in set_) == [
            "__Host-dqm-device", "__Host-dqm-session", "_xsrf"
        ]  # fmt: skip
        for line in set_:
            assert "Secure" in line and "SameSite=Lax" in line
            assert re.search(r"Path=/(;|$)", line) and "Domain" not in line
        assert visitor.is_in()
        assert [entry.address for entry in server.log_of("viewer")] == ["192.0.2.7"]
        # what was given over TLS is not taken without
        plain = Visitor(server, {"X-Scheme": "http"}, "/nectarcam", dict(visitor.cookies))
        assert not plain.is_in()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "--auth-module dqm_app/auth_module.py, or set DQM_AUTH=none"),
        (["--auth-module", APPLICATION / "auth_module.py", "--session-ids", "unsigned"], "leave"),
        ([f"--auth-module={APPLICATION}/auth_module.py", "--session-ids=unsigned"], "leave it out"),
    ],
)
def test_it_does_not_start_when_everybody_could_get_in(tmp_path, options, said):
    port = free_port()
    command = ["bokeh", "serve", "--port", str(port), "--address", LOOPBACK, *options, APPLICATION]
    environment = {"DQM_AUTH": "accounts", "DQM_STATE_DIR": str(tmp_path / "state")}
    environment["BOKEH_SECRET_KEY"] = "some key of enough characters"
    server = ServerProcess(command, port, tmp_path / "log", environment)
    server.start(wait=False)
    assert server.wait() != 0
    assert said in server.text()


THEIRS = """
from tornado.web import RequestHandler

def get_user(handler):
    return handler.get_cookie("theirs") if handler.get_cookie("theirs") == "anna" else None

login_url = "/enter"

class LoginHandler(RequestHandler):
    def get(self):
        self.write("their own form")
"""


def test_a_login_of_somebody_else(tmp_path):
    """Its users are viewers, and ours are nobody."""
    module = tmp_path / "theirs.py"
    module.write_text(THEIRS)
    with LoginServer(tmp_path, plain=True, processes=1, module=module) as server:
        nobody = Visitor(server)
        for stranger in (nobody, Visitor(server, cookies={"theirs": "mallory"})):
            answer = stranger.ask(f"{PAGE}?run=1")
            assert (answer.status, answer.header("Location")) == (
                302, "/enter?next=%2Fdqm_app%3Frun%3D1"
            )  # fmt: skip
            assert stranger.ask("/api/v1/cameras").status == 401
        assert nobody.ask("/enter").text == "their own form"
        admin = logged_in(server, "admin")
        assert not admin.is_in() and admin.ask("/account").status != 200
        theirs = Visitor(server, cookies={"theirs": "anna"})
        page = theirs.ask(PAGE)
        assert page.status == 200

        async def scenario() -> None:
            websocket = await open_socket(theirs, page.token)
            assert websocket.close_code is None
            websocket.close()
            await closed(websocket)

        run(scenario())
        assert theirs.ask("/account").status == 404
        for path in ("/metrics", "/originals/NectarCAMQM/1", "/downloads"):
            assert theirs.ask(path).status == 403, path


def test_only_a_proxy_says_from_where_somebody_calls(server):
    """Each guess would come from another address otherwise, and the log name any."""
    visitor = Visitor(server, {"X-Real-Ip": "192.0.2.99", "X-Forwarded-For": "192.0.2.98"})
    visitor.login("viewer")
    assert {entry.address for entry in server.log_of()} == {LOOPBACK}


@pytest.mark.parametrize("path", ["/login", "/account"])
def test_what_browsers_are_told_of_pages_with_forms(server, path):
    answer = logged_in(server, "viewer").ask(path)
    if path == "/login":
        answer = Visitor(server).ask(path)
    policy = dict(
        part.partition(" ")[::2] for part in answer.header("Content-Security-Policy").split("; ")
    )
    assert answer.status == 200
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["form-action"] == "'self'"
    assert re.fullmatch(r"'sha256-\S+'", policy["script-src"])
    assert answer.header("X-Content-Type-Options") == "nosniff"
    assert answer.header("Cache-Control") == "no-store"
    assert answer.header("Referrer-Policy") == "same-origin"


def test_what_dqm_serve_says_at_its_start(tmp_path):
    port = free_port()
    environment = {"DQM_AUTH": "accounts", "DQM_STATE_DIR": str(tmp_path / "state"),
                   "DQM_DB_URL": "zeo://127.0.0.1:1", "BOKEH_SECRET_KEY": ""}  # fmt: skip
    command = ["dqm", "serve", "--port", str(port), "--num-procs", "2"]
    with ServerProcess(command, port, tmp_path / "log", environment) as server:
        server.wait_for_log("BOKEH_SECRET_KEY is not set")
        server.wait_for_log("dqm user add NAME --role admin")
        assert Visitor(server).ask(PAGE).asks_for_login


def test_accounts_that_cannot_be_reached(tmp_path):
    """Nobody is let in, but what is the same for everybody is there, and open pages stay."""
    with ExitStack() as stack:
        database = stack.enter_context(postgres_server())
        settings = {"DQM_ACCOUNTS_URL": database.database()}
        server = stack.enter_context(LoginServer(tmp_path, settings=settings, quick=True))
        visitor = logged_in(server, "viewer")
        assert everywhere(visitor) == {True}

        async def scenario() -> None:
            socket = await open_socket(visitor, visitor.ask(PAGE).token)
            database.stop()
            eventually(
                lambda: {visitor.ask(PAGE).status for _ in range(ASKED)} == {503}, "nobody knows"
            )
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(closed(socket), 3 * SECONDS)
            socket.close()
            await closed(socket)

        run(scenario())
        assert visitor.ask("/alive").status == 200
        assert visitor.ask("/assets/app.js").status == 200
        assert visitor.ask("/health").status in (200, 503)
        answer = Visitor(server).login("viewer")
        assert answer.status == 503 and "cannot be reached" in answer.text


@pytest.mark.browser
def test_a_permalink_survives_the_login(server, browser):
    query = "camera=NectarCAMQM&run=6310&view=maps&pixels=1,2"
    url = f"http://{LOOPBACK}:{server.port}/?{query}"
    page = DashboardPage(browser, url)
    try:
        page.page.goto(url)
        assert "/login?next=" in page.page.url
        page.page.fill("#name", "viewer")
        page.page.fill("#password", "wrong")
        page.page.press("#password", "Enter")
        page.page.wait_for_selector(".fault")
        page.page.fill("#password", PASSWORD)
        page.page.press("#password", "Enter")
        page.page.wait_for_url("**/dqm_app?*")
        assert page.page.url.endswith(f"/dqm_app?{query}") or quote("1,2") in page.page.url
        # logged out elsewhere, the open page leads to the login by itself, and back to itself
        address = page.page.url
        cookies = {one["name"]: one["value"] for one in page.page.context.cookies()}
        page.page.wait_for_function("() => globalThis.Bokeh && Bokeh.documents.length > 0")
        Visitor(server, cookies=cookies).form("/logout", {"everywhere": "yes"})
        page.page.wait_for_url("**/login?next=*")
        page.page.fill("#name", "viewer")
        page.page.fill("#password", PASSWORD)
        page.page.press("#password", "Enter")
        page.page.wait_for_url("**/dqm_app?*")
        assert page.page.url == address
    finally:
        page.__exit__()
