"""The browser's side of a session, without a browser."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from bokeh.document import Document
from fake_database import until

from dqm_app.service import Service
from dqm_app.session import Session


class FakeContext:
    """What Bokeh gives to a session: here only the lock."""

    def __init__(self, document: Document) -> None:
        self.id = f"session-{id(document)}"
        self.document = document
        self.lock = asyncio.Lock()

    async def with_locked_document(self, function: Callable[[Document], Awaitable[None]]) -> None:
        async with self.lock:
            await function(self.document)


class Page:
    """The browser's side of a session."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.document = Document()
        self.context = FakeContext(self.document)
        self.document._session_context = lambda: self.context
        self.session = Session(self.document, service)
        self.request = self.document.get_model_by_name("request")
        self.page = self.document.get_model_by_name("page")
        self.seq = 0

    def ask(self, theme: str = "light", **query: object) -> None:
        self.seq += 1
        text = {key: str(value) for key, value in query.items()}
        self.request.address = json.dumps({"seq": self.seq, "query": text, "theme": theme})

    @property
    def state(self) -> dict:
        return json.loads(self.page.state) if self.page.state else {}

    async def answer(self) -> dict:
        await until(lambda: self.state.get("seq") == self.seq)
        return self.state

    async def show(self, theme: str = "light", **query: object) -> dict:
        self.ask(theme, **query)
        return await self.answer()

    def view(self, name: str) -> Any:
        return self.session._views[name]

    def close(self) -> None:
        self.service.session_closed(self.context.id)
