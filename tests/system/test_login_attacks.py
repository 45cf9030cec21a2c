"""Attacks on the login of a real dashboard of several processes."""

from __future__ import annotations

import asyncio
import base64
import http.client
import multiprocessing
import random
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import pytest
from bokeh.util.token import generate_jwt_token, generate_session_id
from processes import LOOPBACK, eventually
from tornado.httpclient import HTTPClientError
from tornado.web import create_signed_value
from visitors import (
    PAGE,
    PASSWORD,
    SECRET,
    LoginServer,
    Visitor,
    closed,
    logged_in,
    open_socket,
    run,
)

from dqm_app.accounts import sessions, users
from dqm_app.accounts.tokens import Scope
from dqm_app.login.cookies import SESSION, Cookies
from dqm_app.login.sockets import LOGGED_OUT, SESSION_KEY

pytestmark = pytest.mark.system
ASKED = 8


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoginServer]:
    """Behind a proxy that says from where a request comes."""
    folder = tmp_path_factory.mktemp("attacked")
    with LoginServer(folder, "--use-xheaders") as server:
        yield server


@pytest.fixture(scope="module", params=["dqm serve", "bokeh serve"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LoginServer]:
    """By whichever command: Bokeh signs nothing by itself."""
    folder, plain = tmp_path_factory.mktemp("served"), request.param == "bokeh serve"
    with LoginServer(folder, plain=plain) as server:
        yield server


def from_somewhere() -> dict[str, str]:
    """As from an address of its own."""
    return {"X-Real-Ip": ".".join(str(random.randint(1, 254)) for _ in range(4))}


def is_kept_out(visitor: Visitor) -> bool:
    """By all processes."""
    return not any(visitor.is_in() for _ in range(ASKED))


# ---- cookies and tokens -------------------------------------------------------------------------


def test_forged_cookies(server):
    visitor = logged_in(server, "admin")
    good = visitor.cookies[SESSION]
    key = Cookies(SECRET.encode())._key
    secret = sessions.secrets.token_urlsafe(32)
    forged = {
        "another key": create_signed_value(b"another key", SESSION, secret),
        "the key of Bokeh": create_signed_value(SECRET.encode(), SESSION, secret),
        "another name": create_signed_value(key, "dqm-device", secret),
        "a secret of nobody": create_signed_value(key, SESSION, secret),
        "the name of a user": create_signed_value(key, SESSION, "admin"),
        "what is stored": create_signed_value(key, SESSION, sessions.number(secret)),
        "the other cookie": visitor.cookies["dqm-device"],
        "signature of version 1": good.replace(b"2|".decode(), "1|", 1),
        "cut": good[:-1],
        "changed": good[:40] + ("A" if good[40] != "A" else "B") + good[41:],
        "nothing": "",
        "zeros": "2|1:0|10:0000000000|11:dqm-session|0:|" + "0" * 64,
        "not ASCII": create_signed_value(key, SESSION, "\N{SNOWMAN}"),
    }
    for what, value in forged.items():
        text = value.decode() if isinstance(value, bytes) else value
        assert is_kept_out(Visitor(server, cookies={SESSION: text})), what
    assert visitor.is_in()


def test_a_session_that_is_over_is_over_though_its_cookie_is_good(server):
    visitor = logged_in(server, "viewer")
    with server.changing() as session, session.begin():
        name = visitor.cookies[SESSION].split("|")[4].partition(":")[2]
        secret = sessions_secret(name)
        row = session.get(sessions.SessionRow, sessions.digest(secret))
        assert row is not None
        row.ends = time.time() - 1
    eventually(lambda: is_kept_out(visitor), "the session has ended")


def sessions_secret(encoded: str) -> str:
    """The secret in the value of a signed cookie."""
    return base64.b64decode(encoded).decode()


@pytest.mark.parametrize("plain", [False, True], ids=["dqm serve", "bokeh serve"])
def test_no_key_that_can_be_guessed(tmp_path, plain):
    """From a cookie of one's own, as fast as a processor can."""
    settings = {"BOKEH_SECRET_KEY": "nectarcam"}
    server = LoginServer(tmp_path, plain=plain, settings=settings, roles=[])
    server.start(wait=False)
    assert server.wait() == 78
    assert "BOKEH_SECRET_KEY has 9 characters" in server.text()


# ---- the websocket ------------------------------------------------------------------------------


async def outcome(visitor: Visitor, token: str, **headers: str) -> int | None:
    """How the server refuses a websocket: a status, or the code with which it is closed."""
    try:
        websocket = await open_socket(visitor, token, **headers)
    except HTTPClientError as error:
        return error.code
    try:
        return await asyncio.wait_for(closed(websocket), 3)
    except TimeoutError:
        websocket.close()
        await closed(websocket)
        return 101


def test_nobody_listens_to_the_page_of_somebody_else(served):
    viewer, expert = logged_in(served, "viewer"), logged_in(served, "expert")
    token = viewer.ask(PAGE).token
    session_id = generate_session_id(SECRET.encode(), signed=True)
    number = sessions.number(
        sessions_secret(viewer.cookies[SESSION].split("|")[4].partition(":")[2])
    )
    unsigned = generate_jwt_token(session_id, extra_payload={SESSION_KEY: number})
    other_key = generate_jwt_token(session_id, b"another", True, {SESSION_KEY: number})
    for_nobody = generate_jwt_token(session_id, SECRET.encode(), True, {})
    expired = generate_jwt_token(session_id, SECRET.encode(), True, {SESSION_KEY: number}, -10)
    own = f"{LOOPBACK}:{served.port}"

    async def all_of_them() -> dict[str, int | None]:
        return {
            "without login": await outcome(Visitor(served), token),
            "of somebody else": await outcome(expert, token),
            "from another site": await outcome(viewer, token, Origin="https://evil.example"),
            "from a host with that start": await outcome(
                viewer, token, Origin=f"http://{own}.evil.example"
            ),
            "from nowhere": await outcome(viewer, token, Origin="null"),
            "unsigned": await outcome(viewer, unsigned),
            "signed by another key": await outcome(viewer, other_key),
            "for nobody": await outcome(viewer, for_nobody),
            "expired": await outcome(viewer, expired),
            "no token": await outcome(viewer, "x"),
            "his own": await outcome(viewer, token),
        }

    found = run(all_of_them())
    assert found.pop("his own") == 101
    assert found.pop("without login") == 401
    assert found.pop("of somebody else") == LOGGED_OUT
    assert found.pop("for nobody") == LOGGED_OUT
    for what in ("from another site", "from a host with that start", "from nowhere"):
        assert found.pop(what) == 403, what
    assert 101 not in found.values(), found


def test_no_address_leads_to_the_session_of_somebody_else(served):
    viewer, expert = logged_in(served, "viewer"), logged_in(served, "expert")
    token = viewer.ask(PAGE).token
    session_id = generate_session_id(SECRET.encode(), signed=True)
    for visitor in (viewer, expert):
        assert visitor.ask(f"{PAGE}?bokeh-token={token}").status == 403
        assert visitor.ask(f"{PAGE}?bokeh-session-id={session_id}").status == 403
        assert visitor.ask(f"{PAGE}?bokeh-session-id=").status in (200, 403)
        assert visitor.ask(PAGE, headers={"Bokeh-Session-Id": session_id}).status == 403
    assert Visitor(served).ask(f"{PAGE}?bokeh-token={token}").asks_for_login
    assert Visitor(served).ask(f"{PAGE}/autoload.js?bokeh-autoload-element=1").status == 404


# ---- what is put into addresses, headers and queries --------------------------------------------


@pytest.mark.parametrize(
    "base", ["/assets/", "/static/", "/dqm_app/static/", "/originals/", "/downloads/"]
)
def test_no_path_leads_out_of_its_folder(server, base):
    admin = logged_in(server, "admin")
    ups = ["../" * 12, "..%2f" * 12, "%2e%2e/" * 12, "%2e%2e%2f" * 12, "..%5c" * 12, "....//" * 12,
           "..%252f" * 12, "js/../../" + "../" * 10, "/", "//", "%00/"]  # fmt: skip
    targets = ["etc/passwd", "etc/passwd%00.js", "auth_module.py", "../main.py", "app_hooks.py"]
    for path in (f"{base}{up}{target}" for up in ups for target in targets):
        answer = admin.ask(path)
        if not base.startswith(PAGE) or "%00" not in path:  # Tornado's own does not expect that
            assert answer.status in (400, 401, 403, 404), (path, answer.status)
        assert "root:" not in answer.text and "import annotations" not in answer.text, path


@pytest.mark.parametrize(
    "wanted",
    ["//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil.example",
     "/\t/evil.example", "javascript:alert(1)", "/x\r\nSet-Cookie: a=b", "/x\nX: y", "/ x",
     "/x\0", "", "x", "/" + "x" * 5000, "/\N{FULLWIDTH SOLIDUS}evil.example", " //evil.example",
     "/%0d%0aSet-Cookie:%20a=b"],
)  # fmt: skip
def test_the_login_leads_nowhere_else(server, wanted):
    visitor = Visitor(server, from_somewhere())
    form = visitor.ask(f"/login?{urlencode({'next': wanted})}")
    answer = visitor.login("viewer", next=wanted)
    again = visitor.ask(f"/login?{urlencode({'next': wanted})}")
    for one in (form, answer, again):
        assert one.header("X") == "" and "a=b" not in one.header("Set-Cookie")
    for one in (answer, again):
        assert one.header("Location") in ("/", "/x", "/%0d%0aSet-Cookie:%20a=b")


@pytest.mark.parametrize(
    "name",
    ["admin'--", "' OR '1'='1", "a\r\nb", "<script>alert(1)</script>", '"><b>',
     "{{ 7777*7777 }}", "%s%n", "\N{SNOWMAN}" * 60, "x" * 1000, "", "admin/../viewer"],
)  # fmt: skip
def test_no_name_is_anything_but_a_name(server, name):
    before = len(server.log_of())
    answer = Visitor(server, from_somewhere()).login(name)
    assert answer.status == 403
    assert "<script>alert" not in answer.text and "<b>" not in answer.text.replace("<b>DQM</b>", "")
    assert str(7777 * 7777) not in answer.text
    entries = server.log_of()
    assert len(entries) == before + 1 and entries[0].name.isprintable()
    assert Visitor(server, from_somewhere()).login("admin").status == 303


@pytest.mark.parametrize("wrong", ["no form", "not UTF-8", "many fields", "long name", "multipart"])
def test_forms_that_are_none(server, wrong):
    visitor = Visitor(server, from_somewhere())
    visitor.ask("/login")
    headers = {"X-XSRFToken": visitor.cookies["_xsrf"]}
    kind = "application/x-www-form-urlencoded"
    body = {
        "no form": b"\0\1\2",
        "not UTF-8": b"name=%ff%fe&password=%ff",
        "many fields": b"&".join(b"name=a" for _ in range(5000)),
        "long name": b"name=" + b"x" * 1001,
        "multipart": b"--x\r\nContent-Disposition: form-data; name=",
    }[wrong]
    if wrong == "multipart":
        kind = "multipart/form-data; boundary=x"
    answer = visitor.ask("/login", "POST", body, headers | {"Content-Type": kind})
    assert answer.status in (400, 403)
    assert "Traceback" not in answer.text


# ---- who exists ---------------------------------------------------------------------------------


def test_nobody_learns_which_names_exist(server):
    names = [f"existing{number}" for number in range(5)]
    for name in names:
        server.add(name)
    server.add("leaving")
    with server.changing() as session, session.begin():
        users.disable(session, "leaving")
    answers: dict[str, set] = {}
    times: dict[str, list[float]] = {"known": [], "unknown": []}
    for turn in range(4):
        for name in names:
            for kind, asked in (("known", name), ("unknown", f"imagined{name[-1]}")):
                visitor = Visitor(server, from_somewhere())
                visitor.ask("/login")
                began = time.perf_counter()
                answer = visitor.login(asked, f"wrong {turn}")
                times[kind].append(time.perf_counter() - began)
                text = answer.text.replace(asked, "NAME")
                token = visitor.cookies["_xsrf"]
                answers.setdefault(kind, set()).add((answer.status, len(text), "fault" in text))
                assert answer.status == 403 and token
    assert answers["known"] == answers["unknown"] and len(answers["known"]) <= 4
    ratio = statistics.median(times["known"]) / statistics.median(times["unknown"])
    assert 0.6 < ratio < 1.6, ratio
    # with the right password, too, nobody learns that an account is disabled
    disabled = Visitor(server, from_somewhere()).login("leaving")
    assert disabled.status == 403 and "or the account is disabled" in disabled.text


# ---- too much -----------------------------------------------------------------------------------


def guesses(port: int, number: int, count: int) -> Counter:
    """Guess passwords of the admin as fast as it goes; each guess from another address."""
    chance = random.Random(number)
    statuses: Counter = Counter()
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=120)
    connection.request("GET", "/login")
    answer = connection.getresponse()
    token = answer.getheader("Set-Cookie").partition("=")[2].partition(";")[0]
    answer.read()
    for guess in range(count):
        body = urlencode({"name": "admin", "password": f"guess {number} {guess}"})
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Cookie": f"_xsrf={token}",
            "X-XSRFToken": token,
            "X-Real-Ip": f"198.51.{chance.randint(0, 255)}.{chance.randint(1, 254)}",
        }
        connection.request("POST", "/login", body, headers)
        answer = connection.getresponse()
        answer.read()
        statuses[answer.status] += 1
    return statuses


