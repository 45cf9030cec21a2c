"""A pack in a server: its file is on the disk before the old one goes, and it ends before that."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import transaction
import zc.lockfile
import ZODB
from ZODB.FileStorage import FileStorage
from ZODB.FileStorage.FileStorage import FileStorageError
from ZODB.serialize import referencesf

from dqm_db.replication import serving_pack
from dqm_db.replication.serving_pack import ServedPacks


@pytest.fixture
def files(tmp_path: Path) -> Iterator[FileStorage]:
    """With something to pack away."""
    files = FileStorage(
        str(tmp_path / "Data.fs"), blob_dir=str(tmp_path / "blobs"), pack_keep_old=False
    )
    write(files, 1)
    write(files, 2)
    ServedPacks(files)
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


class Pack(threading.Thread):
    """A pack in a thread of its own, as in a server; stops where `pause` is called."""

    def __init__(self, files: FileStorage) -> None:
        super().__init__(daemon=True)
        self.files = files
        self.paused, self.go_on = threading.Event(), threading.Event()
        self.error: Exception | None = None

    def pause(self) -> None:
        self.paused.set()
        assert self.go_on.wait(20)

    def references(self, record: bytes, *more: list[bytes]) -> object:
        if not self.go_on.is_set():
            self.pause()
        return referencesf(record, *more)

    def run(self) -> None:
        try:
            self.files.pack(time.time() + 1, self.references)
        except OSError as error:
            self.error = error


def in_background(function: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def is_locked(files: FileStorage) -> bool:
    try:
        zc.lockfile.LockFile(f"{files.getName()}.lock").close()
    except zc.lockfile.LockError:
        return True
    return False


def test_closing_stops_a_pack_before_it_releases_the_lock(files: FileStorage) -> None:
    before = Path(files.getName()).read_bytes()
    pack = Pack(files)
    pack.start()
    assert pack.paused.wait(20)
    closing = in_background(files.close)
    closing.join(0.2)
    assert closing.is_alive()
    assert is_locked(files)
    pack.go_on.set()
    closing.join(20)
    assert not is_locked(files)
    pack.join(20)
    assert isinstance(pack.error, OSError)
    assert "the server ends" in str(pack.error)
    assert Path(files.getName()).read_bytes() == before
    assert not Path(f"{files.getName()}.pack").exists()
    with pytest.raises(OSError, match="the server ends"):
        files.pack(time.time() + 1, referencesf)


def test_closing_waits_for_a_pack_that_is_replacing_the_file(
    files: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving_pack, "STOPS_WITHIN", 0.01)
    before = Path(files.getName()).stat()
    pack = Pack(files)
    remove = files._remove_blob_files_tagged_for_removal_during_pack

    def removing() -> None:
        pack.go_on.clear()
        pack.pause()
        remove()

    monkeypatch.setattr(files, "_remove_blob_files_tagged_for_removal_during_pack", removing)
    pack.go_on.set()
    pack.start()
    assert pack.paused.wait(20)
    closing = in_background(files.close)
    closing.join(0.2)
    assert closing.is_alive()
    assert is_locked(files)
    pack.go_on.set()
    closing.join(20)
    pack.join(20)
    assert pack.error is None
    assert not is_locked(files)
    assert Path(files.getName()).stat().st_size < before.st_size
    assert not Path(f"{files.getName()}.old").exists()


def test_a_pack_that_waits_for_a_client_for_ever_replaces_nothing_after_closing(
    files: FileStorage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serving_pack, "STOPS_WITHIN", 0.2)
    pack = Pack(files)
    pack.start()
    assert pack.paused.wait(20)
    assert files._commit_lock.acquire(timeout=1)  # of a client that has voted
    pack.go_on.set()
    draft = Path(f"{files.getName()}.pack")
    while not draft.exists():
        time.sleep(0.01)
    files.close()
    assert "a pack does not stop" in caplog.text
    left = Path(files.getName()).read_bytes()
    files._commit_lock.release()
    pack.join(20)
    assert not pack.is_alive()
    assert pack.error is not None
    assert Path(files.getName()).read_bytes() == left


def test_two_packs_at_once_are_refused(files: FileStorage) -> None:
    pack = Pack(files)
    pack.start()
    assert pack.paused.wait(20)
    with pytest.raises(FileStorageError, match="Already packing"):
        files.pack(time.time() + 1, referencesf)
    pack.go_on.set()
    pack.join(20)
    assert pack.error is None


def test_a_commit_that_fails_closes_the_file_without_waiting_for_a_pack(
    files: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = Pack(files)
    pack.start()
    assert pack.paused.wait(20)

    def full(_tid: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_finish_finish", full)

    def fails() -> None:
        with pytest.raises(OSError, match="No space"):
            write(files, 3)

    failing = in_background(fails)
    failing.join(20)
    assert not failing.is_alive()
    assert not is_locked(files)
    pack.go_on.set()
    pack.join(20)
    assert pack.error is not None
