"""A copy that lacks blobs is cut where they end; everything before stays, nothing goes for good."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from backup_volumes import contents, opened, original_of, runs_of, store, tree
from hypothesis import given, settings
from hypothesis import strategies as st

from backup import repair as repair_module
from backup.errors import BackupFailed, TooMuchToCut
from backup.reading import DataFile, Transaction
from backup.repair import Repair, repair
from dqm_db.volume.errors import DamagedData, DataInUse
from dqm_db.volume.layout import Volume
from dqm_db.volume.state import RESTORED, VolumeState

RUNS = range(1, 7)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    volume = Volume(tmp_path_factory.mktemp("repair") / "volume")
    store(volume, *RUNS)
    return volume


def copied(original: Volume, folder: Path) -> Volume:
    shutil.copytree(original.root, folder)
    return Volume(folder)


@pytest.fixture
def volume(original: Volume, tmp_path: Path) -> Volume:
    return copied(original, tmp_path / "copy")


def blob_of(volume: Volume, run: int) -> Path:
    [path] = (p for p in volume.blob_dir.rglob("*.blob") if p.read_bytes() == original_of(run))
    return path


def transactions(volume: Volume) -> list[Transaction]:
    with DataFile(volume.data_file) as file:
        return list(file.transactions())


def names(done: Repair) -> list[str]:
    return [one.description for one in done.cut]


def test_what_lacks_its_blob_is_cut_with_all_that_follows(volume: Volume) -> None:
    before = volume.data_file.read_bytes()
    blob_of(volume, 4).unlink()
    done = repair(volume)
    assert names(done)[0] == "store NectarCAMQM run 4"
    assert {f"store NectarCAMQM run {run}" for run in (5, 6)} < set(names(done))
    assert runs_of(volume) == {1, 2, 3}
    kept = tree(done.aside)
    assert done.aside.parent == volume.root
    assert kept.pop(f"Data.fs-from-byte-{done.end}") == before[done.end :]
    assert set(kept.values()) == {original_of(5), original_of(6)}
    state = VolumeState.read(volume)
    assert state.begin_epoch == RESTORED and done.tid.hex() in state.why


def test_it_is_done_once(volume: Volume) -> None:
    blob_of(volume, 3).unlink()
    repair(volume)
    before = tree(volume.root)
    again = repair(volume)
    assert (again.cut, again.bytes, again.blobs) == ((), 0, ())
    assert tree(volume.root) == before
    store(volume, 3, 4)
    assert runs_of(volume) == {1, 2, 3, 4}
    assert repair(volume).cut == ()
    assert runs_of(volume) == {1, 2, 3, 4}


def test_asking_changes_nothing(volume: Volume) -> None:
    blob_of(volume, 5).unlink()
    with volume.locked():
        pass  # the file of the lock stays
    before = tree(volume.root)
    told = repair(volume, dry_run=True)
    assert tree(volume.root) == before
    assert repair(volume) == told and names(told)


def test_a_whole_copy_stays_as_it_is(original: Volume, volume: Volume) -> None:
    done = repair(volume)
    assert (done.cut, done.bytes) == ((), 0)
    assert contents(volume) == contents(original)
    assert VolumeState.read(volume).begin_epoch == RESTORED  # the copy may be older than replicas
    assert not Path(f"{volume.data_file}.index").exists()


def test_what_a_server_has_to_do_already_is_not_forgotten(volume: Volume) -> None:
    state = VolumeState(begin_epoch="promoted", at=1.0, why="promoted")
    state.write(volume)
    repair(volume)
    assert VolumeState.read(volume) == state


def test_blobs_without_their_transaction_are_set_aside(volume: Volume) -> None:
    """As when tar reads Data.fs first."""
    store_7 = next(one for one in transactions(volume) if "run 5" in one.description)
    with volume.data_file.open("r+b") as file:
        file.truncate(store_7.begin)
    done = repair(volume)
    assert done.cut == () and done.bytes == 0
    assert {path.name for path in done.blobs} == {
        Path(name).name for name in tree(done.aside) if name.endswith(".blob")
    }
    assert len(done.blobs) == 2 and runs_of(volume) == {1, 2, 3, 4}


@settings(max_examples=40)
@given(st.data())
def test_any_end_is_cut_to_whole_transactions(
    original: Volume, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """tar may read the end half written, or mixed of two transactions; blobs may lack anywhere."""
    folder = tmp_path_factory.getbasetemp() / "any-end"
    shutil.rmtree(folder, ignore_errors=True)
    volume = copied(original, folder)
    whole = transactions(original)
    first = data.draw(st.integers(len(whole) // 2, len(whole) - 1), "the first that suffers")
    at = data.draw(st.integers(whole[first].begin, whole[-1].end), "cut here")
    with volume.data_file.open("r+b") as file:
        file.truncate(at)
        file.seek(at)
        file.write(data.draw(st.binary(max_size=100) | st.just(bytes(5000)), "what follows"))
    lost = data.draw(st.sets(st.sampled_from(RUNS)), "blobs lost")
    stored = {run: f"store NectarCAMQM run {run}" for run in RUNS}
    lost = {run for run in lost if stored[run] in {one.description for one in whole[first:]}}
    for run in lost:
        blob_of(volume, run).unlink()

    done = repair(volume)
    left = transactions(volume)
    assert left == whole[: len(left)] and volume.data_file.stat().st_size == done.end
    there = runs_of(volume) if left else set()
    missing = {run for run in RUNS if run not in there}
    assert missing.isdisjoint(
        run for run in RUNS if stored[run] in {one.description for one in whole[:first]}
    )
    assert lost <= missing
    # Nothing more than needed: the next transaction is not whole, or lacks its blob.
    if len(left) < len(whole):
        following = whole[len(left)]
        assert following.end > at or following.description in {stored[run] for run in lost}


def test_a_server_must_not_run(volume: Volume) -> None:
    before = contents(volume)
    blob_of(volume, 6).rename(volume.root / "blob")
    with opened(volume), pytest.raises(DataInUse):
        repair(volume)
    assert volume.data_file.read_bytes() == before["Data.fs"]


def test_old_runs_are_not_cut(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair_module, "LONGEST", 0.0)
    blob_of(volume, 2).unlink()
    before = volume.data_file.read_bytes()
    with pytest.raises(TooMuchToCut, match="lacks a blob of 'store NectarCAMQM run 2'"):
        repair(volume)
    assert volume.data_file.read_bytes() == before
    assert runs_of_cut(repair(volume, however_much=True)) >= {3, 4, 5, 6}


def runs_of_cut(done: Repair) -> set[int]:
    return {int(name.rsplit(maxsplit=1)[1]) for name in names(done) if name.startswith("store")}


def test_a_file_that_is_damaged_early_is_not_cut(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair_module, "MOST_UNREADABLE", 10_000)
    third = transactions(volume)[2]
    raw = bytearray(volume.data_file.read_bytes())
    raw[third.begin + 8 : third.begin + 16] = b"\1" * 8
    volume.data_file.write_bytes(raw)
    with pytest.raises(TooMuchToCut, match="bytes are no transactions"):
        repair(volume)
    assert volume.data_file.read_bytes() == raw


def test_no_room_to_keep_what_is_cut(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    blob_of(volume, 4).unlink()
    before = volume.data_file.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(repair_module, "copy", full)
        with pytest.raises(BackupFailed, match="No space left"):
            repair(volume)
    assert volume.data_file.read_bytes() == before
    repair(volume)
    assert runs_of(volume) == {1, 2, 3}


def test_what_is_no_volume(tmp_path: Path) -> None:
    with pytest.raises(DamagedData, match=r"there is no .*Data\.fs"):
        repair(Volume(tmp_path / "nothing"))
    other = Volume(tmp_path / "other")
    other.create()
    other.data_file.write_bytes(b"something else")
    with pytest.raises(DamagedData, match="is not the file of a ZODB"):
        repair(other)
    assert other.data_file.read_bytes() == b"something else"
