"""Addresses beside those of the Bokeh application itself.

They are added to the list from which Bokeh's server takes its top-level routes, so that plain
`bokeh serve dqm_app` has them as well as `dqm serve`.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar

import bokeh.server.urls
from bokeh.server.views.multi_root_static_handler import MultiRootStaticHandler
from bokeh.server.views.root_handler import RootHandler
from tornado.web import HTTPError, RequestHandler

from dqm_app.answers import AssetHandler, BokehFileHandler, PageHandler
from dqm_app.api.handlers import routes as api_routes
from dqm_app.assets import ASSETS, assets
from dqm_app.downloads.handlers import routes as download_routes
from dqm_app.health import HEALTH, METRICS, READY, HealthCheck, MetricsPage, ReadyCheck
from dqm_app.login.access import Access, Guarded
from dqm_app.login.account import (
    AccountPage,
    ChangePassword,
    CreateToken,
    EndSession,
    RevokeToken,
)
from dqm_app.login.pages import LoginPage, Logout
from dqm_app.login.provider import LOGIN_URL, LOGOUT_URL
from dqm_app.login.sockets import GuardedSocket

if TYPE_CHECKING:
    from bokeh.server.urls import URLRoutes

ENTRANCES = (r"/?", r"/bokeh_app/?")
ALIVE = r"/alive"
PAGE = r"/?"
WEBSOCKET = r"/ws"
FILES = r"/static/(.*)"
"""Of BokehJS for all pages, and of a page below its own address."""
ANYTHING = r"/.*"
EMBEDDING = (r"/autoload.js", r"/metadata")
UNUSED = (RootHandler, MultiRootStaticHandler)
"""Bokeh's list of applications, and files of its extensions: there are none."""


class Entrance(Guarded):
    """Leads to the application and keeps the query string."""

    access: ClassVar[Access] = Access.OPEN

    def get(self) -> None:
        """Redirect to the only application there is."""
        (path,) = self.application.app_paths
        query = f"?{self.request.query}" if self.request.query else ""
        self.redirect(f"{self.application.prefix}{path}{query}")

    head = get


class Nothing(Guarded):
    """Whatever is not there: Tornado's own says so without a word, and leads nowhere."""

    access: ClassVar[Access] = Access.OPEN

    async def prepare(self) -> None:
        """There is nothing, whoever asks for what; raises `HTTPError` 404."""
        raise HTTPError(HTTPStatus.NOT_FOUND)

    def check_xsrf_cookie(self) -> None:
        """Tornado may look before `prepare`; nothing is done."""


class NoFile(Guarded):
    """In place of Bokeh's own for the folder ``static``: our pages take those files from `ASSETS`.

    That one has no guard, and answers some addresses with a traceback in the log.
    """

    access: ClassVar[Access] = Access.OPEN

    def initialize(self, **_of_application: object) -> None:
        """Take what Bokeh gives to handlers below the page."""

    def get(self, _path: str) -> None:
        """There is nothing; raises `HTTPError` 404."""
        raise HTTPError(HTTPStatus.NOT_FOUND)

    head = get


class Alive(Guarded):
    """Says that the server answers; open pages ask when they have lost it."""

    access: ClassVar[Access] = Access.OPEN

    def get(self) -> None:
        """Answer ``alive`` at once."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.write("alive\n")

    head = get


def add_routes() -> None:
    """Put our routes before or instead of Bokeh's own; calling it again changes nothing."""
    assets()  # read now, before the processes part
    patterns = bokeh.server.urls.toplevel_patterns
    known = {pattern[1] for pattern in patterns}
    ours = [
        (ALIVE, Alive),
        (HEALTH, HealthCheck),
        (READY, ReadyCheck),
        (METRICS, MetricsPage),
        (LOGIN_URL, LoginPage),
        (LOGOUT_URL, Logout),
        (r"/account", AccountPage),
        (r"/account/session", EndSession),
        (r"/account/password", ChangePassword),
        (r"/account/token", CreateToken),
        (r"/account/revoke", RevokeToken),
        *api_routes(),
        *download_routes(),
        (rf"/{ASSETS}/([\w.]+)", AssetHandler),
        *((path, Entrance) for path in ENTRANCES),
    ]
    patterns[:0] = [route for route in ours if route[1] not in known]
    _replace(patterns, FILES, BokehFileHandler)
    patterns[:] = [route for route in patterns if route[1] not in (*UNUSED, Nothing)]
    patterns.append((ANYTHING, Nothing))  # after all others
    of_page = bokeh.server.urls.per_app_patterns
    _replace(of_page, PAGE, PageHandler)
    _replace(of_page, WEBSOCKET, GuardedSocket)
    if (FILES, NoFile) not in of_page:
        of_page.append((FILES, NoFile))
    # nothing here is put into the pages of others
    of_page[:] = [route for route in of_page if route[0] not in EMBEDDING]


def _replace(patterns: URLRoutes, path: str, handler: type[RequestHandler]) -> None:
    """Let *handler* answer where Bokeh's own did; it must be the only one there."""
    (at,) = [
        number
        for number, pattern in enumerate(patterns)
        if pattern[0] == path and issubclass(handler, pattern[1])
    ]
    patterns[at] = (path, handler)
