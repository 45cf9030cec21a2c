"""Logging in and taking files away through nginx: cookies, tokens, limits, large files."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlencode

import psutil
import pytest
from postgres_server import postgres_server
from processes import COMMANDS, LOOPBACK, eventually, free_port
from website import Answer, Dashboard, Website

from dqm_app.downloads.basket import Basket, Progress, State

pytestmark = pytest.mark.system

NO_DATABASE = "zeo://127.0.0.1:1"
ELSEWHERE = "127.0.0.2"
PASSWORD = "four words at once"


class Guarded:
    """Dashboards with the same accounts behind nginx, and what a browser keeps."""

    def __init__(
        self, folder: Path, stack: ExitStack, dashboards: int = 1, **variables: str
    ) -> None:
        port = free_port()
        self.state = folder / "state"
        variables |= {"DQM_AUTH": "accounts", "DQM_STATE_DIR": str(self.state)}
        self.dashboards = [
            Dashboard(folder, NO_DATABASE, f"localhost:{port}", **variables)
            for _ in range(dashboards)
        ]
        self._command = [COMMANDS / "dqm", "user"]
        self._environment = self.dashboards[0].environment
        self.user("add", "anna", "--role", "expert", "--password-stdin", given=f"{PASSWORD}\n")
        for dashboard in self.dashboards:
            stack.enter_context(dashboard)
        ports = [dashboard.port for dashboard in self.dashboards]
        self.web = stack.enter_context(Website(folder, ports, port=port))
        self._cookies: dict[str, str] = {}

    def user(self, *words: str, given: str = "") -> str:
        return subprocess.run(
            [*self._command, *words],
            input=given,
            env=self._environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    def ask(self, path: str, method: str = "GET", source: str = LOOPBACK, **form: str) -> Answer:
        """As a browser does: with its cookies, and a form if there is one."""
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
        body = None
        if method == "POST":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode(form | {"_xsrf": self._cookies.get("_xsrf", "")}).encode()
        answer = self.web.ask(path, method, source=source, body=body, **headers)
        for cookie in answer.cookies:
            name, _, rest = cookie.partition("=")
            self._cookies[name] = rest.partition(";")[0]
        return answer


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    with ExitStack() as stack:
        yield Guarded(tmp_path, stack)


def test_logging_in_behind_nginx(guarded: Guarded) -> None:
    away = guarded.ask("/dqm_app?run=6310")
    assert (away.status, away.headers["location"]) == (302, "/login?next=%2Fdqm_app%3Frun%3D6310")
    page = guarded.ask("/login?next=%2Fdqm_app%3Frun%3D6310")
    assert page.status == 200 and "form-action 'self'" in page.headers["content-security-policy"]
    wrong = guarded.ask("/login", "POST", name="anna", password="not that one")
    assert wrong.status == 403 and b"do not fit" in wrong.body
    right = guarded.ask("/login", "POST", name="anna", password=PASSWORD, next="/dqm_app?run=6310")
    assert (right.status, right.headers["location"]) == (303, "/dqm_app?run=6310")
    assert all("; Secure" in cookie for cookie in right.cookies)
    assert any(cookie.startswith("__Host-dqm-session=") for cookie in right.cookies)
    assert b"anna" in guarded.ask("/dqm_app").body
    assert guarded.ask("/account").status == 200
    assert guarded.ask("/logout", "POST").status == 303
    assert guarded.ask("/dqm_app").status == 302


@pytest.mark.parametrize("name", ["X-Scheme", "X-Forwarded-Proto", "Forwarded"])
def test_nobody_says_that_there_is_no_tls(guarded: Guarded, name: str) -> None:
    """By a header that the dashboard believes of nginx: cookies would go over plain HTTP."""
    value = "proto=http" if name == "Forwarded" else "http"
    answer = guarded.web.ask("/login", **{name: value})
    assert answer.cookies and all("; Secure" in cookie for cookie in answer.cookies)


def test_programs_behind_nginx(guarded: Guarded) -> None:
    words = ("token", "anna", "--label", "night", "--scope", "read", "--scope", "download")
    bearer = {"Authorization": f"Bearer {guarded.user(*words)}"}
    for path, status in (
        ("/api/v1/openapi.json", 200),
        ("/api/v1/cameras/NectarCAMQM/runs", 503),  # there is no database
        ("/downloads", 200),
        ("/originals/NectarCAMQM/1", 503),
    ):
        assert guarded.web.ask(path, **bearer).status == status, path
        assert guarded.web.ask(path).status == 401, path
    body = b'{"camera": "NectarCAMQM", "runs": [1]}'
    assert guarded.web.ask("/downloads", "POST", body=body, **bearer).status == 503
    assert guarded.web.ask("/downloads", "POST", body=body).status in (401, 403)
    for method, path in (("DELETE", "/downloads"), ("POST", "/api/v1/cameras"), ("PUT", "/login")):
        assert guarded.web.ask(path, method, **bearer).status == 405, (method, path)
    large = guarded.web.ask("/downloads", "POST", body=b" " * 300_000, **bearer)
    assert large.status == 413


def test_who_tries_passwords_waits(guarded: Guarded) -> None:
    """A room that logs in at once is let through; nobody else is held up by a flood."""
    guarded.ask("/login")

    def attempt(_: int) -> Answer:
        return guarded.ask("/login", "POST", name="nobody", password="some words")

    with ThreadPoolExecutor(30) as room:
        forms = room.map(lambda _: guarded.ask("/login").status, range(60))
        assert set(forms) == {200}
        flood = list(room.map(attempt, range(100)))
    # the dashboard counts failures by itself, and says 429 in its own page
    assert {answer.status for answer in flood} == {403, 429}
    refused = [answer for answer in flood if b"Too many pages at once" in answer.body]
    assert len(refused) > 20 and {answer.headers["retry-after"] for answer in refused} == {"5"}
    assert guarded.ask("/login").status == 200, "the form is there"
    assert guarded.ask("/alive").status == 200
    other = guarded.ask("/login", "POST", ELSEWHERE, name="anna", password=PASSWORD)
    assert other.status == 303, "others log in"


def test_accounts_that_are_down_take_no_dashboard_away(tmp_path: Path) -> None:
    """503 is what each of them says then: asking the next one does not help."""
    with ExitStack() as stack:
        database = stack.enter_context(postgres_server())
        guarded = Guarded(tmp_path, stack, dashboards=2, DQM_ACCOUNTS_URL=database.database())
        token = guarded.user("token", "anna", "--label", "test", "--scope", "read")
        assert guarded.ask("/login").status == 200
        database.stop()
        for _ in range(4):
            answer = guarded.ask("/login", "POST", name="anna", password=PASSWORD)
            assert answer.status == 503 and b"cannot be reached" in answer.body
            bearer = {"Authorization": f"Bearer {token}"}
            assert guarded.web.ask("/api/v1/cameras", **bearer).status == 503
            assert guarded.web.ask("/downloads", **bearer).status == 503
            for path in ("/dqm_app", "/account"):
                answer = guarded.web.ask(path, Accept="text/html", **bearer)
                assert answer.status == 503 and b"cannot be reached" in answer.body
        for source in (LOOPBACK, ELSEWHERE):
            assert guarded.ask("/alive", source=source).status == 200
            assert guarded.ask("/login", source=source).status == 200


def test_a_login_without_a_dashboard(guarded: Guarded) -> None:
    guarded.ask("/login")
    guarded.dashboards[0].stop()
    answer = guarded.ask("/login", "POST", name="anna", password=PASSWORD)
    assert answer.status == 502 and b"The dashboard does not answer" in answer.body


def archive_of(guarded: Guarded, size: int) -> tuple[str, bytes]:
    """Address and content of a basket of anna's that is done."""
    now = time.time()
    folder = guarded.state / "downloads" / secrets.token_hex(16)
    folder.parent.mkdir(exist_ok=True)
    basket = Basket(folder, "anna", "NectarCAMQM", (6310,), size, now, now + 3600)
    basket.write()
    content = os.urandom(size)
    basket.archive.write_bytes(content)
    basket.note(Progress(State.DONE, 1, 1, size, size))
    return f"/downloads/{basket.id}/file", content


