"""What all sessions of one dashboard process share: the database, its readers, what was read, and
the watch for new data.

Everything here runs on the event loop except the reads, which run in a few threads; nothing on the
loop ever waits for the database. A `Service` must be made after the fork.
"""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from dqm_app.cache import ByteCache
from dqm_app.catalogues import Catalogues
from dqm_app.database_health import Health, State
from dqm_app.freshness import Freshness, ReplicaWatch
from dqm_app.memory import trim_memory
from dqm_app.meters import Meters, NoMeters
from dqm_app.pulls import PullState, PullWatch
from dqm_app.run_list import RunListFile
from dqm_app.settings import DashboardSettings
from dqm_app.system_page import SystemPage
from dqm_app.system_watch import SystemWatch
from dqm_db.errors import DatabaseUnavailable, DQMError, NoDataYet
from dqm_db.reader import Snapshot
from dqm_db.status.collecting import NO_SERVERS, Servers
from dqm_db.storage import Database

log = logging.getLogger(__name__)

T = TypeVar("T")
STARTING_SECONDS = 3.0
REOPEN_SECONDS = 2.0
TRIM_SECONDS = 2.0
SLOW_SECONDS = 1.5
_MISSING = object()


class Watcher(Protocol):
    """A session, as the service sees it."""

    def database_changed(self) -> None:
        """The health or the catalogues are new; called on the event loop."""

    def status_changed(self) -> None:
        """Only the health or the freshness is new, and nothing needs to be read again."""

    def system_changed(self) -> bool:
        """What is known of the whole system is new; whether the page shows it."""

    def close(self) -> None:
        """The page is gone."""


