"""Whatever a legacy database holds: nothing of it is executed, and a bad entry spoils no other."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from BTrees.OOBTree import OOBTree, OOBucket
from legacy_databases import flat_entry, rewrite_records, write_entries, write_root
from legacy_imports import opened, run_import, write
from persistent import Persistent
from persistent.list import PersistentList
from results_files import run_fits
from ZODB.FileStorage import FileStorage

from dqm_db import legacy as legacy_module
from dqm_db.errors import ForeignDatabase, NoDataYet
from dqm_db.writer import Writer
from ingest.outcomes import FileOutcome, Status

SIGNAL = "CAMERA-AVERAGE-PHY-OVEREVENTS-OVERSAMP-HIGH-GAIN"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database to import is written."""
    (tmp_path / "legacy").mkdir()
    return tmp_path / "legacy" / "Data.fs"


class Calls:
    """Pickles as a call of *function*."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def good_and(bad: object) -> dict[str, Any]:
    """A good entry and one that holds *bad* beside what a good one has."""
    return {
        "NectarCAMQM_Run1": {**flat_entry(run_fits()), "X": {"X": bad}},
        "NectarCAMQM_Run2": flat_entry(run_fits()),
    }


def check_only_the_bad_one_failed(done: Mapping[str, FileOutcome], message: str) -> None:
    assert done["NectarCAMQM_Run2"].status is Status.STORED
    bad = done["NectarCAMQM_Run1"]
    assert bad.status is Status.FAILED and message in bad.message, bad.message
    assert "\n" not in bad.message


@pytest.mark.parametrize("bare", [False, True])
def test_nothing_in_a_database_is_executed(
    writer: Writer, path: Path, tmp_path: Path, bare: bool
) -> None:
    marker = tmp_path / "executed"
    write(path, good_and(Calls(os.system, f"touch {marker}")), bare=bare)
    check_only_the_bad_one_failed(run_import(writer, path), "class posix.system")
    assert not marker.exists()


def test_no_module_is_imported_for_a_database(
    writer: Writer, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for objects in an entry nor for persistent ones, the root's own members included."""
    marker = tmp_path / "imported"
    (tmp_path / "evil_module.py").write_text(
        "from persistent import Persistent\n"
        "class Plain: pass\n"
        "class Stored(Persistent): pass\n"
        "class Tree(dict): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import evil_module  # type: ignore[import-not-found]

    entries = good_and([evil_module.Plain(), evil_module.Stored(), evil_module.Tree(a=1)])
    write_entries(FileStorage(str(path)), entries)
    storage = FileStorage(str(path))
    write_more = {"NectarCAMQM_Run3": evil_module.Stored(), "other": evil_module.Plain()}
    write_entries(storage, write_more, bare=True)
    (tmp_path / "evil_module.py").write_text(f"open({str(marker)!r}, 'w')\n")
    del sys.modules["evil_module"]
    done = run_import(writer, path)
    check_only_the_bad_one_failed(done, "class evil_module.Plain")
    assert "class evil_module.Stored" in done["NectarCAMQM_Run3"].message
    assert not marker.exists() and "evil_module" not in sys.modules


HOSTILE = {
    "objects": (np.array([None, {}], dtype=object), "dtype 'O8'"),
    "records": (np.zeros(2, [("a", "f8")]), "dtype 'V8'"),
    "dates": (np.array(["2020-01-01"], "M8[D]"), "dtype 'M8'"),
    "subclass": (np.zeros(2).view(np.recarray), "recarray, which is not read"),
    "masked": (np.ma.masked_array([1.0], [True]), "class numpy.ma"),
    "set": ({1, 2}, "class builtins.set"),
    "bytes": (b"raw", "class bytes"),
    "number as key": ({1: 2}, "class int where a name is expected"),
    "ragged": ([[1.0], [1.0, 2.0]], "X: it is no array"),
    "nothing in it": ([None], "X: its values are neither numbers nor text"),
    "many": ([0] * 10_001, "more than 10000 members"),
    "mapping": ({"deeper": {}}, "X: its values are neither"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_bad_entry_is_one_line_and_the_others_are_done(
    writer: Writer, path: Path, name: str
) -> None:
    bad, message = HOSTILE[name]
    write(path, good_and(bad))
    check_only_the_bad_one_failed(run_import(writer, path), message)


BROKEN = {
    "empty": ({}, "holds no DQM quantity (nothing)"),
    "unknown": ({"SOME": {"a": np.ones(2)}}, "holds no DQM quantity (SOME)"),
    "no data": ({SIGNAL: {}}, "all of its HDUs are empty"),
    "twice": ({SIGNAL: {"a": np.ones(2)}, SIGNAL.lower(): {}}, "two quantities of the name"),
    "lengths": ({SIGNAL: {"a": np.ones(2), "b": np.ones(3)}}, "have not the same length"),
    "list": ([1, 2], "is no mapping of results"),
    "number": (5, "is no mapping of results"),
    "array": (np.ones(3), "is no mapping of results"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_entry_of_another_shape_is_named(writer: Writer, path: Path, name: str) -> None:
    bad, message = BROKEN[name]
    write(path, {"NectarCAMQM_Run1": bad, "NectarCAMQM_Run2": flat_entry(run_fits())}, bare=True)
    check_only_the_bad_one_failed(run_import(writer, path), message)


def test_an_array_that_lies_about_its_bytes(writer: Writer, path: Path) -> None:
    write(path, good_and(np.full(9, 3.0)))
    storage = FileStorage(str(path))
    nine = np.full(9, 3.0).tobytes()
    seen = []

    def lie(data: bytes) -> bytes:
        seen.append(data.count(bytes([len(nine)]) + nine))
        return data.replace(bytes([len(nine)]) + nine, bytes([len(nine) - 1]) + nine[:-1])

    rewrite_records(storage, lie)
    assert sum(seen) == 1
    check_only_the_bad_one_failed(run_import(writer, path), "bytes do not fill its shape")


def test_an_object_that_its_database_has_lost(writer: Writer, path: Path) -> None:
    lost = PersistentList([1])
    write(path, good_and(lost))
    reference = b"C\x08" + lost._p_oid
    found = []

    def lose(data: bytes) -> bytes:
        found.append(data.count(reference))
        return data.replace(reference, b"C\x08" + b"\0" * 6 + b"\xff\xff")

    rewrite_records(FileStorage(str(path)), lose)
    assert sum(found) == 1
    check_only_the_bad_one_failed(run_import(writer, path), "its database has lost a part of it")


def test_a_record_that_cannot_be_unpickled(writer: Writer, path: Path) -> None:
    write(path, good_and(PersistentList(["text of this list alone"])))

    def spoil(data: bytes) -> bytes:
        return data[:-9] if b"text of this list alone" in data else data

    rewrite_records(FileStorage(str(path)), spoil)
    check_only_the_bad_one_failed(run_import(writer, path), "cannot be read: ")


def test_a_tree_without_end(writer: Writer, path: Path) -> None:
    """Its first bucket is its own neighbour, and the last one is never reached."""
    first, last = OOBucket(), OOBucket()
    first.__setstate__((("A", 1), first))
    last.__setstate__((("B", 2),))
    tree = OOBTree()
    tree.__setstate__(((first, "B", last), first))
    with pytest.raises(legacy_module.UnreadableEntry, match="more than 10000 members"):
        legacy_module._plain(tree)


@pytest.mark.parametrize("root", [PersistentList, Persistent])
def test_a_root_that_is_no_mapping(writer: Writer, path: Path, root: type) -> None:
    write_root(FileStorage(str(path)), root, {"data": [1]})
    with opened(writer, path) as legacy, pytest.raises(ForeignDatabase, match="not a mapping"):
        legacy.keys()


def test_a_root_that_cannot_be_read(writer: Writer, path: Path) -> None:
    write(path, {"NectarCAMQM_Run1": {}})
    rewrite_records(FileStorage(str(path)), lambda data: data[:-5])
    with opened(writer, path) as legacy, pytest.raises(ForeignDatabase, match="cannot be read"):
        legacy.keys()


def test_nothing_was_ever_written(writer: Writer, path: Path) -> None:
    FileStorage(str(path)).close()
    with opened(writer, path) as legacy, pytest.raises(NoDataYet, match="is empty"):
        legacy.keys()
