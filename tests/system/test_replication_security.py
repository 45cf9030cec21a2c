"""Strangers at the ports, and hostile clients: no server ever runs what they send."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ZODB
from processes import LOOPBACK, DatabaseServer, eventually, frame, free_port, read_frame
from ZODB.Connection import TransactionMetaData
from ZODB.POSException import ConflictError

pytestmark = pytest.mark.system


class Hostile:
    """Unpickled, it writes the id of the process that did so into *marker*."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        code = f"__import__('pathlib').Path({str(self.marker)!r}).write_text('ran')"
        return eval, (code,)


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """A file that no process may create; the pickle that would is shown to work first."""
    proof = tmp_path / "proof"
    pickle.loads(pickle.dumps(Hostile(proof)))
    assert proof.exists()
    path = tmp_path / "ran"
    yield path
    assert not path.exists(), "a server ran what a stranger sent"


@pytest.fixture(scope="module")
def primary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    with DatabaseServer(tmp_path_factory.mktemp("security"), "primary") as server:
        yield server


def store(storage: Any, oid: bytes, serial: bytes, data: bytes, extension: bytes = b"") -> bytes:
    """Commit one record by the storage's own methods; returns its tid."""
    metadata = TransactionMetaData("user", "description")
    metadata.extension = extension  # bytes are stored by the server as they are
    storage.tpc_begin(metadata)
    try:
        storage.store(oid, serial, data, "", metadata)
        storage.tpc_vote(metadata)
        return storage.tpc_finish(metadata)
    except BaseException:
        storage.tpc_abort(metadata)
        raise


def test_only_msgpack_is_spoken(primary: DatabaseServer, marker: Path) -> None:
    message = pickle.dumps((1, False, "ping", (Hostile(marker),)), 3)
    with socket.create_connection((LOOPBACK, primary.port), 10) as stranger:
        stream = stranger.makefile("rb")
        assert read_frame(stream) == b"M5"
        stranger.sendall(frame(b"Z5") + frame(message))
        with contextlib.suppress(ConnectionResetError):  # it hung up before it read everything
            assert stream.read() == b"", "the server answered"
        stream.close()
    primary.wait_for_log("refused the protocol b'Z5'")
    database = ZODB.DB(primary.client())  # others are still served
    database.close()


def test_hostile_records_run_nowhere(
    database_server: Callable[..., DatabaseServer], marker: Path
) -> None:
    primary = database_server("primary").start()
    hostile = pickle.dumps(Hostile(marker), 3)
    like_a_blob = pickle.dumps((Hostile(marker), "ZODB.blob", "Blob"), 3)
    storage = primary.client()
    oid = bytes(8)  # the root object: where a pack begins to follow references
    tid = store(storage, oid, bytes(8), hostile * 2)
    store(storage, storage.new_oid(), bytes(8), like_a_blob * 2)
    store(storage, storage.new_oid(), bytes(8), pickle.dumps(None, 2) * 2, hostile)

    # A conflict: the server would load all three versions to merge them.
    store(storage, oid, tid, hostile + pickle.dumps(1, 3))
    with pytest.raises(ConflictError):
        # Not by the client's methods, which would load them here.
        storage._call("tpc_begin", 1, b"", b"", b"", None, " ")
        storage._async("storea", oid, tid, hostile + pickle.dumps(2, 3), 1)
        if conflicts := storage._call("vote", 1):
            assert conflicts[0]["oid"] == oid
            raise ConflictError
    storage._call("tpc_abort", 1)

    # The server reads the extension for all of these.
    described = storage.undoInfo(0, -100)
    assert len(described) >= 4
    assert storage.history(oid, 10)
    assert storage._call("iterator_next", storage._call("iterator_start", tid, None))

    replica = database_server("replica", source=primary).start()
    replica.wait_for(primary)
    assert replica.contents() == primary.contents()
    reader = replica.client(read_only=True)
    assert len(reader.undoInfo(0, -100)) >= 4
    reader.close()

    before = primary.data_file.stat().st_size
    storage.pack(None, True)
    eventually(lambda: primary.data_file.stat().st_size < before, "the pack")
    storage.close()


def test_a_fake_primary_runs_nothing_in_a_replica(
    database_server: Callable[..., DatabaseServer], marker: Path
) -> None:
    with socket.create_server((LOOPBACK, free_port())) as fake:
        source = database_server("real", replication_port=fake.getsockname()[1])  # never started
        replica = database_server("replica", source=source).start()
        fake.settimeout(20)
        connection, _ = fake.accept()
        with connection:
            stream = connection.makefile("rb")
            assert read_frame(stream) == b"zrs2.1"
            assert read_frame(stream) == bytes(8)
            assert stream.read(4) == frame(b"")  # it asks for a sign of life
            connection.sendall(frame(pickle.dumps(Hostile(marker), 1)))
            assert stream.read(1) == b"", "the replica goes on listening"
            stream.close()
        replica.wait_for_log("is not allowed here, only plain data")
        connection, _ = fake.accept()  # it tries again
        connection.close()
        assert replica.last_transaction() == bytes(8)


def test_a_stock_secondary_hello_is_all_that_is_needed_to_read(primary: DatabaseServer) -> None:
    """Documents why the replication port belongs on loopback: there is no authentication."""
    storage = primary.client()
    secret = os.urandom(16).hex().encode()
    store(storage, storage.new_oid(), bytes(8), pickle.dumps(None, 3) + pickle.dumps(secret, 3))
    storage.close()
    received = b""
    with socket.create_connection((LOOPBACK, primary.replication_port), 10) as stranger:
        stranger.sendall(frame(b"zrs2.1") + frame(bytes(8)))
        while secret not in received:
            received += stranger.recv(1 << 16) or pytest.fail("the primary hung up")
