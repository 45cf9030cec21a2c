"""The shared part of a dashboard process: watching the database, reading once for all."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest
from fake_database import FIRST_READS, SETTINGS, FakeDatabase, until
from synthetic_runs import a_run

from dqm_app.database_health import State
from dqm_app.freshness import ReplicaState
from dqm_app.memory import trim_memory
from dqm_app.pulls import PullState
from dqm_app.service import Service
from dqm_db.errors import DatabaseUnavailable, ForeignDatabase
from dqm_db.ingestion import Failure, Pull
from dqm_db.storage import open_database
from dqm_db.writer import Writer, open_writer


class Recorder:
    """A session that only notes what it was told."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.states: list[State] = []
        self.pulls: list[PullState] = []
        self.closed = False

    def database_changed(self) -> None:
        self.states.append(self.service.health.state)

    def status_changed(self) -> None:
        self.pulls.append(self.service.pulls)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def writer(file_settings) -> Iterator[Writer]:
    with open_writer(file_settings) as writer:
        yield writer


def serving(
    database: object, scenario: Callable[[Service], Awaitable[None]], **settings: object
) -> None:
    """Run *scenario* with a service on *database*, which may be an error that opening raises."""

    def opened() -> object:
        if isinstance(database, Exception):
            raise database
        return database

    async def run() -> None:
        service = Service(SETTINGS.model_copy(update=settings), opened)
        service.start()
        try:
            await scenario(service)
        finally:
            service.close()

    asyncio.run(run())


def test_new_runs_reach_the_sessions(writer):
    async def scenario(service: Service) -> None:
        recorder = Recorder(service)
        service.subscribe("id", recorder)
        await until(lambda: service.health.state is State.EMPTY)
        writer.store_run(a_run(6001), None)
        await until(lambda: "NectarCAMQM" in service.catalogues)
        assert service.health.state is State.OK
        told = len(recorder.states)
        writer.store_run(a_run(6002), None)
        await until(lambda: 6002 in service.catalogues["NectarCAMQM"])
        await until(lambda: len(recorder.states) > told)

    serving(FakeDatabase(writer), scenario)


def test_without_a_new_transaction_nothing_is_read(writer):
    writer.store_run(a_run(6001), None)
    database = FakeDatabase(writer)

    async def scenario(service: Service) -> None:
        await until(lambda: database.snapshots == FIRST_READS)
        await asyncio.sleep(0.2)
        assert database.snapshots == FIRST_READS

    serving(database, scenario)


def test_a_pull_that_found_nothing_is_not_taken_for_new_runs(writer):
    writer.store_run(a_run(6001), None)
    database = FakeDatabase(writer)

    async def scenario(service: Service) -> None:
        recorder = Recorder(service)
        service.subscribe("id", recorder)
        await until(lambda: database.snapshots == FIRST_READS)
        told, catalogues = list(recorder.states), service.catalogues
        for number in range(3):
            writer.note_pull(Pull(number, number + 1.0))
            await until(lambda: service.pulls.pull == Pull(number, number + 1.0))  # noqa: B023
        assert recorder.states == told
        assert service.catalogues is catalogues
        assert [state.pull.finished for state in recorder.pulls] == [1.0, 2.0, 3.0]
        writer.note_pull(Pull(2.0, 3.0))  # a transaction, the same pull
        before = database.snapshots
        await until(lambda: database.snapshots == before + 2)
        await asyncio.sleep(0.05)
        assert len(recorder.pulls) == 3

    serving(database, scenario)


def test_a_first_file_that_fails_is_known_although_there_are_no_runs(writer):
    async def scenario(service: Service) -> None:
        await until(lambda: service.health.state is State.EMPTY)
        writer.note_failure(Failure("NectarCAMQM", 6001, "a", "Corrupt", "bad", 2, 1.0, 2.0, None))
        await until(lambda: service.pulls.quarantined == 1)
        assert service.health.state is State.EMPTY

    serving(FakeDatabase(writer), scenario)


