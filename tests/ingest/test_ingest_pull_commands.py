"""`dqm ingest` of folders and URLs, as cron and people call it: output, state and exit codes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from calling import Call, caller
from results_files import write_run

from dqm_db.ingestion import Failure, Pull
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import open_database
from dqm_db.writer import writer_lock
from ingest.sources.errors import AccessDenied, AuthExpired, NotFound, SourceError, Unavailable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Runs 1 and 2 of one camera, run 2 of another, each in a folder of its own."""
    for camera, run in (("NectarCAMQM", 1), ("NectarCAMQM", 2), ("NectarCAM2", 2)):
        (tmp_path / "dqm" / camera).mkdir(parents=True, exist_ok=True)
        write_run(tmp_path / "dqm" / camera, run, camera=camera, seed=run)
    return tmp_path / "dqm"


def bad_file(folder: Path, run: int = 9) -> Path:
    path = folder / "NectarCAMQM" / f"NectarCAMQM_DQM_Run{run}.tar.gz"
    path.write_bytes(b"\x1f\x8b junk")
    return path


def state(tmp_path: Path) -> tuple[Pull | None, tuple[Failure, ...]]:
    settings = load(DatabaseSettings, db_url=f"file://{tmp_path}/Data.fs")
    with open_database(settings) as database, database.snapshot() as snapshot:
        return snapshot.last_pull(), snapshot.failures()


def listed(call: Call) -> list[tuple[str, int]]:
    rows = map(json.loads, call("runs", "--json").out.splitlines())
    return sorted((row["camera"], row["run"]) for row in rows)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_folder_and_again(call: Call, folder: Path, tmp_path: Path) -> None:
    before = time.time()
    first = call("ingest", folder)
    assert first.code == 0 and first.out.startswith("ingest: 3 stored of 3 in ")
    assert call("ingest", folder).out.startswith("ingest: 3 already stored of 3 in ")
    pull, failures = state(tmp_path)
    assert pull is not None and failures == ()
    assert before <= pull.started <= pull.finished <= time.time()
    assert (pull.sources, pull.exit_code, pull.error) == ((str(folder),), 0, "")
    assert pull.counts == {"already stored": 3} and pull.host


def test_a_file_by_name_is_no_pull(call: Call, folder: Path, tmp_path: Path) -> None:
    assert call("ingest", folder / "NectarCAMQM" / "NectarCAMQM_DQM_Run1.tar.gz").code == 0
    assert call("ingest", bad_file(folder)).code == 1
    assert state(tmp_path) == (None, ())


def test_sources_from_the_environment(folder: Path, tmp_path: Path) -> None:
    here = {"DQM_DB_URL": f"file://{tmp_path}/Data.fs", "DQM_LOCK_DIR": str(tmp_path / "locks")}
    sources = f"{folder}/NectarCAMQM file://{folder}/NectarCAM2"
    call = caller({**here, "DQM_INGEST_SOURCES": sources})
    assert call("ingest").out.startswith("ingest: 3 stored of 3 in ")
    nothing = caller(here)("ingest")
    assert nothing.code == 2 and "DQM_INGEST_SOURCES" in nothing.err


def test_quarantine_and_release(call: Call, folder: Path, tmp_path: Path) -> None:
    path = bad_file(folder)
    for attempt in (1, 2):
        result = call("ingest", folder)
        assert result.code == 1 and f"failed: {path}: damaged gzip" in result.err
        assert ("in quarantine after 2 attempts" in result.err) == (attempt == 2)
    quiet = call("ingest", folder)
    assert (quiet.code, quiet.err) == (0, "")
    assert quiet.out.startswith("ingest: 3 already stored, 1 in quarantine of 4 in ")

    table = call("ingest", "--list-quarantine").out
    assert "NectarCAMQM" in table and "in quarantine" in table
    assert "damaged gzip" in table and str(path) in table
    (failure,) = lines(call("ingest", "--list-quarantine", "--log-format", "json").out)
    assert (failure["camera"], failure["run"], failure["attempts"]) == ("NectarCAMQM", 9, 2)
    assert call("ingest", "--list-quarantine", "--camera", "NectarCAM2").out.count("\n") == 1

    assert call("release", 8).code == 66
    assert call("release", 9, "--camera", "NectarCAM2").code == 66
    assert call("release").code == 2 and call("release", 9, "--all").code == 2
    assert call("release", 9).out == "released NectarCAMQM run 9\n"
    assert state(tmp_path)[1] == ()
    assert call("ingest", folder).code == 1


