"""Verifying finds whatever happened to a backup, and restoring refuses it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from backup_volumes import contents, opened, runs_of, store, tree
from hypothesis import given, settings
from hypothesis import strategies as st
from persistent import Persistent
from persistent.mapping import PersistentMapping
from ZODB.utils import p64

from backup.create import create_backup
from backup.errors import BackupUnwritable, DamagedBackup
from backup.place import VERIFIED, BackupPlace, Verification
from backup.restore import restore
from backup.verify import Verifier
from dqm_db.volume.layout import Volume


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> BackupPlace:
    """A full backup and two incremental ones of a volume that is gone."""
    folder = tmp_path_factory.mktemp("verify")
    volume, place = Volume(folder / "volume"), BackupPlace(folder / "backups")
    for runs in ((1, 2), (3,), (4, 5)):
        store(volume, *runs)
        create_backup(volume, place)
    shutil.rmtree(volume.root)
    return place


@pytest.fixture(scope="module")
def expected(made: BackupPlace, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the newest backup restores."""
    return contents(restored(made, tmp_path_factory.mktemp("expected")))


@pytest.fixture
def place(made: BackupPlace, tmp_path: Path) -> BackupPlace:
    """A copy of it to spoil."""
    shutil.copytree(made.root, tmp_path / "backups", ignore=shutil.ignore_patterns(VERIFIED))
    return BackupPlace(tmp_path / "backups")


def verified(place: BackupPlace) -> list[bool]:
    """Whether each of the backups is sound."""
    return [not one.faults for one in Verifier(place, place.read()).verify_all()]


def restored(place: BackupPlace, folder: Path) -> Volume:
    backups = place.read()
    volume = Volume(folder)
    restore(place, backups.chain(backups.newest()), volume)
    return volume


def test_sound_backups_are_sound(place: BackupPlace, tmp_path: Path) -> None:
    before = tree(place.root)
    [first, second, third] = Verifier(place, place.read()).verify_all()
    assert not (first.faults or second.faults or third.faults)
    assert first.transactions < second.transactions < third.transactions
    assert third.bytes == sum(one.manifest.bytes for one in place.read().found)
    for one in place.read().found:
        assert one.verification is not None and one.verification.ok
    changed = {name for name in tree(place.root) if name not in before}
    assert {Path(name).name for name in changed} == {VERIFIED}
    assert runs_of(restored(place, tmp_path / "r")) == {1, 2, 3, 4, 5}


def test_one_backup_alone(place: BackupPlace) -> None:
    backups = place.read()
    found = Verifier(place, backups).verify(backups.found[1])
    assert [one.name for one in found] == [one.name for one in backups.found[:2]]
    assert place.read().found[2].verification is None


@settings(max_examples=50)
@given(st.data())
def test_a_flipped_bit_is_found_or_changes_nothing(
    made: BackupPlace, expected: dict[str, bytes], data: st.DataObject
) -> None:
    """In any file that a backup is made of; the last backup needs all of them."""
    files = sorted(
        path
        for path in made.root.rglob("*")
        if path.suffix in (".zst", ".blob", ".json") and path.name != VERIFIED
    )
    assert len(files) == 3 + 2 * 3 + 5
    path = data.draw(st.sampled_from(files))
    before, mode = path.read_bytes(), path.stat().st_mode
    raw = bytearray(before)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.chmod(0o600)
    path.write_bytes(raw)
    target = made.root.parent / "target"
    try:
        sound = verified(made)[-1]
        try:
            volume = restored(made, target)
        except DamagedBackup:
            assert not target.exists() or list(target.iterdir()) == []
            assert not sound or path.name.startswith("Data.fs.index")
        else:  # as when a bit without meaning was hit, or the index of an older backup
            assert contents(volume) == expected
            assert path.suffix != ".blob"
            assert sound
            shutil.rmtree(target)
    finally:
        path.write_bytes(before)
        path.chmod(mode)


