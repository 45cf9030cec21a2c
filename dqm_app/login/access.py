"""What a request handler asks of whoever calls it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlencode

from bokeh.settings import settings as bokeh_settings
from tornado.web import HTTPError, RequestHandler

from dqm_app.accounts.accounts import Client
from dqm_app.accounts.audit import Event
from dqm_app.accounts.errors import AccountsUnavailable
from dqm_app.accounts.roles import Role
from dqm_app.accounts.tokens import Scope
from dqm_app.login.hosts import is_ours
from dqm_app.login.rendering import (
    RETRY_SECONDS,
    STRANGE_HOST,
    UNREACHABLE,
    finish_with_error,
)
from dqm_app.login.visitors import Visitor, bearer_of, client_of
from dqm_app.process_parts import gate_of

if TYPE_CHECKING:
    from bokeh.server.tornado import BokehTornado

    from dqm_app.login.gate import Gate

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SAME_SITES = frozenset({"same-origin", "none"})
"""What browsers say in ``Sec-Fetch-Site`` of what the user, or a page of this server, asks for."""
XSRF_COOKIE = "_xsrf"
"""Tornado's name for it, which scripts send back as ``X-XSRFToken``."""


@enum.unique
class Access(enum.Enum):
    """Who may call a handler."""

    OPEN = None
    VIEWER = Role.VIEWER
    EXPERT = Role.EXPERT
    ADMIN = Role.ADMIN


def server_context_of(application: BokehTornado) -> Any:
    """Bokeh's context of the only application that there is; see `dqm_app.process_parts`."""
    (context,) = application.applications.values()
    return context.server_context


class StrangeHost(HTTPError):
    """The name by which a browser calls this server may be that of another site."""

    def __init__(self, host: str) -> None:
        super().__init__(HTTPStatus.FORBIDDEN, "the host %r is not in DQM_ALLOWED_ORIGINS", host)