def test_what_is_down_is_not_in_step(writer, monkeypatch):
    database = FakeDatabase(writer)
    writer.store_run(a_run(6001), None)

    async def primary_has(*_: object) -> bytes:
        return writer.database.last_transaction()

    monkeypatch.setattr("dqm_app.freshness.ask_last_transaction", primary_has)

    async def scenario(service: Service) -> None:
        await until(lambda: service.freshness.replica == ReplicaState())
        database.up = False
        await until(lambda: service.health.state is State.DOWN)
        assert service.freshness.replica is None
        database.up = True
        await until(lambda: service.freshness.replica == ReplicaState())

    serving(database, scenario, primary_zeo="127.0.0.1:1")


def test_a_database_that_goes_and_comes_back(writer):
    writer.store_run(a_run(6001), None)
    database = FakeDatabase(writer)

    async def scenario(service: Service) -> None:
        recorder = Recorder(service)
        service.subscribe("id", recorder)
        await until(lambda: service.health.state is State.OK)
        database.up = False
        await until(lambda: service.health.state is State.DOWN)
        since = service.health.since
        await asyncio.sleep(0.05)
        assert service.health.since == since
        assert "does not answer" in service.health.text
        assert 6001 in service.catalogues["NectarCAMQM"], "what was known stays"
        database.up = True
        await until(lambda: service.health.state is State.OK)
        assert recorder.states[-3:] == [State.OK, State.DOWN, State.OK]

    serving(database, scenario)


@pytest.mark.parametrize(
    ("error", "state", "text"),
    [
        (DatabaseUnavailable("it is down"), State.DOWN, "It is down."),
        (ForeignDatabase("it is not ours"), State.FAULT, "It is not ours."),
        (RuntimeError("a bug"), State.DOWN, "the log of the dashboard says why"),
    ],
)
def test_a_database_that_cannot_be_read_is_tried_again(writer, error, state, text):
    writer.store_run(a_run(6001), None)
    database = FakeDatabase(writer)
    database.error = error

    async def scenario(service: Service) -> None:
        await until(lambda: service.health.state is state)
        assert text in service.health.text
        database.error = None
        await until(lambda: service.health.state is State.OK)

    serving(database, scenario)


def test_a_database_that_cannot_be_opened():
    async def scenario(service: Service) -> None:
        await until(lambda: service.health.state is State.DOWN)
        assert service.health.text == "No such file."
        with pytest.raises(DatabaseUnavailable, match="No such file"):
            await service.run(lambda snapshot: snapshot.cameras())

    serving(DatabaseUnavailable("no such file"), scenario)


def test_one_key_is_read_once_for_all_who_ask(writer):
    writer.store_run(a_run(6001), None)

    async def scenario(service: Service) -> None:
        await until(lambda: service.health.state is State.OK)
        threads = []

        def loader(snapshot: object) -> str:
            threads.append(threading.current_thread())
            return snapshot.header("NectarCAMQM", 6001).camera

        answers = await asyncio.gather(*(service.read("key", loader) for _ in range(20)))
        answers.append(await service.read("key", loader))
        assert answers == ["NectarCAMQM"] * 21
        assert len(threads) == 1
        assert threads[0] is not threading.main_thread()

    serving(FakeDatabase(writer), scenario)


def test_a_failed_read_is_not_remembered(writer):
    writer.store_run(a_run(6001), None)

    async def scenario(service: Service) -> None:
        await until(lambda: service.health.state is State.OK)

        def fails(_snapshot: object) -> None:
            raise ValueError("bad")

        for _ in range(2):
            with pytest.raises(ValueError, match="bad"):
                await service.read("key", fails)
        assert await service.read("key", lambda _snapshot: 1) == 1

    serving(FakeDatabase(writer), scenario)


