"""``dqm import-legacy`` and ``dqm rebuild-trends`` as processes, on real servers and killed."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import held_ingest
import peak_memory
import pytest
from legacy_databases import flat_entry, nested_entry, write_entries
from processes import COMMANDS, LOOPBACK, DatabaseServer, ServerProcess, free_port
from results_files import run_fits, sample_fits, sample_path
from ZODB.FileStorage import FileStorage

from dqm_db.model import TrendRow
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import open_database
from dqm_db.writer import open_writer
from ingest.pipeline import ingest_files

pytestmark = pytest.mark.system

CAMERA = "NectarCAMQM"
RUNS = (6001, 8001, 8003)
SIGNAL = "CAMERA-AVERAGE-PHY-OVEREVENTS-OVERSAMP-HIGH-GAIN"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Variables of the commands, without their database."""
    return {"PATH": str(COMMANDS), "DQM_LOCK_DIR": str(tmp_path / "locks"), "DQM_DB_WAIT": "5"}


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    """Run ``dqm`` on a database until it ends."""

    def call(url: str, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMANDS / "dqm", *map(str, arguments)],
            env=environment | {"DQM_DB_URL": url} | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )

    return call


@pytest.fixture(params=["with blobs", "without blobs"])
def legacy_server(
    request: pytest.FixtureRequest, tmp_path: Path, samples: Path
) -> Iterator[ServerProcess]:
    """Serves the database to import, as ZEO comes."""
    data = tmp_path / "legacy.fs"
    blobs = tmp_path / "legacy.blobs" if request.param == "with blobs" else None
    entries = {f"{CAMERA}_Run{run}": flat_entry(sample_fits(samples, run)) for run in RUNS}
    entries["NectarCAM_Run6001"] = nested_entry(sample_fits(samples, 6001))
    write_entries(FileStorage(str(data), blob_dir=blobs and str(blobs)), entries)
    port = free_port()
    blob_line = f"blob-dir {blobs}" if blobs else ""
    configuration = tmp_path / "legacy.conf"
    configuration.write_text(
        f"<zeo>\n address {LOOPBACK}:{port}\n</zeo>\n"
        f"<filestorage>\n path {data}\n {blob_line}\n</filestorage>\n"
    )
    with ServerProcess(["runzeo", "-C", configuration], port, tmp_path / "legacy.log") as server:
        yield server


def listed(run: Run, url: str) -> set[tuple[str, str]]:
    """Camera and number of all stored runs."""
    lines = run(url, "runs", "--csv").stdout.splitlines()[1:]
    return {(line.split(",")[0], line.split(",")[1]) for line in lines}


def test_from_one_server_to_another(
    legacy_server: ServerProcess,
    database_server: Callable[..., DatabaseServer],
    run: Run,
    tmp_path: Path,
    samples: Path,
) -> None:
    primary = database_server("primary").start()
    legacy = f"zeo://{LOOPBACK}:{legacy_server.port}"
    done = run(primary.url, "import-legacy", legacy)
    assert done.returncode == 1
    assert done.stdout.startswith("import-legacy: 3 stored, 1 failed of 4 in ")
    assert done.stderr == (
        f"failed: {legacy}#NectarCAM_Run6001: its key does not tell the camera: "
        "give it with --camera\n"
    )
    rest = run(primary.url, "import-legacy", legacy, "--camera", "NectarCAM2", "--runs", 6001)
    assert (rest.returncode, rest.stderr) == (0, "")
    assert listed(run, primary.url) == {
        *((CAMERA, str(number)) for number in RUNS),
        ("NectarCAM2", "6001"),
    }
    again = run(primary.url, "import-legacy", legacy, "--camera", CAMERA)
    assert again.returncode == 0
    assert again.stdout.startswith("import-legacy: 4 already stored of 4 in ")
    # what a run has that came from its file
    other = f"file://{tmp_path}/other/Data.fs"
    assert run(other, "ingest", sample_path(samples, 8001)).returncode == 0
    values = run(primary.url, "get", 8001, SIGNAL).stdout.splitlines()
    expected = run(other, "get", 8001, SIGNAL).stdout.splitlines()
    assert len(values) > 1855
    assert [v for v in values if v[:1] != "#"] == [v for v in expected if v[:1] != "#"]
    original = run(primary.url, "get", 8001)
    assert original.returncode == 66
    assert "run 8001 was stored without its original file" in original.stderr
    legacy_server.stop()
    gone = run(primary.url, "import-legacy", legacy, DQM_DB_WAIT="0.5")
    assert gone.returncode == 69 and gone.stdout == ""
    assert gone.stderr == (
        f"dqm: the database to import at {legacy} does not answer: is its server running, and the "
        "address right?\n"
    )