def first_of(place: BackupPlace, pattern: str) -> Path:
    return sorted(place.root.glob(pattern))[0]


@pytest.mark.parametrize(
    ("what", "sound"),
    [
        (lambda place: first_of(place, "*/Data.fs.zst").unlink(), [False, False, False]),
        (lambda place: sorted(place.root.glob("*/Data.fs.zst"))[1].unlink(), [True, False, False]),
        (lambda place: sorted(place.root.glob("*/Data.fs.zst"))[2].unlink(), [True, True, False]),
        (
            lambda place: sorted(place.root.glob("*/manifest.json"))[1].unlink(),
            [True, False, False],
        ),
        (lambda place: shutil.rmtree(place.blobs), [False, False, False]),
    ],
    ids=["data of the first", "of the second", "of the third", "manifest", "blobs"],
)
def test_what_is_missing_is_found(
    place: BackupPlace, tmp_path: Path, what: Callable[[BackupPlace], None], sound: list[bool]
) -> None:
    what(place)
    assert verified(place) == sound
    assert verified(place) == sound  # what was found before does not matter
    with pytest.raises(DamagedBackup):
        restored(place, tmp_path / "r")
    assert not (tmp_path / "r" / "filestorage").exists()


def test_a_verification_that_cannot_be_read_counts_as_none(place: BackupPlace) -> None:
    newest = place.read().newest()
    for text in (b"", b"{}", b"[]", b'{"at": 1.0, "ok": "yes", "text": ""}', b"\xff"):
        (newest.folder / VERIFIED).write_bytes(text)
        assert place.read().newest().verification is None
    Verification(1.0, False, "spoiled").write(newest.folder)
    assert place.read().newest().verification == Verification(1.0, False, "spoiled")
    assert not place.read().is_usable(place.read().newest())


def backed_up(tmp_path: Path, spoil: Callable[[Volume], None]) -> list[str]:
    """The faults of a backup of a volume that was spoiled before."""
    volume, place = Volume(tmp_path / "volume"), BackupPlace(tmp_path / "backups")
    store(volume, 1)
    spoil(volume)
    create_backup(volume, place)
    [found] = Verifier(place, place.read()).verify_all()
    return list(found.faults)


class Foreign(Persistent):
    """What a strange client may have stored."""


def test_a_class_of_somebody_else_is_found(tmp_path: Path) -> None:
    def spoil(volume: Volume) -> None:
        with opened(volume) as database, database.transaction() as connection:
            connection.root()["foreign"] = Foreign()

    faults = backed_up(tmp_path, spoil)
    assert any("Foreign, which is none of this system" in fault for fault in faults)


def test_a_reference_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    """By a record that was stored for an object that refers to one which never was."""

    def spoil(volume: Volume) -> None:
        with opened(volume) as database, database.transaction() as connection:
            ghost = PersistentMapping()
            ghost._p_jar, ghost._p_oid = connection, p64(0xABCDEF)
            connection.root()["missing"] = ghost

    faults = backed_up(tmp_path, spoil)
    assert any("refers to the object 0000000000abcdef, which is missing" in one for one in faults)


def test_backups_that_can_only_be_read_are_verified(
    place: BackupPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("backup.place.write_whole", read_only)
    (tmp_path / "work").mkdir()
    verifier = Verifier(place, place.read(), tmp_path / "work")
    assert not any(one.faults for one in verifier.verify_all())
    assert verifier.not_kept is not None and "Read-only" in verifier.not_kept
    assert list((tmp_path / "work").iterdir()) == []


def test_room_to_put_it_together_is_checked(
    place: BackupPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs

    def full(path: Path) -> os.statvfs_result:
        return os.statvfs_result([*real(path)[:3], 0, 0, *real(path)[5:]])

    monkeypatch.setattr(os, "statvfs", full)
    with pytest.raises(BackupUnwritable, match="only 0 MB left"):
        verified(place)
