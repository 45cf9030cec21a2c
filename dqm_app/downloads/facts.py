"""How the shelf of baskets is, and what somebody should look at: for monitors."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from dqm_app.downloads.basket import State
from dqm_db.status.limits import Limits
from dqm_db.status.model import Item, Level
from dqm_db.status.words import duration, size


@dataclass(frozen=True, slots=True)
class ShelfFacts:
    """What is on the shelf.

    Attributes
    ----------
    baskets : mapping of State to int
        How many there are.
    bytes, most_bytes : int
        What they take of the disk, or will; and what they may take.
    waiting_since : float or None
        Since when the oldest waits that nobody builds, Unix seconds; None: none does.
    idle_since : float or None
        Since when, meanwhile, nothing at all has been built: workers are gone. None likewise.
    """

    baskets: Mapping[State, int]
    bytes: int
    most_bytes: int
    waiting_since: float | None = None
    idle_since: float | None = None

    @classmethod
    def of(cls, seen: list[tuple[State, float]], taken: int, most: int) -> ShelfFacts:
        """Of the state of each basket, and since when it is so."""
        waiting = min((at for state, at in seen if state is State.WAITING), default=None)
        worked = max((at for state, at in seen if state is not State.WAITING), default=0.0)
        return cls(
            Counter(state for state, _ in seen),
            taken,
            most,
            waiting,
            None if waiting is None else max(waiting, worked),
        )

    def idle_seconds(self) -> float:
        """For so long nobody has built what waits; 0 when nothing does."""
        return 0.0 if self.idle_since is None else max(0.0, time.time() - self.idle_since)


def judge_baskets(facts: ShelfFacts, limits: Limits) -> Item:
    """What is to be said of them."""
    key, title, idle = "baskets", "Baskets of runs", facts.idle_seconds()
    if idle > limits.baskets_warning:
        waiting = facts.baskets.get(State.WAITING, 0)
        text = (
            f"No worker has built anything for {duration(idle)}, and {waiting} "
            f"{'waits' if waiting == 1 else 'wait'}: see whether dqm worker runs with the "
            "DQM_DOWNLOADS_QUEUE of the dashboard, and its log."
        )
        return Item(Level.WARNING, key, title, text, value=idle, unit="s")
    count = sum(facts.baskets.values())
    text = f"{count} on the disk, {size(facts.bytes)} of {size(facts.most_bytes)}."
    return Item(Level.OK, key, title, text, value=idle, unit="s")
