"""What one page asks for, and what it shows."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from dqm_app.address import Place
from dqm_app.theme import themes
from dqm_app.views import VIEWS
from dqm_app.views.base import NothingToShow
from dqm_db.content import RunHeader
from dqm_db.reader import Snapshot
from dqm_db.records import QuantityEntry


@dataclass(frozen=True, slots=True)
class Wish:
    """A request for a page.

    ``opened`` tells that the address was just opened rather than reached from within the page;
    ``notes`` are what has to be said about it for as long as it stands, e.g. that another run than
    the one asked for is shown.
    """

    seq: int
    query: Mapping[str, str]
    theme: str
    opened: bool = False
    notes: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Wish:
        """Read ``Request.address``; raises `ValueError` when it is not what our page sends."""
        raw = json.loads(text)
        if not isinstance(raw, dict) or not isinstance(raw.get("query"), dict):
            raise ValueError("a request for a page must have a query")
        query = {str(key): str(value)[:200] for key, value in raw["query"].items()}
        theme = str(raw.get("theme"))
        theme = theme if theme in themes() else "light"
        return cls(int(raw["seq"]), query, theme, raw.get("opened") is True)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page shows: a place, with the quantity that its view chose, and the run's facts.

    Attributes
    ----------
    place : Place
    identity : tuple
        Which stored version of the run.
    header : RunHeader
    quantities : tuple of QuantityEntry
    unavailable : str or None
        Why the view has nothing to show.
    deleted : bool
        Whether the run is not stored any more.
    """

    place: Place
    identity: tuple[Any, ...]
    header: RunHeader
    quantities: tuple[QuantityEntry, ...]
    unavailable: str | None
    deleted: bool

    @property
    def key(self) -> Hashable:
        """Equal for two that look the same in their view."""
        return (self.place.camera, self.place.run, self.identity, self.place.quantity)


def another_quantity(asked: str, shown: Shown) -> str:
    """Says that the quantity *asked* for does not exist in the view."""
    view = VIEWS[shown.place.view]
    titles = {choice.name: choice.title for choice in view.quantities(shown.quantities)}
    quantity = shown.place.quantity or ""
    return (
        f"There is no quantity “{asked[:60]}” in “{view.title}”; "
        f"“{titles.get(quantity, quantity)}” is shown instead."
    )


def read_page(snapshot: Snapshot, place: Place) -> tuple[RunHeader, tuple[QuantityEntry, ...], Any]:
    """Header, quantities and the view's data (or why there are none), all of one state."""
    header = snapshot.header(place.camera, place.run)
    quantities = snapshot.quantities(place.camera, place.run)
    try:
        data = VIEWS[place.view].load(snapshot, header, place.quantity)
    except NothingToShow as reason:
        data = reason
    return header, quantities, data
