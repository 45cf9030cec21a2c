"""Backups are made at one point in time, once for each blob, whole or not at all."""

from __future__ import annotations

import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from backup_volumes import contents, delete, opened, pack, runs_of, store
from ZODB.FileStorage.format import TRANS_HDR
from ZODB.scripts import repozo

from backup import create as create_module
from backup import files, piece, pool
from backup.create import create_backup
from backup.errors import BackupFailed, BackupsLocked, BackupUnwritable, IncrementalImpossible
from backup.place import Backup, BackupPlace
from backup.restore import restore
from backup.verify import Verifier
from dqm_db.volume.errors import DamagedData, MaintenanceUnderWay
from dqm_db.volume.fence import DEMOTED, Fence
from dqm_db.volume.layout import Volume
from dqm_db.volume.maintenance import maintaining


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    volume = Volume(tmp_path / "the volume")
    store(volume, 1, 2)
    return volume


@pytest.fixture
def place(tmp_path: Path) -> BackupPlace:
    return BackupPlace(tmp_path / "two words" / "backups")


def restored(place: BackupPlace, backup: Backup, folder: Path) -> Volume:
    volume = Volume(folder)
    restore(place, place.read().chain(backup), volume)
    return volume


def blobs_in(place: BackupPlace) -> list[Path]:
    return sorted(path for path in place.blobs.rglob("*") if path.is_file())


def test_a_full_backup_then_incremental_ones(
    volume: Volume, place: BackupPlace, tmp_path: Path
) -> None:
    full = create_backup(volume, place)
    then = contents(volume)
    store(volume, 3)
    second = create_backup(volume, place)
    later = contents(volume)
    same = create_backup(volume, place)
    store(volume, 4)
    last = create_backup(volume, place, "incremental")

    kinds = [one.manifest.kind for one in place.read().found]
    assert kinds == ["full", "incremental", "incremental", "incremental"]
    assert [len(one.manifest.blobs) for one in (full, second, same, last)] == [2, 1, 0, 1]
    assert second.manifest.end - second.manifest.begin < full.manifest.end
    assert same.manifest.data is None and same.manifest.tid == second.manifest.tid
    assert len(blobs_in(place)) == 4
    assert contents(restored(place, full, tmp_path / "a")) == then
    assert contents(restored(place, second, tmp_path / "b")) == later
    assert contents(restored(place, same, tmp_path / "c")) == later
    assert contents(restored(place, last, tmp_path / "d")) == contents(volume)
    assert runs_of(Volume(tmp_path / "d")) == {1, 2, 3, 4}


def test_a_pack_makes_the_next_one_full(volume: Volume, place: BackupPlace, tmp_path: Path) -> None:
    first = create_backup(volume, place)
    before = contents(volume)
    delete(volume, 1)
    pack(volume)
    store(volume, *range(10, 20))  # longer than it was before
    assert volume.data_file.stat().st_size > first.manifest.end
    with pytest.raises(IncrementalImpossible, match="packed or restored"):
        create_backup(volume, place, "incremental")
    second = create_backup(volume, place)
    assert second.manifest.kind == "full"
    assert contents(restored(place, first, tmp_path / "a")) == before  # its blobs are still there
    assert contents(restored(place, second, tmp_path / "b")) == contents(volume)


def test_a_pack_is_noticed_after_a_backup_without_changes(
    volume: Volume, place: BackupPlace, tmp_path: Path
) -> None:
    """repozo alone takes an empty piece for one that has not changed, whatever the file holds."""
    create_backup(volume, place)
    create_backup(volume, place)
    delete(volume, 1)
    pack(volume)
    store(volume, *range(10, 20))
    made = create_backup(volume, place)
    assert made.manifest.kind == "full"
    assert contents(restored(place, made, tmp_path / "r")) == contents(volume)


