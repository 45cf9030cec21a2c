"""What one client may use of a server: who reads nothing is hung up on."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from dqm_app import limits

SIZE = 20_000_000
"""More than the buffers of both ends."""


class Large(RequestHandler):
    """Answers with more than anybody takes at once."""

    ended: list[str]

    def initialize(self, ended: list[str]) -> None:
        self.ended = ended

    async def get(self, who: str) -> None:
        for _ in range(SIZE // 100_000):
            self.write(bytes(100_000))
            await self.flush()

    def on_connection_close(self) -> None:
        self.ended.append(self.path_args[0])


@pytest.mark.skipif(sys.platform != "linux", reason="it is the kernel of Linux that does it")
def test_who_reads_nothing_is_hung_up_on(monkeypatch):
    monkeypatch.setattr(limits, "UNREAD_SECONDS", 1.0)
    ended: list[str] = []

    def ask(who: str, port: int) -> socket.socket:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.sendall(f"GET /{who} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        client.setblocking(False)
        return client

    async def scenario() -> int:
        listener, port = bind_unused_port()
        server = limits.BoundedServer(Application([("/(.*)", Large, {"ended": ended})]))
        server.add_socket(listener)
        loop = asyncio.get_running_loop()
        with ask("idle", port), ask("slow", port) as slow:
            taken = 0
            async with asyncio.timeout(60):
                while ended != ["idle"]:
                    await asyncio.sleep(0.2)
                    taken += len(await loop.sock_recv(slow, 20_000))
                for _ in range(10):  # and on
                    await asyncio.sleep(0.2)
                    taken += len(await loop.sock_recv(slow, 20_000))
        server.stop()
        await server.close_all_connections()
        return taken

    taken = asyncio.run(scenario())
    assert 0 < taken < SIZE
    assert ended[0] == "idle"
