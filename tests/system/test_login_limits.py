"""What one client may use of a real dashboard, whichever command serves it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import resource
import socket
import time
from collections.abc import Iterator

import pytest
from processes import LOOPBACK, eventually
from visitors import PAGE, LoginServer, Visitor, closed, logged_in, open_socket, run

from dqm_app.limits import BODY_BYTES, FILES_KEPT, MESSAGE_BYTES

pytestmark = pytest.mark.system
TOO_BIG = 1009
"""Code with which a websocket is closed then (RFC 6455, 7.4.1)."""


@pytest.fixture(scope="module", params=["dqm serve", "bokeh serve"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LoginServer]:
    """For all tests of this module."""
    plain = request.param == "bokeh serve"
    folder = tmp_path_factory.mktemp("limits")
    with LoginServer(folder, plain=plain, processes=1) as server:
        yield server


def exchange(server: LoginServer, data: bytes, patience: float = 60) -> bytes:
    """What the server answers to bytes until it closes the connection."""
    with socket.create_connection((LOOPBACK, server.port), patience) as connection:
        received = b""
        try:
            connection.sendall(data)
            while chunk := connection.recv(65_536):
                received += chunk
        except ConnectionError:
            pass
        return received


def test_bodies_and_headers_that_are_too_large(server):
    head = b"POST /login HTTP/1.1\r\nHost: x\r\n"
    huge = b"Content-Length: 100000000\r\n\r\n" + b"x" * 3_000_000
    chunked = b"Transfer-Encoding: chunked\r\n\r\n" + b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    for data in (
        head + huge,
        head + chunked + b"100000\r\n" + b"x" * 0x100000 + b"\r\n",
        head + b"X: " + b"x" * 200_000 + b"\r\n\r\n",
        head + b"".join(b"X%d: x\r\n" % n for n in range(20_000)) + b"\r\n",
        head + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nxxxxxx",
        head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500 + b"\r\n\r\n",
    ):
        answer = exchange(server, data)
        assert answer == b"" or answer.startswith((b"HTTP/1.1 4",)), answer[:200]
    assert Visitor(server).ask("/alive").status == 200
    assert logged_in(server, "viewer").is_in()


def test_control_characters_do_not_reach_the_log(server):
    """Terminals obey those of U+0080 to U+009F, too, which a request line may have."""
    more = b"Host: x\r\nConnection: close\r\n"
    for number, data in enumerate((b"\xc2\x9b31m", b"\x9b31m", b"\xc2\x85", b"\x1b[31m", b"\x07")):
        exchange(server, b"GET /none%d%s HTTP/1.1\r\n%s\r\n" % (number, data, more))
        exchange(server, b"POST /login HTTP/1.1\r\nUser-Agent: a%s\r\n%s\r\n" % (data, more))
    server.wait_for_log("GET /none0")
    assert all(sign.isprintable() or sign == "\n" for sign in server.text())


def test_slow_clients_are_hung_up_on(tmp_path):
    """Who sends a byte now and then keeps neither a connection nor anybody else waiting.

    Both kinds of server at once, since it takes each of them a while.
    """
    begun = {
        "nothing": b"",
        "a header": b"GET /login HTTP/1.1\r\nHost: x\r\nX: ",
        "a body": b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n",
    }
    with contextlib.ExitStack() as stack:
        servers = []
        for plain in (False, True):
            folder = tmp_path / f"{plain=}"
            folder.mkdir()
            servers.append(LoginServer(folder, plain=plain, processes=1, roles=[]))
            stack.enter_context(servers[-1])
        open_: set[socket.socket] = set()
        for server in servers:
            for data in begun.values():
                for _ in range(40):
                    connection = socket.create_connection((LOOPBACK, server.port), 60)
                    stack.enter_context(contextlib.closing(connection))
                    connection.sendall(data)
                    connection.setblocking(False)
                    open_.add(connection)

        def drip() -> bool:
            """Send another byte on each; whether all have been hung up on."""
            for connection in list(open_):
                try:
                    if connection.fileno() != -1 and connection.recv(1000) == b"":
                        raise ConnectionError
                except BlockingIOError:
                    pass
                except ConnectionError:
                    open_.discard(connection)
                    continue
                try:
                    connection.send(b"x")
                except BlockingIOError:
                    pass
                except ConnectionError:
                    open_.discard(connection)
            for server in servers:
                assert Visitor(server).ask("/alive").status == 200
            time.sleep(0.5)
            return not open_

        eventually(drip, "all slow connections are closed", 90)


def test_what_is_as_large_as_it_may_be(server):
    """The limits are those that are meant, and not smaller ones."""
    visitor = logged_in(server, "viewer")
    headers = {f"X-{number}": "x" * 6000 for number in range(9)}
    assert visitor.ask("/account", headers=headers).status == 200
    body = b"name=x&password=" + b"x" * (BODY_BYTES - 100)
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert visitor.ask("/login", "POST", body, kind).status == 403  # without the token


def test_messages_that_are_too_large(server):
    """Of a page; the others go on."""
    visitor = logged_in(server, "viewer")

    async def scenario() -> int | None:
        other = await open_socket(visitor, visitor.ask(PAGE).token)
        websocket = await open_socket(visitor, visitor.ask(PAGE).token)
        await websocket.write_message(b"x" * (MESSAGE_BYTES + 1), binary=True)
        code = await asyncio.wait_for(closed(websocket), 30)
        assert other.close_code is None
        other.close()
        await closed(other)
        return code

    # who is still sending when the server hangs up may be reset before the code arrives
    assert run(scenario()) in (TOO_BIG, None)
    assert visitor.is_in()


def test_a_flood_of_connections_leaves_files_for_everything_else(server):
    """Those that are open go on, and the database can be read."""
    files, before = 300, resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    own = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (own[1], own[1]))
    visitor = logged_in(server, "viewer")
    connection = http.client.HTTPConnection(LOOPBACK, server.port, timeout=60)
    cookies = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())

    def account() -> int:
        connection.request("GET", "/account", headers={"Cookie": cookies})
        answer = connection.getresponse()
        answer.read()
        return answer.status

    assert account() == 200
    with contextlib.ExitStack() as flood:
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (files, before[1]))
        flood.callback(resource.prlimit, server.pid, resource.RLIMIT_NOFILE, before)
        flood.callback(resource.setrlimit, resource.RLIMIT_NOFILE, own)
        for _ in range(2 * files):
            one = socket.create_connection((LOOPBACK, server.port), 60)
            flood.enter_context(contextlib.closing(one))
        server.wait_for_log(f"more than {files - FILES_KEPT} connections")
        assert account() == 200
    connection.close()
    assert "Too many open files" not in server.text()
    eventually(visitor.is_in, "new connections are taken again")
