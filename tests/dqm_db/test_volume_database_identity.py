"""When a database was created, read without loading anything, whatever became of its volume."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ZODB
from hypothesis import example, given
from hypothesis import strategies as st
from ZODB.FileStorage import FileStorage
from ZODB.POSException import POSKeyError
from ZODB.utils import load_current, z64

from dqm_db.model import ROOT_KEY, Root
from dqm_db.volume.database_identity import created
from dqm_db.volume.errors import DamagedData
from dqm_db.volume.fence import SERVING, Fence

MADE = 1764132371.6180339
ROOT = pickle.dumps("persistent.mapping.PersistentMapping")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[ZODB.DB]:
    with contextlib.closing(ZODB.DB(FileStorage(str(path)))) as database:
        yield database


def put(path: Path, key: str, value: Any) -> None:
    with opened(path) as database, database.transaction() as connection:
        connection.root()[key] = value


def created_in(path: Path) -> float | None:
    with contextlib.closing(FileStorage(str(path), read_only=True)) as storage:

        def record_of(oid: bytes) -> bytes | None:
            try:
                return load_current(storage, oid)[0]  # type: ignore[no-any-return]
            except POSKeyError:
                return None

        return created(record_of)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "Data.fs"


def test_it_stays_whatever_is_written_packed_and_promoted(path: Path) -> None:
    put(path, ROOT_KEY, Root(MADE))
    assert created_in(path) == MADE
    with opened(path) as database, database.transaction() as connection:
        connection.root()[ROOT_KEY].cameras["camera"] = "something"
    with opened(path) as database:
        Fence(3, SERVING, "host", 1.0, "promoted").write(database.storage)
        with database.transaction() as connection:
            connection.root()[ROOT_KEY].schema = 2
        database.pack()
    assert created_in(path) == MADE


def test_without_a_run_there_is_none(path: Path) -> None:
    FileStorage(str(path)).close()
    assert created_in(path) is None
    put(path, "somebody", "else's")
    assert created_in(path) is None


@pytest.mark.parametrize("moment", ["2026", None, True, 7, -1.0, float("nan"), float("inf")])
def test_a_moment_that_is_none_is_damage(path: Path, moment: Any) -> None:
    put(path, ROOT_KEY, Root(moment))
    with pytest.raises(DamagedData, match="does not say when"):
        created_in(path)


def test_a_root_that_is_no_object_is_damage(path: Path) -> None:
    put(path, ROOT_KEY, "text")
    with pytest.raises(DamagedData, match="it is missing"):
        created_in(path)


class Gun:
    """Would write a file when it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.write_text, (self.target, "fired")


def test_nothing_is_run(tmp_path: Path) -> None:
    target = tmp_path / "fired"
    top = ROOT + pickle.dumps({"data": {ROOT_KEY: b"\1" * 8, "gun": Gun(target)}})
    record = ROOT + pickle.dumps({"created": MADE, "gun": Gun(target)})
    assert created({z64: top, b"\1" * 8: record}.get) == MADE
    assert not target.exists()
    pickle.loads(pickle.dumps(Gun(target)))
    assert target.exists()  # it would have


@given(st.binary(max_size=300), st.binary(max_size=300))
@example(ROOT + pickle.dumps({"data": {ROOT_KEY: b"\1" * 8}}), b"")
@example(ROOT + pickle.dumps({"data": {ROOT_KEY: b"\1" * 8}}), ROOT + pickle.dumps([1]))
@example(ROOT + pickle.dumps({"data": [ROOT_KEY]}), b"")
@example(ROOT + b"(]Q.", b"")
def test_no_bytes_do_more_than_be_refused(top: bytes, record: bytes) -> None:
    with pytest.raises(DamagedData):
        created({z64: top, b"\1" * 8: record}.get)