class Service:
    """The shared part of one dashboard process.

    Parameters
    ----------
    settings : DashboardSettings
    open_database : callable
        Opens the database; called in a thread, again after a failure. It need not wait for a
        server that is down.
    servers : Servers
        All servers of the database; none where it is read without one.
    meters : Meters
        Counts sessions and reads; nothing is counted without.
    system_page : SystemPage
        What is said of `system`.

    Attributes
    ----------
    catalogues : Catalogues
        As of the newest transaction seen; kept while the database is down.
    run_list : RunListFile
        What the settings name.
    system : SystemWatch
        How the whole system is.
    """

    def __init__(
        self,
        settings: DashboardSettings,
        open_database: Callable[[], Database],
        servers: Servers = NO_SERVERS,
        meters: Meters | None = None,
        system_page: SystemPage | None = None,
    ) -> None:
        self.settings = settings
        self.system_page = system_page or SystemPage()
        self.run_list = RunListFile(settings.run_list)
        self._health = Health(State.STARTING, time.time())
        self._slow_since: list[float] = []
        self.catalogues = Catalogues()
        self._open_database = open_database
        self._database: Database | None = None
        self._seen: bytes | None = None
        self._meters = meters or NoMeters()
        self._sessions: set[str] = set()
        self._cache = ByteCache(settings.cache_bytes)
        self._reading: dict[Hashable, asyncio.Future] = {}
        self._watchers: weakref.WeakValueDictionary[str, Watcher] = weakref.WeakValueDictionary()
        self._threads = ThreadPoolExecutor(settings.read_threads, thread_name_prefix="dqm-read")
        # what needs no database must not queue behind reads that hang
        self._searchers = ThreadPoolExecutor(1, thread_name_prefix="dqm-search")
        self._deadlines: set[asyncio.Timeout] = set()
        self._answered = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None
        self._pulls = PullWatch(self._run_aside, self._tell_status)
        self._replica = ReplicaWatch(
            settings,
            lambda: self.pulls.pull is not None,
            self._tell_status,
            lambda: self.system.primary,
        )
        self.system = SystemWatch(settings, servers, self._run_aside, self.started)
        self.system.listen(self._system_collected)
        self._trim_handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to watch the database; needs a running event loop."""
        self._watch = asyncio.get_running_loop().create_task(self._watch_database())
        self._replica.start()
        self.system.start()

    def close(self) -> None:
        """Stop watching and close the database; reads that wait are cancelled."""
        if self._watch is not None:
            self._watch.cancel()
        self._pulls.close()
        self._replica.close()
        self.system.close()
        if self._trim_handle is not None:
            self._trim_handle.cancel()
        for threads in (self._threads, self._searchers):
            threads.shutdown(wait=False, cancel_futures=True)
        if self._database is not None:
            self._database.close()
            self._database = None

    async def started(self) -> None:
        """Return when it is known whether the database answers: at once, or after a few seconds."""
        await self._answered.wait()

    def subscribe(self, name: str, watcher: Watcher) -> None:
        """Tell *watcher* about changes for as long as something else keeps it alive.

        *name* is the id of its session.
        """
        self._watchers[name] = watcher

    def page_opened(self, name: str) -> None:
        """The session *name* has a page; one that was only asked for never gets any."""
        if name in self._watchers and name not in self._sessions:
            self._sessions.add(name)
            self._meters.session_opened()

    def session_closed(self, name: str) -> None:
        """The page of a session is gone: stop its work, and soon give memory back to the system."""
        watcher = self._watchers.pop(name, None)
        if watcher is not None:
            watcher.close()
        if name in self._sessions:
            self._sessions.remove(name)
            self._meters.session_closed()
        if self._trim_handle is None:
            loop = asyncio.get_running_loop()
            self._trim_handle = loop.call_later(TRIM_SECONDS, self._trim)

    @property
    def health(self) -> Health:
        """State of the database; `State.WAITING` while a read takes unusually long."""
        if self._slow_since and self._health.state in (State.OK, State.EMPTY):
            return Health(State.WAITING, self._slow_since[0])
        return self._health

    @property
    def pulls(self) -> PullState:
        """The last pull and the number of failures, as of a moment ago."""
        return self._pulls.state

    @property
    def freshness(self) -> Freshness:
        """The last pull, how far the database is behind the primary, and what is critical."""
        replica = self._replica.state_when(is_down=self._health.state is State.DOWN)
        return Freshness(self._pulls.state, replica, self.system_page.alarm)

    @property
    def last_transaction(self) -> bytes | None:
        """Id (8 bytes) of the last transaction that was read; None while nothing can be read."""
        return self._seen

    @property
    def sessions(self) -> int:
        """Sessions that are told about changes."""
        return len(self._watchers)

    # ---- reading -------------------------------------------------------------------------------

    async def read(self, key: Hashable, loader: Callable[[Snapshot], T]) -> T:
        """What *loader* makes of a snapshot, from memory when it was read before.

        Sessions that ask for the same *key* at the same time share one read. *key* must name the
        stored version of a run, not only its number, since runs can be replaced.

        Raises
        ------
        DatabaseUnavailable
        Exception
            Whatever *loader* raises.
        """
        value = self._cache.get(key, _MISSING)
        if value is not _MISSING:
            return value
        reading = self._reading.get(key)
        if reading is None:
            reading = asyncio.ensure_future(self.run(loader))
            self._reading[key] = reading
            reading.add_done_callback(lambda future: self._was_read(key, future))
        return await asyncio.shield(reading)

    def remember(self, key: Hashable, value: Any) -> None:
        """Let `read` answer *value* for *key* too."""
        if self._cache.get(key, _MISSING) is _MISSING:
            self._cache.put(key, value)

    async def run(self, loader: Callable[[Snapshot], T]) -> T:
        """What *loader* makes of a snapshot; runs in a thread and is not remembered.

        Fails at once while the database is down, and when it goes down meanwhile.

        Raises
        ------
        DatabaseUnavailable
        Exception
            Whatever *loader* raises.
        """
        if self._health.state is State.DOWN:
            raise DatabaseUnavailable(self._health.text)
        return await self._read(loader)

    async def _read(self, loader: Callable[[Snapshot], T]) -> T:
        with self._meters.reading():
            return await self._read_in_time(loader)

    async def _read_in_time(self, loader: Callable[[Snapshot], T]) -> T:
        database = self._database
        if database is None:
            raise DatabaseUnavailable(self._health.text or "the database is not open yet")
        loop = asyncio.get_running_loop()
        since = time.time()
        slow = loop.call_later(SLOW_SECONDS, self._waits, since)
        deadline = asyncio.timeout(self.settings.read_patience)
        self._deadlines.add(deadline)
        try:
            async with deadline:
                return await loop.run_in_executor(self._threads, lambda: _read(database, loader))
        except TimeoutError:
            raise DatabaseUnavailable(
                f"the database does not answer since {time.time() - since:.1f} s"
            ) from None
        finally:
            self._deadlines.discard(deadline)
            slow.cancel()
            self._waits_no_more(since)

    async def _run_aside(self, loader: Callable[[Snapshot], T]) -> T:
        # as `run`, but no page waits for it: it may take its time without a word about it
        database = self._database
        if database is None or self._health.state is State.DOWN:
            raise DatabaseUnavailable(self._health.text or "the database is not open yet")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: _read(database, loader))

    def compute(self, function: Callable[[], T]) -> Awaitable[T]:
        """The result of *function*, which does not use the database, run in a thread."""
        return asyncio.get_running_loop().run_in_executor(self._searchers, function)

    def _waits(self, since: float) -> None:
        self._slow_since.append(since)
        self._tell_status()

    def _waits_no_more(self, since: float) -> None:
        if since in self._slow_since:
            self._slow_since.remove(since)
            self._tell_status()

    def _was_read(self, key: Hashable, future: asyncio.Future) -> None:
        del self._reading[key]
        if not future.cancelled() and future.exception() is None:
            self._cache.put(key, future.result())

    # ---- watching ------------------------------------------------------------------------------

    async def _watch_database(self) -> None:
        while True:
            try:
                changed = await self._look()
            except Exception:
                log.exception("watching the database failed; it is opened again")
                self._reopen()
                changed = self._set_health(
                    State.DOWN, "reading the database failed; the log of the dashboard says why"
                )
            if changed:
                self._tell_watchers()
            await asyncio.sleep(
                self.settings.watch_interval if self._database is not None else REOPEN_SECONDS
            )

    def _tell_watchers(self) -> None:
        # a loop variable of `_watch_database` would keep the last session alive for ever
        for watcher in list(self._watchers.values()):
            watcher.database_changed()

    def _tell_status(self) -> None:
        for watcher in list(self._watchers.values()):
            watcher.status_changed()

    def _system_collected(self) -> None:
        if self.system.status is not None and self.system_page.renew(self.system.status):
            self._tell_status()
        shown = [watcher.system_changed() for watcher in list(self._watchers.values())]
        self.system.looked_at = any(shown)

    async def _look(self) -> bool:
        """Whether the health or the catalogues changed."""
        try:
            if self._database is None:
                loop = asyncio.get_running_loop()
                self._database = await loop.run_in_executor(self._threads, self._open_database)
            database = self._database
            if not database.is_connected():
                starting = self._health.state is State.STARTING
                if starting and time.time() - self._health.since < STARTING_SECONDS:
                    return False
                self._seen = None
                return self._set_health(State.DOWN, "The database does not answer.")
            transaction = database.last_transaction()
            self._replica.seen_here(transaction)
            if transaction == self._seen and self._health.state in (State.OK, State.EMPTY):
                return False
            before = self.catalogues
            self.catalogues = await self._read(before.renewed)
            self._seen = transaction
            self._pulls.look()
            if self.catalogues:
                new_health = self._set_health(State.OK)
            else:
                new_health = self._set_health(State.EMPTY, "No run has been ingested yet.")
            return new_health or self.catalogues is not before
        except NoDataYet as error:
            self._seen = None
            return self._set_health(State.EMPTY, _sentence(error))
        except DatabaseUnavailable as error:
            self._seen = None
            return self._set_health(State.DOWN, _sentence(error))
        except DQMError as error:
            self._seen = None
            return self._set_health(State.FAULT, _sentence(error))

    def _set_health(self, state: State, text: str = "") -> bool:
        if (state, text) == (self._health.state, self._health.text):
            return False
        since = self._health.since if state is self._health.state else time.time()
        log.info("database: %s %s", state, text)
        self._health = Health(state, since, text)
        self.system.hasten()
        self._answered.set()
        if state is State.DOWN:  # nothing that is being read now will come
            now = asyncio.get_running_loop().time()
            for deadline in self._deadlines:
                if not deadline.expired():
                    deadline.reschedule(now)
        return True

    def _reopen(self) -> None:
        database, self._database, self._seen = self._database, None, None
        if database is not None:
            database.close()

    def _trim(self) -> None:
        self._trim_handle = None
        trim_memory()


def _read(database: Database, loader: Callable[[Snapshot], T]) -> T:
    with database.snapshot() as snapshot:
        return loader(snapshot)


def _sentence(error: Exception) -> str:
    text = str(error).strip().rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."
