"""Runs for the tests of plots and views, as snapshots of a database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqm_app.catalogues import Catalogues
from dqm_app.plots.pixels import PixelSource
from dqm_app.theme import themes
from dqm_app.views import View, ViewContext
from dqm_app.views.base import Ask
from dqm_db.content import Kind, Quantity, RunContent
from dqm_db.reader import Snapshot
from dqm_db.storage import Database
from ingest import summaries

EVENTS = 20_000
TIMELINE = "CAMERA-BADPIXTIMELINE-PHY-HIGH-GAIN"
TRIGGER = "TRIGGER-EVENTS-ALL"


def long_timeline() -> Quantity:
    """20,000 events, every tenth of the other class, one spike in event 12,345."""
    of_class = np.arange(EVENTS) % 10 != 0
    values = np.where(of_class, 30 / 1855 + (np.arange(EVENTS) % 7) / 1855, 0.0)
    values[12_345] = 0.5
    return Quantity(
        TIMELINE,
        Kind.EVENT_TIMELINE,
        {TIMELINE: values, "of_class": of_class},
        summary=summaries.event_timeline(values, of_class),
    )


def long_trigger(tai_minus_utc: float = 37.0) -> Quantity:
    """20,000 events 1 ms apart; events 5,000 and 15,000 come 2.5 ms before the one before them."""
    time = 1.75e9 + 1e-3 * np.arange(EVENTS)
    time[[5_000, 15_000]] -= 3.5e-3
    ids = 2 + np.arange(EVENTS, dtype=np.int64)
    return Quantity(
        TRIGGER,
        Kind.TRIGGER_EVENTS,
        {"Timestamps": time + tai_minus_utc, "IDs": ids},
        summary=summaries.trigger_events(time, ids),
    )


def with_quantities(content: RunContent, *quantities: Quantity, run: int) -> RunContent:
    """*content* as another run with some quantities replaced or added."""
    kept = [old for old in content.quantities if old.name not in {q.name for q in quantities}]
    return replace(
        content,
        header=replace(content.header, run=run),
        quantities=(*kept, *quantities),
    )


class Fetches:
    """A `Fetch` that answers when told to, from the newest request of each key."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.waiting: dict[str, tuple[Callable[[Snapshot], Any], Callable[[Any], None]]] = {}

    def __call__(
        self, loader: Callable[[Snapshot], Any], then: Callable[[Any], None], key: str
    ) -> None:
        self.waiting[key] = (loader, then)

    def answer(self) -> int:
        """Carry out what waits; returns how many there were."""
        waiting, self.waiting = self.waiting, {}
        for loader, then in waiting.values():
            with self._database.snapshot() as snapshot:
                value = loader(snapshot)
            then(value)
        return len(waiting)


def a_context(database: Database, theme: str = "light") -> tuple[ViewContext, Fetches]:
    """A context of a session, and what its views fetch."""
    fetches = Fetches(database)
    return ViewContext(themes()[theme], PixelSource(), fetches), fetches


def load_view(
    database: Database, view: type[View], run: int, quantity: str | None = None, **options: str
) -> Any:
    """What *view* loads of a sample run."""
    with database.snapshot() as snapshot:
        runs = Catalogues().renewed(snapshot)["NectarCAMQM"]
        ask = Ask(run, quantity, runs, options)
        return view.load(snapshot, snapshot.header("NectarCAMQM", run), ask)


def same(found: Sequence[float] | NDArray, expected: Sequence[float] | NDArray) -> bool:
    """Whether two arrays are equal bit for bit, NaN included."""
    return np.array_equal(np.asarray(found), np.asarray(expected), equal_nan=True)
