"""Headless Chromium on the dashboard, for the browser tests.

``with DashboardPage(browser, url) as page: …``; the fixture ``browser`` is closed before a test of
another module starts, since playwright occupies the thread's event loop.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Locator, sync_playwright

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]
PATIENCE_MS = 30_000
UNREACHABLE = ("Failed to load resource", "WebSocket", "Lost websocket", "Failed to repull session")


@contextmanager
def chromium(program: str) -> Iterator[Browser]:
    """A new browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class DashboardPage:
    """A page of the dashboard in a browser context of its own (cache and storage are empty).

    With *trusting* it takes any certificate.

    Attributes
    ----------
    page
        Playwright's page.
    errors : list of str
        Exceptions of the page's scripts, and what they, Bokeh or the browser warn of on the console
        but for what cannot be reached, which some tests bring about.
    """

    def __init__(
        self,
        browser: Browser,
        url: str,
        *,
        dark: bool = False,
        size: tuple[int, int] = (1280, 720),
        trusting: bool = False,
    ) -> None:
        self._context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            ignore_https_errors=trusting,
        )
        self.page = self._context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._hear)
        self.url = url

    def __enter__(self) -> Self:
        self.page.goto(self.url)
        return self.settled()

    def __exit__(self, *_: object) -> None:
        self._context.close()

    def _hear(self, message: ConsoleMessage) -> None:
        unreachable = any(words in message.text for words in UNREACHABLE)
        if message.type in {"warning", "error"} and not unreachable:
            self.errors.append(f"{message.type}: {message.text}")

    def settled(self) -> Self:
        """Wait until what was asked for last is shown and painted."""
        self.page.wait_for_function(
            """() => document.body.getAttribute("aria-busy") === "false"
                  && document.documentElement.dataset.shown !== undefined
                  && Number(document.documentElement.dataset.shown) ===
                     JSON.parse(Bokeh.documents.at(-1).get_model_by_name("page").state).seq"""
        )
        return self

    def press(self, *keys: str) -> Self:
        """Press keys one after the other and wait until the last one has its effect."""
        for key in keys:
            self.page.keyboard.press(key)
        return self.settled()

    def wait_for(self, expression: str) -> Self:
        """Wait until a JavaScript expression is true."""
        self.page.wait_for_function(f"() => {expression}")
        return self

    def wait_for_run(self, run: int) -> Self:
        """Wait until the page shows *run*, however that comes about."""
        self.wait_for(f'document.title.includes("Run {run} ")')
        return self.settled()

    @property
    def state(self) -> dict[str, Any]:
        """What the session says about the page."""
        return json.loads(
            self.page.evaluate('Bokeh.documents.at(-1).get_model_by_name("page").state')
        )

    @property
    def address(self) -> dict[str, str]:
        """The address bar's query."""
        return dict(parse_qsl(urlsplit(self.page.url).query))

    def text(self, selector: str) -> str:
        """Visible text of an element."""
        return self.page.inner_text(selector)

    def __getitem__(self, selector: str) -> Locator:
        return self.page.locator(selector)
