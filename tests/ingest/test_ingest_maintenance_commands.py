"""``dqm import-legacy`` and ``dqm rebuild-trends`` as users call them: words and exit codes."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from legacy_databases import flat_entry, nested_entry, write_entries, write_root
from persistent.list import PersistentList
from results_files import run_fits, write_run
from ZODB.FileStorage import FileStorage

from dqm.cli import dqm
from dqm_db.errors import (
    ConfigurationError,
    DamagedDatabase,
    DatabaseUnavailable,
    DQMError,
    ForeignDatabase,
    RunNotFound,
    WriterLocked,
)
from dqm_db.model import SmallRecord
from dqm_db.settings import DatabaseSettings
from dqm_db.storage import open_database
from dqm_db.writer import open_writer, writer_lock
from ingest.errors import NoInputFiles
from ingest.pipeline import ingest_files

CAMERA = "NectarCAMQM"

Call = Callable[..., Result]


@pytest.fixture
def call(file_settings: DatabaseSettings) -> Call:
    """Call ``dqm`` on the test's database; `DQMError` comes back as the exception of the result."""
    environment = {
        "DQM_DB_URL": file_settings.db_url,
        "DQM_LOCK_DIR": str(file_settings.lock_dir),
    }

    def invoke(*arguments: object) -> Result:
        return CliRunner().invoke(dqm, [str(one) for one in arguments], env=environment)

    return invoke


@pytest.fixture
def legacy(tmp_path: Path) -> str:
    """A database to import: one run whose key tells the camera, one that does not, a setting."""
    path = tmp_path / "legacy" / "Data.fs"
    path.parent.mkdir()
    entries: dict[str, Any] = {
        "NectarCAMQM_Run1": flat_entry(run_fits(1)),
        "NectarCAM_Run2": nested_entry(run_fits(2)),
        "settings": {},
    }
    write_entries(FileStorage(str(path)), entries)
    return f"file://{path}"


def stored(settings: DatabaseSettings) -> list[tuple[str, int]]:
    with open_database(settings) as database, database.snapshot() as snapshot:
        return [(camera, run) for camera in snapshot.cameras() for run in snapshot.runs(camera)]


def test_import_reports_and_exits(call: Call, legacy: str, file_settings: DatabaseSettings) -> None:
    first = call("import-legacy", legacy)
    assert first.exit_code == 1
    assert first.stdout.startswith("import-legacy: 1 stored, 1 failed of 2 in ")
    assert first.stdout.endswith("; keys that name no run: 1\n")
    assert first.stderr == (
        f"failed: {legacy}#NectarCAM_Run2: its key does not tell the camera: "
        "give it with --camera\n"
    )
    second = call("import-legacy", legacy, "--camera", CAMERA)
    assert second.exit_code == 0 and second.stderr == ""
    assert second.stdout.startswith("import-legacy: 1 stored, 1 already stored of 2 in ")
    assert stored(file_settings) == [(CAMERA, 1), (CAMERA, 2)]


def test_a_dry_run_says_what_it_would_do(
    call: Call, legacy: str, file_settings: DatabaseSettings
) -> None:
    with open_writer(file_settings):
        pass
    with writer_lock(file_settings):  # which a dry run does not need
        dry = call("import-legacy", legacy, "--dry-run", "--camera", CAMERA)
    assert dry.exit_code == 0
    assert dry.stderr == (f"to do: {legacy}#NectarCAMQM_Run1\nto do: {legacy}#NectarCAM_Run2\n")
    assert dry.stdout.startswith("dry run: 2 to do of 2 in ")
    assert stored(file_settings) == []


def test_force_replaces_what_is_stored(
    call: Call, legacy: str, tmp_path: Path, file_settings: DatabaseSettings
) -> None:
    assert call("ingest", write_run(tmp_path, 1, seed=9)).exit_code == 0
    refused = call("import-legacy", legacy, "--runs", "1")
    assert refused.exit_code == 1 and refused.stderr.startswith(f"refused: {legacy}#NectarCAMQM_")
    assert call("get", 1, "-o", tmp_path / "kept.fits").exit_code == 0
    assert call("import-legacy", legacy, "--runs", "1", "--force").exit_code == 0
    lost = call("get", 1)
    assert isinstance(lost.exception, RunNotFound)
    assert "was stored without its original" in str(lost.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runs", "7-9"], "holds 2 runs, but none that is wanted: look at --camera and --runs"),
        (["--camera", "NectarCAM9", "--runs", "1"], "but none that is wanted"),
    ],
)
def test_nothing_that_is_wanted(
    call: Call, legacy: str, arguments: list[str], message: str
) -> None:
    result = call("import-legacy", legacy, *arguments)
    assert isinstance(result.exception, NoInputFiles) and message in str(result.exception)


