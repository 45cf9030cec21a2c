"""Blobs are kept once for all backups, and what is damaged takes no other's place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from backup_volumes import contents, store

from backup import pool
from backup.create import create_backup
from backup.place import BackupPlace
from backup.restore import restore
from backup.verify import Verifier
from dqm_db.volume.errors import DamagedData
from dqm_db.volume.layout import Volume


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    volume = Volume(tmp_path / "volume")
    store(volume, 1, 2)
    return volume


@pytest.fixture
def place(tmp_path: Path) -> BackupPlace:
    return BackupPlace(tmp_path / "backups")


def blobs_in(place: BackupPlace) -> list[Path]:
    return sorted(path for path in place.blobs.rglob("*") if path.is_file())


def spoil(path: Path) -> None:
    """Flip a bit of a file, and of no other link to it."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)


def test_blobs_are_linked_and_read_once(volume: Volume, place: BackupPlace) -> None:
    create_backup(volume, place)
    [first, *_] = blobs_in(place)
    assert first.stat().st_nlink == 2
    assert first.stat().st_ino in {path.stat().st_ino for path in volume.blob_dir.rglob("*.blob")}

    def read_again(*_: object) -> None:
        raise AssertionError("a blob was read although its digest is known")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "copy", read_again)
        again = create_backup(volume, place, "full")
    assert len(again.manifest.blobs) == 2 and len(blobs_in(place)) == 2


def test_blobs_are_copied_where_they_cannot_be_linked(
    volume: Volume, place: BackupPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_file_system(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", other_file_system)
    made = create_backup(volume, place)
    assert [path.stat().st_nlink for path in blobs_in(place)] == [1, 1]
    copy = Volume(tmp_path / "r")
    restore(place, place.read().chain(made), copy)
    assert contents(copy) == contents(volume)


def test_a_blob_that_was_found_damaged_is_replaced(volume: Volume, place: BackupPlace) -> None:
    create_backup(volume, place)
    spoil(blobs_in(place)[0])
    assert Verifier(place, place.read()).verify(place.read().newest())[-1].faults
    made = create_backup(volume, place)
    assert made.manifest.kind == "full" and len(blobs_in(place)) == 2
    # The one that was damaged is sound again, too: it had the same blob.
    assert [one.faults for one in Verifier(place, place.read()).verify_all()] == [(), ()]


@pytest.mark.parametrize("is_shorter", [True, False])
def test_a_damaged_blob_of_the_volume_replaces_no_backed_up_one(
    volume: Volume, place: BackupPlace, is_shorter: bool
) -> None:
    create_backup(volume, place)
    good = {path: path.read_bytes() for path in blobs_in(place)}
    for path in list(volume.blob_dir.rglob("*.blob")):
        spoil(path)
        if is_shorter:
            path.write_bytes(path.read_bytes()[:-1])
    if not is_shorter:  # a size that is wrong is seen at once; the others, when they are needed
        blobs_in(place)[0].unlink()
        good.pop(min(good))
    with pytest.raises(DamagedData, match="is not what was backed up before"):
        create_backup(volume, place, "full")
    assert {path: path.read_bytes() for path in blobs_in(place)} == good