def legacy_file(path: Path, runs: int) -> str:
    """A database to import with small runs from number 1 on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = {f"{CAMERA}_Run{run}": flat_entry(run_fits(run)) for run in range(1, runs + 1)}
    write_entries(FileStorage(str(path)), entries)
    return f"file://{path}"


@pytest.fixture
def start_held(tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[..., Any]]:
    """Start ``dqm`` and wait until it is in the middle of a commit."""
    processes: list[subprocess.Popen[str]] = []

    def start(url: str, commit: int, how: str, *arguments: object) -> subprocess.Popen[str]:
        marker = tmp_path / f"in-commit-{len(processes)}"
        process = subprocess.Popen(
            [
                *(sys.executable, held_ingest.__file__, str(marker), str(commit), how),
                *map(str, arguments),
            ],
            env=environment | {"DQM_DB_URL": url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        while not marker.exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_sigterm_finishes_the_commit_of_an_import(
    start_held: Callable[..., Any], run: Run, tmp_path: Path
) -> None:
    url = f"file://{tmp_path}/new/Data.fs"
    legacy = legacy_file(tmp_path / "legacy" / "Data.fs", 5)
    # ZODB makes its root in one commit, we ours in another
    process = start_held(url, 4, "until-signal", "import-legacy", legacy)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (143, "")
    assert out.startswith("import-legacy: 2 stored, 3 not done of 5 in ")
    assert listed(run, url) == {(CAMERA, "1"), (CAMERA, "2")}
    assert run(url, "import-legacy", legacy).stdout.startswith(
        "import-legacy: 3 stored, 2 already stored of 5 in "
    )


def trends_of(settings: DatabaseSettings) -> dict[str, Any]:
    """Catalogue and trends as readers see them."""
    with open_database(settings) as database, database.snapshot() as snapshot:
        catalogue = snapshot.catalogue(CAMERA).columns
        return {
            "catalogue": {name: values.tobytes() for name, values in catalogue.items()},
            **{
                f"{quantity} {name}": [v.tobytes() for v in snapshot.trend(CAMERA, quantity, name)]
                for quantity, names in snapshot.trend_names(CAMERA).items()
                for name in names
            },
        }


@pytest.fixture
def damaged(tmp_path: Path, samples: Path) -> tuple[DatabaseSettings, dict[str, Any]]:
    """A database whose trends lack two of three runs, and what they were."""
    folder = tmp_path / "damaged"
    settings = load(
        DatabaseSettings, db_url=f"file://{folder}/Data.fs", lock_dir=tmp_path / "locks"
    )
    with open_writer(settings) as writer:
        list(ingest_files(writer, [sample_path(samples, number) for number in RUNS]))
    whole = trends_of(settings)

    with open_writer(settings) as writer:

        def damage(connection: Any) -> None:
            camera = connection.root()["nectarcam-dqm"].cameras[CAMERA]
            camera.catalogue.clear()
            del camera.trends.tail[6001]
            camera.trends.tail[8001] = TrendRow(camera.trends.tail[8003].values)

        writer.commit("damage", damage)
    assert trends_of(settings) != whole
    return settings, whole


@pytest.mark.parametrize("commit", [1, 2, 3])
def test_a_rebuild_that_is_killed_leaves_the_old_state(
    start_held: Callable[..., Any],
    run: Run,
    damaged: tuple[DatabaseSettings, dict[str, Any]],
    commit: int,
) -> None:
    """In each of its commits: begin, add runs, finish."""
    settings, whole = damaged
    before = trends_of(settings)
    process = start_held(settings.db_url, commit, "for-ever", "rebuild-trends")
    process.kill()
    process.communicate()
    assert trends_of(settings) == before
    again = run(settings.db_url, "rebuild-trends")
    assert again.returncode == 0, again.stderr  # ZODB logs that it cut the unfinished commit off
    assert re.match(r"rebuild-trends: 3 runs in [\d.]+ s\n", again.stdout)
    assert trends_of(settings) == whole


def test_sigterm_stops_a_rebuild_and_changes_nothing(
    start_held: Callable[..., Any], damaged: tuple[DatabaseSettings, dict[str, Any]]
) -> None:
    settings, whole = damaged
    before = trends_of(settings)
    process = start_held(settings.db_url, 1, "until-signal", "rebuild-trends")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (143, "")
    assert re.match(r"rebuild-trends: 0 runs in [\d.]+ s; stopped, unchanged: NectarCAMQM\n", out)
    assert trends_of(settings) == before != whole


def peak(environment: dict[str, str], url: str, folder: Path, *arguments: str) -> float:
    """Megabytes that a command had at most."""
    result = folder / "peak"
    subprocess.run(
        [sys.executable, peak_memory.__file__, str(result), *arguments],
        env=environment | {"DQM_DB_URL": url},
        check=True,
        timeout=100,
    )
    return int(result.read_text()) / 1024


def test_memory_does_not_grow_with_the_number_of_runs(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """A run has 0.3 MB here; those that are more have 24 MB together."""
    few, many = 10, 90
    imports, rebuilds = [], []
    for number in (few, many):
        legacy = legacy_file(tmp_path / f"legacy-{number}" / "Data.fs", number)
        url = f"file://{tmp_path}/new-{number}/Data.fs"
        imports.append(peak(environment, url, tmp_path, "import-legacy", legacy))
        rebuilds.append(peak(environment, url, tmp_path, "rebuild-trends"))
    print(f"peak memory of {few} and {many} runs: {imports=}, {rebuilds=} MB")
    assert imports[1] - imports[0] < 10
    assert rebuilds[1] - rebuilds[0] < 10
