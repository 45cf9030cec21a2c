"""The login, for Bokeh's own handlers and for ``bokeh serve --auth-module``."""

from __future__ import annotations

from bokeh.server.auth_provider import AuthProvider
from tornado.web import RequestHandler

from dqm_app.login.access import server_context_of
from dqm_app.login.pages import LoginPage, Logout
from dqm_app.login.visitors import Visitor
from dqm_app.process_parts import gate_of

LOGIN_URL = "/login"
LOGOUT_URL = "/logout"


async def get_user_async(handler: RequestHandler) -> Visitor | None:
    """Who calls; None leads to the login."""
    context = server_context_of(handler.application)  # type: ignore[arg-type]
    return await gate_of(context).own_visitor(handler)


class LoginProvider(AuthProvider):
    """What ``dqm serve`` gives to Bokeh's server."""

    @property
    def get_user(self) -> None:
        """Nothing: it would have to wait for a database."""

    @property
    def get_user_async(self):  # type: ignore[no-untyped-def]
        """Finds out who calls."""
        return get_user_async

    @property
    def get_login_url(self) -> None:
        """Nothing: it is always the same."""

    @property
    def login_url(self) -> str:
        """Where to log in, below the prefix."""
        return LOGIN_URL

    @property
    def login_handler(self) -> type[RequestHandler]:
        """The page to log in on."""
        return LoginPage

    @property
    def logout_url(self) -> str:
        """Where to log out, below the prefix."""
        return LOGOUT_URL

    @property
    def logout_handler(self) -> type[RequestHandler]:
        """Logs out."""
        return Logout