def test_an_unfinished_transaction_is_nothing_new(
    volume: Volume, place: BackupPlace, tmp_path: Path
) -> None:
    """As when a client has voted; a piece of no bytes would prove nothing about the file later."""
    create_backup(volume, place)
    whole = contents(volume)
    with volume.data_file.open("ab") as file:
        header = struct.pack(TRANS_HDR, b"\7" * 8, 5000, b"c", 0, 0, 0)
        file.write(header + bytes(5000 - len(header)))
    same = create_backup(volume, place)
    assert same.manifest.kind == "incremental" and same.manifest.data is None
    assert contents(restored(place, same, tmp_path / "r")) == whole
    assert create_backup(volume, place, "full").manifest.end == same.manifest.end


def test_only_the_end_of_a_large_piece_is_compared(
    volume: Volume, place: BackupPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(piece, "COMPARED", 1000)
    full = create_backup(volume, place)
    assert full.manifest.compare_from == full.manifest.end - 1000
    store(volume, 3)
    assert create_backup(volume, place).manifest.kind == "incremental"
    delete(volume, 1)
    pack(volume)
    store(volume, *range(10, 20))
    made = create_backup(volume, place)
    assert made.manifest.kind == "full"
    assert contents(restored(place, made, tmp_path / "r")) == contents(volume)


# repozo leaves its files to the garbage collector then.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_file_that_becomes_shorter_is_no_backup(
    volume: Volume, place: BackupPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a pack that takes no lock replaces it while repozo is at it."""

    def cut(*arguments: object) -> str:
        with volume.data_file.open("r+b") as file:
            file.truncate(1000)
        return original(*arguments)

    original = repozo.copyfile
    monkeypatch.setattr(repozo, "copyfile", cut)
    with pytest.raises(DamagedData, match="became shorter"):
        create_backup(volume, place)
    assert place.read().found == ()


def test_a_chain_ends(volume: Volume, place: BackupPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(create_module, "LONGEST_CHAIN", 3)
    kinds = [create_backup(volume, place).manifest.kind for _ in range(7)]
    one = ["full", "incremental", "incremental"]
    assert kinds == [*one, *one, "full"]


def test_a_chain_that_outgrew_its_full_one_ends(volume: Volume, place: BackupPlace) -> None:
    full = create_backup(volume, place).manifest.end
    run = 3
    while volume.data_file.stat().st_size <= 2 * full:
        store(volume, run)
        assert create_backup(volume, place).manifest.kind == "incremental"
        run += 1
    assert create_backup(volume, place).manifest.kind == "full"


def test_nothing_is_built_on_what_is_damaged(volume: Volume, place: BackupPlace) -> None:
    made = create_backup(volume, place)
    assert made.manifest.data is not None
    file = made.folder / made.manifest.data.name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert Verifier(place, place.read()).verify(place.read().newest())[-1].faults
    assert create_backup(volume, place).manifest.kind == "full"


def test_nothing_to_build_on(volume: Volume, place: BackupPlace) -> None:
    with pytest.raises(IncrementalImpossible, match="no sound backup"):
        create_backup(volume, place, "incremental")
    assert place.read().found == ()


def test_the_epoch_is_that_of_the_moment(volume: Volume, place: BackupPlace) -> None:
    assert create_backup(volume, place).manifest.epoch == 0
    with opened(volume) as database:
        Fence(3, DEMOTED, "host", 1.0, "demoted").write(database.storage)
    assert create_backup(volume, place).manifest.epoch == 3


def test_an_empty_volume_is_backed_up(place: BackupPlace, tmp_path: Path) -> None:
    volume = Volume(tmp_path / "empty")
    volume.create()
    with opened(volume):
        pass
    made = create_backup(volume, place)
    assert contents(restored(place, made, tmp_path / "r")) == contents(volume)


def test_no_volume(place: BackupPlace, tmp_path: Path) -> None:
    with pytest.raises(DamagedData, match=r"there is no .*Data\.fs"):
        create_backup(Volume(tmp_path / "nothing"), place)


# FileStorage leaves a file that it refuses to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_damaged_file_is_no_backup(volume: Volume, place: BackupPlace) -> None:
    data = bytearray(volume.data_file.read_bytes())
    data[4 + 8 : 4 + 16] = b"\0" * 8  # the length of the first transaction
    volume.data_file.write_bytes(data)
    Path(f"{volume.data_file}.index").unlink()
    with pytest.raises(DamagedData):
        create_backup(volume, place)
    assert place.read().found == ()


def test_a_missing_blob_is_said_with_its_run(volume: Volume, place: BackupPlace) -> None:
    store(volume, 3)
    newest = max(volume.blob_dir.rglob("*.blob"), key=lambda path: path.name)
    newest.unlink()
    with pytest.raises(DamagedData, match="store NectarCAMQM run 3"):
        create_backup(volume, place)
    assert place.read().found == ()


def test_packs_and_other_backups_are_kept_out(
    volume: Volume, place: BackupPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with maintaining(volume, "a pack"), pytest.raises(MaintenanceUnderWay, match="a pack is under"):
        create_backup(volume, place)

    def look(options: object) -> None:
        with (
            pytest.raises(MaintenanceUnderWay, match="a backup is under way"),
            maintaining(volume, "a pack"),
        ):
            pass
        with pytest.raises(BackupsLocked), place.making():
            pass
        original(options)

    original = repozo.do_backup
    monkeypatch.setattr(repozo, "do_backup", look)
    create_backup(volume, place)
    with maintaining(volume, "a pack"), place.removing():
        pass


def test_a_full_disk_leaves_no_backup(
    volume: Volume, place: BackupPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for module, name in ((create_module, "compress"), (pool, "copy"), (files, "sync")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, name, full)
            with pytest.raises(BackupFailed, match="No space left"):
                create_backup(volume, place)
        assert place.read().found == ()
        assert not list(place.root.glob(".new-*"))
    create_backup(volume, place)


def test_room_is_checked_before(
    volume: Volume, place: BackupPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(create_module, "_ROOM", 10**18)
    with pytest.raises(BackupUnwritable, match=r"only .* MB left"):
        create_backup(volume, place)
    assert place.read().found == ()


KILLED = """
import os, signal, sys
from pathlib import Path
from backup import create
from backup.place import BackupPlace
from dqm_db.volume.layout import Volume

calls = 0
def trace(frame, event, argument):
    global calls
    calls += 1
    if calls == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return None

def watched(*arguments):
    sys.setprofile(trace)
    return original(*arguments)

original = create.cut_piece
create.cut_piece = watched
create.create_backup(Volume(Path(sys.argv[1])), BackupPlace(Path(sys.argv[2])))
print("finished")
"""


def test_a_killed_backup_counts_for_nothing(
    volume: Volume, place: BackupPlace, tmp_path: Path
) -> None:
    """Killed after more and more calls of functions, until it finishes."""
    create_backup(volume, place)
    store(volume, 3)
    step, finished = 1, False
    trials = 0
    while not finished:
        ended = subprocess.run(
            [sys.executable, "-c", KILLED, str(volume.root), str(place.root), str(step)],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        finished = ended.stdout == "finished\n"
        assert finished or ended.returncode == -9, ended.stderr
        backups = place.read()
        assert backups.damaged == {}
        if not finished and len(backups.found) == 1:
            trials += 1
        for one in backups.found[1:]:  # killed after it was done
            assert not Verifier(place, backups).verify(one)[-1].faults
            finished = True
        step = step * 3 + 7
    assert trials >= 3
    made = create_backup(volume, place)
    assert not list(place.root.glob(".new-*"))
    assert contents(restored(place, made, tmp_path / "r")) == contents(volume)


def test_a_clock_that_was_set_back(
    volume: Volume, place: BackupPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    first = create_backup(volume, place)
    for back in (7200.0, 7200.0):  # twice at the same time
        store(volume, 3)
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda back=back: now - back)
            made = create_backup(volume, place)
        assert made.manifest.kind == "incremental"
        assert place.read().newest().name == made.name
    assert place.read().found[0].name == first.name
    assert made.manifest.time < first.manifest.time
