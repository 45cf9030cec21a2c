"""How the whole system is, as this process knows it: all servers, pulls, backups.

Each process asks all servers every few seconds, however many pages there are and whether or not one
shows it: `/metrics` tells it to monitors, and every page says what is critical.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain

from dqm_app.settings import DashboardSettings
from dqm_app.short_silence import ShortSilences
from dqm_db.errors import DatabaseUnavailable, DQMError, NoDataYet
from dqm_db.reader import Snapshot
from dqm_db.replication.addresses import Address
from dqm_db.status.collecting import Servers, ask_servers, primary_of
from dqm_db.status.judging import judge
from dqm_db.status.limits import Limits
from dqm_db.status.model import DatabaseFacts, Item, SystemStatus

log = logging.getLogger(__name__)

COLLECT_SECONDS = 10.0
"""Between two collections."""
LOOKED_AT_SECONDS = 3.0
"""The same while somebody looks at what is collected, or something has just fallen silent."""


class SystemWatch:
    """Keeps `status` up to date, beside the event loop and never in the way of a page.

    Parameters
    ----------
    settings : DashboardSettings
    servers : Servers
        Whom to ask.
    read : coroutine function
        Gives a snapshot to a function, in a thread, and returns its value.
    started : coroutine function
        Returns when it is known whether the database answers.

    Attributes
    ----------
    status : SystemStatus or None
        As of a few seconds ago; None until it was collected once.
    primary : Address or None
        Where clients connect to the primary that was found last; None: none was found.
    looked_at : bool
        Whether a page shows it now; set by whoever knows.
    """

    def __init__(
        self,
        settings: DashboardSettings,
        servers: Servers,
        read: Callable[[Callable[[Snapshot], DatabaseFacts]], Awaitable[DatabaseFacts]],
        started: Callable[[], Awaitable[None]],
    ) -> None:
        self.status: SystemStatus | None = None
        self.primary: Address | None = None
        self.looked_at = False
        self._limits = Limits.of(settings)
        self._silences = ShortSilences()
        self._servers = servers
        self._read = read
        self._started = started
        self._more: list[Callable[[], Awaitable[Sequence[Item]]]] = []
        self._listeners: list[Callable[[], None]] = []
        self._hastened = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to collect; needs a running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._collect_for_ever())

    def close(self) -> None:
        """Stop collecting."""
        if self._task is not None:
            self._task.cancel()

    def hasten(self) -> None:
        """Collect at once, since something has happened."""
        self._hastened.set()

    def ask_also(self, ask: Callable[[], Awaitable[Sequence[Item]]]) -> None:
        """Let *ask* judge something else with each collection."""
        self._more.append(ask)

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call *listener* on the event loop after each collection.

        Returns
        -------
        callable
            Ends that; a page calls it when it shows something else, or is gone.
        """
        self._listeners.append(listener)

        def stop() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return stop

    async def collect(self) -> SystemStatus:
        """Collect now."""
        asked = time.monotonic()
        servers, (facts, error), more = await asyncio.gather(
            ask_servers(self._servers),
            self._database_facts(),
            asyncio.gather(*(ask() for ask in self._more)),
        )
        now, own = time.time(), self._servers.certificate
        self.status = self._silences.forgive(
            judge(servers, facts, error, self._limits, now, own, chain.from_iterable(more)),
            "" if self.primary is None else str(self.primary),
            is_readable=not isinstance(error, DatabaseUnavailable),
            asked=asked,
            now=time.monotonic(),
        )
        primary = primary_of(servers)
        if primary is not None:
            self.primary = Address.read(primary.address, "a server")
        for listener in list(self._listeners):
            listener()
        return self.status

    @property
    def _pause(self) -> float:
        is_urgent = self.looked_at or self._silences.is_one
        return min(LOOKED_AT_SECONDS, COLLECT_SECONDS) if is_urgent else COLLECT_SECONDS

    async def _database_facts(self) -> tuple[DatabaseFacts | None, DQMError | None]:
        try:
            return await self._read(DatabaseFacts.read), None
        except NoDataYet:
            return DatabaseFacts(), None
        except DQMError as error:
            return None, error

    async def _collect_for_ever(self) -> None:
        await self._started()
        while True:
            self._hastened.clear()
            try:
                await self.collect()
            except Exception:  # the pages go on without
                log.exception("collecting the status of the system failed")
            with contextlib.suppress(TimeoutError):  # nothing has happened meanwhile
                async with asyncio.timeout(self._pause):
                    await self._hastened.wait()
