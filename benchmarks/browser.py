"""Headless Chromium as a measuring instrument: what a page draws, when, and what it transfers.

Frames are counted from Chromium's own trace: the page's compositor writes ``DrawFrame`` when it has
drawn a frame in which something changed. A frame that was asked for and in which nothing changed
writes none, an animation that runs in the compositor alone does. The page's own marks
(``performance.mark``) are in the same trace on the same clock.
"""

from __future__ import annotations

import base64
import contextlib
import io
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from PIL import Image
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
QUIET = 0.5
"""Seconds without a drawn frame after which a page is idle."""
TAILS = (0.9, 2.5, 6.0)
"""Seconds to go on looking after the page says that it is painted; longer if it does not settle."""
TIMEOUT = 60_000
VIEWPORT = {"width": 1600, "height": 1000}

_CATEGORIES = ["disabled-by-default-devtools.timeline.frame", "blink.user_timing"]
_ASKED, _SHOWN, _END = "bench-asked", "bench-shown", "bench-end"
_WATCH = """
(() => {
  if (window !== window.top) return;
  globalThis.benchShown = null;
  setInterval(() => {
    let value = null;
    try { value = %s; } catch { /* not yet */ }
    if (value === null || value === undefined || String(value) === globalThis.benchShown) return;
    globalThis.benchShown = String(value);
    performance.mark("bench-shown");
  }, 4);
  for (const kind of ["keydown", "pointerdown"])
    addEventListener(kind, () => performance.mark("bench-asked"), true);
})();
"""
_LARGEST_CANVAS = """
() => {
  let best = null;
  const look = (node) => {
    for (const element of node.querySelectorAll("*")) {
      if (element.shadowRoot) look(element.shadowRoot);
      if (element.tagName !== "CANVAS") continue;
      const { x, y, width, height } = element.getBoundingClientRect();
      const seen = width > 0 && height > 0 && y < innerHeight && x < innerWidth;
      if (seen && (best === null || width * height > best.width * best.height))
        best = { x, y, width, height };
    }
  };
  look(document);
  return best;
}
"""


class NotSettled(Exception):
    """A page goes on drawing frames and never comes to rest."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What happened between a start (navigation, key) and the rest that followed.

    Attributes
    ----------
    idle : float
        Seconds until the last frame was drawn before nothing was drawn for `QUIET` seconds, or
        until the page said that its values are painted when that came later. The quiet time itself
        is not counted.
    shown : float
        Seconds until the page said so.
    frames : int
        Frames drawn until then.
    transferred : dict of str to int
        Bytes by path; the websocket's under ``websocket``; BokehJS's own files are left out.
    """

    idle: float
    shown: float
    frames: int
    transferred: dict[str, int]

    @property
    def bytes(self) -> int:
        """All bytes, uncompressed."""
        return sum(self.transferred.values())


def settled(frames: Sequence[float], ready: float, end: float) -> float | None:
    """When a page came to rest: the last of *frames* before `QUIET` seconds without any.

    Parameters
    ----------
    frames : sequence of float
        Times of drawn frames, s.
    ready : float
        Time from which the page says that its values are painted, s.
    end : float
        Time until which frames were looked for, s.

    Returns
    -------
    float or None
        Not before *ready*; None when there was no such rest before *end*.
    """
    last = ready
    for frame in sorted(frame for frame in frames if frame > ready):
        if frame - last >= QUIET:
            return last
        last = frame
    return last if end - last >= QUIET else None


class Traffic:
    """Bytes that a page has received and sent, uncompressed.

    HTTP bodies and websocket payloads in both directions, without headers. ``data:`` URLs are part
    of the document that holds them.
    """

    def __init__(self, session: CDPSession) -> None:
        self._paths: dict[str, str] = {}
        self._bytes: Counter[str] = Counter()
        session.on("Network.requestWillBeSent", self._requested)
        session.on("Network.dataReceived", self._received)
        session.on("Network.webSocketFrameReceived", self._frame)
        session.on("Network.webSocketFrameSent", self._frame)
        session.send("Network.enable")

    def take(self) -> dict[str, int]:
        """Bytes by path since the last call."""
        taken = {path: size for path, size in self._bytes.items() if not _of_bokeh(path)}
        self._bytes.clear()
        return taken

    def _requested(self, event: dict[str, Any]) -> None:
        self._paths[event["requestId"]] = event["request"]["url"]

    def _received(self, event: dict[str, Any]) -> None:
        url = urlsplit(self._paths.get(event["requestId"], "unknown:"))
        if url.scheme != "data":
            self._bytes[url.path] += event["dataLength"]

    def _frame(self, event: dict[str, Any]) -> None:
        frame = event["response"]
        payload = frame["payloadData"]
        binary = frame["opcode"] == 2
        self._bytes["websocket"] += len(
            base64.b64decode(payload) if binary else payload.encode("utf-8", "surrogatepass")
        )


def _of_bokeh(path: str) -> bool:
    folder, _, name = path.rpartition("/")
    return folder.endswith("/static/js") and name.startswith("bokeh")


