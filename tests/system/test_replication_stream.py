"""A primary, a replica started by `dqm`, and a chained replica started by stock `runzeo`."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import transaction
import ZODB
from BTrees.OOBTree import OOBTree
from processes import DatabaseServer, eventually
from ZODB.blob import Blob
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileIterator
from ZODB.POSException import ReadOnlyError

pytestmark = pytest.mark.system


class Chain(NamedTuple):
    primary: DatabaseServer
    replica: DatabaseServer
    tail: DatabaseServer

    def wait(self) -> None:
        self.replica.wait_for(self.primary)
        self.tail.wait_for(self.primary)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    directory = tmp_path_factory.mktemp("chain")
    primary = DatabaseServer(directory, "primary")
    replica = DatabaseServer(directory, "replica", source=primary, feeds=True)
    tail = DatabaseServer(directory, "tail", source=replica, stock=True)
    with primary, replica, tail:
        yield Chain(primary, replica, tail)


@pytest.fixture
def writer(chain: Chain, tmp_path: Path) -> Iterator[ZODB.DB]:
    database = ZODB.DB(chain.primary.client(blob_dir=str(tmp_path / "blob-cache"), wait_timeout=2))
    yield database
    database.close()


def put(database: ZODB.DB, key: str, value: object) -> None:
    with database.transaction() as connection:
        connection.root()[key] = value


def test_all_files_are_identical(chain: Chain, writer: ZODB.DB) -> None:
    manager = transaction.TransactionManager()
    connection = writer.open(manager)
    with manager as current:
        current.user = "müller"
        current.note("été ☃")
        current.setExtendedInfo("k", b"\x00\xff")
        current.setExtendedInfo("nested", [1, 2.5, None, {"x": ("y", True)}])
        connection.root()["identical"] = "first"
    with manager:
        connection.root()["blob"] = Blob(bytes(range(256)) * 700)  # three messages, one short
    with manager:
        connection.root()["identical"] = "second"
    writer.undo(writer.undoInfo(0, 1)[0]["id"], manager.get())
    manager.commit()
    connection.sync()
    assert connection.root()["identical"] == "first"
    connection.close()

    # The same dict pickled at protocol 0: read and written anew, the bytes would differ.
    extension = pickle.dumps({"odd": "x" * 10, "twice": ["x" * 10] * 2}, 0)
    metadata = TransactionMetaData("user", "description")
    metadata.extension = extension  # what the client sends; the server stores bytes as they are
    storage = writer.storage
    storage.tpc_begin(metadata)
    storage.store(storage.new_oid(), bytes(8), pickle.dumps(None, 3) * 2, "", metadata)
    storage.tpc_vote(metadata)
    storage.tpc_finish(metadata)

    chain.wait()
    contents = chain.primary.contents()
    assert len(contents) > 1
    assert chain.replica.contents() == contents
    assert chain.tail.contents() == contents
    last = list(FileIterator(str(chain.tail.data_file)))[-1]
    assert last.extension_bytes == extension


def test_a_blob_is_read_from_the_end_of_the_chain(
    chain: Chain, writer: ZODB.DB, tmp_path: Path
) -> None:
    data = bytes(range(256)) * 300
    put(writer, "original", Blob(data))
    chain.wait()
    reader = ZODB.DB(chain.tail.client(read_only=True, blob_dir=str(tmp_path / "tail-cache")))
    with reader.transaction() as connection, connection.root()["original"].open() as blob:
        assert blob.read() == data
    reader.close()


def test_an_open_client_of_the_replica_sees_new_transactions(chain: Chain, writer: ZODB.DB) -> None:
    put(writer, "news", 0)
    chain.wait()
    reader = ZODB.DB(chain.replica.client(read_only=True))
    connection = reader.open(transaction.TransactionManager())
    assert connection.root()["news"] == 0
    put(writer, "news", 1)

    def seen() -> bool:
        connection.sync()
        return connection.root()["news"] == 1

    eventually(seen, "the new value at a client of the replica")
    connection.close()
    reader.close()


def test_a_replica_refuses_writes(chain: Chain, writer: ZODB.DB) -> None:
    put(writer, "kept", 1)
    chain.wait()
    for server in (chain.replica, chain.tail):
        reader = ZODB.DB(server.client(read_only=True))
        with pytest.raises(ReadOnlyError), reader.transaction() as connection:
            connection.root()["kept"] = 2
        reader.close()
        # Past the client's own check, to the server's.
        storage = server.client(read_only=True)
        with pytest.raises(ReadOnlyError):
            storage._call("tpc_begin", 1, b"", b"", b"", None, " ")
        storage.close()
    assert chain.replica.contents() == chain.primary.contents()


def test_concurrent_inserts_are_merged_by_the_client(chain: Chain, writer: ZODB.DB) -> None:
    put(writer, "tree", OOBTree({"a": 1}))
    one, two = (writer.open(transaction.TransactionManager()) for _ in range(2))
    one.root()["tree"]["b"] = 2
    two.root()["tree"]["c"] = 3
    one.transaction_manager.commit()
    two.transaction_manager.commit()
    assert dict(two.root()["tree"]) == {"a": 1, "b": 2, "c": 3}
    one.close()
    two.close()
    chain.wait()
    assert chain.replica.contents() == chain.primary.contents()


def test_kill_9_of_the_primary(chain: Chain, writer: ZODB.DB) -> None:
    written = []

    def write() -> None:
        try:
            for number in range(1000):
                put(writer, f"burst {number % 5}", bytes(500_000))
                written.append(number)
        except Exception as error:  # the server is gone, as intended
            written.append(error)

    burst = threading.Thread(target=write)
    burst.start()
    eventually(lambda: len(written) >= 3, "three commits")
    chain.primary.kill()
    burst.join()
    assert isinstance(written[-1], Exception)
    chain.primary.start()
    eventually(writer.storage.is_connected, "the writer is connected again")
    put(writer, "after", "the crash")
    chain.wait()
    assert chain.replica.contents() == chain.primary.contents() == chain.tail.contents()
    with writer.transaction() as connection:
        assert connection.root()["after"] == "the crash"


def test_kill_9_of_the_replica_between_vote_and_finish(chain: Chain, writer: ZODB.DB) -> None:
    for number in range(3):
        put(writer, f"before {number}", number)
    chain.wait()
    lost = chain.replica.last_transaction()
    chain.replica.kill()
    # What such a kill leaves: the last transaction marked as voted for, no index that knows it.
    begin = [found._tpos for found in FileIterator(str(chain.replica.data_file))][-1]
    with chain.replica.data_file.open("r+b") as file:
        file.seek(begin + 16)
        file.write(b"c")
    Path(f"{chain.replica.data_file}.index").unlink(missing_ok=True)
    leftover = chain.replica.data_dir / "blobstorage" / "tmp" / "secondaryabcdefblob"
    leftover.write_bytes(b"half of a blob")

    chain.replica.start()
    chain.replica.wait_for_log("truncated, possibly")
    put(writer, "later", 1)
    chain.wait()
    assert lost in [found.tid for found in FileIterator(str(chain.replica.data_file))]
    assert chain.replica.contents() == chain.primary.contents()
    assert not leftover.exists()


def test_kill_9_of_the_replica_while_it_receives(chain: Chain, writer: ZODB.DB) -> None:
    for number in range(4):
        put(writer, f"blob {number}", Blob(bytes([number]) * 2_000_000))
        chain.replica.kill()
        chain.replica.start()
    chain.wait()
    assert chain.replica.contents() == chain.primary.contents() == chain.tail.contents()
    temporary = chain.replica.data_dir / "blobstorage" / "tmp"
    assert [path for path in temporary.iterdir() if path.is_file()] == []
