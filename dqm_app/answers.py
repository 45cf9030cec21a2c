"""The page and the files of it, with what browsers and proxies have to know about them."""

from __future__ import annotations

import mimetypes
from http import HTTPStatus
from typing import ClassVar

from bokeh.server.session import ServerSession
from bokeh.server.views.doc_handler import DocHandler
from bokeh.server.views.static_handler import StaticHandler
from tornado.web import HTTPError

from dqm_app.accounts.roles import Role
from dqm_app.assets import ASSETS, assets, caching
from dqm_app.inline_scripts import content_security_policy, page_headers
from dqm_app.login.access import Access, Guarded


class PageHandler(Guarded, DocHandler):
    """The page; it holds the token of one session, so that nothing on the way may keep it."""

    access: ClassVar[Access] = Access.VIEWER
    is_page: ClassVar[bool] = True

    async def get_session(self) -> ServerSession:  # type: ignore[override]
        """A new session each time, with the name of the user in its page.

        Bokeh would join a session that exists if the address names it: nobody here needs that.
        """
        asked = {"bokeh-token", "bokeh-session-id"} & self.request.arguments.keys()
        if asked or "Bokeh-Session-Id" in self.request.headers:
            raise HTTPError(HTTPStatus.FORBIDDEN)
        # the token stands in the page, where scripts could read the cookies of the login; `bokeh
        # serve` puts all of them into it, and has no option for none
        self.application._include_cookies = self.application._include_headers = []
        session: ServerSession = await super().get_session()  # type: ignore[misc]
        _ = self.xsrf_token  # gives the browser the cookie that its scripts send back
        name = "" if self.visitor is None else self.visitor.name
        may_fetch = self.visitor is not None and self.visitor.role >= Role.EXPERT
        session.document.template_variables.update(user=name, may_fetch=may_fetch)
        return session

    def set_default_headers(self) -> None:
        """What may run in the page, and who may see it."""
        policy = content_security_policy(f"{self.application.prefix}/{ASSETS}")
        for name, value in page_headers(policy).items():
            self.set_header(name, value)


class BokehFileHandler(Guarded, StaticHandler):
    """A file of BokehJS; browsers keep it when they asked for the version that is here.

    Tornado's own lets them keep whatever they get for a year: while one of two hosts has a newer
    release, that would be the file of the other one.
    """

    access: ClassVar[Access] = Access.OPEN

    async def get(self, path: str, include_body: bool = True) -> None:
        """A file; raises `HTTPError` 404 also for a path that no file can have."""
        if "\0" in path:
            raise HTTPError(HTTPStatus.NOT_FOUND)
        await super().get(path, include_body)

    def set_headers(self) -> None:
        """Say for how long browsers may keep it, in place of Tornado's own headers."""
        super().set_headers()
        (asked,) = self.request.arguments.get("v", [b""])[-1:]
        current = asked.decode("latin-1") == self._get_cached_version(str(self.absolute_path))
        self.clear_header("Expires")
        self.set_header("Cache-Control", caching(current=current))


class AssetHandler(Guarded):
    """Answers with a file from memory; the same for everybody."""

    access: ClassVar[Access] = Access.OPEN

    def get(self, name: str) -> None:
        """The file *name*; browsers keep it when they asked for this version."""
        asset = assets().get(name)
        if asset is None:
            raise HTTPError(HTTPStatus.NOT_FOUND)
        kind, _ = mimetypes.guess_type(name)
        self.set_header("Content-Type", kind or "application/octet-stream")
        this = self.get_query_argument("v", "") == asset.version
        self.set_header("Cache-Control", caching(current=this))
        self.write(asset.content)

    head = get
