"""A dashboard with accounts, and who visits it: browsers with cookies, programs with tokens."""

from __future__ import annotations

import asyncio
import http.client
import re
import sys
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import quick_looks
from processes import LOOPBACK, ServerProcess, free_port
from sqlalchemy.orm import Session
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

import dqm_app
from dqm_app.accounts import audit, tokens, users
from dqm_app.accounts.audit import Entry
from dqm_app.accounts.opening import open_accounts, upgrade
from dqm_app.accounts.roles import Role
from dqm_app.accounts.tokens import Scope
from dqm_app.accounts.users import User
from dqm_app.login.cookies import SESSION

APPLICATION = Path(dqm_app.__file__).parent
PASSWORD = "four words of a test"
SECRET = "the key of all processes of this dashboard"
PAGE = "/dqm_app"
T = TypeVar("T")


class LoginServer(ServerProcess):
    """`dqm serve`, or plain `bokeh serve`, with a user of each of the *roles*, called like it.

    With *quick* an open page is closed one second after its login has ended, instead of five.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        plain: bool = False,
        quick: bool = False,
        processes: int = 2,
        settings: Mapping[str, str] | None = None,
        roles: Iterable[Role] = Role,
        module: Path = APPLICATION / "auth_module.py",
    ) -> None:
        port = free_port()
        own = ["--port", str(port), "--num-procs", str(processes), *options]
        command: list[str | Path] = ["dqm", "serve", *own]
        if plain:
            command = ["bokeh", "serve", *own, "--address", LOOPBACK, "--auth-module", module]
            command += ["--allow-websocket-origin", f"{LOOPBACK}:{port}", APPLICATION]
        if quick:
            command = [sys.executable, quick_looks.__file__, *command]
        more = dict(settings or {})
        self._has_tables = False
        self.url = more.get("DQM_ACCOUNTS_URL", f"sqlite:///{folder}/state/accounts.sqlite")
        environment = {
            "DQM_DB_URL": "zeo://127.0.0.1:1",
            "DQM_DB_WAIT": "0.2",
            "DQM_AUTH": "accounts",
            "DQM_STATE_DIR": str(folder / "state"),
            "BOKEH_SECRET_KEY": SECRET,
        }
        super().__init__(command, port, folder / "dashboard.log", environment | more)
        for role in roles:
            self.add(role.word, role)

    def add(self, name: str, role: Role = Role.VIEWER) -> None:
        """Let somebody in."""
        with self.changing() as session, session.begin():
            users.add(session, name, PASSWORD, role)

    @contextmanager
    def changing(self) -> Iterator[Session]:
        """A session with its accounts, of which no connection stays open."""
        engine = open_accounts(self.url)
        try:
            if not self._has_tables:
                upgrade(engine)
                self._has_tables = True
            with Session(engine) as session:
                yield session
        finally:
            engine.dispose()

    def token(self, name: str, scopes: Sequence[Scope], days: float = 1) -> str:
        """A token of a user."""
        with self.changing() as session, session.begin():
            row = users.stored(session, name)
            assert row is not None
            text, _ = tokens.create(session, User.of(row), "test", scopes, days)
            return text

    def log_of(self, name: str | None = None) -> list[Entry]:
        """What was done, the newest first."""
        with self.changing() as session:
            return audit.read(session, name=name, most=20_000)


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    headers: list[tuple[str, str]]
    text: str

    def header(self, name: str) -> str:
        """The first value; empty without."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    @property
    def asks_for_login(self) -> bool:
        return (
            self.status == 302 and re.match(r"(/\w+)?/login\?", self.header("Location")) is not None
        )

    @property
    def token(self) -> str:
        """That of the page."""
        found = re.search(r'id="session">.*?"token": ?"([^"]+)"', self.text, re.DOTALL)
        assert found is not None, self.text[:500]
        return found[1]


@dataclass
class Visitor:
    """Somebody with a browser, or a program; each request has a connection of its own."""

    server: ServerProcess
    headers: dict[str, str] = field(default_factory=dict)
    prefix: str = ""
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(
        self,
        path: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request; redirects are not followed, cookies are kept."""
        sent = {**self.headers, **dict(headers or {})}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection = http.client.HTTPConnection(LOOPBACK, self.server.port, timeout=60)
        try:
            connection.request(method, self.prefix + path, body, sent)
            response = connection.getresponse()
            answer = Answer(
                response.status, response.getheaders(), response.read().decode("utf-8", "replace")
            )
        finally:
            connection.close()
        for name, value in answer.headers:
            if name.lower() == "set-cookie":
                self._keep(value)
        return answer

    def form(self, path: str, fields: Mapping[str, str] | None = None, **headers: str) -> Answer:
        """Send a form, with the token against forgery."""
        if "_xsrf" not in self.cookies:
            self.ask("/login")
        data = {"_xsrf": self.cookies.get("_xsrf", ""), **dict(fields or {})}
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.ask(path, "POST", urlencode(data).encode(), kind | headers)

    def login(self, name: str, password: str = PASSWORD, **fields: str) -> Answer:
        """Log in."""
        return self.form("/login", {"name": name, "password": password, **fields})

    def is_in(self) -> bool:
        """Whether the page is shown."""
        return self.ask(PAGE).status == 200

    @property
    def session(self) -> str:
        return next(value for name, value in self.cookies.items() if name.endswith(SESSION))

    def _keep(self, line: str) -> None:
        for name, morsel in SimpleCookie(line).items():
            ends = morsel["expires"]
            if not morsel.value or (ends and parsedate_to_datetime(ends).year < 2000):
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = morsel.value


def logged_in(server: ServerProcess, name: str, **more: Any) -> Visitor:
    """A browser in which *name* has logged in."""
    visitor = Visitor(server, **more)
    answer = visitor.login(name)
    assert answer.status == 303, answer.text
    return visitor


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of *work*, in a thread of its own: a browser occupies the loop of this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


async def open_socket(visitor: Visitor, token: str, **headers: str) -> WebSocketClientConnection:
    """The websocket of a page; raises `HTTPClientError` when it is refused."""
    own = f"{LOOPBACK}:{visitor.server.port}"
    sent = {"Origin": f"http://{own}", **visitor.headers, **headers}
    if visitor.cookies:
        sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
    request = HTTPRequest(f"ws://{own}{visitor.prefix}{PAGE}/ws", headers=sent)
    return await websocket_connect(request, subprotocols=["bokeh", token])


async def closed(socket: WebSocketClientConnection) -> int | None:
    """The code with which the server closes it, after whatever it says before."""
    while await socket.read_message() is not None:
        pass
    socket.close()  # this end of it
    return socket.close_code
