"""The websocket of a page: nobody without login, and closed when the login ends."""

from __future__ import annotations

import asyncio
import logging
import zlib
from typing import Any, ClassVar

from bokeh.server.views.ws import WSHandler
from bokeh.util.token import get_token_payload

from dqm_app.accounts import sessions
from dqm_app.accounts.errors import AccountsUnavailable
from dqm_app.limits import MESSAGE_BYTES
from dqm_app.login.access import Access, Guarded

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""Between two looks whether the session has ended; after that a page shows nothing new."""
LOGGED_OUT = 4401
"""Code with which the websocket is closed then (4000 to 4999 are for applications, RFC 6455)."""
SESSION_KEY = "dqm-session"
"""In the token of the page: the number of the session for which it was made."""


def token_payload(secret: str | None) -> dict[str, Any]:
    """What the token of a page says besides; see `GuardedSocket.open`."""
    return {SESSION_KEY: "" if secret is None else sessions.number(secret)}


class GuardedSocket(Guarded, WSHandler):
    """Bokeh's websocket, for whoever may see the page."""

    access: ClassVar[Access] = Access.VIEWER
    _watch: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin; the token must be of a page that this very session was given.

        Tokens are signed and last for minutes: who finds one somewhere could join the page of
        somebody else.
        """
        secret = None if self.visitor is None else self.visitor.secret
        if secret is not None:
            if not self._is_for(secret):
                log.warning("%s shows the token of another login", self.request.remote_ip)
                self.close(LOGGED_OUT, "this page belongs to another login")
                return
            self._watch = asyncio.get_running_loop().create_task(self._look(secret))
        super().open()

    @property
    def max_message_size(self) -> int:
        """What a page may send at once, also where Bokeh's server was started otherwise."""
        return MESSAGE_BYTES

    def on_close(self) -> None:
        """End the looking, too."""
        if self._watch is not None:
            self._watch.cancel()
        super().on_close()

    def _is_for(self, secret: str) -> bool:
        try:
            payload = get_token_payload(self._token or "")
        except (ValueError, KeyError, TypeError, zlib.error):  # no token at all
            return False
        return payload.get(SESSION_KEY) == sessions.number(secret)

    async def _look(self, secret: str) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                if await self.gate.browser(secret) is None:
                    self.close(LOGGED_OUT, "logged out")
                    return
            except AccountsUnavailable as error:  # who is in stays in, while nobody can be asked
                log.warning("%s", error)
