"""A pack that is cut short at any of its steps loses nothing and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ZODB
from ZODB.blob import Blob
from ZODB.FileStorage import FileStorage

from dqm_db.volume.unfinished_pack import REMOVED, finish_pack, undo_unfinished_pack

Cut = Callable[[pytest.MonkeyPatch, Path], None]


class Killed(BaseException):
    """In the place of kill -9."""


def files_of(root: Path) -> FileStorage:
    return FileStorage(str(root / "Data.fs"), blob_dir=str(root / "blobs"), pack_keep_old=False)


def fill(root: Path) -> None:
    """An object that is replaced, a blob that stays, and one that is deleted."""
    database = ZODB.DB(files_of(root))
    with database.transaction() as connection:
        connection.root()["kept"] = Blob(b"kept" * 1000)
        connection.root()["dropped"] = Blob(b"dropped" * 1000)
        connection.root()["number"] = 1
    with database.transaction() as connection:
        del connection.root()["dropped"]
        connection.root()["number"] = 2
    database.close()


def blobs_of(root: Path) -> list[bytes]:
    return sorted(path.read_bytes()[:4] for path in (root / "blobs").rglob("*.blob"))


def at_rename(number: int) -> Cut:
    def cut(patch: pytest.MonkeyPatch, _root: Path) -> None:
        calls = iter(range(1000))
        rename = os.rename

        def renamed(*paths: Any) -> None:
            if next(calls) == number:
                raise Killed
            rename(*paths)

        patch.setattr(os, "rename", renamed)

    return cut


def at_garbage(patch: pytest.MonkeyPatch, _root: Path) -> None:
    def killed(_packer: object) -> None:
        raise Killed

    patch.setattr("ZODB.FileStorage.fspack.FileStoragePacker.copyToPacktime", killed)


def at_blobs(patch: pytest.MonkeyPatch, _root: Path) -> None:
    def killed(_storage: object) -> None:
        raise Killed

    patch.setattr(FileStorage, "_remove_blob_files_tagged_for_removal_during_pack", killed)


@pytest.mark.parametrize(
    ("cut", "is_packed"),
    [
        pytest.param(at_garbage, False, id="while it copies"),
        pytest.param(at_rename(0), False, id="before Data.fs is renamed"),
        pytest.param(at_rename(1), False, id="between both renames"),
        pytest.param(at_blobs, True, id="before blobs are removed"),
    ],
)
def test_a_pack_that_was_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: Cut, *, is_packed: bool
) -> None:
    root = tmp_path / "killed"
    root.mkdir()
    fill(root)
    before = (root / "Data.fs").stat().st_size
    storage = files_of(root)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        cut(patch, root)
        storage.pack(time.time() + 1, ZODB.serialize.referencesf)
    left = tmp_path / "left"
    shutil.copytree(root, left)  # as the disk was then
    storage.close()

    assert undo_unfinished_pack(left / "Data.fs", left / "blobs") is is_packed
    opened = files_of(left)
    if is_packed:
        finish_pack(opened, left / "Data.fs")
    database = ZODB.DB(opened)
    with database.transaction() as connection:
        assert connection.root()["number"] == 2
        with connection.root()["kept"].open("r") as stream:
            assert stream.read() == b"kept" * 1000
    database.close()
    assert blobs_of(left) == ([b"kept"] if is_packed else [b"drop", b"kept"])
    assert ((left / "Data.fs").stat().st_size < before) is is_packed
    assert sorted(path.name for path in left.iterdir() if path.suffix in (".old", ".pack")) == []
    assert not (left / "blobs" / REMOVED).exists() or not is_packed

    again = ZODB.DB(files_of(left))
    again.pack(time.time() + 1)
    again.close()
    assert blobs_of(left) == [b"kept"]


def test_nothing_to_do(tmp_path: Path) -> None:
    assert not undo_unfinished_pack(tmp_path / "Data.fs", tmp_path / "blobs")
    fill(tmp_path)
    before = (tmp_path / "Data.fs").read_bytes()
    (tmp_path / "Data.fs.old").write_bytes(b"of an earlier release, which kept it")
    assert not undo_unfinished_pack(tmp_path / "Data.fs", tmp_path / "blobs")
    assert (tmp_path / "Data.fs").read_bytes() == before
    assert (tmp_path / "Data.fs.old").exists()
