"""Attacks of somebody who has logged in, by the websocket of a page of a real dashboard."""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import json
import re
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from bokeh.util.token import generate_jwt_token, generate_session_id, get_token_payload
from tornado.httpclient import HTTPClientError
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError
from visitors import PAGE, SECRET, LoginServer, Visitor, closed, logged_in, open_socket, run

from dqm_app.limits import MESSAGE_BYTES
from dqm_app.login.sockets import MESSAGES_AT_ONCE, MESSAGES_PER_SECOND, REFUSED, SESSION_KEY

pytestmark = pytest.mark.system
BOMB_MB = 60
"""What a message of the largest size unpacks to."""


@pytest.fixture(scope="module", params=["dqm serve", "bokeh serve"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LoginServer]:
    """For all tests of this module."""
    folder, plain = tmp_path_factory.mktemp("sockets"), request.param == "bokeh serve"
    with LoginServer(folder, plain=plain, processes=1) as server:
        yield server


def bomb() -> dict[str, str]:
    """Bytes as Bokeh writes them into JSON."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as file:
        for _ in range(BOMB_MB):
            file.write(bytes(1_000_000))
    data = base64.b64encode(packed.getvalue()).decode()
    assert len(data) < MESSAGE_BYTES - 1000
    return {"type": "bytes", "data": data}


def patch(*events: object) -> list[str]:
    """The three parts of a message."""
    return message("PATCH-DOC", {"events": events})


def message(kind: object, content: object = None, **header: object) -> list[str]:
    """Of any kind."""
    fields = {"msgid": "1", "msgtype": kind, **header}
    return [json.dumps(fields), "{}", json.dumps({} if content is None else content)]


def changed(model: str, attr: str, value: object) -> dict:
    """An event."""
    return {"kind": "ModelChanged", "model": {"id": model}, "attr": attr, "new": value}


async def connected(visitor: Visitor) -> tuple[WebSocketClientConnection, str]:
    """The websocket of a new page, and the identity of the model of its requests."""
    websocket = await open_socket(visitor, visitor.ask(PAGE).token)
    for _ in range(3):
        await websocket.read_message()  # that it is connected
    for part in message("PULL-DOC-REQ"):
        await websocket.write_message(part)
    parts = [str(await websocket.read_message()) for _ in range(3)]
    found = re.search(r'"id":"(\w+)","attributes":{"name":"request"', parts[2])
    assert found is not None, parts[2][:500]
    return websocket, found[1]


async def echoed(websocket: WebSocketClientConnection, request: str, count: int) -> str:
    """What comes until the server has dealt with what was sent before."""
    for part in patch(changed(request, "heartbeat", count)):
        await websocket.write_message(part)
    heard = ""
    while f'"attr":"heartbeat","new":{count}' not in heard:
        said = await asyncio.wait_for(websocket.read_message(), 30)
        assert said is not None, websocket.close_code
        heard += str(said)
    return heard


def refused(visitor: Visitor, parts: Sequence[str | bytes]) -> int | None:
    """The code with which a page that says this is closed; while another one goes on."""

    async def scenario() -> int | None:
        other, request = await connected(visitor)
        websocket, _ = await connected(visitor)
        for part in parts:
            await websocket.write_message(part, binary=isinstance(part, bytes))
        code = await asyncio.wait_for(closed(websocket), 30)
        await echoed(other, request, 1)
        other.close()
        await closed(other)
        return code

    return run(scenario())


def peak_kb(server: LoginServer) -> int:
    """The most memory that the process has ever had."""
    (line,) = re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{server.pid}/status").read_text())
    return int(line)


def test_bytes_that_unpack_to_much_more(server):
    visitor, packed = logged_in(server, "viewer"), bomb()
    refused(visitor, ["{}"] * 3)
    before = peak_kb(server)
    assert refused(visitor, patch({"kind": "TitleChanged", "title": packed})) == REFUSED
    array = {"type": "ndarray", "array": packed, "shape": [1], "dtype": "int8", "order": "little"}
    made = {"type": "object", "name": "Range1d", "id": "new", "attributes": {"start": packed}}
    for value in (packed, [packed], array, made):
        event = {"kind": "RootAdded", "model": value}
        assert refused(visitor, patch(event)) == REFUSED

    async def in_values() -> None:
        for value in (packed, array, {"type": "map", "entries": [["a", packed]]}):
            websocket, request = await connected(visitor)
            # where nobody listens it is left out
            for model, attr in ((request, "name"), ("p1", "x")):
                for part in patch(changed(model, attr, value)):
                    await websocket.write_message(part)
            await echoed(websocket, request, 2)
            for part in patch(changed(request, "address", value)):
                await websocket.write_message(part)
            assert await asyncio.wait_for(closed(websocket), 30) == REFUSED

    run(in_values())
    assert peak_kb(server) - before < 1000 * BOMB_MB / 2
    text = server.text()
    assert "Traceback" not in text
    assert "viewer: sent an event 'TitleChanged', as no page of ours does" in text
    assert packed["data"][:100] not in text


def text_of(token: object) -> str:
    """Coded as tokens are."""
    data = token if isinstance(token, bytes) else json.dumps(token).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def bad_tokens() -> dict[str, str]:
    """Such as anybody can write; one has as many characters as it may have."""
    packed = text_of(zlib.compress(b'{"a":"' + b"a" * 8_000_000 + b'"}', 9))
    session_id = generate_session_id(b"another", signed=True)
    good = {"session_id": session_id, "session_expiry": time.time() + 300}
    return {
        "unpacks to much more": text_of(good | {"__bk__zlib_": packed}),
        "the same, with a signature": text_of(good | {"__bk__zlib_": packed}) + "." + "A" * 43,
        "long": text_of({"session_id": "x" * 40_000}),
        "nested": text_of(b"[" * 12_000),
        "packed number": text_of(good | {"__bk__zlib_": 5}) + ".x",
        "packed list": text_of(good | {"__bk__zlib_": text_of(zlib.compress(b"[[1]]"))}),
        "list": text_of([1]) + ".x",
        "not coded": "x.y",
        "dots": ".....",
        "another key": generate_jwt_token(session_id, b"another", True),
    }


@pytest.mark.parametrize("what", bad_tokens())
def test_tokens_that_are_not_ours(server, what):
    """None is unpacked, and each costs a line of the log."""
    visitor, token = logged_in(server, "viewer"), bad_tokens()[what]
    visitor.ask(PAGE)
    before, said = peak_kb(server), len(server.text())

    async def scenario() -> int | None:
        return await asyncio.wait_for(closed(await open_socket(visitor, token)), 30)

    assert run(scenario()) == REFUSED
    assert peak_kb(server) - before < 5000
    text = server.text()[said:]
    assert "Traceback" not in text and "sent no token of a page" in text, text


def test_a_token_that_has_expired(server):
    visitor = logged_in(server, "viewer")
    payload = get_token_payload(visitor.ask(PAGE).token)
    session_id, key = generate_session_id(SECRET.encode(), signed=True), SECRET.encode()
    more = {SESSION_KEY: payload[SESSION_KEY]}
    expired = generate_jwt_token(session_id, key, True, more, expiration=-10)
    before = len(server.text())

    async def scenario() -> None:
        await asyncio.wait_for(closed(await open_socket(visitor, expired)), 30)

    run(scenario())
    text = server.text()[before:]
    assert "Traceback" not in text and "Token is expired" in text, text


NESTED = "[" * 50_000 + "]" * 50_000
OTHERS: Mapping[str, Sequence[str | bytes]] = {
    "another document": message("PUSH-DOC", {"doc": {"roots": [], "title": "x", "version": "3"}}),
    "a question for the server": message("SERVER-INFO-REQ"),
    "a second question for the document": message("PULL-DOC-REQ"),
    "an answer": message("OK"),
    "an error": message("ERROR", {"text": "x", "traceback": "y"}),
    "no kind": message(None),
    "a kind of kinds": message(["PATCH-DOC"]),
    "buffers": message("PATCH-DOC", {"events": []}, num_buffers=1),
    "binary": [b"x" * 1000],
    "no JSON": ["x", "{}", "{}"],
    "no object": ["[]", "{}", "{}"],
    "no events": message("PATCH-DOC", []),
    "nested": [message("PATCH-DOC")[0], "{}", NESTED[:90_000]],
    "nested, complete": [message("PATCH-DOC")[0], "{}", NESTED[5_500:-5_500]],
    "a long header": [json.dumps({"msgtype": "PATCH-DOC", "x": "x" * 90_000}), "{}", "{}"],
    "long metadata": [message("PATCH-DOC")[0], json.dumps("x" * 90_000), "{}"],
    "an event of another kind": patch({"kind": "ColumnsStreamed", "model": {"id": "p1"}}),
    "no model": patch({"kind": "ModelChanged", "attr": "x", "new": 1}),
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_no_page_says(server, what):
    before = len(server.text())
    assert refused(logged_in(server, "viewer"), OTHERS[what]) == REFUSED
    said = server.text()[before:]
    assert "Traceback" not in said and len(said) < 5000, said
    assert said.count("as no page of ours does; its connection is closed") == 1


@pytest.mark.parametrize("before", ["the page is asked for", "it is connected"])
def test_what_comes_too_early(server, before):
    visitor = logged_in(server, "viewer")

    async def scenario() -> int | None:
        websocket = await open_socket(visitor, visitor.ask(PAGE).token)
        if before == "it is connected":
            for part in patch(changed("p1", "x", 1)):
                await websocket.write_message(part)
        else:
            for _ in range(3):
                await websocket.read_message()
        for part in message("SERVER-INFO-REQ"):
            await websocket.write_message(part)
        return await asyncio.wait_for(closed(websocket), 30)

    assert run(scenario()) == REFUSED
    assert "Traceback" not in server.text()


def test_requests_that_are_none(server):
    """Of the page: each is refused before the session sees it."""
    visitor = logged_in(server, "viewer")

    async def scenario() -> None:
        for name, value in {
            "address": NESTED[:80_000],
            "search": '{"seq": 1}',
            "failures": "null",
            "heartbeat": 1e300,
        }.items():
            websocket, request = await connected(visitor)
            for part in patch(changed(request, name, value)):
                await websocket.write_message(part)
            assert await asyncio.wait_for(closed(websocket), 30) == REFUSED

    run(scenario())
    assert "Traceback" not in server.text()


def test_a_flood_of_messages_is_slowed_down(server):
    """The connection stays; what is more than a page sends takes its time, others do not wait."""
    visitor = logged_in(server, "viewer")
    too_many = 200

    async def scenario() -> float:
        websocket, request = await connected(visitor)
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            for count in range(int(MESSAGES_AT_ONCE) + too_many):
                for part in patch(changed(request, "name", count)):
                    await websocket.write_message(part)
        except WebSocketClosedError:
            pytest.fail(f"closed: {websocket.close_code}")
        await echoed(websocket, request, 3)
        seconds = loop.time() - began
        websocket.close()
        await closed(websocket)
        return seconds

    assert run(scenario()) > 0.9 * too_many / MESSAGES_PER_SECOND
    assert visitor.is_in()


def test_the_token_of_a_page_holds_no_cookies(server):
    """Scripts can read it, and those of the login they are not to read."""
    visitor = logged_in(server, "viewer")
    payload = get_token_payload(visitor.ask(f"{PAGE}?view=maps").token)
    assert payload["cookies"] == payload["headers"] == {}
    assert payload["arguments"] == {"view": [b"maps"]}
    assert visitor.session not in repr(payload)


@pytest.mark.parametrize("plain", [False, True], ids=["dqm serve", "bokeh serve"])
def test_names_of_others_where_nobody_logs_in(tmp_path, plain):
    """Their pages could read everything with the browser of somebody in our network."""
    with LoginServer(tmp_path, plain=plain, processes=1, settings={"DQM_AUTH": "none"}) as server:
        own, others = Visitor(server), Visitor(server, {"Host": f"evil.example:{server.port}"})
        addresses = (PAGE, "/api/v1/openapi.json", "/downloads")
        for address in addresses:
            assert own.ask(address).status == 200
            assert own.ask(address, headers={"Host": f"dashboard:{server.port}"}).status == 200
            refused = others.ask(address)
            assert refused.status == 403 and "DQM_ALLOWED_ORIGINS" in refused.text
        assert others.ask("/downloads", "POST", b"{}").status == 403
        token = own.ask(PAGE).token
        with pytest.raises(HTTPClientError, match="403"):
            run(open_socket(others, token, Origin=f"http://evil.example:{server.port}"))
        assert others.ask("/health").status == own.ask("/health").status
        assert others.ask("/alive").status == others.ask("/metrics").status == 200
        assert "the host 'evil.example:" in server.text() and "Traceback" not in server.text()