def error_of(result: Result) -> DQMError:
    assert isinstance(result.exception, DQMError), result.output
    return result.exception


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of ZODB's own files
def test_databases_that_cannot_be_imported(call: Call, tmp_path: Path, free_port: int) -> None:
    def error(uri: str) -> tuple[type[DQMError], str]:
        found = error_of(call("import-legacy", uri))
        assert uri in str(found) and "DQM_DB_URL" not in str(found)
        return type(found), str(found)

    kind, text = error(f"file://{tmp_path}/none.fs")
    assert kind is NoInputFiles and "there is no such file" in text
    kind, text = error(f"zeo://127.0.0.1:{free_port}")
    assert kind is DatabaseUnavailable and "is its server running" in text
    kind, text = error("carrier-pigeon://home")
    assert kind is ConfigurationError and "not the address of a database" in text
    (tmp_path / "text.fs").write_text("no database at all, but long enough to be read as one")
    kind, _ = error(f"file://{tmp_path}/text.fs")
    assert kind is DamagedDatabase
    gc.collect()  # the file that FileStorage left open, while its warning is ignored
    write_entries(FileStorage(f"{tmp_path}/other.fs"), {"app": {}, "users": {}})
    kind, text = error(f"file://{tmp_path}/other.fs")
    assert kind is NoInputFiles and "its root holds app, users" in text
    write_root(FileStorage(f"{tmp_path}/list.fs"), PersistentList, {"data": []})
    kind, _ = error(f"file://{tmp_path}/list.fs")
    assert kind is ForeignDatabase


def test_wrong_command_lines(call: Call, legacy: str) -> None:
    for arguments in (["--runs", "x"], ["--runs", "9-7"], ["--camera", "two words"], ["more"]):
        assert call("import-legacy", legacy, *arguments).exit_code == 2, arguments


def test_another_writer_is_waited_for_or_named(
    call: Call, legacy: str, file_settings: DatabaseSettings
) -> None:
    with open_writer(file_settings):
        pass
    with writer_lock(file_settings):
        for arguments in (["import-legacy", legacy], ["rebuild-trends"]):
            assert isinstance(call(*arguments).exception, WriterLocked)


def test_rebuilt_trends_are_those_of_ingestion(
    call: Call, tmp_path: Path, file_settings: DatabaseSettings, samples: Path
) -> None:
    files = [samples / f"NectarCAMQM_DQM_Run{run}.tar.gz" for run in (6001, 8001, 8003)]
    with open_writer(file_settings) as writer:
        list(ingest_files(writer, files))
        with writer.database.snapshot() as snapshot:
            before = {run: snapshot.statistics(CAMERA, run) for run in (6001, 8001, 8003)}

        def forget(connection: Any) -> None:
            camera = connection.root()["nectarcam-dqm"].cameras[CAMERA]
            camera.catalogue.clear()
            camera.trends.tail.clear()

        writer.commit("forget", forget)
    assert "6001" not in call("runs", "--csv").stdout
    done = call("rebuild-trends")
    assert done.exit_code == 0 and done.stderr == ""
    assert done.stdout.startswith("rebuild-trends: 3 runs in ")
    assert call("runs", "--csv").stdout.count("\n") == 4
    with open_database(file_settings) as database, database.snapshot() as snapshot:
        assert {run: snapshot.statistics(CAMERA, run) for run in before} == before
    assert len(before[6001]) > 20


def test_rebuilding_names_damaged_runs_and_unknown_cameras(
    call: Call, tmp_path: Path, file_settings: DatabaseSettings
) -> None:
    files = [write_run(tmp_path, 1), write_run(tmp_path, 2), write_run(tmp_path, 3, camera="Other")]
    with open_writer(file_settings) as writer:
        list(ingest_files(writer, files))

        def spoil(connection: Any) -> None:
            runs = connection.root()["nectarcam-dqm"].cameras[CAMERA].runs
            runs[1].small = SmallRecord(b"rubbish")

        writer.commit("spoil", spoil)
    done = call("rebuild-trends")
    assert done.exit_code == 1
    assert done.stdout.startswith("rebuild-trends: 3 runs, 1 failed in ")
    assert done.stderr.startswith("failed: NectarCAMQM run 1: ") and done.stderr.count("\n") == 1
    assert call("rebuild-trends", "--camera", "Other").stdout.startswith("rebuild-trends: 1 runs")
    unknown = call("rebuild-trends", "--camera", "NectarCAM7")
    assert isinstance(unknown.exception, RunNotFound)
