"""``Page.state``, the answer to a request for a page: a JSON object.

::

    seq            the request that it answers
    address        {key: text}, what the address bar should say
    message        {"level": "warning"|"error", "text"} or null: what could not be done
    cameras        [name, …]
    camera, run    what is shown; null before anything was
    older, newer   neighbouring runs, the nearest first
    newest         number of the newest run of the camera; total: how many there are
    newest_at      when that ended, else started, Unix seconds UTC; newest_verdict: its status
    header         the facts of the run, see `dqm_app.header`; null before a run was shown, and
                   where they cannot be read and the view does without
    verdict        status of the run, see `dqm_app.verdicts`; null when it was not judged
    view           name of the view in front; quantity: what it shows
    unavailable    why the view has nothing to show, or null
"""

from __future__ import annotations

from typing import Any

from dqm_app.catalogues import Catalogues
from dqm_app.header import facts
from dqm_app.pages import Shown, Wish
from dqm_app.views import VIEWS

NEIGHBOURS = 20


def blank(wish: Wish, cameras: Catalogues, message: str, *, failed: bool) -> dict[str, Any]:
    """The state of a page that shows no run.

    Parameters
    ----------
    wish
        What was asked for.
    cameras
        What there is.
    message
        What could not be done; empty: all was.
    failed
        Whether that is an error.
    """
    level = "error" if failed else "warning"
    return {
        "seq": wish.seq,
        "address": dict(wish.query),
        "message": {"level": level, "text": message} if message else None,
        "cameras": sorted(cameras),
        "camera": None,
        "run": None,
        "older": [],
        "newer": [],
        "newest": None,
        "newest_at": None,
        "newest_verdict": None,
        "total": 0,
        "header": None,
        "verdict": None,
        "view": None,
        "quantity": None,
        "unavailable": None,
    }


def described(shown: Shown, cameras: Catalogues, *, failed: bool) -> dict[str, Any]:
    """What *shown* puts in the place of the blanks; with *failed* the address stays as it was."""
    place = shown.place
    state: dict[str, Any] = {
        "camera": place.camera,
        "run": place.run,
        "header": None if shown.header is None else facts(shown.header),
        "view": place.view,
        "quantity": place.quantity,
        "unavailable": shown.unavailable,
    }
    if not failed:  # the address bar keeps what failed, so that a reload tries it again
        state["address"] = place.address().pairs()
    runs = cameras.get(place.camera)
    if runs is not None:
        older, newer = runs.neighbours(place.run, NEIGHBOURS)
        state |= {
            "older": older,
            "newer": newer,
            "newest": runs.newest,
            "newest_at": runs.newest_at,
            "newest_verdict": runs.verdict(runs.newest),
            "total": len(runs),
            "verdict": runs.verdict(place.run),
        }
    return state


def choices(shown: Shown) -> list[dict[str, Any]]:
    """``Page.quantities``: what can be chosen in the view that is shown."""
    return [
        {
            "name": choice.name,
            "title": choice.title,
            "section": choice.section,
            "available": choice.available,
            "reason": choice.reason,
        }
        for choice in VIEWS[shown.place.view].quantities(shown.quantities)
    ]