class Guarded(RequestHandler):
    """A handler that answers only to whom it may.

    Attributes
    ----------
    access : Access
        Each handler says whom it answers.
    scope : Scope or None
        What the token of a program must be for; None: programs are not answered.
    is_page : bool
        Leads a browser without login to the page where to log in, instead of an error.
    greets : bool
        Wants to know who calls though it is open; the others answer also while accounts cannot be
        reached.
    visitor : Visitor or None
        Who calls, known once `prepare` has run; None only where `access` is OPEN.
    """

    application: BokehTornado
    access: ClassVar[Access] = Access.VIEWER
    scope: ClassVar[Scope | None] = None
    is_page: ClassVar[bool] = False
    greets: ClassVar[bool] = False
    visitor: Visitor | None = None

    @property
    def server_context(self) -> Any:
        """What knows the parts of this process."""
        return server_context_of(self.application)

    @property
    def gate(self) -> Gate:
        """The gate of this process."""
        return gate_of(self.server_context)

    @property
    def client(self) -> Client:
        """From where this call comes."""
        return client_of(self)

    async def prepare(self) -> None:
        """Find out who calls, or lead to the login.

        Raises
        ------
        HTTPError
            401, 403.
        AccountsUnavailable
            Nobody can be let in; answered with 503, as anywhere else.
        """
        if self.gate.accounts is None and self.access not in (Access.OPEN, Access.ADMIN):
            self._check_host()
        if self.access is not Access.OPEN or self.greets:
            self.visitor = self.current_user = await self.gate.visitor(self)
        if self.visitor is None and self.access is not Access.OPEN:
            is_program = bearer_of(self) is not None  # it would keep the login page as its file
            if self.is_page and not is_program and self.request.method in SAFE_METHODS:
                query = urlencode({"next": self.request.uri or ""})
                self.redirect(f"{self.gate.login_address(self)}?{query}")
                return
            raise HTTPError(HTTPStatus.UNAUTHORIZED)
        if self.visitor is not None and not self.visitor.may(self.access.value, self.scope):
            raise HTTPError(HTTPStatus.FORBIDDEN)
        if self.request.method not in SAFE_METHODS:
            self.check_xsrf_cookie()

    def _check_host(self) -> None:
        """Refuse names that are not ours, where nobody logs in.

        A page of another site can let its own name lead to this server, and read what browsers
        may (DNS rebinding). Monitors, who ask for what admins may, use whatever name they have.
        """
        application = self.application
        allowed = bokeh_settings.allowed_ws_origin() or application.websocket_origins
        if not is_ours(self.request.host, allowed):
            raise StrangeHost(self.request.host)

    async def remember(self, event: Event, detail: str) -> None:
        """Put into the audit log what the visitor does; nothing where there are no accounts.

        What is done over and over, such as fetching a file in parts, is there once an hour.
        """
        accounts, visitor = self.gate.accounts, self.visitor
        if accounts is None or visitor is None or visitor.user is None:
            return
        if visitor.token is not None:
            detail += f", with the token {visitor.token.id} {visitor.token.label}"
        await self.gate.note_once(accounts, event, visitor.user, self.client, detail)

    def check_xsrf_cookie(self) -> None:
        """Refuse what another site lets a browser send.

        A program with a token is no browser; forms of people take nothing of it, not even those
        that anybody may send, such as the one that logs out. What has no cookie that lets it in may
        be a program where there are no accounts; browsers say ``Origin`` with whatever may change
        something. Tornado calls this itself, too, before `prepare`, when the server was started so.

        Another host of the same domain could plant the cookie of Tornado's check; what browsers say
        in ``Sec-Fetch-Site`` it cannot.
        """
        headers = self.request.headers
        if headers.get("Sec-Fetch-Site", "same-origin") not in SAME_SITES:
            raise HTTPError(HTTPStatus.FORBIDDEN)
        if bearer_of(self) is not None:
            if self.scope is None:
                raise HTTPError(HTTPStatus.FORBIDDEN)
            return
        if self.gate.accounts is not None or "Origin" in headers:
            super().check_xsrf_cookie()

    def set_cookie(self, name: str, value: str | bytes, *arguments: Any, **named: Any) -> None:
        """As Tornado does; its own cookie goes back over TLS and from this site alone, too."""
        if name == XSRF_COOKIE:
            named |= {"samesite": "Lax", "secure": self.request.protocol == "https"}
        super().set_cookie(name, value, *arguments, **named)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Answer with an error; accounts that cannot be reached are none of the dashboard's own."""
        if isinstance(_error_in(kwargs), AccountsUnavailable):
            status_code = HTTPStatus.SERVICE_UNAVAILABLE
        super().send_error(status_code, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say what went wrong, and how to be let in to who was not."""
        self.challenge(status_code)
        sentence = ""
        if isinstance(_error_in(kwargs), AccountsUnavailable):
            self.set_unreachable()
            sentence = UNREACHABLE
        elif isinstance(_error_in(kwargs), StrangeHost):
            sentence = STRANGE_HOST
        finish_with_error(self, status_code, sentence)

    def set_unreachable(self) -> None:
        """Answer that accounts cannot be reached, and when to ask again."""
        self.set_status(HTTPStatus.SERVICE_UNAVAILABLE)
        self.set_header("Retry-After", str(RETRY_SECONDS))

    def log_exception(self, *information: Any) -> None:
        """Log accounts that cannot be reached in one line."""
        error = information[1]
        if isinstance(error, AccountsUnavailable):
            self.gate.report(error)
        else:
            super().log_exception(*information)

    @property
    def methods(self) -> str:
        """What may be asked here, as in the header ``Allow``."""
        missing = RequestHandler._unimplemented_method
        ours = [m for m in self.SUPPORTED_METHODS if getattr(type(self), m.lower()) is not missing]
        return ", ".join(ours)

    def challenge(self, status_code: int) -> None:
        """Set the header that an answer 401 or 405 must have (RFC 9110, 15.5.2 and 15.5.6)."""
        if status_code == HTTPStatus.UNAUTHORIZED:
            self.set_header("WWW-Authenticate", 'Bearer realm="NectarCAM DQM"')
        elif status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            self.set_header("Allow", self.methods)


def _error_in(kwargs: Mapping[str, Any]) -> BaseException | None:
    """What Tornado caught."""
    return kwargs.get("exc_info", (None, None, None))[1]
