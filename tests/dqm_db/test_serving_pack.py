"""A pack in a server: its file is on the disk before the old one goes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import transaction
import ZODB
from ZODB.FileStorage import FileStorage
from ZODB.serialize import referencesf

from dqm_db.replication.serving_pack import sync_packs


@pytest.fixture
def files(tmp_path: Path) -> Iterator[FileStorage]:
    """With something to pack away."""
    files = FileStorage(
        str(tmp_path / "Data.fs"), blob_dir=str(tmp_path / "blobs"), pack_keep_old=False
    )
    write(files, 1)
    write(files, 2)
    sync_packs(files)
    yield files
    files.close()


def write(files: FileStorage, value: int) -> None:
    connection = ZODB.DB(files).open(transaction.TransactionManager())
    connection.root()["value"] = value
    connection.transaction_manager.commit()
    connection.close()


def test_the_new_file_is_on_the_disk_before_the_old_one_goes(
    files: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[int, int]] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        fsync(descriptor)
        old = Path(files.getName()).stat()
        synced.append((os.fstat(descriptor).st_ino, old.st_ino))

    monkeypatch.setattr(os, "fsync", noted)
    before = Path(files.getName()).stat()
    files.pack(time.time() + 1, referencesf)
    after = Path(files.getName()).stat()
    assert after.st_size < before.st_size
    assert (after.st_ino, before.st_ino) in synced


def test_a_disk_that_does_not_take_it_leaves_the_old_file_and_lets_others_write(
    files: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Path(files.getName()).read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            files.pack(time.time() + 1, referencesf)
    assert Path(files.getName()).read_bytes() == before
    assert not Path(f"{files.getName()}.pack").exists()
    assert files._commit_lock.acquire(timeout=1)
    files._commit_lock.release()
    write(files, 3)
    files.pack(time.time() + 1, referencesf)
