"""A server that is there but does not answer: nobody may wait for it for ever."""

import signal
import threading
import time

import pytest
from processes import eventually
from synthetic_runs import a_run
from ZODB.Connection import TransactionMetaData

from dqm_db.errors import DatabaseUnavailable
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import open_database
from dqm_db.writer import open_writer, writer_lock

pytestmark = pytest.mark.system

CAMERA = "NectarCAMQM"


@pytest.fixture
def primary(database_server):
    server = database_server("primary").start()
    yield server
    if server.is_running:
        server.send(signal.SIGCONT)


@pytest.fixture
def settings(primary, tmp_path):
    return load(DatabaseSettings, db_url=primary.url, db_patience=0.5, lock_dir=tmp_path / "locks")


def in_a_thread(function):
    """The exception that *function* ends with, in a list that fills when it has ended."""
    ended = []

    def run():
        try:
            function()
        except BaseException as error:
            ended.append(error)
        else:
            ended.append(None)

    threading.Thread(target=run, daemon=True).start()
    return ended


def test_a_reader_is_let_go_and_reads_again_later(primary, settings):
    with open_writer(settings) as writer:
        writer.store_run(a_run(1), None)
        writer.store_run(a_run(2), None)
    with open_database(settings) as database:
        with database.snapshot() as snapshot:
            assert snapshot.runs(CAMERA) == [1, 2]
        primary.send(signal.SIGSTOP)

        def read():
            with database.snapshot() as snapshot:
                snapshot.pixel_maps(CAMERA, 2)

        ended = in_a_thread(read)
        eventually(lambda: ended, "a reader of a frozen server is let go")
        assert isinstance(ended[0], DatabaseUnavailable)
        assert not database.is_connected()
        primary.send(signal.SIGCONT)
        eventually(database.is_connected, "the client finds the server again")
        with database.snapshot() as snapshot:
            assert snapshot.header(CAMERA, 2).run == 2


def test_a_writer_lets_its_lock_go(primary, settings):
    with open_writer(settings) as writer:
        writer.store_run(a_run(1), None)

    def write():
        with open_writer(settings) as writer:
            primary.send(signal.SIGSTOP)
            writer.store_run(a_run(2), None)

    ended = in_a_thread(write)
    eventually(lambda: ended, "a writer to a frozen server is let go")
    assert isinstance(ended[0], DatabaseUnavailable)
    with writer_lock(settings):
        pass
    primary.send(signal.SIGCONT)
    eventually(primary._answers, "the server goes on")
    with open_writer(settings) as writer:
        writer.store_run(a_run(3), None)
        assert writer.stored(CAMERA, 1) is not None


def test_waiting_for_another_commit_is_no_reason_to_cut(primary, settings):
    """The server answers meanwhile, though the answer to the commit takes longer than patience."""
    with open_writer(settings) as writer:
        writer.store_run(a_run(1), None)
        other = primary.client()
        hanging = TransactionMetaData()
        other.tpc_begin(hanging)
        other.store(other.new_oid(), bytes(8), b"cX\nY\n.N.", "", hanging)
        other.tpc_vote(hanging)
        ended = in_a_thread(lambda: writer.store_run(a_run(2), None))
        time.sleep(4 * settings.db_patience)
        assert not ended
        assert writer.database.is_connected()
        other.tpc_abort(hanging)
        other.close()
        eventually(lambda: ended, "the commit goes on")
        assert ended == [None]
        with writer.database.snapshot() as snapshot:
            assert snapshot.runs(CAMERA) == [1, 2]