def test_ten_thousand_guesses(tmp_path):
    """From many addresses at once: few passwords are looked at, and the owner gets in."""
    with LoginServer(tmp_path, "--use-xheaders") as server:
        owner = logged_in(server, "admin")
        owner.form("/logout")
        before = len(server.log_of("admin"))
        context = multiprocessing.get_context("spawn")
        with context.Pool(4) as pool:
            began = time.monotonic()
            work = pool.starmap_async(guesses, [(server.port, n, 2500) for n in range(4)])
            eventually(lambda: len(server.log_of("admin")) - before >= 5, "it has begun", 120)
            assert owner.login("admin").status == 303  # meanwhile, from the desk of the owner
            statuses = sum(work.get(600), Counter())
        seconds = time.monotonic() - began
        assert statuses.total() == 10_000
        assert set(statuses) <= {403, 429}, statuses
        looked_at = [e for e in server.log_of("admin")[:-before] if e.event == "login failed"]
        # five, and then one after 1, 2, 4 … seconds
        possible = 5 + 2 + seconds.__ceil__().bit_length()
        assert 5 <= len(looked_at) <= possible, (len(looked_at), seconds, statuses)
        assert statuses[403] <= possible
        assert owner.is_in()


def test_a_flood_of_names_from_everywhere(tmp_path):
    """It keeps those who are in from nothing; what is too much is said so at once."""
    with LoginServer(tmp_path, "--use-xheaders", processes=1) as server:
        owner = logged_in(server, "viewer", headers=from_somewhere())
        statuses: list[int] = []

        def guess(number: int) -> None:
            visitor = Visitor(server, from_somewhere())
            statuses.append(visitor.login(f"name{number}", "Winter2026!!").status)

        with ThreadPoolExecutor(100) as pool:
            work = [pool.submit(guess, number) for number in range(120)]
            eventually(lambda: 503 in statuses, "it is too much")
            assert owner.is_in()
            meanwhile = sum(not one.done() for one in work)
        for one in work:
            one.result()
        assert meanwhile > 0
        assert set(statuses) == {403, 503}, Counter(statuses)
        assert server.is_running() and owner.is_in()