class Chromium:
    """A running browser; made by `chromium`."""

    def __init__(self, browser: Browser) -> None:
        self.version = browser.version
        self._browser = browser
        self._session = browser.new_browser_cdp_session()
        self._events: list[dict[str, Any]] = []
        self._complete = False
        self._session.on("Tracing.dataCollected", self._collected)
        self._session.on("Tracing.tracingComplete", self._completed)

    @contextlib.contextmanager
    def visit(self, signal: str) -> Iterator[Visit]:
        """A page in a context of its own, with nothing in its caches.

        Parameters
        ----------
        signal : str
            JavaScript expression: null until the page is painted, another value after each change.
        """
        context = self._browser.new_context(viewport=VIEWPORT)  # type: ignore[arg-type]
        try:
            page = context.new_page()
            page.set_default_timeout(TIMEOUT)
            session = context.new_cdp_session(page)
            session.send("Network.clearBrowserCache")
            page.add_init_script(_WATCH % signal)
            yield Visit(self, page, Traffic(session))
        finally:
            context.close()

    def start_trace(self) -> None:
        """Begin to record."""
        self._events.clear()
        self._complete = False
        self._session.send(
            "Tracing.start",
            {
                "transferMode": "ReportEvents",
                "traceConfig": {
                    "includedCategories": _CATEGORIES,
                    "excludedCategories": ["*"],
                },
            },
        )

    def end_trace(self, page: Page) -> list[dict[str, Any]]:
        """What was recorded."""
        self._session.send("Tracing.end")
        while not self._complete:
            page.wait_for_timeout(5)  # the browser's messages are read while waiting
        return self._events

    def _collected(self, event: dict[str, Any]) -> None:
        self._events.extend(event["value"])

    def _completed(self, event: dict[str, Any]) -> None:  # noqa: ARG002
        self._complete = True


class Visit:
    """One page and the measurements on it."""

    def __init__(self, browser: Chromium, page: Page, traffic: Traffic) -> None:
        self.page = page
        self._browser = browser
        self._traffic = traffic

    def load(self, url: str, tail: float = TAILS[0]) -> Measured:
        """Open *url* and wait for its rest; times count from the start of the navigation.

        Raises
        ------
        NotSettled
            Not within *tail* seconds after it was painted.
        """

        def start() -> None:
            self.page.goto(url, wait_until="commit")

        origin = "{0.scheme}://{0.netloc}/".format(urlsplit(url))
        return self._measure(start, lambda event: _is_navigation(event, origin), None, tail)

    def act(self, action: Callable[[], object], tail: float = TAILS[0]) -> Measured:
        """Do something that changes the page and wait for its rest.

        Times count from the first key or pointer event that reaches the page.

        Raises
        ------
        NotSettled
        """
        before = self.page.evaluate("benchShown")
        return self._measure(action, lambda event: event["name"] == _ASKED, before, tail)

    def canvas(self) -> bytes:
        """PNG of the largest canvas in sight; raises `LookupError` when there is none."""
        place = self.page.evaluate(_LARGEST_CANVAS)
        if place is None:
            raise LookupError(f"{self.page.url} shows no canvas")
        return self.page.screenshot(clip=place)

    def _measure(
        self,
        action: Callable[[], object],
        is_start: Callable[[dict[str, Any]], bool],
        before: str | None,
        tail: float,
    ) -> Measured:
        self._traffic.take()
        self._browser.start_trace()
        try:
            action()
            self.page.wait_for_function(
                "before => (globalThis.benchShown ?? null) !== before", arg=before, polling=50
            )
            self.page.wait_for_timeout(1000 * tail)
            self.page.evaluate(f"performance.mark('{_END}')")
        finally:
            events = self._browser.end_trace(self.page)
        return _evaluate(events, is_start, self._traffic.take())


def _is_navigation(event: dict[str, Any], origin: str) -> bool:
    if event["name"] != "navigationStart":
        return False
    data = event["args"].get("data", {})
    return bool(data.get("isOutermostMainFrame")) and data["documentLoaderURL"].startswith(origin)


def _evaluate(
    events: Sequence[dict[str, Any]],
    is_start: Callable[[dict[str, Any]], bool],
    transferred: dict[str, int],
) -> Measured:
    """Times of a trace, whose clock counts microseconds."""
    start = min(event["ts"] for event in events if is_start(event))
    (end,) = [event for event in events if event["name"] == _END]
    shown = max(event["ts"] for event in events if event["name"] == _SHOWN)
    frames = [
        event["ts"]
        for event in events
        if event["name"] == "DrawFrame" and event["pid"] == end["pid"] and event["ts"] >= start
    ]
    seconds = [(frame - start) / 1e6 for frame in frames]
    rest = settled(seconds, (shown - start) / 1e6, (end["ts"] - start) / 1e6)
    if rest is None:
        late = sum(frame > (end["ts"] - start) / 1e6 - QUIET for frame in seconds)
        raise NotSettled(f"{late} frames were drawn in the last {QUIET} s that were looked at")
    return Measured(
        idle=rest,
        shown=(shown - start) / 1e6,
        frames=sum(frame <= rest for frame in seconds),
        transferred=transferred,
    )


@contextlib.contextmanager
def chromium() -> Iterator[Chromium]:
    """Start a headless Chromium that is installed here.

    Raises
    ------
    FileNotFoundError
        There is none.
    """
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise FileNotFoundError(f"none of {', '.join(PROGRAMS)} is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        try:
            yield Chromium(browser)
        finally:
            browser.close()


def drawn_fraction(png: bytes) -> float:
    """Fraction of an image's pixels that have not its most frequent colour, the background."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    colours = image.getcolors(image.width * image.height)
    if colours is None:
        raise ValueError("the image has more colours than pixels")
    return 1 - max(count for count, _ in colours) / (image.width * image.height)
