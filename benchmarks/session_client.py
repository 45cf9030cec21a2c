"""A page without a browser: speaks Bokeh's protocol and asks the dashboard what its page asks."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any
from urllib.parse import urljoin, urlsplit

from bokeh.protocol import Protocol
from bokeh.protocol.message import Message
from bokeh.protocol.receiver import Receiver
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

_SESSION = re.compile(r'<script type="application/json" id="session">(.*?)</script>', re.DOTALL)
_LARGEST_MESSAGE = 100 * 2**20
_PATIENCE = 120.0


class PageClient:
    """One open page; made by `open_page`.

    Attributes
    ----------
    state : dict
        What the page shows: ``Page.state`` of `dqm_app.bridge`, decoded.
    """

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self.state: dict[str, Any] = {}
        self._socket = socket
        self._receiver = Receiver(Protocol())
        self._sequence = 0
        self._request = ""
        self._page = ""

    async def show(self, query: dict[str, str]) -> None:
        """Ask for a page and wait until its data and its state have arrived."""
        self._sequence += 1
        wish = {"seq": self._sequence, "query": query, "theme": "light", "opened": not self.state}
        change = {
            "kind": "ModelChanged",
            "model": {"id": self._request},
            "attr": "address",
            "new": json.dumps(wish),
        }
        await self._send("PATCH-DOC", {"events": [change]})
        while self.state.get("seq") != self._sequence or self.state["run"] is None:
            self._apply(await self._receive())  # without a run the database is not open yet
        if self.state["unavailable"] is not None:
            raise RuntimeError(f"{query} shows nothing: {self.state}")

    async def show_run(self, run: int) -> None:
        """Go to another run of the camera, in the same view, as the page does."""
        address = {key: value for key, value in self.state["address"].items() if key != "follow"}
        await self.show({**address, "run": str(run)})
        if self.state["run"] != run:
            raise RuntimeError(f"run {run} was asked for, {self.state['run']} is shown")

    async def pull(self) -> None:
        """Fetch the document, as the page does when it is connected."""
        message = await self._receive()
        if message.msgtype != "ACK":
            raise RuntimeError(f"the server says {message.msgtype} first")
        await self._send("PULL-DOC-REQ", {})
        while message.msgtype != "PULL-DOC-REPLY":
            message = await self._receive()
        roots = {root["attributes"].get("name"): root for root in message.content["doc"]["roots"]}
        self._request, self._page = roots["request"]["id"], roots["page"]["id"]

    async def close(self) -> None:
        """Close the page, as a browser does with a tab."""
        self._socket.close()
        while await self._socket.read_message() is not None:
            pass

    def _apply(self, message: Message[Any]) -> None:
        if message.msgtype != "PATCH-DOC":
            return
        for event in message.content["events"]:
            if event["kind"] != "ModelChanged" or event["attr"] != "state":
                continue
            if event["model"]["id"] == self._page:
                self.state = json.loads(event["new"])

    async def _send(self, kind: str, content: dict[str, Any]) -> None:
        header = {"msgid": str(uuid.uuid4()), "msgtype": kind}
        for part in (header, {}, content):
            await self._socket.write_message(json.dumps(part))

    async def _receive(self) -> Message[Any]:
        while True:
            fragment = await self._socket.read_message()
            if fragment is None:
                raise ConnectionError("the server has closed the page")
            message = await self._receiver.consume(fragment)
            if message is not None:
                return message


async def open_page(url: str, cookie: str = "") -> PageClient:
    """Load the page at *url*, connect, and wait until its first view has arrived.

    *cookie*, the header of that name, is sent to both; the address must then be that of the page.
    """
    known = {"Cookie": cookie} if cookie else {}
    answer = await AsyncHTTPClient().fetch(url, request_timeout=_PATIENCE, headers=known)
    found = _SESSION.search(answer.body.decode())
    if found is None:
        raise RuntimeError(f"{answer.effective_url} is no page of the dashboard")
    given = json.loads(found[1])
    parts = urlsplit(answer.effective_url)
    socket = await websocket_connect(
        HTTPRequest(
            urljoin(f"ws://{parts.netloc}", f"{given['app']}/ws"),
            headers={"Origin": f"http://{parts.netloc}", **known},
        ),
        subprotocols=["bokeh", given["token"]],
        compression_options={},  # offered, as browsers do
        max_message_size=_LARGEST_MESSAGE,
    )
    if socket.protocol is None:
        raise ConnectionError("the server has closed the page")
    socket.protocol.set_nodelay(True)  # as browsers do
    client = PageClient(socket)
    await client.pull()
    await client.show({})
    return client
