"""The last transaction of a file, and whether that of a replica is among ours."""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage

from dqm_db.replication.errors import UnknownTransaction
from dqm_db.replication.section import clear_temporary_files
from dqm_db.volume.errors import DamagedData
from dqm_db.volume.transactions import NO_TRANSACTION, last_transaction

tids = st.binary(min_size=8, max_size=8)


def transaction(tid: bytes, body: bytes = b"", status: bytes = b" ") -> bytes:
    """One transaction of a Data.fs, written by hand."""
    length = 23 + len(body)
    return struct.pack(">8sQcHHH", tid, length, status, 0, 0, 0) + body + struct.pack(">Q", length)


@given(st.lists(st.tuples(tids, st.binary(max_size=200)), max_size=5), st.binary(max_size=60))
def test_the_last_complete_transaction(written: list[tuple[bytes, bytes]], tail: bytes) -> None:
    complete = b"FS21" + b"".join(transaction(*one) for one in written)
    file = io.BytesIO(complete + tail)
    expected = written[-1][0] if written else NO_TRANSACTION
    assert last_transaction(file, len(complete)) == expected


def test_an_empty_file_has_none() -> None:
    assert last_transaction(io.BytesIO(b""), 0) == NO_TRANSACTION
    assert last_transaction(io.BytesIO(b"FS21"), 4) == NO_TRANSACTION


@pytest.mark.parametrize(
    ("contents", "end"),
    [
        (b"FS21" + transaction(b"12345678")[:-1], None),
        (b"FS21" + transaction(b"12345678") + bytes(9), None),
        (b"FS21" + transaction(b"12345678"), 900),
        (b"FS21" + bytes(60), None),
        (b"FS21" + transaction(b"12345678", b"x" * 30)[20:], None),
        (b"FS21" + b"\xff" * 60, None),
        (b"FS21ab", None),
    ],
)
def test_damage_is_noticed(contents: bytes, end: int | None) -> None:
    with pytest.raises(DamagedData, match="no complete transaction ends at byte"):
        last_transaction(io.BytesIO(contents), end or len(contents))


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[FileStorage]:
    found = FileStorage(str(tmp_path / "Data.fs"))
    yield found
    found.close()


def commit(storage: FileStorage) -> bytes:
    metadata = TransactionMetaData()
    storage.tpc_begin(metadata)
    storage.store(storage.new_oid(), bytes(8), pickle.dumps(None) * 2, "", metadata)
    storage.tpc_vote(metadata)
    return storage.tpc_finish(metadata)


def test_file_storage_agrees(storage: FileStorage) -> None:
    assert last_transaction(storage._file, storage._pos) == storage.lastTransaction() == bytes(8)
    for _ in range(3):
        tid = commit(storage)
        assert last_transaction(storage._file, storage._pos) == tid


def test_what_file_storage_reports_after_a_crash_is_wrong(tmp_path: Path) -> None:
    """The reason for `last_transaction`: if this fails, FileStorage was mended."""
    path = tmp_path / "Data.fs"
    storage = FileStorage(str(path))
    kept = commit(storage)
    end = storage._pos
    lost = commit(storage)
    storage.close()
    with path.open("r+b") as file:
        file.seek(end + 16)
        file.write(b"c")  # voted, not finished
    Path(f"{path}.index").unlink()
    storage = FileStorage(str(path))
    assert storage._pos == end
    assert storage.lastTransaction() == lost
    assert last_transaction(storage._file, storage._pos) == kept
    storage.close()


def following(storage: FileStorage, tid: bytes) -> list[bytes]:
    """The tids that a replica with *tid* would be sent."""
    from dqm_db.replication.primary import CheckedIterator

    iterator = CheckedIterator(storage, None, tid)
    iterator.catch_up_then_stop()
    try:
        return [record.tid for record in iterator]
    finally:
        iterator._file.close()


@pytest.mark.filterwarnings("ignore:notifyAll")  # replaced in servers only
def test_a_replica_goes_on_from_any_transaction_of_ours(storage: FileStorage) -> None:
    written = [commit(storage) for _ in range(6)]
    assert following(storage, NO_TRANSACTION) == written
    for number, tid in enumerate(written):
        assert following(storage, tid) == written[number + 1 :]


def test_a_replica_with_a_transaction_of_its_own_is_refused(storage: FileStorage) -> None:
    from zc.zrs.primary import TidTooHigh

    written = [commit(storage) for _ in range(6)]
    for tid in written:
        for foreign in (int.from_bytes(tid, "big") + step for step in (-1, 1)):
            with pytest.raises((UnknownTransaction, TidTooHigh)):
                following(storage, foreign.to_bytes(8, "big"))


def test_a_replica_is_refused_by_an_empty_primary(storage: FileStorage) -> None:
    from zc.zrs.primary import TidTooHigh

    with pytest.raises(TidTooHigh):
        following(storage, b"12345678")


def test_leftovers_are_cleared_but_not_folders(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "secondaryxyzblob").write_bytes(b"half")
    clear_temporary_files(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
