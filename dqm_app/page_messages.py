"""What an open page may say to the server; of anything else not even a value is decoded.

Bokeh's protocol can do far more than our pages need: replace the document, make models, send arrays
and compressed bytes, which are unpacked without a limit. So each message is looked at while it is
still plain JSON. ``static/bridge.js`` and BokehJS itself are the other end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from bokeh.document import Document
from bokeh.models import DataRange1d, Range1d, Selection, Spacer

from dqm_app.bridge import Request

PULL = "PULL-DOC-REQ"
"""Asks for the document: once, when the page has just connected."""
PATCH = "PATCH-DOC"
"""Says what has changed in it."""
LONGEST_HEADER = 1000
"""Characters, with the metadata that nobody reads."""
EVENT_KINDS = frozenset({"ModelChanged", "MessageSent"})
LARGEST_INTEGER = 2**53
"""Scripts count no further."""
LARGEST_WRITTEN = 10**21
"""From here on scripts write whole numbers with an exponent; Python reads those as floats."""
WISHES = frozenset({"row", "column", "plot", "number"})
"""What views are asked for in the tags of a model: see ``static/plots_contents.js``."""
NO_NUMBERS = frozenset({"nan", "+inf", "-inf"})
"""How BokehJS writes what JSON cannot."""


class NotOfAPage(ValueError):
    """None of our pages says this."""


def _is_integer(value: object) -> bool:
    return type(value) is int and abs(value) <= LARGEST_INTEGER


def _is_number(value: object) -> bool:
    if isinstance(value, dict):
        known = value.keys() == {"type", "value"} and value["type"] == "number"
        return known and isinstance(value["value"], str) and value["value"] in NO_NUMBERS
    return type(value) is float or (type(value) is int and abs(value) <= LARGEST_WRITTEN)


def _are_indices(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_integer, value))


def _are_wishes(value: object) -> bool:
    """Tags of one mapping: ``[{"type": "map", "entries": [["row", 0], …]}]``."""
    if not (isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict)):
        return False
    (wish,) = value
    entries = wish.get("entries")
    return (
        wish.keys() == {"type", "entries"}
        and wish["type"] == "map"
        and isinstance(entries, list)
        and all(
            isinstance(entry, list)
            and len(entry) == 2
            and isinstance(entry[0], str)
            and entry[0] in WISHES
            and _is_integer(entry[1])
            for entry in entries
        )
    )


def _is_json(**fields: type | tuple[type, ...]) -> Callable[[object], bool]:
    """Whether a text is a JSON object with a number ``seq``, and these *fields* of these types."""

    def check(value: object) -> bool:
        if not isinstance(value, str):
            return False
        try:
            asked = json.loads(value)
        except (ValueError, RecursionError):
            return False
        return (
            isinstance(asked, dict)
            and _is_integer(asked.get("seq"))
            and all(isinstance(asked.get(name), kind) for name, kind in fields.items())
        )

    return check


LISTENED: Mapping[type, Mapping[str, Callable[[object], bool]]] = MappingProxyType(
    {
        Request: {
            "address": _is_json(query=dict),
            "search": _is_json(camera=(str, type(None)), text=str),
            "failures": _is_json(camera=str),
            "heartbeat": _is_integer,
        },
        Selection: {"indices": _are_indices},
        Range1d: {"start": _is_number, "end": _is_number},
        DataRange1d: {"start": _is_number, "end": _is_number},
        Spacer: {"tags": _are_wishes},
    }
)
"""What the server listens to, and which values it may have; BokehJS tells of other properties, too,
such as how large a figure is, and these are left out unread."""


def read_header(header: str, metadata: str) -> str:
    """The type of a message: `PULL` or `PATCH`.

    Raises
    ------
    ValueError, RecursionError
        It is no JSON.
    NotOfAPage
    """
    if len(header) + len(metadata) > LONGEST_HEADER:
        raise NotOfAPage("a long header")
    found = json.loads(header)
    kind = found.get("msgtype") if isinstance(found, dict) else None
    if kind not in (PULL, PATCH):
        raise NotOfAPage(f"a message {str(kind)[:40]!r}")
    if found.get("num_buffers"):
        raise NotOfAPage("a message with binary data")
    return kind


def wanted_changes(content: object, document: Document) -> list[dict[str, Any]]:
    """Those events of a `PATCH` to which the server listens, with nothing else in them.

    Models that are unknown are no fault: the server may have removed them a moment ago.

    Parameters
    ----------
    content : decoded JSON
        Of the message.
    document : Document
        That of the page.

    Raises
    ------
    NotOfAPage
    """
    events = content.get("events") if isinstance(content, dict) else None
    if not isinstance(events, list):
        raise NotOfAPage("changes that are none")
    found = [_wanted(event, document) for event in events]
    return [change for change in found if change is not None]


def _wanted(event: object, document: Document) -> dict[str, Any] | None:
    kind = event.get("kind") if isinstance(event, dict) else None
    if not (isinstance(event, dict) and isinstance(kind, str) and kind in EVENT_KINDS):
        raise NotOfAPage(f"an event {str(kind)[:40]!r}")
    if kind == "MessageSent":  # such as that the page is ready
        return None
    match event:
        case {"model": {"id": str(identity)}, "attr": str(name), "new": value}:
            model = document.models.get_by_id(identity)  # type: ignore[arg-type]
            is_good = LISTENED.get(type(model), {}).get(name)
            if is_good is None:
                return None
            if not is_good(value):
                raise NotOfAPage(f"a value that {type(model).__name__}.{name} cannot have")
            return {"kind": kind, "model": {"id": identity}, "attr": name, "new": value}
        case _:
            raise NotOfAPage("a change that is none")
