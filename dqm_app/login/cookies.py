"""What browsers keep of a login: two signed cookies.

The one of the session ends with it. The one of the device says for a year in which names somebody
has logged in with this browser before; it lets nobody in, see `dqm_app.accounts.throttle`.

Over TLS both have the prefix ``__Host-``: browsers then take them only over TLS, only from this
very host and for all its paths, so that another host of the domain cannot slip one in.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time

from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler, create_signed_value, decode_signed_value

from dqm_app.accounts.users import folded

SESSION = "dqm-session"
DEVICE = "dqm-device"
SESSION_DAYS = 366.0
"""For which the cookie of a session is read; DQM_SESSION_HOURS is a year at most."""
DEVICE_DAYS = 365.0
ENDED_DAYS = 7.0
"""For which a browser keeps the cookie of a session that has ended."""
_NAMES = 8
"""Names that one browser is remembered for."""


class Cookies:
    """Writes and reads the cookies of a login.

    Parameters
    ----------
    secret_key : bytes
        That of all processes and hosts of the dashboard (``BOKEH_SECRET_KEY``); what signs cookies
        is derived from it, and of no use for anything else.
    """

    def __init__(self, secret_key: bytes) -> None:
        self._key = hmac.new(secret_key, b"nectarcam-dqm cookies", hashlib.sha256).digest()

    def session(self, request: HTTPServerRequest) -> str | None:
        """The secret of the session of this browser; None without, or when it was tampered with."""
        return self._read(request, SESSION, SESSION_DAYS)

    def set_session(self, handler: RequestHandler, secret: str, ends: float) -> None:
        """Let the browser keep *secret* until *ends*, Unix seconds, and some days more.

        It lets nobody in then, but the page to log in on can say why the user sees that.
        """
        self._write(handler, SESSION, secret, ends + ENDED_DAYS * 86_400)

    def clear_session(self, handler: RequestHandler) -> None:
        """Let the browser forget its session."""
        self._write(handler, SESSION, "", time.time() - 86_400)

    def device(self, request: HTTPServerRequest, name: str) -> str | None:
        """What names this browser, if *name* has logged in with it before."""
        known = self._read(request, DEVICE, DEVICE_DAYS)
        if known is None:
            return None
        device, *marks = known.split(" ")
        return device if self._mark(device, name) in marks else None

    def remember_device(self, handler: RequestHandler, name: str) -> None:
        """*name* has logged in with this browser."""
        known = self._read(handler.request, DEVICE, DEVICE_DAYS)
        device, *marks = (known or secrets.token_urlsafe(16)).split(" ")
        mark = self._mark(device, name)
        marks = [mark, *(other for other in marks if other != mark)][:_NAMES]
        ends = time.time() + DEVICE_DAYS * 86_400
        self._write(handler, DEVICE, " ".join((device, *marks)), ends)

    def _mark(self, device: str, name: str) -> str:
        text = f"{device}\0{folded(name)}".encode()
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()[:32]

    def _read(self, request: HTTPServerRequest, name: str, days: float) -> str | None:
        full = _full(request, name)
        morsel = request.cookies.get(full)
        if morsel is None or not morsel.value:
            return None
        found = decode_signed_value(self._key, full, morsel.value, max_age_days=days)
        try:
            return found.decode("ascii") if found else None
        except UnicodeDecodeError:
            return None  # signed by somebody who has the key, but nothing of ours

    def _write(self, handler: RequestHandler, name: str, value: str, ends: float) -> None:
        full = _full(handler.request, name)
        handler.set_cookie(
            full,
            create_signed_value(self._key, full, value),
            expires=ends,
            path="/",
            httponly=True,
            secure=handler.request.protocol == "https",
            samesite="Lax",
        )


def _full(request: HTTPServerRequest, name: str) -> str:
    return f"__Host-{name}" if request.protocol == "https" else name
