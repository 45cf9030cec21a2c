"""HTTP with one dashboard: addresses, tokens, errors, files that are fetched in pieces."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from dqm_client.errors import ApiError

CHUNK = 1 << 20
LATER = frozenset({0, 429, 502, 503, 504})
"""Statuses after which another try may succeed; 0: there was no answer."""
TRIES = 5
"""How often a file is taken up again after the connection was lost."""


class Connection:
    """Asks one dashboard.

    Parameters
    ----------
    url : str
        Of the dashboard, with the prefix below which it is served if there is one.
    token : str or None
        None: of a dashboard that lets everybody in.
    timeout : float
        Seconds without a byte.
    context : ssl.SSLContext or None
        For a certificate of a private CA: ``ssl.create_default_context(cafile="ca.pem")``.

    Raises
    ------
    ValueError
        *url* is none of HTTP, or a token would be sent where anybody can read it.
    """

    def __init__(
        self, url: str, token: str | None, timeout: float, context: ssl.SSLContext | None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no address of a dashboard: https://HOST[:PORT][/PREFIX]")
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if token and parts.scheme == "http" and not local:
            raise ValueError(f"the token would be sent unencrypted to {parts.hostname}: use https")
        self.url = url.rstrip("/")
        self._token = token
        self._timeout = timeout
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if context is not None:
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """What the JSON at *path* says; values of *query* that are None are left out."""
        given = {key: value for key, value in (query or {}).items() if value is not None}
        with self._open(
            "GET", f"{path}?{urlencode(given, doseq=True)}" if given else path
        ) as found:
            return json.load(found)

    def post(self, path: str, body: Any) -> Any:
        """What the JSON says that answers *body*."""
        with self._open("POST", path, json.dumps(body).encode()) as found:
            return json.load(found)

    def delete(self, path: str) -> None:
        """Remove what is there."""
        self._open("DELETE", path).close()

    def fetch(
        self, path: str, file: Path, progress: Callable[[int, int], None] | None = None
    ) -> Path:
        """Save a file; one that was begun, or interrupted, is continued.

        Parameters
        ----------
        path
            Of the dashboard.
        file
            Where to; its beginning is in ``FILE.part`` until all is there.
        progress
            Called with bytes that are there and bytes in all.

        Raises
        ------
        ApiError
        FileExistsError
        """
        if file.exists():
            raise FileExistsError(f"{file} exists")
        part = file.with_name(f"{file.name}.part")
        for left in reversed(range(TRIES)):
            try:
                self._fetch(path, part, progress)
                break
            except (ConnectionError, TimeoutError, http.client.IncompleteRead) as error:
                if not left:
                    raise ApiError(0, f"{path}: the connection was lost ({error})") from error
            except ApiError as error:
                if not left or error.status not in LATER:
                    raise
            time.sleep(2.0 ** (TRIES - left - 1))
        part.replace(file)
        return file

    def _fetch(self, path: str, part: Path, progress: Callable[[int, int], None] | None) -> None:
        tag = part.with_name(f"{part.name}.etag")
        had = part.stat().st_size if part.exists() and tag.exists() else 0
        headers = {"Range": f"bytes={had}-", "If-Range": tag.read_text()} if had else {}
        try:
            answer = self._open("GET", path, headers=headers)
        except ApiError as error:
            if had and error.status == 416:  # all of it is there
                tag.unlink()
                return
            raise
        with answer, part.open("ab" if answer.status == 206 else "wb") as file:
            if answer.status != 206:
                had = 0
            tag.write_text(answer.headers.get("ETag", ""))
            total = had + int(answer.headers.get("Content-Length", 0))
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                had += len(chunk)
                if progress is not None:
                    progress(had, total)
            if had < total:
                raise ConnectionError(f"{had} of {total} bytes")
        tag.unlink()

    def _open(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        request = urllib.request.Request(f"{self.url}{path}", body, method=method)  # noqa: S310
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        if body is not None:
            request.add_header("Content-Type", "application/json")
        if self._token:
            # unlike others, not handed on to another host
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        try:
            return self._opener.open(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            with error:
                raise ApiError(error.code, _detail(error)) from error
        except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
            raise ApiError(0, f"{self.url} does not answer: {error!r}") from error
        except urllib.error.URLError as error:
            raise ApiError(0, f"{self.url} does not answer: {error.reason}") from error


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Nothing here leads elsewhere; who is led to a login has no token."""

    def redirect_request(self, *_arguments: Any) -> None:
        return None


def _detail(error: urllib.error.HTTPError) -> str:
    if error.code in (301, 302, 303, 307, 308):
        return f"the address is another one: {error.headers.get('Location', '?')}"
    try:
        return str(json.loads(error.read(100_000))["detail"])
    except (ValueError, KeyError, TypeError):
        return error.reason
