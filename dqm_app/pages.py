"""What one page asks for, and what it shows."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dqm_app.address import Place
from dqm_app.service import Service
from dqm_app.theme import themes
from dqm_app.views import VIEWS
from dqm_app.views.base import Ask, NothingRead, NothingToShow
from dqm_db.content import RunHeader
from dqm_db.errors import DQMError
from dqm_db.reader import Snapshot
from dqm_db.records import QuantityEntry

log = logging.getLogger(__name__)

FACTS_SECONDS = 1.0
"""How long a view that needs nothing of the database waits for the facts of the run beside it."""


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
    version : hashable
        See `dqm_app.views.base.View.version`.
    header : RunHeader or None
        None: it could not be read, and the view does without.
    quantities : tuple of QuantityEntry
    unavailable : str or None
        Why the view has nothing to show.
    deleted : bool
        Whether the run is not stored any more.
    """

    place: Place
    identity: tuple[Any, ...]
    version: Hashable
    header: RunHeader | None
    quantities: tuple[QuantityEntry, ...]
    unavailable: str | None
    deleted: bool

    @property
    def run(self) -> Hashable:
        """Equal for two that are of the same stored version of the same run."""
        return (self.place.camera, self.place.run, self.identity)

    @property
    def key(self) -> Hashable:
        """Equal for two that look the same in their view."""
        place = self.place
        run = (place.run, self.identity) if VIEWS[place.view].of_run else None
        return (place.camera, run, self.version, place.options, place.quantity)


def another_quantity(asked: str, shown: Shown) -> str:
    """Says that the quantity *asked* for does not exist in the view."""
    view = VIEWS[shown.place.view]
    titles = {choice.name: choice.title for choice in view.quantities(shown.quantities)}
    quantity = shown.place.quantity or ""
    return (
        f"There is no quantity “{asked[:60]}” in “{view.title}”; "
        f"“{titles.get(quantity, quantity)}” is shown instead."
    )


Facts = tuple[RunHeader, tuple[QuantityEntry, ...]]
"""Header of a run, and what it holds."""


class PageReader:
    """Reads what pages show, from memory when it was read before."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def read(self, place: Place, identity: tuple[Any, ...], ask: Ask) -> tuple[Shown, Any]:
        """What *place* shows: the facts of its run, and its view's data unless it has none.

        Raises
        ------
        DatabaseUnavailable
        Exception
            Whatever the view's `load` raises.
        """
        view = VIEWS[place.view]
        version = view.version(ask)
        run = (place.camera, place.run, identity)
        if not view.of_database:
            place = replace(place, quantity=None)
            facts = await self._facts_if_there(run, place)
            return Shown(place, identity, version, *facts, None, deleted=False), NothingRead()
        if view.of_run:
            # both from one snapshot: the run may be replaced at any moment
            key: tuple[Hashable, ...] = (*run, place.view, version, place.options)
            (header, quantities), data = await self._service.read(
                (*key, place.quantity), lambda snapshot: _read_page(snapshot, place, ask)
            )
        else:
            key = (place.camera, place.view, version, place.options)
            header, quantities = await self._service.read(
                run, lambda snapshot: _read_facts(snapshot, place)
            )
            data = await self._service.read(
                (*key, place.quantity), lambda snapshot: _read_view(snapshot, place, header, ask)
            )
        unavailable = str(data) if isinstance(data, NothingToShow) else None
        if unavailable is None:
            if place.quantity != data.quantity:  # from now on the page asks for it by its name
                found = ((header, quantities), data) if view.of_run else data
                self._service.remember((*key, data.quantity), found)
            place = replace(place, quantity=data.quantity)
        return Shown(place, identity, version, header, quantities, unavailable, deleted=False), data

    async def _facts_if_there(
        self, run: Hashable, place: Place
    ) -> tuple[RunHeader | None, tuple[QuantityEntry, ...]]:
        """The facts of the run, for a view that does not wait for the database."""
        try:
            async with asyncio.timeout(FACTS_SECONDS):
                return await self._service.read(run, lambda snapshot: _read_facts(snapshot, place))
        except (TimeoutError, DQMError) as error:
            log.info("%s run %d: shown without its facts: %s", place.camera, place.run, error)
            return None, ()


def _read_page(snapshot: Snapshot, place: Place, ask: Ask) -> tuple[Facts, Any]:
    facts = _read_facts(snapshot, place)
    return facts, _read_view(snapshot, place, facts[0], ask)


def _read_facts(snapshot: Snapshot, place: Place) -> Facts:
    return (
        snapshot.header(place.camera, place.run),
        snapshot.quantities(place.camera, place.run),
    )


def _read_view(snapshot: Snapshot, place: Place, header: RunHeader, ask: Ask) -> Any:
    """The view's data, or why there are none."""
    try:
        return VIEWS[place.view].load(snapshot, header, ask)
    except NothingToShow as reason:
        return reason
