"""Who may ask for what: each route of the server, for each role and kind of token.

A route that is not in the table fails here, and so does one that asks nobody who he is.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from baskets import Site, fill
from processes import eventually
from visitors import PAGE, PASSWORD, SECRET, Answer, LoginServer, Visitor, logged_in

from dqm.shipped import shipped
from dqm_app.accounts.roles import Role
from dqm_app.accounts.tokens import Scope

pytestmark = pytest.mark.system

ID = "0123456789abcdef" * 2
API = "/api/v1"
OF_CAMERA = rf"{API}/cameras/([\w.+-]{{1,100}})"
OF_RUN = rf"{OF_CAMERA}/runs/([0-9]{{1,10}})"
NAME = "NectarCAMQM"
CAMERA = f"{API}/cameras/{NAME}"
SHOWING = (rf"{API}/cameras", OF_RUN)
"""What tells whoever may ask the name of the camera."""

EVERYBODY = "nobody viewer expert admin read download metrics"
PEOPLE = "viewer expert admin"
FORMS = f"nobody {PEOPLE}"
READERS = "viewer expert admin read"
TAKERS = "expert admin download"
MONITORS = "admin metrics"
"""Browsers of each role, and programs with a token of an admin of one scope."""

TABLE: dict[tuple[str, str], tuple[str, str]] = {
    # pattern, method: an address, who may
    (r"/dqm_app/?", "GET"): (PAGE, PEOPLE),
    (r"/dqm_app/ws", "GET"): (f"{PAGE}/ws", PEOPLE),
    (r"/login", "GET"): ("/login", EVERYBODY),
    (r"/login", "POST"): ("/login", FORMS),
    (r"/logout", "GET"): ("/logout", EVERYBODY),
    (r"/logout", "POST"): ("/logout", FORMS),
    (r"/account", "GET"): ("/account", PEOPLE),
    (r"/account/session", "POST"): ("/account/session", PEOPLE),
    (r"/account/password", "POST"): ("/account/password", PEOPLE),
    (r"/account/token", "POST"): ("/account/token", PEOPLE),
    (r"/account/revoke", "POST"): ("/account/revoke", PEOPLE),
    (r"/alive", "GET"): ("/alive", EVERYBODY),
    (r"/health", "GET"): ("/health", EVERYBODY),
    (r"/ready", "GET"): ("/ready", EVERYBODY),
    (r"/metrics", "GET"): ("/metrics", MONITORS),
    (rf"{API}/openapi\.json", "GET"): (f"{API}/openapi.json", READERS),
    (rf"{API}/cameras", "GET"): (f"{API}/cameras", READERS),
    (rf"{OF_CAMERA}/runs", "GET"): (f"{CAMERA}/runs", READERS),
    (OF_RUN, "GET"): (f"{CAMERA}/runs/6001", READERS),
    (rf"{OF_RUN}/verdict", "GET"): (f"{CAMERA}/runs/6001/verdict", READERS),
    (rf"{OF_RUN}/statistics", "GET"): (f"{CAMERA}/runs/6001/statistics", READERS),
    (rf"{OF_RUN}/quantities/([\w.+-]{{1,100}})", "GET"): (
        f"{CAMERA}/runs/6001/quantities/MEAN",
        READERS,
    ),
    (rf"{OF_CAMERA}/trends/names", "GET"): (f"{CAMERA}/trends/names", READERS),
    (rf"{OF_CAMERA}/trends", "GET"): (f"{CAMERA}/trends", READERS),
    (rf"{OF_CAMERA}/pixels/([\w.+-]{{1,100}})", "GET"): (f"{CAMERA}/pixels/MEAN", READERS),
    (rf"{API}(?:/.*)?", "GET"): (f"{API}/nothing", READERS),
    (r"/downloads", "GET"): ("/downloads", TAKERS),
    (r"/downloads", "POST"): ("/downloads", TAKERS),
    (r"/downloads/([0-9a-f]{32})", "GET"): (f"/downloads/{ID}", TAKERS),
    (r"/downloads/([0-9a-f]{32})", "DELETE"): (f"/downloads/{ID}", TAKERS),
    (r"/downloads/([0-9a-f]{32})/file", "GET"): (f"/downloads/{ID}/file", TAKERS),
    (r"/originals/([\w.+-]{1,100})/([0-9]{1,10})", "GET"): ("/originals/NectarCAMQM/6001", TAKERS),
    (r"/assets/([\w.]+)", "GET"): ("/assets/app.js", EVERYBODY),
    (r"/static/(.*)", "GET"): ("/static/js/bokeh.min.js", EVERYBODY),
    (r"/?", "GET"): ("/", EVERYBODY),
    (r"/bokeh_app/?", "GET"): ("/bokeh_app", EVERYBODY),
    (r"/dqm_app/static/(.*)", "GET"): (f"{PAGE}/static/app.js", EVERYBODY),
    # of Bokeh's server, which asks nobody: an icon
    (r"/favicon.ico", "GET"): ("/favicon.ico", EVERYBODY),
}
DONE = {
    **{"name": "admin", "password": PASSWORD, "everywhere": "yes", "number": "0", "token": "0"},
    **{"old": PASSWORD, "new": PASSWORD, "again": PASSWORD},
    **{"label": "t", "days": "1", "scope": "read"},
}
# the second is never reached: a route of ours is before it
UNGUARDED = {r"/favicon.ico": "IcoHandler", r"/dqm_app/static/(.*)": "StaticFileHandler"}

LISTING = """
import json
from tornado.web import RequestHandler
from dqm_app.login.access import Guarded
from dqm_app.server import load_application, routed
from dqm_app.settings import DashboardSettings
from dqm_db.settings import load

