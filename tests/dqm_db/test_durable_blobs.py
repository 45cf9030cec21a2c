"""Blobs that cannot be made durable are no part of a transaction."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import transaction
import ZODB
import ZODB.blob
from ZODB.FileStorage import FileStorage

from dqm_db.replication.durable_blobs import sync_blobs
from dqm_db.volume.layout import Volume
from dqm_db.volume.syncing import sync_folder


@pytest.fixture
def database(tmp_path: Path) -> Iterator[ZODB.DB]:
    volume = Volume(tmp_path / "volume")
    volume.create()
    files = FileStorage(str(volume.data_file), blob_dir=str(volume.blob_dir), pack_keep_old=False)
    database = ZODB.DB(files)
    sync_blobs(files)
    yield database
    database.close()


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths in the order in which they were synced."""
    found: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        fsync(descriptor)
        found.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

    monkeypatch.setattr(os, "fsync", noted)
    # which ZODB has taken for its own
    monkeypatch.setattr(sys.modules[FileStorage.__module__], "fsync", noted)
    return found


def put(database: ZODB.DB, name: str, data: bytes | None) -> None:
    with database.transaction() as connection:
        if data is None:
            del connection.root()[name]
        else:
            connection.root()[name] = ZODB.blob.Blob(data)


def blobs(database: ZODB.DB) -> list[Path]:
    return sorted(Path(database.storage.blob_dir).glob("0x*/**/*.blob"))


@pytest.mark.parametrize("of", ["file", "folder"])
def test_what_the_disk_does_not_take_fails_the_transaction_and_not_the_next(
    database: ZODB.DB, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    put(database, "kept", b"kept")
    last = database.storage.lastTransaction()
    fsync = os.fsync

    def broken(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) == (of == "folder"):
            raise OSError(5, "Input/output error")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(OSError, match="Input/output"):
            put(database, "lost", b"lost")
    assert database.storage.lastTransaction() == last
    put(database, "later", b"later")
    with database.transaction() as connection:
        assert set(connection.root()) == {"kept", "later"}
        with connection.root()["later"].open("r") as file:
            assert file.read() == b"later"


def test_folders_that_a_pack_has_removed_are_synced_anew(
    database: ZODB.DB, synced: list[str]
) -> None:
    put(database, "first", b"first")
    (path,) = blobs(database)
    put(database, "first", None)
    database.pack(time.time() + 1)
    assert not path.parent.parent.exists()
    synced.clear()
    put(database, "second", b"second")
    (path,) = blobs(database)
    chain = [str(folder) for folder in path.parents[:9]]
    assert chain[-1] == database.storage.blob_dir
    at = synced.index(chain[0])
    assert synced[at : at + 9] == chain
    assert synced[-1] == database.storage.getName()


def test_undoing_syncs_the_copy(database: ZODB.DB, synced: list[str]) -> None:
    with database.transaction() as connection:
        connection.root()["blob"] = ZODB.blob.Blob(b"old")
    with database.transaction() as connection, connection.root()["blob"].open("w") as file:
        file.write(b"new")
    before = set(blobs(database))
    synced.clear()
    database.undo(database.undoLog(0, 1)[0]["id"])
    transaction.commit()
    (copy,) = set(blobs(database)) - before
    assert copy.read_bytes() == b"old"
    folders = [str(copy.parent), str(copy.parent.parent)]
    assert synced[1:] == [*folders, database.storage.getName()]
    assert Path(synced[0]).parent == Path(database.storage.temporaryDirectory())


def test_blobs_of_another_file_system_are_synced_where_they_were_copied_to(
    database: ZODB.DB, synced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def across(_old: str, _new: str) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(ZODB.blob.os, "rename", across)
    put(database, "copied", b"copied")
    (path,) = blobs(database)
    assert synced.index(str(path)) < synced.index(str(path.parent))


def test_a_file_system_that_cannot_sync_folders_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(_descriptor: int) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "fsync", cannot)
    sync_folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "absent")


def test_folders_of_a_new_volume_are_on_the_disk(tmp_path: Path, synced: list[str]) -> None:
    volume = Volume(tmp_path / "a" / "b")
    volume.create()
    assert set(synced) == {str(tmp_path), str(tmp_path / "a"), str(volume.root)}
    synced.clear()
    volume.create()
    assert not synced