def test_one_address_with_many_names(server):
    where = {"X-Real-Ip": "203.0.113.9"}
    statuses = [Visitor(server, where).login(f"name{n}", "Winter2026!!").status for n in range(60)]
    assert statuses[:25] == [403] * 25 and statuses[-1] == 429
    assert Visitor(server, where).login("viewer").header("Retry-After").isdigit()
    assert Visitor(server, from_somewhere()).login("viewer").status == 303


def test_the_password_is_written_nowhere(server):
    server.add("careful")
    visitor = Visitor(server, from_somewhere())
    visitor.login("careful", "a secret that must not leak")
    assert visitor.login("careful").status == 303
    token = server.token("careful", [Scope.READ])
    assert len(server.log_of("careful")) == 2
    database = Path(server.url.removeprefix("sqlite:///"))
    written = server.text().encode() + "".join(map(repr, server.log_of())).encode()
    for file in (database, database.with_name(f"{database.name}-wal")):
        written += file.read_bytes()
    assert b"careful" in written
    session = sessions_secret(visitor.session.split("|")[4].partition(":")[2])
    for secret in ("a secret that must not leak", PASSWORD, visitor.session, session, SECRET,
                   token, token.rpartition("_")[2]):  # fmt: skip
        assert secret.encode() not in written