tornado = routed(load_application(), load(DashboardSettings), [], "a key")
missing = RequestHandler._unimplemented_method
print(json.dumps([
    {
        "pattern": rule.matcher.regex.pattern.removesuffix("$"),
        "handler": rule.target.__name__,
        "guarded": issubclass(rule.target, Guarded),
        "says": any("access" in vars(kind) for kind in rule.target.__mro__ if kind is not Guarded),
        "methods": [
            method for method in RequestHandler.SUPPORTED_METHODS
            if getattr(rule.target, method.lower()) is not missing
        ],
    }
    for rule in tornado.wildcard_router.rules
]))
"""


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """All that the server has."""
    environment = {name: value for name, value in os.environ.items() if name[:4] != "DQM_"} | {
        "DQM_SERVED_WITH_LOGIN": "1",
        "DQM_STATE_DIR": str(tmp_path_factory.mktemp("listing")),
        "BOKEH_SECRET_KEY": SECRET,
    }
    listed = subprocess.run(
        [sys.executable, "-c", LISTING], env=environment, capture_output=True, text=True, check=True
    )
    found = json.loads(listed.stdout)
    assert len(found) > 30
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoginServer]:
    """One that has something to show, for all tests of this module."""
    folder = tmp_path_factory.mktemp("routes")
    fill(folder, copies=())
    with Site(folder) as server:
        eventually(lambda: server.client("expert").cameras() == [NAME], "the runs are there")
        yield server


@pytest.fixture(scope="module", params=["dqm serve", "bokeh serve"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LoginServer]:
    """By whichever command: Tornado looks at forms itself in one of them."""
    folder, plain = tmp_path_factory.mktemp("served"), request.param == "bokeh serve"
    with LoginServer(folder, plain=plain, processes=1) as server:
        yield server


@pytest.fixture(scope="module")
def visitors(server: LoginServer) -> dict[str, Visitor]:
    """One of each kind."""
    programs = {
        scope.value: Visitor(server, {"Authorization": f"Bearer {server.token('admin', [scope])}"})
        for scope in Scope
    }
    people = {role.word: logged_in(server, role.word) for role in Role}
    found = {"nobody": Visitor(server), **people, **programs}
    assert sorted(found) == sorted(EVERYBODY.split())
    return found


def test_the_table_has_every_route_and_method(routes):
    served = {(route["pattern"], method) for route in routes for method in route["methods"]}
    of_get = {(pattern, "GET") for pattern, method in served if method in ("HEAD", "OPTIONS")}
    assert {one for one in served if one[1] not in ("HEAD", "OPTIONS")} == set(TABLE)
    assert of_get and of_get <= set(TABLE)  # which are asked with GET below


def test_every_route_asks_who_calls(routes):
    unguarded = {route["pattern"]: route["handler"] for route in routes if not route["guarded"]}
    assert unguarded == UNGUARDED
    assert [route for route in routes if route["guarded"] and not route["says"]] == []


@pytest.mark.parametrize("who", EVERYBODY.split())
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
def test_what_is_not_there_is_not_there_for_anybody(server, visitors, method, who):
    """A browser is told so by a page that leads on, a program by a line."""
    for path in (
        "/nothing",
        f"{PAGE}/nothing",
        "/login/",
        f"/downloads/{ID}0",
        "/account/x?next=//y",
    ):
        page = visitors[who].ask(path, method, headers={"Accept": "text/html,*/*;q=0.8"})
        assert (page.status, page.header("Location")) == (404, "")
        assert method == "HEAD" or 'href="/">To the dashboard' in page.text
        line = visitors[who].ask(path, method)
        assert line.status == 404
        assert method == "HEAD" or line.text.startswith("404 Not Found: There is nothing")


@pytest.mark.parametrize("who", EVERYBODY.split())
@pytest.mark.parametrize(("pattern", "method"), sorted(TABLE))
def test_everybody_gets_what_is_his_and_nothing_else(server, visitors, pattern, method, who):
    path, allowed = TABLE[pattern, method]
    visitor = visitors[who]
    if pattern == "/logout" and who in {role.word for role in Role}:
        visitor = logged_in(server, who)  # the others go on being logged in
    if method == "GET":
        answer = visitor.ask(path)
    else:
        if "_xsrf" not in visitor.cookies:
            visitor.ask("/login")
        data = urlencode({"name": "stranger", "password": "wrong"}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if "Authorization" not in visitor.headers:  # programs need none
            headers["X-XSRFToken"] = visitor.cookies["_xsrf"]
        if method == "DELETE":
            data = None
        answer = visitor.ask(path, method, data, headers)
    got = (answer.status, answer.header("Location"))
    if pattern == "/login" and method == "POST" and who in allowed.split():
        assert answer.status in (403, 429) and "</form>" in answer.text, got
    elif who in allowed.split():
        assert answer.status not in (401, 403, 405, 500) and not answer.asks_for_login, got
        if pattern in SHOWING:
            assert answer.status == 200 and NAME in answer.text, got
    else:
        assert is_refused(answer, who, method), got
    if method == "GET":
        head, options = (visitor.ask(path, other) for other in ("HEAD", "OPTIONS"))
        assert head.text == ""
        if who in allowed.split():
            assert head.status in (405, answer.status)
            assert options.status in (204, 405, answer.status)
        else:
            assert is_refused(head, who, method) or head.status == 405
            assert is_refused(options, who, method) or options.status == 405


def is_refused(answer: Answer, who: str, method: str) -> bool:
    """Rightly, and without a word of what there is."""
    if who == "nobody":
        said = answer.status == 401 or (method == "GET" and answer.asks_for_login)
    else:
        said = answer.status == 403
    return said and NAME not in answer.text


@pytest.mark.parametrize(
    ("pattern", "method"), sorted(key for key in TABLE if key[1] not in ("GET", "HEAD"))
)
@pytest.mark.parametrize("fault", ["none", "wrong", "another site", "sibling site", "no cookie"])
def test_no_other_site_changes_anything(served, pattern, method, fault):
    """Each form is one that would be done."""
    visitor = logged_in(served, "admin")
    path, _ = TABLE[pattern, method]
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    token = visitor.cookies["_xsrf"]
    if fault == "wrong":
        other = Visitor(served)
        other.ask("/login")
        token = other.cookies["_xsrf"]
    if fault != "none":
        headers["X-XSRFToken"] = token
    if fault == "another site":
        headers["Sec-Fetch-Site"] = "cross-site"
    if fault == "sibling site":
        headers["Sec-Fetch-Site"] = "same-site"
    if fault == "no cookie":
        del visitor.cookies["_xsrf"]
    body = None if method == "DELETE" else urlencode(DONE).encode()
    answer = visitor.ask(path, method, body, headers)
    assert answer.status == 403, answer
    assert visitor.is_in()


def test_nginx_lets_through_what_may_change_something():
    """Its own list refuses all else, so an address with a form has to be in it, too."""
    template = (shipped("nginx") / "dqm.conf.template").read_text()
    block = re.search(
        r"map \$request_method:\$uri \$dqm_method_refused \{(.*?)\n\}", template, re.S
    )
    assert block is not None
    allowed = re.findall(r'"~(\S+)" 0;', block[1].replace("${DQM_WEB_PREFIX}", ""))
    changing = {(method, address) for (_, method), (address, _) in TABLE.items() if method != "GET"}
    for method, address in changing:
        assert any(re.search(one, f"{method}:{address}") for one in allowed), (method, address)
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        for address, _ in TABLE.values():
            if (method, address) not in changing:
                assert not any(re.search(one, f"{method}:{address}") for one in allowed), address


@pytest.mark.parametrize("scope", Scope)
def test_a_token_ends_no_session(served, scope):
    """Whoever has found it cannot log its owner out."""
    owner = logged_in(served, "admin")
    header = {"Authorization": f"Bearer {served.token('admin', [scope])}"}
    for visitor in (Visitor(served, header), Visitor(served, header, cookies=dict(owner.cookies))):
        answer = visitor.form("/logout", {"everywhere": "yes"})
        assert answer.status == 403
    assert owner.is_in()


@pytest.mark.parametrize("base", ["/static/", f"{PAGE}/static/", "/assets/", "/"])
@pytest.mark.parametrize("name", ["%00", "a%00b", "%ff", "a" * 5000, "none.js", "%0a", "%", "."])
def test_files_that_are_none(served, base, name):
    """Nobody needs a login to ask, so nobody may fill the log."""
    before = len(served.text())
    assert Visitor(served).ask(base + name).status in (302, 400, 403, 404)
    assert "Traceback" not in served.text()[before:]
