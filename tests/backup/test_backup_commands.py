"""The commands of ``dqm backup``: what they say, with which codes they end."""

from __future__ import annotations

import json
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from backup_volumes import CAMERA, contents, original_of, runs_of, settings_of, store

from backup.place import BackupPlace
from dqm.cli import main
from dqm_db.operations import OperationName
from dqm_db.storage import open_database
from dqm_db.volume.layout import Volume
from dqm_db.volume.maintenance import maintaining


class Commands:
    """Calls ``dqm backup`` as a shell does."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str | Path) -> tuple[int, str, str]:
        """Exit code, standard output and error."""
        with pytest.raises(SystemExit) as ended:
            main(["backup", *map(str, words)])
        code = ended.value.code
        assert code is None or isinstance(code, int)
        return code or 0, *self._capsys.readouterr()


@pytest.fixture
def dqm(capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys)


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Volume:
    """Its database, which no server has open, is the one that is told."""
    volume = Volume(tmp_path / "volume")
    store(volume, 1, 2)
    monkeypatch.setenv("DQM_DATA_DIR", str(volume.root))
    monkeypatch.setenv("DQM_BACKUP_DIR", str(tmp_path / "backups"))
    monkeypatch.setenv("DQM_DB_URL", settings_of(volume).db_url)
    monkeypatch.setenv("DQM_LOCK_DIR", str(tmp_path / "locks"))
    return volume


@pytest.fixture
def place(tmp_path: Path) -> BackupPlace:
    return BackupPlace(tmp_path / "backups")


def operations(volume: Volume) -> dict[OperationName, object]:
    with open_database(settings_of(volume)) as database, database.snapshot() as snapshot:
        return dict(snapshot.operations())


def test_from_volume_to_volume(
    dqm: Commands, volume: Volume, place: BackupPlace, tmp_path: Path
) -> None:
    then = contents(volume)
    code, out, err = dqm("create")
    assert (code, err) == (0, "")
    first = place.read().newest()
    assert out.startswith(f"full backup {first.name}: ") and first.manifest.tid in out
    store(volume, 3)
    assert dqm("create", "--incremental")[0] == 0
    second = place.read().newest()
    assert second.manifest.follows == first.name

    code, out, _ = dqm("verify", "--all")
    assert code == 0 and out.count("sound") == 2
    code, out, _ = dqm("list")
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [
        [first.name, "full"],
        [second.name, "incremental"],
    ]
    assert out.count(": sound") == 2

    code, out, _ = dqm("restore", "--to", tmp_path / "newest")
    assert code == 0 and second.name in out and "dqm resync" in out
    assert runs_of(Volume(tmp_path / "newest")) == {1, 2, 3}
    at = datetime.fromtimestamp(second.manifest.time - 0.001, UTC).isoformat()
    for number, words in enumerate((("--at", at), ("--backup", first.name))):
        code, out, _ = dqm("restore", "--to", tmp_path / str(number), *words)
        assert code == 0 and first.name in out
        assert contents(Volume(tmp_path / str(number))) == then


def test_the_time_is_utc_unless_it_says_otherwise(
    dqm: Commands, volume: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        before = datetime.now(UTC).replace(tzinfo=None).isoformat()
        dqm("create")
        after = datetime.now(UTC).replace(tzinfo=None).isoformat()
        assert dqm("restore", "--to", tmp_path / "a", "--at", before)[0] == 66
        assert dqm("restore", "--to", tmp_path / "a", "--at", f"{after}-01:00")[0] == 0
        assert dqm("restore", "--to", tmp_path / "b", "--at", f"{after}+01:00")[0] == 66
        assert dqm("restore", "--to", tmp_path / "b", "--at", f"{after}Z")[0] == 0
        assert dqm("restore", "--to", tmp_path / "c", "--at", "yesterday")[0] == 2
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_list_for_programs(dqm: Commands, volume: Volume, place: BackupPlace) -> None:
    dqm("create")
    dqm("verify")
    broken = place.root / "2026-01-01T00-00-00.000Z"
    broken.mkdir()
    (place.root / "somebody's").mkdir()
    code, out, _ = dqm("list", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and len(rows) == 2
    assert rows[0]["kind"] == "full" and rows[0]["blobs"] == 2 and rows[0]["usable"]
    assert rows[0]["verified"]["ok"] and rows[0]["epoch"] == 0
    assert datetime.fromisoformat(rows[0]["time"]).tzinfo is not None
    assert rows[1]["name"] == broken.name and not rows[1]["usable"]
    assert "damaged" in dqm("list")[1]


def test_what_was_done_is_told_to_the_database(
    dqm: Commands, volume: Volume, place: BackupPlace
) -> None:
    started = time.time()
    dqm("create")
    dqm("verify")
    made = place.read().newest().manifest
    told = operations(volume)
    done = told[OperationName.BACKUP]
    assert done.ok and made.name in done.text  # type: ignore[attr-defined]
    assert done.facts == {  # type: ignore[attr-defined]
        "bytes": made.bytes,
        "seconds": made.seconds,
        "tid": made.tid,
        "kind": "full",
    }
    assert started <= done.started <= done.finished <= time.time()  # type: ignore[attr-defined]
    assert told[OperationName.BACKUP_VERIFICATION].ok  # type: ignore[attr-defined]

    next(place.blobs.rglob("*.blob")).unlink()
    assert dqm("verify")[0] == 65
    code, _, err = dqm("restore", "--to", volume.root.parent / "copy")
    assert code == 65 and "nothing was restored: take another backup" in err
    blob = next(volume.blob_dir.rglob("*.blob"))
    blob.rename(volume.root / "away")
    assert dqm("create", "--full")[0] == 65
    told = operations(volume)
    failed = told[OperationName.BACKUP]
    assert not failed.ok and str(blob) in failed.text  # type: ignore[attr-defined]
    failed = told[OperationName.BACKUP_VERIFICATION]
    assert not failed.ok and made.name in failed.text  # type: ignore[attr-defined]

    assert dqm("verify", "--work", volume.root.parent / "nowhere")[0] == 73
    failed = operations(volume)[OperationName.BACKUP_VERIFICATION]
    assert not failed.ok and "nowhere" in failed.text  # type: ignore[attr-defined]


def test_a_database_that_does_not_answer_is_a_warning(
    dqm: Commands, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DQM_DB_URL", f"file://{volume.root}/nothing/Data.fs")
    monkeypatch.setenv("DQM_LOCK_DIR", "/dev/null/nowhere")
    code, out, err = dqm("create")
    assert code == 0 and out.startswith("full backup")
    assert err.startswith("dqm: warning: the database does not know of the backup (")
    assert len(err.splitlines()) == 1


def test_what_goes_wrong_has_its_code(
    dqm: Commands, volume: Volume, place: BackupPlace, tmp_path: Path
) -> None:
    assert dqm("list")[0] == 66
    assert dqm("verify")[0] == 66
    assert dqm("restore", "--to", tmp_path / "r")[0] == 66
    assert dqm("create", "--incremental")[0] == 66
    with maintaining(volume, "a pack"):
        code, _, err = dqm("create")
        assert code == 75 and "a pack is under way" in err
    assert dqm("create", "--data-dir", tmp_path / "nothing")[0] == 65
    assert dqm("create", "--keep", "some")[0] == 78
    assert dqm("prune")[0] == 78
    assert place.read().found == ()
    assert dqm("create")[0] == 0
    assert dqm("verify", "2026")[0] == 66
    assert dqm("verify", "2026", "--all")[0] == 2
    assert dqm("restore", "--to", volume.root)[0] == 73
    both = ("--at", "2026-01-01", "--backup", "x")
    assert dqm("restore", "--to", tmp_path / "r", *both)[0] == 2
    assert dqm("create", "--to", "/dev/null/x")[0] == 73


def test_no_folder_of_backups_is_named(
    dqm: Commands, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DQM_BACKUP_DIR")
    for words in (("create",), ("list",), ("verify",), ("prune",)):
        code, _, err = dqm(*words)
        assert code == 78 and "DQM_BACKUP_DIR" in err


def test_a_newest_backup_that_cannot_be_read_is_not_passed_over(
    dqm: Commands, volume: Volume, place: BackupPlace, tmp_path: Path
) -> None:
    dqm("create")
    dqm("create")
    first, second = place.read().found
    (second.folder / "manifest.json").write_bytes(b"{")
    code, _, err = dqm("restore", "--to", tmp_path / "r")
    assert code == 65 and f"the newest sound one is {first.name}" in err
    assert dqm("verify")[0] == 65
    assert dqm("restore", "--to", tmp_path / "r", "--backup", first.name)[0] == 0
    assert dqm("create")[1].startswith("incremental")  # that of the first one is still sound


def test_old_ones_go_with_keep(
    dqm: Commands, volume: Volume, place: BackupPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    dqm("create", "--full")
    monkeypatch.setenv("DQM_BACKUP_KEEP", "1y")
    code, out, _ = dqm("prune", "--dry-run")
    assert code == 0 and out == "0 backups would be removed, 0.0 MB would be freed\n"
    first = place.read().newest().name
    code, out, _ = dqm("create", "--full")
    assert code == 0 and f"removed {first}" in out and "\n1 backup removed, " in out
    assert len(place.read().found) == 1
    code, out, _ = dqm("prune")
    assert code == 0 and out == "0 backups removed, 0.0 MB freed\n"


def test_verifying_clears_what_a_killed_one_has_left(
    dqm: Commands, volume: Volume, place: BackupPlace
) -> None:
    dqm("create")
    left = place.root / ".verify-killed"

    def leave() -> None:
        left.mkdir()
        (left / "Data.fs").write_bytes(b"half")

    leave()
    with place.reading():  # somebody else, whose folder it may be
        assert dqm("verify")[0] == 0
        assert left.exists()
    with place.making():  # a backup under way has no such folder
        assert dqm("verify")[0] == 0
    assert not left.exists()
    leave()
    with place.removing():
        assert dqm("verify")[0] == 75
        assert left.exists()


def test_what_cannot_be_cleared_is_in_nobodys_way(
    dqm: Commands,
    volume: Volume,
    place: BackupPlace,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As when it is of another user."""
    dqm("create")
    (place.root / ".verify-root").mkdir()
    real = shutil.rmtree

    def refused(path: Path, *arguments: object, **named: object) -> None:
        if path.name == ".verify-root":
            raise PermissionError(13, "Permission denied", str(path))
        real(path, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(shutil, "rmtree", refused)
    assert dqm("verify")[0] == 0
    assert "Permission denied" in caplog.text


def test_a_repair_says_what_it_cut(dqm: Commands, volume: Volume) -> None:
    code, out, _ = dqm("repair", volume.root)
    assert (code, out) == (0, "nothing to cut: all transactions have their blobs\n")
    [path] = (p for p in volume.blob_dir.rglob("*.blob") if p.read_bytes() == original_of(2))
    path.unlink()
    code, out, _ = dqm("repair", "--dry-run", volume.root)
    assert code == 0 and f"would be cut: store {CAMERA} run 2 (" in out
    code, out, _ = dqm("repair", volume.root)
    assert code == 0 and out.startswith(f"cut: store {CAMERA} run 2 (") and "kept in" in out
    assert runs_of(volume) == {1}
    assert dqm("repair", volume.root / "nothing")[0] == 65
    with volume.locked():
        assert dqm("repair", volume.root)[0] == 75