def test_a_session_that_gives_up_does_not_spoil_the_read_of_others(writer):
    writer.store_run(a_run(6001), None)

    async def scenario(service: Service) -> None:
        await until(lambda: service.health.state is State.OK)
        go = threading.Event()

        def loader(_snapshot: object) -> int:
            go.wait(10)
            return 1

        first = asyncio.create_task(service.read("key", loader))
        second = asyncio.create_task(service.read("key", loader))
        await asyncio.sleep(0.02)
        first.cancel()
        await asyncio.sleep(0.02)
        go.set()
        assert await second == 1

    serving(FakeDatabase(writer), scenario)


def test_a_server_that_hangs_is_reported_instead_of_waited_for(writer):
    writer.store_run(a_run(6001), None)
    go = threading.Event()

    async def scenario(service: Service) -> None:
        await until(lambda: service.health.state is State.OK)
        with pytest.raises(DatabaseUnavailable, match="does not answer"):
            await service.run(lambda _snapshot: go.wait(20))
        go.set()

    serving(FakeDatabase(writer), scenario, read_patience=0.1)


def test_sessions_are_not_kept_alive(writer):
    async def scenario(service: Service) -> None:
        recorder = Recorder(service)
        service.subscribe("id", recorder)
        assert service.sessions == 1
        del recorder
        assert service.sessions == 0
        service.session_closed("id")

    serving(FakeDatabase(writer), scenario)


def test_a_session_that_ends_is_closed_and_forgotten(writer):
    async def scenario(service: Service) -> None:
        recorder = Recorder(service)
        service.subscribe("id", recorder)
        service.session_closed("id")
        assert recorder.closed
        assert service.sessions == 0

    serving(FakeDatabase(writer), scenario)


def test_closing_closes_the_database(writer):
    database = FakeDatabase(writer)

    async def scenario(service: Service) -> None:
        await until(lambda: service.health.state is State.EMPTY)

    serving(database, scenario)
    assert database.closed


def test_a_real_database_in_a_file(file_settings):
    with open_writer(file_settings) as writer:
        writer.store_run(a_run(6001), None)
    database = open_database(file_settings, must_answer=False)

    async def scenario(service: Service) -> None:
        await until(lambda: service.health.state is State.OK)
        assert await service.run(lambda snapshot: snapshot.cameras()) == ("NectarCAMQM",)

    serving(database, scenario)


class Counting:
    """Counts what a service does."""

    def __init__(self) -> None:
        self.open = self.opened = 0
        self.reads: list[str] = []

    def session_opened(self) -> None:
        self.open += 1
        self.opened += 1

    def session_closed(self) -> None:
        self.open -= 1

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.reads.append(type(error).__name__)
            raise
        self.reads.append("fine")


def test_pages_and_reads_are_counted_once(writer):
    writer.store_run(a_run(6001), None)
    meters = Counting()

    async def run() -> None:
        service = Service(SETTINGS, lambda: FakeDatabase(writer), meters=meters)
        service.start()
        try:
            await until(lambda: service.health.state is State.OK)
            recorder = Recorder(service)
            service.subscribe("asked for", recorder)
            service.subscribe("open", recorder)
            for _ in range(2):  # each request of a page says so
                service.page_opened("open")
            service.page_opened("gone already")
            assert (meters.open, meters.opened) == (1, 1)
            for name in ("open", "open", "asked for"):
                service.session_closed(name)
            assert (meters.open, meters.opened) == (0, 1)
            before = len(meters.reads)
            for _ in range(2):
                await service.read("runs", lambda snapshot: snapshot.runs("NectarCAMQM"))
            with pytest.raises(ZeroDivisionError):
                await service.run(lambda _: 1 / 0)
            assert meters.reads[before:] == ["fine", "ZeroDivisionError"], "memory is no read"
        finally:
            service.close()

    asyncio.run(run())


def test_trim_memory_can_be_called():
    trim_memory()
