"""The two models through which the page and its session talk.

The page's controls are plain HTML; they write into `Request`, the session answers in `Page`. Each
property holds JSON text, so that one action of the user is one message in either direction.
``static/bridge.js`` is the other end.
"""

from __future__ import annotations

from bokeh.core.properties import Int, String
from bokeh.model import DataModel


class Request(DataModel):
    """Browser to server."""

    address = String(default="")
    """``{"seq": int, "query": {key: text}, "theme": "light"|"dark"}``: show this page."""

    search = String(default="")
    """``{"seq": int, "camera": str, "text": str}``: list the runs that match."""

    failures = String(default="")
    """``{"seq": int, "camera": str}``: list what could not be stored; of all cameras: ""."""

    heartbeat = Int(default=0)
    """Counts up; the session copies it into ``Page.heartbeat``."""


class Page(DataModel):
    """Server to browser."""

    state = String(default="")
    """What is shown: see ``dqm_app.session.Session`` for the keys."""

    quantities = String(default="[]")
    """``[{"name", "title", "section", "available", "reason"}, …]`` of the view in front."""

    runs = String(default="")
    """Answer to a search: ``{"seq", "camera", "text", "rows", "matching", "total"}``."""

    health = String(default="")
    """``{"state", "since", "text"}`` of the database, see ``dqm_app.service.Health``."""

    freshness = String(default="")
    """The last pull and how far the replica is, see ``dqm_app.freshness.Freshness.sign``."""

    failures = String(default="")
    """Answer to a request for them: ``{"seq"}`` and ``dqm_app.pulls.listing``, or ``"error"``."""

    heartbeat = Int(default=0)
