"""Pages of their own, without Bokeh, that work without scripts: forms, and what went wrong."""

from __future__ import annotations

import functools
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from tornado.web import RequestHandler

from dqm_app.assets import ASSETS, addresses
from dqm_app.inline_scripts import first_paint, form_page_policy, page_headers
from dqm_app.login.browsers import browser_in_words
from dqm_app.theme import themes
from dqm_db.status.words import utc_minute

if TYPE_CHECKING:
    from bokeh.server.tornado import BokehTornado

RETRY_SECONDS = 10
"""After which it is worth to ask again for what could not be reached."""
UNREACHABLE = (
    "The accounts cannot be reached just now, so nobody can be let in. Please try again in a "
    "moment; pages that are open go on. Should it last, tell the admin, to whom the log of the "
    "dashboard says why."
)
STRANGE_HOST = (
    "The dashboard does not know itself by the name that is in the address. Use the address that "
    "you were given, or ask the admin to add this one to DQM_ALLOWED_ORIGINS."
)
SENTENCES = {
    HTTPStatus.UNAUTHORIZED: "Log in first.",
    HTTPStatus.FORBIDDEN: "Your account may not do this, or the page before was open for too long: "
    "go back, load it anew, and try again. An admin can change what you may do.",
    HTTPStatus.NOT_FOUND: "There is nothing at this address, or not any more.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Something is wrong here; the log of the dashboard says "
    "what. Please tell the admin.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The dashboard has too much to do just now. Please try again "
    "in a moment.",
}
"""What is said of an error where nobody said more."""
MAY_NOT_SEE = "Your account may not see this. An admin can change that."
"""In place of it where nothing was sent that could be too old."""


@functools.cache
def templates() -> Environment:
    """What is put into the pages is text and never HTML."""
    environment = Environment(
        loader=PackageLoader("dqm_app", "templates"), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["utc"] = utc_minute
    environment.filters["browser"] = browser_in_words
    return environment


def finish_with(handler: RequestHandler, template: str, **values: Any) -> None:
    """Answer with a page that is for this browser alone."""
    handler.set_header("Content-Type", "text/html; charset=utf-8")
    for name, value in page_headers(form_page_policy()).items():
        handler.set_header(name, value)
    application: BokehTornado = handler.application  # type: ignore[assignment]
    prefix = application.prefix
    handler.finish(
        templates()
        .get_template(template)
        .render(
            root=prefix,
            assets=f"{prefix}/{ASSETS}",
            styles=addresses("css"),
            first_paint=first_paint(),
            themes={name: theme.css_variables() for name, theme in themes().items()},
            **values,
        )
    )


def finish_with_error(handler: RequestHandler, status_code: int, sentence: str = "") -> None:
    """Say what went wrong: with a page to a browser, in a line of text to a program."""
    try:
        phrase = HTTPStatus(status_code).phrase
    except ValueError:
        phrase = "Error"
    asks = handler.request.method in ("GET", "HEAD")
    said = sentence or SENTENCES.get(status_code, "")  # type: ignore[call-overload]
    if not sentence and asks and status_code == HTTPStatus.FORBIDDEN:
        said = MAY_NOT_SEE
    if "text/html" in handler.request.headers.get("Accept", ""):
        again = asks and status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
        values = {"status": status_code, "phrase": phrase, "sentence": said, "again": again}
        finish_with(handler, "error.html", **values)
        return
    handler.set_header("Content-Type", "text/plain; charset=utf-8")
    handler.finish(f"{status_code} {phrase}{': ' if said else ''}{said}\n")
