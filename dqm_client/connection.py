"""HTTP with one dashboard: addresses, tokens, errors, tries."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import random
import re
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from dqm_client.errors import ApiError

T = TypeVar("T")
TRIES = 6
"""How often in a row something is tried that may succeed later."""
LONGEST_WAIT = 10.0
"""Seconds between two tries, at most."""
PATIENCE = 600.0
"""Seconds for which one who asks too much waits for his turn."""
AT_ONCE = 8
"""Questions of all threads together. The dashboard works on two of one user and lets thirty wait,
so that four notebooks of his are never refused."""
_TOKEN = re.compile(r"dqm_[A-Za-z0-9_-]+")


class Connection:
    """Asks one dashboard.

    Parameters
    ----------
    url : str
        Of the dashboard, with the prefix below which it is served if there is one.
    token : str or None
        Blanks and line ends around it do not count. None: of a dashboard that lets everybody in.
    timeout : float
        Seconds without a byte.
    context : ssl.SSLContext or None
        For a certificate of a private CA: ``ssl.create_default_context(cafile="ca.pem")``.

    Raises
    ------
    ValueError
        *url* is none of HTTP, *token* is none, or it would be sent where anybody can read it.
    """

    def __init__(
        self, url: str, token: str | None, timeout: float, context: ssl.SSLContext | None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no address of a dashboard: https://HOST[:PORT][/PREFIX]")
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        token = (token or "").strip()
        if token and parts.scheme == "http" and not local:
            raise ValueError(f"the token would be sent unencrypted to {parts.hostname}: use https")
        if token and not _TOKEN.fullmatch(token):  # whatever it is, it is in no traceback
            raise ValueError(
                "this is no token, which begins with dqm_: see the page of your account"
            )
        self.url = url.rstrip("/")
        self._token = token
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._timeout = timeout
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if context is not None:
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """What the JSON at *path* says; values of *query* that are None are left out.

        When the dashboard says that it has too much to do, it is asked again. May be called by
        several threads.
        """
        given = {key: value for key, value in (query or {}).items() if value is not None}
        address = f"{path}?{urlencode(given, doseq=True)}" if given else path

        def ask() -> Any:
            with (
                self._places,
                self.open("GET", address, headers={"Accept-Encoding": "gzip"}) as found,
            ):
                return _json(found)

        return tried(ask, lambda error: error.retry_after is not None)

    def post(self, path: str, body: Any) -> Any:
        """What the JSON says that answers *body*."""
        with self.open("POST", path, json.dumps(body).encode()) as found:
            return _json(found)

    def delete(self, path: str) -> None:
        """Remove what is there."""
        with self.open("DELETE", path):
            pass

    @contextlib.contextmanager
    def open(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """An answer, to be read; raises `ApiError`, also when the connection is lost meanwhile."""
        request = urllib.request.Request(f"{self.url}{path}", body, method=method)  # noqa: S310
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        if body is not None:
            request.add_header("Content-Type", "application/json")
        if self._token:
            # unlike others, not handed on to another host
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                yield answer
        except urllib.error.HTTPError as error:
            with error:
                raise ApiError(error.code, _detail(error), _seconds(error)) from error
        except urllib.error.URLError as error:
            raise ApiError(0, f"{self.url} does not answer: {error.reason}") from error
        except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
            raise ApiError(0, f"the connection to {self.url} was lost: {error!r}") from error


def tried(attempt: Callable[[], T], is_worth_it: Callable[[ApiError], bool]) -> T:
    """What *attempt* gives, which is made again after errors that are worth it."""
    end = time.monotonic() + PATIENCE
    failed = 0
    while True:
        try:
            return attempt()
        except ApiError as error:
            failed += error.status != 429  # that is no failure: others of ours are before us
            if not is_worth_it(error) or failed >= TRIES or time.monotonic() > end:
                raise
            wait = error.retry_after or 2.0 ** (failed - 2)
        # not all at the same time who were refused at the same time
        time.sleep(min(wait, LONGEST_WAIT) * random.uniform(1.0, 1.5))  # noqa: S311


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Nothing here leads elsewhere; who is led to a login has no token."""

    def redirect_request(self, *_arguments: Any) -> None:
        return None


def _json(answer: http.client.HTTPResponse) -> Any:
    data = answer.read()
    try:
        if answer.headers.get("Content-Encoding") == "gzip":
            data = gzip.decompress(data)
        return json.loads(data)
    except (ValueError, OSError, EOFError) as error:
        kind = answer.headers.get("Content-Type", "no type")
        raise ApiError(0, f"{answer.url} is no dashboard: it answers with {kind}") from error


def _detail(error: urllib.error.HTTPError) -> str:
    if error.code in (301, 302, 303, 307, 308):
        return f"the address is another one: {error.headers.get('Location', '?')}"
    try:
        return str(json.loads(error.read(100_000))["detail"] or error.reason)
    except (ValueError, KeyError, TypeError, OSError, http.client.HTTPException):
        return error.reason


def _seconds(error: urllib.error.HTTPError) -> float | None:
    text = error.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else None
