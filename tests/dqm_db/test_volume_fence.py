"""The fence in the database: read without loading anything, written beside what is there."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import transaction
import ZODB
from hypothesis import example, given
from hypothesis import strategies as st
from persistent.mapping import PersistentMapping
from ZODB.blob import Blob
from ZODB.FileStorage import FileStorage
from ZODB.utils import load_current, z64

from dqm_db.model import ROOT_KEY, Root
from dqm_db.volume.errors import DamagedFence
from dqm_db.volume.fence import DEMOTED, FENCE_KEY, Fence, InertUnpickler

PROMOTED = Fence(3, "serving", "host.example", 1764.5, "promoted")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "Data.fs"


@pytest.fixture
def storage(path: Path, tmp_path: Path) -> Iterator[FileStorage]:
    opened = FileStorage(str(path), blob_dir=str(tmp_path / "blobs"))
    yield opened
    opened.close()


@contextlib.contextmanager
def root_of(path: Path, tmp_path: Path) -> Iterator[Any]:
    database = ZODB.DB(FileStorage(str(path), blob_dir=str(tmp_path / "blobs")))
    with contextlib.closing(database), database.transaction() as connection:
        yield connection.root()


def fill(path: Path, tmp_path: Path, **values: Any) -> None:
    with root_of(path, tmp_path) as root:
        root.update(values)


def test_a_database_into_which_nothing_was_written_is_in_epoch_0(storage: FileStorage) -> None:
    assert Fence.of_storage(storage) == Fence(0, "serving")


def test_a_database_without_fence_is_in_epoch_0(path: Path, tmp_path: Path) -> None:
    fill(path, tmp_path, **{ROOT_KEY: Root(1.0), "text": ("a", {"b": 1})})
    storage = FileStorage(str(path), read_only=True)
    assert Fence.of_storage(storage) == Fence(0, "serving")
    storage.close()


@pytest.mark.parametrize("empty", [True, False])
def test_what_is_written_is_read_and_all_else_stays(
    path: Path, tmp_path: Path, empty: bool
) -> None:
    if not empty:
        fill(path, tmp_path, **{ROOT_KEY: Root(1.0), "text": "here", "blob": Blob(b"bytes")})
    storage = FileStorage(str(path), blob_dir=str(tmp_path / "blobs"))
    PROMOTED.write(storage)
    assert Fence.of_storage(storage) == PROMOTED
    demoted = Fence(3, DEMOTED, "host.example", 1800.0, "demoted")
    demoted.write(storage)
    assert Fence.of_storage(storage) == demoted
    storage.close()  # it was left open
    with root_of(path, tmp_path) as root:
        assert root[FENCE_KEY]["epoch"] == 3
        if not empty:
            assert root[ROOT_KEY].created == 1.0
            assert root["text"] == "here"
            with root["blob"].open() as blob:
                assert blob.read() == b"bytes"


def test_a_foreign_root_is_read_but_not_written_to(path: Path, tmp_path: Path) -> None:
    fill(path, tmp_path, when=datetime(2024, 5, 3), names={"a", "b"}, nested=[(1, (2, 3))])
    storage = FileStorage(str(path), blob_dir=str(tmp_path / "blobs"))
    assert Fence.of_storage(storage) == Fence()
    before = path.read_bytes()
    with pytest.raises(DamagedFence, match=r"datetime\.datetime"):
        PROMOTED.write(storage)
    storage.close()
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "value",
    [
        7,
        {"epoch": 1},
        {"epoch": True, "state": "serving", "host": "", "at": 0.0, "reason": ""},
        {"epoch": -1, "state": "serving", "host": "", "at": 0.0, "reason": ""},
        {"epoch": 2**40, "state": "serving", "host": "", "at": 0.0, "reason": ""},
        {"epoch": 1, "state": "asleep", "host": "", "at": 0.0, "reason": ""},
    ],
)
def test_a_fence_that_is_none_is_refused(path: Path, tmp_path: Path, value: object) -> None:
    fill(path, tmp_path, **{FENCE_KEY: value})
    storage = FileStorage(str(path), read_only=True)
    with pytest.raises(DamagedFence):
        Fence.of_storage(storage)
    storage.close()


class Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.target),))


CLASS = pickle.dumps(None)


@pytest.mark.parametrize("protocol", range(5))
def test_a_record_that_does_something_when_loaded_does_nothing(
    tmp_path: Path, protocol: int
) -> None:
    target = tmp_path / "touched"
    state = pickle.dumps({"data": {"x": Hostile(target)}, "y": Hostile(target)}, protocol)
    record = io.BytesIO()
    pickler = pickle.Pickler(record, protocol)  # one for both, as in ZODB
    pickler.dump(Hostile(target))
    pickler.dump({"data": {"x": Hostile(target)}, "y": Hostile(target)})
    assert Fence.of_record(record.getvalue()) == Fence()
    assert not target.exists()
    with pytest.raises(FileExistsError):  # it would have made the folder, and once more
        pickle.loads(state)


def test_a_pickle_cannot_change_what_the_next_one_is_read_with() -> None:
    # BUILD on a class with a state for its slots sets attributes of the class
    text = b"c__main__\nx\n(N}X\x05\x00\x00\x00extra" + b"K\x07stb."
    InertUnpickler(io.BytesIO(text)).load()
    found = InertUnpickler(io.BytesIO(b"c__main__\nx\n.")).load()
    assert not hasattr(found, "extra")


HASHED = b"}" + b")" + b"\x85" * 400_000 + b"Ns."


@given(st.binary(max_size=200), st.binary(max_size=400))
@example(CLASS, HASHED)  # a key that would overflow the stack
@example(CLASS, b"Nr\xff\xff\xff\x7f.")  # a memo of 32 GB
@example(CLASS, b"\x82\x01.")  # a class by its number
@example(b"", b"")
def test_no_bytes_do_more_than_be_refused(first: bytes, second: bytes) -> None:
    try:
        fence = Fence.of_record(first + second)
    except DamagedFence:
        return
    assert fence == Fence()


OPCODES = st.lists(
    st.sampled_from([getattr(pickle, name) for name in dir(pickle) if name.isupper()])
    .filter(lambda code: isinstance(code, bytes) and len(code) == 1)
    .flatmap(lambda code: st.binary(max_size=4).map(lambda operand: code + operand))
).map(b"".join)


@given(OPCODES)
def test_no_program_of_a_pickle_does_more_than_be_refused(program: bytes) -> None:
    try:
        fence = Fence.of_record(CLASS + program + b".")
    except DamagedFence:
        return
    assert fence == Fence()


def test_the_record_is_read_as_zodb_wrote_it(path: Path, tmp_path: Path) -> None:
    fill(path, tmp_path, **{ROOT_KEY: Root(1.0)})
    storage = FileStorage(str(path), blob_dir=str(tmp_path / "blobs"))
    PROMOTED.write(storage)
    data, _ = load_current(storage, z64)
    storage.close()
    assert b"PersistentMapping" in io.BytesIO(data).getvalue()
    assert Fence.of_record(data) == PROMOTED


def test_a_transaction_says_what_it_is(path: Path, storage: FileStorage) -> None:
    PROMOTED.write(storage)
    *_, last = storage.iterator()
    assert last.description == b"fence: epoch 3, serving, promoted"
    assert transaction.get() is not None


def test_a_root_may_hold_objects_of_its_own_class(path: Path, tmp_path: Path) -> None:
    """The pickle then refers from the state to the class before it."""
    fill(path, tmp_path, other=PersistentMapping())
    storage = FileStorage(str(path), blob_dir=str(tmp_path / "blobs"))
    assert Fence.of_storage(storage) == Fence(0, "serving")
    PROMOTED.write(storage)
    assert Fence.of_storage(storage) == PROMOTED
    storage.close()
