"""Removing backups: what stays can be restored, and blobs go with the last one that needs them."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from pathlib import Path

import pytest
from backup_volumes import delete, pack, runs_of, store, tree
from hypothesis import given, settings
from hypothesis import strategies as st

from backup.create import create_backup
from backup.errors import BackupsLocked, BackupUnwritable
from backup.manifest import FILE, Manifest, name_of
from backup.place import BackupPlace
from backup.prune import prune
from backup.restore import restore
from backup.retention import Keep
from backup.verify import Verifier
from dqm_db.volume.layout import Volume

DAY = 86400.0


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    return Volume(tmp_path / "volume")


@pytest.fixture
def place(tmp_path: Path) -> BackupPlace:
    return BackupPlace(tmp_path / "backups")


def aged(place: BackupPlace, days: float) -> None:
    """Make all backups so many days older."""
    renamed = {one.name: name_of(one.manifest.time - days * DAY) for one in place.read().found}
    for one in place.read().found:
        fields = {name: getattr(one.manifest, name) for name in Manifest.__slots__}
        fields["time"] -= days * DAY
        fields["name"] = renamed[one.name]
        fields["follows"] = renamed.get(one.manifest.follows or "")
        folder = one.folder.rename(place.root / fields["name"])
        Manifest(**fields).write(folder)


def made(volume: Volume, place: BackupPlace) -> list[str]:
    """One backup a day: full, two incremental ones, then after a pack a full and an incremental."""
    for day, runs in enumerate(((1, 2), (3,), (4,), (5,), (6,))):
        aged(place, 1) if day else None
        if day == 3:
            delete(volume, 1)
            pack(volume)
        store(volume, *runs)
        create_backup(volume, place)
    kinds = [one.manifest.kind for one in place.read().found]
    assert kinds == ["full", "incremental", "incremental", "full", "incremental"]
    return [one.name for one in place.read().found]


def names(place: BackupPlace) -> list[str]:
    return [one.name for one in place.read().found]


def blobs(place: BackupPlace) -> int:
    return sum(1 for path in place.blobs.rglob("*") if path.is_file())


def sound(place: BackupPlace) -> bool:
    return not any(one.faults for one in Verifier(place, place.read()).verify_all())


def test_what_is_needed_stays(volume: Volume, place: BackupPlace, tmp_path: Path) -> None:
    everything = made(volume, place)
    assert blobs(place) == 6
    # The newest three days: the third needs the two before it.
    done = prune(place, Keep.parse("3d"))
    assert done.names == () and names(place) == everything
    done = prune(place, Keep.parse("2d"))
    assert done.names == tuple(everything[:3]) and done.freed > 0
    assert names(place) == everything[3:]
    assert blobs(place) == 5  # run 1 was packed away before the second full one
    assert sound(place)
    restore(place, place.read().chain(place.read().newest()), Volume(tmp_path / "r"))
    assert runs_of(Volume(tmp_path / "r")) == {2, 3, 4, 5, 6}
    assert prune(place, Keep.parse("1d")).names == ()  # what it needs stays


def test_nothing_is_changed_by_asking(volume: Volume, place: BackupPlace) -> None:
    everything = made(volume, place)
    with place.reading():
        before = tree(place.root)
    told = prune(place, Keep.parse("1d"), dry_run=True)
    assert told.names == tuple(everything[:3])
    assert tree(place.root) == before
    done = prune(place, Keep.parse("1d"))
    assert (done.names, done.freed) == (told.names, told.freed)


def test_the_last_sound_backup_stays(volume: Volume, place: BackupPlace) -> None:
    everything = made(volume, place)
    for name in everything[3:]:
        (place.root / name / "Data.fs.zst").unlink()
    # Neither what the sound one needs goes, nor the damaged one of the last day: it has no other.
    assert prune(place, Keep.parse("1d")).names == ()
    create_backup(volume, place)
    done = prune(place, Keep.parse("1d"))
    assert set(done.names) == set(everything)
    assert sound(place)


def test_one_blob_that_all_backups_share_takes_none_of_them(
    volume: Volume, place: BackupPlace
) -> None:
    everything = made(volume, place)
    for path in place.blobs.rglob("*.blob"):
        path.unlink()
    assert not sound(place)
    assert prune(place, Keep.parse("5d")).names == ()
    assert names(place) == everything


def test_the_last_verified_backup_stays(volume: Volume, place: BackupPlace) -> None:
    everything = made(volume, place)
    Verifier(place, place.read()).verify(place.read().found[0])
    done = prune(place, Keep.parse("1d"))
    assert done.names == tuple(everything[1:3])


def test_while_a_backup_cannot_be_understood_no_blob_goes(
    volume: Volume, place: BackupPlace
) -> None:
    everything = made(volume, place)
    (place.root / everything[2] / FILE).write_text("{}")
    assert prune(place, Keep.parse("1d"), dry_run=True).names == tuple(everything[:2])
    done = prune(place, Keep.parse("1d"))
    assert done.names == tuple(everything[:2]) and done.blobs_left
    assert blobs(place) == 6 and (place.root / everything[2]).exists()
    shutil.rmtree(place.root / everything[2])
    assert prune(place, Keep.parse("1d")).blobs_left is None
    assert blobs(place) == 5


def test_locks_are_as_nfs_wants_them(
    volume: Volume, place: BackupPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes a lock that keeps others out only on what is open for writing."""
    real = fcntl.flock

    def flock(descriptor: int, how: int) -> None:
        writable = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
        if how & fcntl.LOCK_EX and not writable:
            raise OSError(errno.EBADF, "Bad file descriptor")
        real(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    store(volume, 1)
    create_backup(volume, place)
    assert prune(place, Keep.parse("1d")).names == ()
    assert sound(place)

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("backup.place.fcntl.flock", no_locks)
    with pytest.raises(BackupUnwritable, match=r"No locks available.*file system that has locks"):
        prune(place, Keep.parse("1d"))


def test_nothing_goes_while_somebody_reads(volume: Volume, place: BackupPlace) -> None:
    made(volume, place)
    with place.reading(), pytest.raises(BackupsLocked):
        prune(place, Keep.parse("1d"))
    with place.reading():
        create_backup(volume, place)  # but backups are made
    with place.reading(), place.reading():
        prune(place, Keep.parse("1d"), dry_run=True)


def test_one_that_was_killed_is_finished_by_the_next(
    volume: Volume, place: BackupPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = made(volume, place)

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", kill)
        with pytest.raises(Killed):
            prune(place, Keep.parse("1d"))
    assert names(place) == [*everything[:2], *everything[3:]]  # the one that needs others first
    assert sound(place)
    prune(place, Keep.parse("1d"))
    assert names(place) == everything[3:]
    assert not list(place.root.glob(".new-*")) and blobs(place) == 5


@settings(max_examples=20)
@given(st.data())
def test_whatever_is_pruned_the_rest_is_sound(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Sequences of runs, packs, backups and prunings, with the clock going on."""
    folder = tmp_path_factory.mktemp("sequence")
    volume, place = Volume(folder / "volume"), BackupPlace(folder / "backups")
    store(volume, 1)
    create_backup(volume, place)
    run = 2
    keep = Keep(data.draw(st.dictionaries(st.sampled_from("dwm"), st.integers(1, 3), min_size=1)))
    for step in data.draw(
        st.lists(st.sampled_from(["store", "pack", "back up", "full", "prune", "wait"]), max_size=8)
    ):
        if step == "store":
            store(volume, run)
            run += 1
        elif step == "pack":
            pack(volume)
        elif step in ("back up", "full"):
            create_backup(volume, place, "full" if step == "full" else None)
        elif step == "prune":
            newest = place.read().newest().name
            prune(place, keep)
            assert place.read().newest().name == newest
            found = {one.folder.name for one in place.read().found}
            assert {path.name for path in place.root.glob("2*")} == found
        else:
            aged(place, 1)
    prune(place, keep)
    assert sound(place)
    needed = {(blob.oid, blob.tid) for one in place.read().found for blob in one.manifest.blobs}
    assert blobs(place) == len(needed)
