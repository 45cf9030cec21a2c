"""Backups of two databases are never taken for each other's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from backup_volumes import contents, delete, opened, pack, settings_of, store, tree

from backup.create import create_backup
from backup.errors import OtherDatabase
from backup.manifest import FILE
from backup.place import BackupPlace
from backup.restore import restore
from dqm.cli import main
from dqm_db.model import ROOT_KEY
from dqm_db.volume.layout import Volume


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    volume = Volume(tmp_path / "production" / "volume")
    store(volume, 1, 2)
    return volume


@pytest.fixture
def other(tmp_path: Path) -> Volume:
    volume = Volume(tmp_path / "test" / "volume")
    store(volume, 7)
    return volume


@pytest.fixture
def place(tmp_path: Path) -> BackupPlace:
    return BackupPlace(tmp_path / "backups")


def called(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["backup", *map(str, words)])
    code = ended.value.code
    assert code is None or isinstance(code, int)
    return code or 0


def put_together(tmp_path: Path, *volumes: Volume) -> BackupPlace:
    """One folder with the backups that were made of each volume in its own."""
    both = BackupPlace(tmp_path / "both")
    for number, volume in enumerate(volumes):
        own = BackupPlace(tmp_path / f"own {number}")
        create_backup(volume, own)
        shutil.copytree(own.root, both.root, dirs_exist_ok=True)
    return both


def test_it_is_when_the_database_was_created(volume: Volume, place: BackupPlace) -> None:
    with opened(volume) as database, database.transaction() as connection:
        made = connection.root()[ROOT_KEY].created
    assert create_backup(volume, place).manifest.database == made


@pytest.mark.parametrize("wanted", [None, "full", "incremental"])
def test_a_folder_takes_one_database(
    volume: Volume, other: Volume, place: BackupPlace, wanted: None
) -> None:
    made = create_backup(volume, place)
    with place.making(), place.reading():
        before = tree(place.root)
    with pytest.raises(OtherDatabase) as refused:
        create_backup(other, place, wanted)
    assert tree(place.root) == before
    for word in (other.root, place.root, volume.root, made.manifest.database_text, "--to"):
        assert str(word) in str(refused.value)
    assert create_backup(volume, place).name == place.read().newest().name


def test_an_empty_volume_is_not_what_was_backed_up(
    volume: Volume, place: BackupPlace, tmp_path: Path
) -> None:
    """As when a disk is not mounted."""
    create_backup(volume, place)
    empty = Volume(tmp_path / "empty")
    empty.create()
    with opened(empty):
        pass
    with pytest.raises(OtherDatabase, match="holds nothing yet"):
        create_backup(empty, place)


def test_a_database_that_was_empty_at_first_is_the_same(place: BackupPlace, tmp_path: Path) -> None:
    volume = Volume(tmp_path / "new")
    volume.create()
    with opened(volume):
        pass
    assert create_backup(volume, place).manifest.database is None
    store(volume, 1)
    assert create_backup(volume, place).manifest.database is not None
    assert len(place.read().found) == 2


def test_it_stays_the_same_when_packed_and_restored(
    volume: Volume, place: BackupPlace, tmp_path: Path
) -> None:
    first = create_backup(volume, place)
    delete(volume, 1)
    pack(volume)
    create_backup(volume, place)
    back = Volume(tmp_path / "back")
    restore(place, [first], back)
    store(back, 3)
    assert create_backup(back, place).manifest.database == first.manifest.database


def test_one_that_cannot_be_read_says_nothing_of_others(
    volume: Volume, other: Volume, place: BackupPlace
) -> None:
    create_backup(volume, place)
    second = create_backup(volume, place)
    (second.folder / FILE).write_bytes(b"{")
    with pytest.raises(OtherDatabase):
        create_backup(other, place)


def test_there_is_no_newest_of_two_databases(volume: Volume, other: Volume, tmp_path: Path) -> None:
    both = put_together(tmp_path, volume, other)
    first, second = both.read().found
    with pytest.raises(OtherDatabase) as refused:
        both.read().newest()
    for one in (first, second):
        assert one.name in str(refused.value) and one.manifest.database_text in str(refused.value)
    assert both.read().newest(first.manifest.time).name == first.name  # there was one only
    for volume_again in (volume, other):
        with pytest.raises(OtherDatabase):
            create_backup(volume_again, both)


def test_commands_say_which_database_it_is(
    volume: Volume,
    other: Volume,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    both = put_together(tmp_path, volume, other)
    monkeypatch.setenv("DQM_BACKUP_DIR", str(both.root))
    monkeypatch.setenv("DQM_DB_URL", settings_of(volume).db_url)
    monkeypatch.setenv("DQM_LOCK_DIR", str(tmp_path / "locks"))
    first, second = both.read().found
    assert called("list", "--json") == 0
    databases = [json.loads(line)["database"] for line in capsys.readouterr().out.splitlines()]
    assert len(set(databases)) == 2
    (second.folder / FILE).write_bytes(b"{")
    assert called("list") == 0
    out = capsys.readouterr().out
    assert first.manifest.database_text.removeprefix("the database created ") in out
    assert "cannot be understood" in out
    second.manifest.write(second.folder)

    assert called("restore", "--to", tmp_path / "r") == 73
    assert called("verify") == 73
    assert called("create", "--data-dir", volume.root) == 73
    assert "several" in capsys.readouterr().err
    assert called("restore", "--to", tmp_path / "r", "--backup", second.name) == 0
    assert second.manifest.database_text in capsys.readouterr().out
    assert contents(Volume(tmp_path / "r")) == contents(other)
