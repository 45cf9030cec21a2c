"""`dqm ingest dirac:/…` as cron calls it: a real DIRAC, a real primary."""

from __future__ import annotations

import filecmp
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import DatabaseServer, eventually
from pulling import Caller, kill_with_its_workers_watched
from results_files import write_run

from tests.grid.dirac_server import DiracServer

pytestmark = [pytest.mark.grid, pytest.mark.timeout(300)]

CAMERAS = ("NectarCAM2", "NectarCAMQM")
RUNS = range(7000, 7012)


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[DatabaseServer]:
    with DatabaseServer(tmp_path, "primary") as server:
        yield server


@pytest.fixture(scope="module")
def results(dirac: DiracServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Results files of two cameras, by the path in the catalogue under which they are stored."""
    base = "/ctao/user/d/dqm/pulled"
    stored = {}
    for camera in CAMERAS:
        folder = tmp_path_factory.mktemp(camera)
        files = [write_run(folder, run, camera=camera, seed=run) for run in RUNS]
        dirac.upload(f"{base}/{camera}", files)
        stored |= {f"{base}/{camera}/{path.name}": path for path in files}
    return stored


@pytest.fixture
def ingest(primary: DatabaseServer, dirac: DiracServer, proxy: Path, tmp_path: Path) -> Caller:
    return Caller(primary, tmp_path, DQM_DIRAC_PYTHON=str(dirac.python))


def stored(ingest: Caller) -> list[tuple[str, int]]:
    return [(camera, run) for camera, runs in sorted(ingest.runs().items()) for run in runs]


ALL = [(camera, run) for camera in CAMERAS for run in RUNS]
URL = "dirac:/ctao/user/d/dqm/pulled"


def test_all_cameras_and_again(ingest: Caller, results: dict[str, Path], tmp_path: Path) -> None:
    code, out, err = ingest("ingest", URL)
    assert code == 0, err
    assert f"{len(ALL)} stored of {len(ALL)} in " in out
    assert stored(ingest) == ALL
    assert list(ingest.temporary.iterdir()) == []
    code, out, err = ingest("ingest", URL + "/{camera}")
    assert code == 0, err
    assert f"{len(ALL)} already stored of {len(ALL)} in " in out
    path = results["/ctao/user/d/dqm/pulled/NectarCAMQM/NectarCAMQM_DQM_Run7003.tar.gz"]
    copy = tmp_path / "one.tar.gz"
    what = ("--camera", "NectarCAMQM", "--archive", "--output", str(copy))
    code, _, err = ingest("get", "7003", *what)
    assert code == 0, err
    assert filecmp.cmp(copy, path, shallow=False)


def test_a_bad_file_does_not_keep_the_others(
    ingest: Caller, dirac: DiracServer, tmp_path: Path
) -> None:
    files = [write_run(tmp_path, run, camera="NectarCAMQM", seed=run) for run in (1, 2, 3)]
    directory = "/ctao/user/d/dqm/bad"
    dirac.upload(directory, files)
    place = dirac.stored(f"{directory}/{files[1].name}")
    content = bytearray(place.read_bytes())
    content[len(content) // 2] ^= 1
    place.write_bytes(content)
    code, out, err = ingest("ingest", f"dirac:{directory}")
    assert code == 1
    assert files[1].name in out + err and "checksum" in out + err
    assert stored(ingest) == [("NectarCAMQM", 1), ("NectarCAMQM", 3)]


def test_an_expired_proxy(
    ingest: Caller, dirac: DiracServer, results: dict[str, Path], proxy: Path
) -> None:
    dirac.make_proxy(proxy, -10)
    code, out, err = ingest("ingest", URL)
    assert code == 77
    assert "proxy has expired" in out + err and "Traceback" not in out + err


def test_services_down(ingest: Caller, dirac: DiracServer, results: dict[str, Path]) -> None:
    dirac.services["storage"].kill()
    try:
        code, out, err = ingest("ingest", URL, "--runs", "7000-7002")
    finally:
        dirac.services["storage"].start()
    # Its catalogue still answers: the files are what cannot be had.
    assert code == 1, out + err
    assert "Connection refused" in out + err and "Traceback" not in out + err
    dirac.services["catalog"].kill()
    try:
        code, out, err = ingest("ingest", URL)
    finally:
        dirac.services["catalog"].start()
    assert code == 69, out + err


def test_kill_9_of_the_puller(ingest: Caller, results: dict[str, Path]) -> None:
    chance = random.SystemRandom()
    for _ in range(3):
        puller = ingest.start("ingest", URL)
        eventually(lambda: fetching(ingest, puller), "a download, or the end of all")  # noqa: B023
        time.sleep(chance.uniform(0, 0.5))
        kill_with_its_workers_watched(puller)
    code, _, err = ingest("ingest", URL)
    assert code == 0, err
    assert stored(ingest) == ALL
    assert list(ingest.temporary.iterdir()) == []


def fetching(ingest: Caller, puller: subprocess.Popen[str]) -> bool:
    """Whether DIRAC is about to write, or everything is over."""
    return puller.poll() is not None or any(ingest.temporary.glob("*/.dirac-*"))