def test_a_deleted_run_does_not_come_back_by_itself(call: Call, folder: Path) -> None:
    call("ingest", folder)
    assert call("rm", 1, "--yes").code == 0
    assert "1 in quarantine" in call("ingest", folder).out
    assert ("NectarCAMQM", 1) not in listed(call)
    assert "deleted by hand" in call("ingest", "--list-quarantine").out
    call("release", 1)
    assert "1 stored" in call("ingest", folder).out
    # by its name it is welcome at once
    call("rm", 1, "--yes")
    assert call("ingest", folder / "NectarCAMQM" / "NectarCAMQM_DQM_Run1.tar.gz").code == 0
    assert call("ingest", "--list-quarantine").out.count("\n") == 1


def test_update(call: Call, folder: Path) -> None:
    call("ingest", folder)
    path = write_run(folder / "NectarCAMQM", 1, seed=77)
    os.utime(path, (2e9, 2e9))
    noticed = call("ingest", folder)
    assert noticed.code == 0 and "1 changed at the source" in noticed.out
    assert "1 replaced" in call("ingest", folder, "--update").out
    assert "3 already stored" in call("ingest", folder, "--update").out


def test_filters(call: Call, folder: Path) -> None:
    assert "1 stored of 1" in call("ingest", folder, "--camera", "NectarCAM2").out
    assert "1 stored of 1" in call("ingest", folder, "--runs", "1").out
    assert call("ingest", folder, "--runs", "x").code == 2
    path = folder / "NectarCAMQM" / "NectarCAMQM_DQM_Run2.tar.gz"
    os.utime(path, (2e9, 2e9))
    assert "1 stored of 1" in call("ingest", folder, "--since", "2033-05-18").out
    nothing = call("ingest", folder, "--since", "2040-01-01T12:00")
    assert nothing.code == 0 and "nothing done of 0" in nothing.out


def test_cameras_below_a_parent(call: Call, folder: Path) -> None:
    assert "3 stored of 3" in call("ingest", f"file://{folder}/{{camera}}").out
    assert (
        "1 already stored of 1"
        in call("ingest", f"file://{folder}/{{camera}}", "--camera", "NectarCAM2").out
    )


def test_a_dry_run_changes_nothing(call: Call, folder: Path, tmp_path: Path) -> None:
    assert call("ingest", folder, "--runs", "1").code == 0
    bad_file(folder)
    settings = load(DatabaseSettings, db_url=f"file://{tmp_path}/Data.fs")
    size = (tmp_path / "Data.fs").stat().st_size
    with open_database(settings):  # a reader, as it is itself; it takes no lock
        result = call("ingest", folder, "--dry-run")
    assert result.code == 0
    assert result.out.startswith("dry run: 1 already stored, 3 to do of 4 in ")
    assert result.err.count("to do: ") == 3
    assert (tmp_path / "Data.fs").stat().st_size == size


def test_json_lines(call: Call, folder: Path) -> None:
    path = bad_file(folder)
    result = call("ingest", folder, "--log-format", "json")
    events = lines(result.err)
    assert [event["event"] for event in events] == ["file"] * 4
    assert sorted(event["status"] for event in events) == ["failed", "stored", "stored", "stored"]
    (failed,) = (event for event in events if event["level"] == "error")
    assert (failed["source"], failed["run"], failed["kind"]) == (str(path), 9, "ResultsFileError")
    (summary,) = lines(result.out)
    assert summary["counts"] == {"stored": 3, "failed": 1} and summary["total"] == 4
    quiet = call("ingest", folder, "--runs", "1-2", "--log-format", "json")
    assert quiet.err == "" and lines(quiet.out)[0]["counts"] == {"already stored": 3}


