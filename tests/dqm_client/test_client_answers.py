"""What the client makes of answers, of a server that refuses, and of tokens as people have them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from answering import answering

from dqm_client import ApiError, Client, connection
from dqm_client.client import PART
from dqm_client.connection import AT_ONCE, Connection

TOKEN = f"dqm_0123456789abcdef_{'x' * 43}"


class Server(ThreadingHTTPServer):
    """Answers `body`, or a table with what columns are asked for; at first as `refusals` says."""

    request_queue_size = 100

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        self.body, self.kind = b'{"cameras": []}', "application/json"
        self.refusals: list[int] = []
        self.asked: list[tuple[float, str, str]] = []
        self.now, self.most = 0, 0
        self.runs = [[1, 2, 3]]

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"http://{host}:{port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        with server.lock:
            token = self.headers.get("Authorization", "")
            server.asked.append((time.monotonic(), self.path, token))
            server.now += 1
            server.most = max(server.most, server.now)
            refused = server.refusals.pop(0) if server.refusals else 0
            runs = server.runs.pop(0) if len(server.runs) > 1 else server.runs[0]
        query = parse_qs(urlsplit(self.path).query)
        body, kind = server.body, server.kind
        names = query.get("pixel", query.get("column", []))
        if names:
            body = self.table(runs, names)
        time.sleep(0.01)
        with server.lock:
            server.now -= 1
        self.send_response(refused or 200)
        if refused:
            body = json.dumps({"detail": "wait"}).encode()
            self.send_header("Retry-After", "1")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @staticmethod
    def table(runs: list[int], names: list[str]) -> bytes:
        data = {"run": runs} | {name: [run + len(name) for run in runs] for name in names}
        columns = [
            {"name": name, "unit": "", "description": "", "dtype": "int64", "time_scale": None}
            for name in data
        ]
        return json.dumps({"columns": columns, "data": data, "meta": {}}).encode()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with answering(Server()) as server:
        yield server


@pytest.fixture
def server(running: Server) -> Server:
    running.forget()
    return running


# ---- who asks much -------------------------------------------------------------------------------


def test_it_waits_as_long_as_it_is_told(server):
    server.refusals = [429, 503]
    assert Client(server.url).cameras() == []
    first, second, third = (at for at, _, _ in server.asked)
    assert second - first >= 1 and third - second >= 1


def test_to_ask_too_much_is_no_failure(server, monkeypatch):
    monkeypatch.setattr(connection, "TRIES", 2)
    monkeypatch.setattr(connection, "LONGEST_WAIT", 0.01)
    server.refusals = [429] * 20
    assert Client(server.url).cameras() == []
    server.refusals = [503] * 20
    with pytest.raises(ApiError, match="503: wait"):
        Client(server.url).cameras()
    assert len(server.refusals) == 18
    monkeypatch.setattr(connection, "PATIENCE", 0.0)
    server.refusals = [429] * 20
    with pytest.raises(ApiError, match="429: wait"):
        Client(server.url).cameras()


def test_threads_of_a_notebook_wait_for_each_other(server):
    client = Client(server.url)
    with ThreadPoolExecutor(60) as threads:
        asked = [threads.submit(client.cameras) for _ in range(60)]
        assert [one.result() for one in asked] == [[]] * 60
    assert 1 < server.most <= AT_ONCE


# ---- tokens --------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [TOKEN, f"{TOKEN}\n", f"  {TOKEN}\r\n"])
def test_a_token_may_have_a_line_end(server, monkeypatch, given):
    monkeypatch.setenv("DQM_TOKEN", given)
    Client(server.url, given).cameras()
    Client(server.url).cameras()
    assert {token for _, _, token in server.asked} == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize("given", [f"{TOKEN}\nX: y", f"Bearer {TOKEN}", f"{TOKEN}é", "secret"])
def test_what_is_no_token_is_said_without_showing_it(server, given):
    with pytest.raises(ValueError, match="begins with dqm_") as refused:
        Client(server.url, given)
    assert given not in str(refused.value) and TOKEN not in str(refused.value)
    assert server.asked == []


def test_a_token_is_never_sent_unencrypted():
    with pytest.raises(ValueError, match="unencrypted"):
        Client("http://dqm.example.org", token=TOKEN)
    with pytest.raises(ValueError, match="no address"):
        Client("dqm.example.org")


# ---- answers -------------------------------------------------------------------------------------


def test_many_columns_are_asked_for_in_parts(server):
    client = Client(server.url)
    # between two answers run 1 was deleted, and 4 was stored
    server.runs = [[1, 2, 3], [2, 3, 4]]
    table = client.pixels("C", "Q", [*range(PART + 2), 0])
    assert table.colnames == ["run", *map(str, range(PART + 2))]
    assert table["run"].tolist() == [2, 3]
    assert table[str(PART + 1)].tolist() == [4, 5] and table["0"].tolist() == [3, 4]
    names = [f"Q.{at}" for at in range(2 * PART)]
    trends = client.trends("C", *reversed(names), names[0])
    assert trends.colnames == ["run", *reversed(names)]
    assert len(server.asked) == 4


def test_nothing_is_not_asked_for(server):
    for ask in (
        lambda: Client(server.url).pixels("C", "Q", []),
        lambda: Client(server.url).trends("C"),
    ):
        with pytest.raises(ValueError, match="are given"):
            ask()
    assert server.asked == []


def test_whatever_stands_for_a_camera_is_quoted(server):
    for camera in (5, "a/b?"):
        with pytest.raises(KeyError):
            Client(server.url).verdict(camera, 1)["checks"]
    assert [urlsplit(path).path for _, path, _ in server.asked] == [
        f"/api/v1/cameras/{name}/runs/1/verdict" for name in ("5", "a%2Fb%3F")
    ]


def test_what_is_no_dashboard_is_said(server):
    asked = Connection(server.url, None, 20, None)
    server.body, server.kind = b"<html>", "text/html"
    with pytest.raises(ApiError, match="is no dashboard: it answers with text/html"):
        asked.get("/file")
