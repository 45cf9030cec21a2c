"""Restoring: into an empty folder only, whole or not at all, as a new epoch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from backup_volumes import contents, opened, runs_of, store, tree

from backup import restore as restore_module
from backup.create import create_backup
from backup.errors import BackupFailed, BackupNotFound, BackupUnwritable, RestoreTargetNotEmpty
from backup.place import BackupPlace
from backup.restore import UNFINISHED, restore
from dqm_db.volume.layout import Volume
from dqm_db.volume.state import RESTORED, VolumeState


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    volume = Volume(tmp_path_factory.mktemp("restore") / "volume")
    store(volume, 1, 2)
    return volume


@pytest.fixture(scope="module")
def place(volume: Volume) -> BackupPlace:
    place = BackupPlace(volume.root.parent / "backups")
    create_backup(volume, place)
    return place


def restored(place: BackupPlace, folder: Path) -> Volume:
    backups = place.read()
    restore(place, backups.chain(backups.newest()), Volume(folder))
    return Volume(folder)


def test_a_volume_is_as_it_was(volume: Volume, place: BackupPlace, tmp_path: Path) -> None:
    made = restored(place, tmp_path / "not" / "there")
    assert contents(made) == contents(volume)
    state = VolumeState.read(made)
    assert state.begin_epoch == RESTORED and state.role is None
    assert place.read().newest().name in state.why
    assert sorted(path.name for path in made.root.iterdir()) == [
        "blobstorage",
        "filestorage",
        "volume.json",
    ]
    with opened(made) as database:
        assert database.storage._used_index  # the server starts without reading everything
    store(made, 3)
    assert runs_of(made) == {1, 2, 3}


def test_blobs_are_copied(place: BackupPlace, tmp_path: Path) -> None:
    made = restored(place, tmp_path / "r")
    for path in made.blob_dir.rglob("*.blob"):
        assert path.stat().st_nlink == 1


@pytest.mark.parametrize("name", ["Data.fs", "zeo.conf", ".hidden", "blobstorage"])
def test_nothing_is_written_over(place: BackupPlace, tmp_path: Path, name: str) -> None:
    target = tmp_path / "r"
    (target / name).mkdir(parents=True)
    with pytest.raises(RestoreTargetNotEmpty, match=name):
        restored(place, target)
    assert [path.name for path in target.iterdir()] == [name]
    (target / UNFINISHED).mkdir()  # of one that was killed at the very end
    with pytest.raises(RestoreTargetNotEmpty, match="a restore was killed here"):
        restored(place, target)
    assert (target / name).exists()


def test_an_empty_folder_may_have_what_disks_and_killed_ones_have(
    volume: Volume, place: BackupPlace, tmp_path: Path
) -> None:
    target = tmp_path / "r"
    (target / "lost+found").mkdir(parents=True)
    (target / UNFINISHED / "filestorage").mkdir(parents=True)
    (target / UNFINISHED / "filestorage" / "Data.fs").write_bytes(b"half")
    assert contents(restored(place, target)) == contents(volume)
    assert not (target / UNFINISHED).exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from backup import restore
from backup.place import BackupPlace
from dqm_db.volume.layout import Volume

calls = 0
def trace(frame, event, argument):
    global calls
    calls += 1
    if calls == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

place = BackupPlace(Path(sys.argv[1]))
backups = place.read()
chain = backups.chain(backups.newest())
sys.setprofile(trace)
restore.restore(place, chain, Volume(Path(sys.argv[2])))
"""


def test_a_killed_one_leaves_nothing_to_serve(
    volume: Volume, place: BackupPlace, tmp_path: Path
) -> None:
    target = tmp_path / "r"
    step, code = 1, -9
    while code == -9:
        code = subprocess.run(
            [sys.executable, "-c", KILLED, str(place.root), str(target), str(step)],
            cwd=Path(__file__).parents[2],
            check=False,
        ).returncode
        if code == -9:
            assert not Volume(target).data_file.exists()
        step = step * 4 + 50
    assert code == 0 and step > 5000
    assert contents(Volume(target)) == contents(volume)


def test_a_full_disk_leaves_nothing(
    place: BackupPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(restore_module, "copy", full)
    with pytest.raises(BackupFailed, match="No space left"):
        restored(place, tmp_path / "r")
    assert list((tmp_path / "r").iterdir()) == []


def test_a_folder_that_cannot_be_made(place: BackupPlace, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BackupUnwritable):
        restored(place, tmp_path / "file" / "r")


def test_the_backup_of_a_time(volume: Volume, place: BackupPlace) -> None:
    backups = place.read()
    [one] = backups.found
    assert backups.newest(one.manifest.time) is one
    with pytest.raises(BackupNotFound, match=f"the first one is of {one.utc}"):
        backups.newest(one.manifest.time - 0.001)
    with pytest.raises(BackupNotFound, match="shows all"):
        backups.named("2026")
    with pytest.raises(BackupNotFound, match="is no folder of backups"):
        BackupPlace(volume.root.parent / "nowhere").read()


@pytest.mark.skipif(os.getuid() != 0, reason="needs to become another user")
def test_whoever_may_only_read_backups_can_restore_them(
    place: BackupPlace, volume: Volume, tmp_path: Path
) -> None:
    """Also a copy that has no lock yet; as another user, in a process of its own."""
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from backup.place import BackupPlace\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "place = BackupPlace(Path(sys.argv[1]))\n"
        "with place.reading(): print(len(place.read().found))\n"
    )
    copy = Path("/dev/shm") / f"dqm-backups-{os.getpid()}"  # below tmp_path nobody else may look
    try:
        shutil.copytree(place.root, copy)
        for path in (copy, *copy.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o444)
        (copy / "reading.lock").unlink(missing_ok=True)
        before = set(tree(copy))
        done = subprocess.run(
            [sys.executable, "-c", code, str(copy)],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
        assert set(tree(copy)) == before
    finally:
        shutil.rmtree(copy)
