"""The websocket of a page: nobody without login, and closed when the login ends."""

from __future__ import annotations

import asyncio
import logging
import time
import zlib
from typing import Any, ClassVar

from bokeh.protocol.exceptions import MessageError, ProtocolError
from bokeh.protocol.message import Message
from bokeh.server.views.ws import WSHandler
from bokeh.util.token import check_token_signature, get_token_payload

from dqm_app.accounts import sessions
from dqm_app.accounts.errors import AccountsUnavailable
from dqm_app.limits import MESSAGE_BYTES
from dqm_app.login.access import Access, Guarded
from dqm_app.page_messages import PULL, NotOfAPage, read_header, wanted_changes

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""Between two looks whether the session has ended; after that a page shows nothing new."""
LOGGED_OUT = 4401
"""Code with which the websocket is closed then (4000 to 4999 are for applications, RFC 6455)."""
REFUSED = 1008
"""Code for whoever says what none of our pages says (RFC 6455, 7.4.1: a violation of policy)."""
MESSAGES_PER_SECOND = 200.0
"""Of one page; dragging the edge of a plot brings one for each picture of the screen."""
MESSAGES_AT_ONCE = 400.0
PARTS = 3
"""Of a message: header, metadata and content."""
LONGEST_TOKEN = 16_384
"""Characters; a token has some hundreds, and as many as the query of the page's address."""
SESSION_KEY = "dqm-session"
"""In the token of the page: the number of the session for which it was made."""


def token_payload(secret: str | None) -> dict[str, Any]:
    """What the token of a page says besides; see `GuardedSocket.open`."""
    return {SESSION_KEY: "" if secret is None else sessions.number(secret)}


class Pace:
    """Lets so many messages pass in a second; those beyond have to wait."""

    def __init__(self) -> None:
        self._left = MESSAGES_AT_ONCE
        self._when = time.monotonic()

    def wait(self) -> float:
        """Count a message: in how many seconds it may be dealt with."""
        now = time.monotonic()
        gained = (now - self._when) * MESSAGES_PER_SECOND
        self._left = min(MESSAGES_AT_ONCE, self._left + gained) - 1
        self._when = now
        return max(0.0, -self._left / MESSAGES_PER_SECOND)


class GuardedSocket(Guarded, WSHandler):
    """Bokeh's websocket, for whoever may see the page."""

    access: ClassVar[Access] = Access.VIEWER
    _watch: asyncio.Task[None] | None = None
    _has_pulled: bool = False
    _refused: bool = False

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._pace = Pace()
        self._parts: list[str] = []

    def open(self) -> None:
        """Begin; the token must be of a page that this very session was given.

        Tokens are signed and last for minutes: who finds one somewhere could join the page of
        somebody else.
        """
        # an answer is several messages; else the later ones wait 40 ms for the browser's kernel
        self.set_nodelay(True)
        payload = self._payload()
        if payload is None:
            self._refuse("no token of a page")
            return
        secret = None if self.visitor is None else self.visitor.secret
        if secret is not None:
            if payload.get(SESSION_KEY) != sessions.number(secret):
                self._refused = True
                log.warning("%s shows the token of another login", self.request.remote_ip)
                self.close(LOGGED_OUT, "this page belongs to another login")
                return
            self._watch = asyncio.get_running_loop().create_task(self._look(secret))
        try:
            super().open()
        except ProtocolError as error:  # Bokeh has closed it, e.g. since the token has expired
            self._refused = True
            log.warning("%s: %s", self.request.remote_ip, error)

    @property
    def max_message_size(self) -> int:
        """What a page may send at once, also where Bokeh's server was started otherwise."""
        return MESSAGE_BYTES

    def on_close(self) -> None:
        """End the looking, too."""
        if self._watch is not None:
            self._watch.cancel()
        super().on_close()

    async def on_message(self, fragment: str | bytes) -> None:
        """A part of a message; nothing is heard of whom we have refused."""
        if not self._refused:
            await super().on_message(fragment)

    async def _receive(self, fragment: str | bytes) -> Message[Any] | None:
        """The message that *fragment* completes, with what the server listens to.

        Bokeh's own would read whatever its protocol knows, and log a message that is wrong.
        """
        try:
            if not isinstance(fragment, str):
                raise NotOfAPage("binary data")
            self._parts.append(fragment)
            if len(self._parts) < PARTS:
                return None
            parts, self._parts = self._parts, []
            await asyncio.sleep(self._pace.wait())
            return self._listened(*parts)
        except NotOfAPage as error:
            self._refuse(str(error))
        except (MessageError, ValueError, TypeError, KeyError, RecursionError) as error:
            self._refuse(f"a message that is none ({type(error).__name__})")
        return None

    def _listened(self, header: str, metadata: str, content: str) -> Message[Any] | None:
        if self.connection is None:
            raise NotOfAPage("a message before it was connected")
        kind = read_header(header, metadata)
        message: Message[Any] = self.connection.protocol.assemble(header, metadata, content)
        if kind == PULL:
            if self._has_pulled:
                raise NotOfAPage("a second question for the document")
            self._has_pulled = True
            return message
        changes = wanted_changes(message.content, self.connection.session.document)
        message.content = {"events": changes}
        return message if changes else None

    def _refuse(self, what: str) -> None:
        self._refused = True
        name = "somebody" if self.visitor is None else self.visitor.name or "somebody"
        log.warning(
            "%s, %s: sent %s, as no page of ours does; its connection is closed",
            *(self.request.remote_ip, name, what),
        )
        self.close(REFUSED, "not what this page says")

    def _payload(self) -> dict[str, Any] | None:
        """What the token says; None: it is not one that we made.

        Its signature is looked at before it is unpacked, which has no limit.
        """
        token, application = self._token or "", self.application
        if len(token) > LONGEST_TOKEN:
            return None
        signed, key = application.sign_sessions, application.secret_key
        try:
            if not check_token_signature(token, signed=signed, secret_key=key):
                return None
            payload = get_token_payload(token)
        except (
            *(ValueError, TypeError, KeyError, AttributeError),
            *(AssertionError, RecursionError, zlib.error),
        ):
            return None
        return payload

    async def _look(self, secret: str) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                if await self.gate.browser(secret) is None:
                    self.close(LOGGED_OUT, "logged out")
                    return
            except AccountsUnavailable as error:  # who is in stays in, while nobody can be asked
                log.warning("%s", error)
