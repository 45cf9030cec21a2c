"""Which backup is the newest when a database was restored, or its primary replaced."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from backup_volumes import opened, runs_of, settings_of, store

from backup.create import create_backup
from backup.place import Backup, BackupPlace
from backup.restore import restore
from dqm.cli import main
from dqm_db.replication.roles import settle_epoch
from dqm_db.volume.fence import SERVING, Fence
from dqm_db.volume.layout import Volume
from dqm_db.volume.state import VolumeState


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    volume = Volume(tmp_path / "volume")
    store(volume, 1)
    return volume


@pytest.fixture
def place(tmp_path: Path) -> BackupPlace:
    return BackupPlace(tmp_path / "backups")


def begin(volume: Volume, epoch: int) -> None:
    """As a promotion does."""
    with opened(volume) as database:
        Fence(epoch, SERVING, "host", float(epoch), "promoted").write(database.storage)


def copied(volume: Volume, name: str) -> Volume:
    return Volume(shutil.copytree(volume.root, volume.root.parent / name))


@pytest.fixture
def start(tmp_path: Path) -> Callable[[BackupPlace, Backup], Volume]:
    """Restores a backup, and does what the first start of its server does, beside no other."""

    def started(place: BackupPlace, backup: Backup) -> Volume:
        volume = Volume(tmp_path / f"restored {backup.name}")
        restore(place, place.read().chain(backup), volume)
        with opened(volume) as database:
            settle_epoch(database.storage, volume, VolumeState.read(volume), (), primary=True)
        return volume

    return started


def test_what_comes_after_a_restore_is_newer_than_all_before(
    volume: Volume, place: BackupPlace, start: Callable[[BackupPlace, Backup], Volume]
) -> None:
    """Also when the backup is of an earlier epoch than others, and no server knows of these."""
    old = create_backup(volume, place)
    begin(volume, 5)
    store(volume, 2)
    lost = create_backup(volume, place)
    assert (old.manifest.epoch, lost.manifest.epoch) == (0, 5)

    back = start(place, old)
    store(back, 3)
    made = create_backup(back, place)
    assert made.manifest.epoch == 6
    assert [one.name for one in place.read().found] == [old.name, lost.name, made.name]
    # A moment before it is one of what was lost.
    assert place.read().newest(made.manifest.time - 0.001).name == lost.name
    again = create_backup(back, place)
    assert again.manifest.follows == made.name
    assert runs_of(start(place, place.read().newest())) == {1, 3}


def test_a_former_primary_makes_no_newer_one(
    volume: Volume, place: BackupPlace, start: Callable[[BackupPlace, Backup], Volume]
) -> None:
    """Whatever it wrote after its epoch, and whenever."""
    former = copied(volume, "former")
    begin(volume, 1)
    store(volume, 2)
    made = create_backup(volume, place)
    store(former, 8)
    stray = create_backup(former, place)
    assert stray.manifest.tid > made.manifest.tid and stray.manifest.time > made.manifest.time
    for until in (None, stray.manifest.time):
        assert place.read().newest(until).name == made.name
    store(volume, 3)
    following = create_backup(volume, place, "incremental")
    assert following.manifest.follows == made.name
    assert runs_of(start(place, place.read().newest())) == {1, 2, 3}


def test_a_backup_that_is_not_the_newest_says_so(
    volume: Volume,
    place: BackupPlace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    former = copied(volume, "former")
    begin(volume, 1)
    made = create_backup(volume, place)
    monkeypatch.setenv("DQM_DB_URL", settings_of(volume).db_url)
    monkeypatch.setenv("DQM_LOCK_DIR", str(tmp_path / "locks"))
    for source, warns in ((former, True), (volume, False)):
        with pytest.raises(SystemExit) as ended:
            main(["backup", "create", "--data-dir", str(source.root), "--to", str(place.root)])
        assert not ended.value.code
        err = capsys.readouterr().err
        assert (f"{made.name} counts as newer" in err) is warns