def test_a_large_file_is_handed_on_as_it_comes(guarded: Guarded, tmp_path: Path) -> None:
    """Not gathered by nginx for a slow reader, and resumed where it was interrupted."""
    address, content = archive_of(guarded, 80_000_000)
    words = ("token", "anna", "--label", "test", "--scope", "download")
    bearer = f"Authorization: Bearer {guarded.user(*words)}"
    lines = [f"GET {address} HTTP/1.1", f"Host: {guarded.web.origin}", bearer, "", ""]
    supervisor = psutil.Process(guarded.dashboards[0].pid)
    processes = [supervisor, *supervisor.children(recursive=True)]
    with socket.create_connection((LOOPBACK, guarded.web.port), 30) as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        with guarded.web.tls.wrap_socket(plain, server_hostname="localhost") as slow:
            slow.sendall("\r\n".join(lines).encode())
            assert b" 200 " in slow.recv(4096)
            taken: list[int] = []

            def rests() -> bool:
                taken.append(sum(process.io_counters().read_chars for process in processes))
                return len(taken) > 9 and taken[-1] == taken[-9]

            eventually(rests, "the dashboard waits for the reader")
            assert taken[-1] - taken[0] < len(content) / 2
    part = {"Authorization": bearer.partition(": ")[2], "Range": "bytes=1000000-"}
    rest = guarded.web.ask(address, **part)
    assert (rest.status, rest.body) == (206, content[1_000_000:])
    assert rest.headers["content-range"] == f"bytes 1000000-{len(content) - 1}/{len(content)}"