def test_the_second_one_gives_up(call: Call, folder: Path, file_settings: DatabaseSettings) -> None:
    with writer_lock(file_settings):
        assert call("ingest", folder).code == 75
        assert call("release", 9).code == 75


@pytest.mark.parametrize(
    ("error", "code"), [(Unavailable("down"), 69), (AuthExpired("renew"), 77), (NotFound("no"), 66)]
)
def test_a_source_that_cannot_be_listed(
    call: Call,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: SourceError,
    code: int,
) -> None:
    """It is said, stored for those who watch, and keeps the other source from nothing."""

    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr("ingest.sources.remote.RemoteFolder.list", refuse)
    result = call("ingest", "http://127.0.0.1:9/dqm", folder)
    assert result.code == code
    assert result.err == f"dqm: {error}\n"
    assert result.out.startswith("ingest: 3 stored of 3 in ")
    pull, _ = state(tmp_path)
    assert pull is not None
    assert (pull.exit_code, pull.error) == (code, str(error))
    assert pull.sources == ("http://127.0.0.1:9/dqm", str(folder))
    again = call("ingest", "http://127.0.0.1:9/dqm", "--log-format", "json")
    assert again.code == code and lines(again.err)[-1]["message"] == str(error)


def test_passwords_are_not_stored(
    call: Call, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise Unavailable("down")

    monkeypatch.setattr("ingest.sources.remote.RemoteFolder.list", refuse)
    call("ingest", "http://me:secret@127.0.0.1:9/dqm")
    pull, _ = state(tmp_path)
    assert pull is not None and "secret" not in repr(pull)


def test_an_unknown_scheme(call: Call) -> None:
    result = call("ingest", "gopher://127.0.0.1/x")
    assert result.code == 78 and "gopher" in result.err and "root" in result.err


def test_a_denied_folder_is_not_an_empty_one(
    call: Call, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(_self: object, name: str) -> None:
        raise AccessDenied(f"{name}: Permission denied")

    monkeypatch.setattr("ingest.sources.local.LocalFolder.list", denied)
    result = call("ingest", folder)
    assert result.code == 77 and "Permission denied" in result.err
    pull, _ = state(tmp_path)
    assert pull is not None and pull.exit_code == 77


def test_an_empty_folder_is_said_and_remembered(call: Call, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert call("ingest", tmp_path / "empty").code == 66
    pull, _ = state(tmp_path)
    assert pull is not None and (pull.exit_code, pull.counts) == (66, {})


def test_monitoring_asks_for_the_last_pull(call: Call, folder: Path) -> None:
    call("ingest", folder / "NectarCAMQM" / "NectarCAMQM_DQM_Run1.tar.gz")
    never = call("ingest", "--last-pull", 7200)
    assert (never.code, never.out) == (1, "nothing was ever pulled\n")
    call("ingest", folder)
    well = call("ingest", "--last-pull", 7200)
    assert well.code == 0 and "2 stored, 1 already stored; exit code 0" in well.out
    assert call("ingest", "--last-pull", 0).code == 1
    bad_file(folder)
    call("ingest", folder)
    ill = call("ingest", "--last-pull", 7200, "--log-format", "json")
    assert ill.code == 1 and json.loads(ill.out)["counts"]["failed"] == 1


def test_what_ends_the_command_is_json_too(
    call: Call, folder: Path, file_settings: DatabaseSettings
) -> None:
    with writer_lock(file_settings):
        result = call("ingest", folder, "--log-format", "json")
    assert result.code == 75
    (line,) = lines(result.err)
    assert line["event"] == "error" and "another command is writing" in line["message"]


def test_passwords_of_unknown_schemes_are_not_shown(call: Call) -> None:
    for scheme in ("ftp", "FTP"):
        result = call("ingest", f"{scheme}://me:s3cret@127.0.0.1/x")
        assert result.code == 78 and "s3cret" not in result.err + result.out


def test_run_is_for_one_file(call: Call, folder: Path) -> None:
    assert call("ingest", folder, "--run", 1).code == 2
