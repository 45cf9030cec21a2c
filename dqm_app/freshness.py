"""How fresh what the pages show is: the last pull, and how far the database is behind the primary.

A replica that has lost its primary answers like any other. So each process asks the primary itself,
every few seconds and however many pages there are, for its last transaction, and compares that with
the last one that it has seen. Without an address of the primary, only the age of that is known.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import time
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from dqm_app.pulls import PullState
from dqm_app.settings import DashboardSettings
from dqm_app.system_page import Alarm
from dqm_db.errors import DatabaseUnavailable
from dqm_db.replication.addresses import Address
from dqm_db.server_answers import ask_last_transaction, transaction_time
from dqm_db.settings import SystemSettings, load
from dqm_db.tls import client_context

log = logging.getLogger(__name__)

LOOK_SECONDS = 3.0
"""Between two questions to the primary, and its time to answer one."""
MOMENT = 5.0
"""Seconds behind that nobody needs to know of: a commit is on its way, or the primary restarts."""
STALE_AFTER = 4
"""Times ``DQM_PULL_STALE`` without any change after which the database is stale, where there is no
primary to ask."""
REMEMBERED = 4096
"""Last transactions of the primary that are remembered while they are missing here."""


class Level(enum.StrEnum):
    """What the top bar makes of it."""

    OK = "ok"
    LATE = "late"  # amber
    STALE = "stale"  # red


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """How far the database is behind, as of a moment ago. Times are Unix seconds, UTC.

    Attributes
    ----------
    level : Level
    behind_since : float or None
        Since when the primary has something that is missing here; None: nothing is known to be.
    silent_since : float or None
        Since when the primary does not answer.
    changed_at : float or None
        Time of the last transaction here; only where there is no primary to ask.
    """

    level: Level = Level.OK
    behind_since: float | None = None
    silent_since: float | None = None
    changed_at: float | None = None

    @property
    def alarm(self) -> Hashable:
        """What pages must be told of at once."""
        return self.level, self.behind_since, self.silent_since, self.changed_at is None

    def sign(self) -> dict[str, Any]:
        """The state for JSON."""
        return {
            "level": self.level,
            "behind_since": self.behind_since,
            "silent_since": self.silent_since,
            "changed_at": self.changed_at,
        }


_NO_NEWS = ReplicaState(changed_at=0.0)


@dataclass(frozen=True, slots=True)
class Freshness:
    """What all pages of a process show in their top bar.

    Attributes
    ----------
    pulls : PullState
    replica : ReplicaState or None
        None until something is known.
    alarm : Alarm or None
        What is critical in the system.
    """

    pulls: PullState
    replica: ReplicaState | None
    alarm: Alarm | None = None

    def sign(self, pull_stale: float, now: float) -> dict[str, Any]:
        """``Page.freshness``; *pull_stale* is the age in seconds from which a pull is too old."""
        return {
            "pull": self.pulls.sign(pull_stale),
            "replica": None if self.replica is None else self.replica.sign(),
            "alarm": None if self.alarm is None else self.alarm.sign(),
            "now": now,
        }


class ReplicaLag:
    """Compares the last transaction here with those that the primary was seen to have.

    How long something has been missing is measured by this machine's clock, from when the primary
    was first seen to have it; only what was missing from the start is as old as its own time says.

    Parameters
    ----------
    settings : DashboardSettings
    """

    def __init__(self, settings: DashboardSettings) -> None:
        self._settings = settings
        self._moment = min(MOMENT, settings.lag_warn)
        self._here: bytes | None = None
        self._primary: deque[tuple[bytes, float]] = deque()
        self._last: bytes | None = None
        self._silent_since: float | None = None

    def seen_here(self, tid: bytes) -> None:
        """*tid* (8 bytes) is the last transaction of the database that the pages read."""
        self._here = tid

    def primary_has(self, tid: bytes, now: float) -> None:
        """The primary has answered with *tid* (8 bytes) at *now*."""
        self._silent_since = None
        if tid == self._last:
            return
        first = self._last is None
        if self._last is not None and tid < self._last:
            self._primary.clear()  # another database, or an older copy of it
        made = transaction_time(tid)
        since = min(now, made) if first and made is not None else now
        if len(self._primary) == REMEMBERED:  # how old the oldest is matters more
            self._primary.pop()
        self._primary.append((tid, since))
        self._last = tid

    def primary_is_silent(self, now: float) -> bool:
        """The primary has not answered at *now*; true if it did before, or was never asked."""
        news = self._silent_since is None
        if news:
            self._silent_since = now
        return news

    def state(self, now: float, *, pulled: bool) -> ReplicaState | None:
        """What is known at *now*; *pulled* tells whether there ever was a pull."""
        if self._here is None:
            return None
        if self._settings.primary is None:
            return self._unasked(now, pulled)
        if self._last is None and self._silent_since is None:
            return None
        while self._primary and self._primary[0][0] <= self._here:
            self._primary.popleft()
        behind = self._primary[0][1] if self._primary else None
        silent = self._silent_since
        if behind is not None and now - behind <= self._moment:
            behind = None
        if silent is not None and now - silent <= self._moment:
            silent = None
        level = Level.OK
        if behind is not None and now - behind > self._settings.lag_alert:
            level = Level.STALE
        elif any(
            since is not None and now - since > self._settings.lag_warn
            for since in (behind, silent)
        ):
            level = Level.LATE
        return ReplicaState(level, behind, silent)

    def _unasked(self, now: float, pulled: bool) -> ReplicaState | None:
        changed = transaction_time(self._here) if self._here is not None else None
        if changed is None:
            return None
        limit = self._settings.pull_stale
        age = now - changed
        level = Level.OK
        if pulled and age > STALE_AFTER * limit:
            level = Level.STALE
        elif pulled and age > limit:
            level = Level.LATE
        return ReplicaState(level, changed_at=changed)


class ReplicaWatch:
    """Keeps `state` up to date.

    Parameters
    ----------
    settings : DashboardSettings
    pulled : callable
        Whether there ever was a pull.
    changed : callable
        Called on the event loop when the pages should know: not for every transaction, which they
        hear of by what it brought.
    found : callable
        The primary that was found last among all servers. It may be another one by now than the
        one of the settings, which only says that a primary is to be asked; None: none was found.
    """

    def __init__(
        self,
        settings: DashboardSettings,
        pulled: Callable[[], bool],
        changed: Callable[[], None],
        found: Callable[[], Address | None] = lambda: None,
    ) -> None:
        self.state: ReplicaState | None = None
        self._found = found
        self._primary = settings.primary
        self._tls = client_context(load(SystemSettings))
        self._lag = ReplicaLag(settings)
        self._pulled = pulled
        self._changed = changed
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to ask; needs a running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._watch())

    def close(self) -> None:
        """Stop asking."""
        if self._task is not None:
            self._task.cancel()

    def state_when(self, *, is_down: bool) -> ReplicaState | None:
        """`state` of a database that does not answer now if *is_down*.

        Such a one is not known to be in step; what it was known to lack, it lacks still.
        """
        return None if is_down and self.state == ReplicaState() else self.state

    def seen_here(self, tid: bytes) -> None:
        """*tid* (8 bytes) is the last transaction of the database that the pages read."""
        self._lag.seen_here(tid)
        self._compare()

    async def _watch(self) -> None:
        while True:
            try:
                await self._ask()
                self._compare()
            except Exception:  # the pages go on without
                log.exception("comparing the database with its primary failed")
            await asyncio.sleep(LOOK_SECONDS)

    async def _ask(self) -> None:
        if self._primary is None:
            return
        primary = self._found() or self._primary
        try:
            tid = await ask_last_transaction(*primary, LOOK_SECONDS, self._tls)
        except DatabaseUnavailable as error:
            if self._lag.primary_is_silent(time.time()):
                log.warning("the primary does not say how far it is: %s", error)
        else:
            self._lag.primary_has(tid, time.time())

    def _compare(self) -> None:
        before, state = self.state, self._lag.state(time.time(), pulled=self._pulled())
        self.state = state
        if state is not None and state.alarm != (before or _NO_NEWS).alarm:
            self._changed()
