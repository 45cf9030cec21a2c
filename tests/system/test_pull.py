"""`dqm ingest URL` from real servers into a real primary, with everything that goes wrong."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from grid_servers import BrokenServer, Nginx, WebDav, XRootD, open_folder
from processes import LOOPBACK, DatabaseServer, ServerProcess, eventually, free_port
from pulling import Caller, kill_with_its_workers_watched, only
from results_files import build_run_archive, run_fits, write_run
from ZODB.FileStorage import FileIterator

from dqm_db.errors import NoDataYet, RunNotFound

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

CAMERA = "NectarCAMQM"
RUNS = range(6001, 6009)


@pytest.fixture
def data() -> Iterator[Path]:
    """Runs of two cameras, where servers find them."""
    with open_folder() as folder:
        for camera, runs in ((CAMERA, RUNS), ("NectarCAM2", RUNS[:2])):
            place = folder / "data" / camera
            place.mkdir(parents=True)
            for run in runs:
                write_run(place, run, camera=camera, seed=run)
        yield folder / "data"


@pytest.fixture
def xrootd(data: Path) -> Iterator[XRootD]:
    with XRootD(data.parent, data) as server:
        yield server


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[DatabaseServer]:
    with DatabaseServer(tmp_path, "primary") as server:
        yield server


@pytest.fixture
def dqm(primary: DatabaseServer, tmp_path: Path) -> Caller:
    return Caller(primary, tmp_path, DQM_SOURCE_TIMEOUT="5")


def everything(data: Path) -> dict[str, list[int]]:
    return {CAMERA: list(RUNS), "NectarCAM2": list(RUNS[:2])}


def test_xrootd_and_again(dqm: Caller, xrootd: XRootD, data: Path) -> None:
    first = dqm("ingest", xrootd.url)
    assert first.code == 0, first.err
    assert first.out.startswith("ingest: 10 stored of 10 in ") and first.err == ""
    assert dqm.runs() == everything(data)
    source = dqm.read(lambda snapshot: snapshot.header(CAMERA, 6001).provenance)
    path = data / CAMERA / f"{CAMERA}_DQM_Run6001.tar.gz"
    assert source.source.startswith("root://") and source.source.endswith(path.name)
    assert source.source_modified == pytest.approx(path.stat().st_mtime, abs=1)
    before = transactions(dqm.primary)
    again = dqm("ingest", xrootd.url + "/{camera}")
    assert again.code == 0 and "10 already stored of 10" in again.out
    (heartbeat,) = transactions(dqm.primary)[len(before) :]
    assert heartbeat == b"pull"
    assert dqm.leftovers() == []


def transactions(server: DatabaseServer) -> list[bytes]:
    """Descriptions of all transactions."""
    return [found.description for found in FileIterator(str(server.data_file))]


@pytest.mark.parametrize("kind", ["html", "json", "webdav"])
def test_web_servers(dqm: Caller, data: Path, kind: str) -> None:
    server: ServerProcess
    if kind == "webdav":
        server = WebDav(data.parent, data)
        url = server.url
    else:
        server = Nginx(data.parent, data)
        url = f"{server.url}/{kind}/"
    with server:
        first = dqm("ingest", url)
        assert first.code == 0, first.err
        assert dqm.runs() == everything(data)
        assert "10 already stored of 10" in dqm("ingest", url).out


def test_a_server_that_is_killed_in_mid_download_and_restarted(dqm: Caller, data: Path) -> None:
    server = Nginx(data.parent, data)
    large = data / CAMERA / f"{CAMERA}_DQM_Run7000.tar.gz"
    noise = random.Random(0).randbytes(8_000_000)
    large.write_bytes(build_run_archive(CAMERA, 7000, noise))
    with server:
        puller = dqm.start("ingest", f"{server.url}/slow/{CAMERA}/")
        eventually(lambda: any(dqm.temporary.rglob("*Run7000*.part")), "it is being downloaded")
        eventually(lambda: len(dqm.runs().get(CAMERA, [])) == len(RUNS), "the others are stored")
        server.kill()
        out, err = puller.communicate(timeout=60)
        assert puller.returncode == 69, out + err
        assert dqm.failures() == [], "the file is not to blame"
        pull = dqm.last_pull()
        assert pull is not None and pull.exit_code == 69 and pull.error
        assert dqm.leftovers() == []
        large.write_bytes(build_run_archive(CAMERA, 7000, run_fits(seed=1)))
        server.start()
        again = dqm("ingest", f"{server.url}/slow/{CAMERA}/")
        assert again.code == 0, again.err
        assert dqm.runs() == {CAMERA: [*RUNS, 7000]}


def test_bad_files_end_in_quarantine_and_block_nothing(
    dqm: Caller, xrootd: XRootD, data: Path
) -> None:
    def path(run: int) -> Path:
        return data / CAMERA / f"{CAMERA}_DQM_Run{run}.tar.gz"

    good = path(6001).read_bytes()
    path(6001).write_bytes(good[:-100])
    flipped = bytearray(path(6002).read_bytes())
    flipped[len(flipped) // 2] ^= 1
    path(6002).write_bytes(flipped)
    url = f"{xrootd.url}/{CAMERA}"
    for attempt in (1, 2):
        result = dqm("ingest", url)
        assert result.code == 1
        assert result.err.count("failed: ") == 2
        assert ("in quarantine" in result.err) == (attempt == 2)
        assert dqm.runs() == {CAMERA: list(RUNS[2:])}
    assert {failure.run: failure.is_quarantined for failure in dqm.failures()} == {
        6001: True,
        6002: True,
    }
    assert dqm("ingest", url).code == 0
    # put right at the source, it comes by itself; the other one needs a word
    path(6001).write_bytes(good)
    assert dqm("ingest", url).code == 0
    assert dqm.runs() == {CAMERA: [6001, *RUNS[2:]]}
    assert dqm("release", "6002").code == 0
    assert dqm("ingest", url).code == 1
    assert only(dqm.failures()).attempts == 1


def test_a_flipped_bit_where_no_checksum_is_told(dqm: Caller, data: Path) -> None:
    """nginx's index has none, but the gzip trailer does, which tarfile never reads."""
    with Nginx(data.parent, data) as server:
        path = data / CAMERA / f"{CAMERA}_DQM_Run6001.tar.gz"
        content = bytearray(path.read_bytes())
        content[-6] ^= 4
        path.write_bytes(content)
        result = dqm("ingest", f"{server.url}/json/{CAMERA}/", "--runs", "6001")
    assert result.code == 1 and "gzip" in result.err
    assert dqm.runs() == {}


@pytest.mark.parametrize(
    ("place", "code", "words"),
    [("/forbidden/", 77, "403"), ("/json/nowhere/", 66, ""), ("/down/", 69, "503")],
)
def test_directories_that_cannot_be_listed(
    dqm: Caller, data: Path, place: str, code: int, words: str
) -> None:
    with Nginx(data.parent, data) as server:
        result = dqm("ingest", server.url + place)
    assert result.code == code, result.err
    assert result.err.startswith("dqm: ") and words in result.err
    assert "Traceback" not in result.err
    pull = dqm.last_pull()
    assert pull is not None and pull.exit_code == code


def test_a_silent_server(dqm: Caller) -> None:
    dqm.environment["DQM_SOURCE_TIMEOUT"] = "1"
    with BrokenServer(None) as server:
        result = dqm("ingest", f"http://{LOOPBACK}:{server.port}/dqm/")
    assert result.code == 69 and "Traceback" not in result.err


def test_a_server_that_falls_silent_in_mid_download(dqm: Caller, data: Path) -> None:
    large = data / CAMERA / f"{CAMERA}_DQM_Run7000.tar.gz"
    large.write_bytes(build_run_archive(CAMERA, 7000, random.Random(0).randbytes(8_000_000)))
    dqm.environment |= {"DQM_SOURCE_TIMEOUT": "2", "DQM_INGEST_STALL": "2"}
    with Nginx(data.parent, data) as server:
        puller = dqm.start("ingest", f"{server.url}/slow/{CAMERA}/")
        eventually(lambda: any(dqm.temporary.rglob("*Run7000*.part")), "it is being downloaded")
        eventually(lambda: len(dqm.runs().get(CAMERA, [])) == len(RUNS), "the others are stored")
        server.send(signal.SIGSTOP)
        out, err = puller.communicate(timeout=100)
        server.send(signal.SIGCONT)
    assert puller.returncode == 69, out + err
    assert dqm.failures() == [] and dqm.leftovers() == []


def test_nobody_there(dqm: Caller) -> None:
    for scheme in ("http", "root", "webdav"):
        result = dqm("ingest", f"{scheme}://{LOOPBACK}:{free_port()}//dqm/")
        assert result.code == 69 and "Traceback" not in result.err, result.err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB, too small for the downloads; only root can make one."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.getuid() != 0:
        pytest.skip("only root can make a file system that is full")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "dqm-test", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_blames_no_file(
    dqm: Caller, xrootd: XRootD, data: Path, small_disk: Path
) -> None:
    path = data / CAMERA / f"{CAMERA}_DQM_Run6003.tar.gz"
    healthy = path.read_bytes()
    path.write_bytes(healthy + random.Random(0).randbytes(2_000_000))
    fits = {run for run in RUNS if run != 6003}
    assert all(  # one by one they have room
        (data / CAMERA / f"{CAMERA}_DQM_Run{run}.tar.gz").stat().st_size < 250_000 for run in fits
    )
    dqm.environment |= {"DQM_INGEST_TMP": str(small_disk), "DQM_INGEST_DISK_BYTES": "1"}
    result = dqm("ingest", f"{xrootd.url}/{CAMERA}")
    assert result.code == 74, result.err
    assert "No space left" in result.err and "DQM_INGEST_TMP" in result.err
    assert dqm.failures() == []
    assert dqm.runs() == {CAMERA: sorted(fits)}
    path.write_bytes(healthy)
    assert dqm("ingest", f"{xrootd.url}/{CAMERA}").code == 0
    assert dqm.runs() == {CAMERA: list(RUNS)}


def test_sigterm_finishes_the_commit_and_leaves(dqm: Caller, data: Path) -> None:
    for run in range(8000, 8030):
        write_run(data / CAMERA, run, seed=run)
    with XRootD(data.parent, data) as server:
        puller = dqm.start("ingest", server.url, "--workers", "1")
        eventually(lambda: len(dqm.runs().get(CAMERA, [])) >= 2, "two runs are stored")
        puller.send_signal(signal.SIGTERM)
        out, err = puller.communicate(timeout=60)
        assert puller.returncode == 143 and err == "", err
        assert "not done" in out
        pull = dqm.last_pull()
        assert pull is not None and pull.exit_code == 143
        assert dqm.leftovers() == []
        assert dqm("ingest", server.url).code == 0
    assert dqm.runs()[CAMERA] == [*RUNS, *range(8000, 8030)]


def test_the_second_one_gives_up(dqm: Caller, data: Path) -> None:
    with BrokenServer(None) as server:
        dqm.environment["DQM_SOURCE_TIMEOUT"] = "60"
        first = dqm.start("ingest", f"http://{LOOPBACK}:{server.port}/dqm/")
        eventually(server.was_asked, "the first one, which has the lock, asks its source")
        assert dqm("ingest", str(data)).code == 75
        kill_with_its_workers_watched(first)
    # kill -9 frees the lock
    assert dqm("ingest", str(data)).code == 0


def trials(dqm: Caller, xrootd: XRootD, data: Path, number: int) -> None:
    """kill -9 of the puller at random moments, then once more to the end: good files, once each."""
    chance = random.SystemRandom()
    expected: dict[str, list[int]] = {}
    interrupted = 0
    for trial in range(number):
        camera = f"NectarCAM{trial + 10}"
        place = data / camera
        place.mkdir()
        for run in RUNS:
            write_run(place, run, camera=camera, seed=run)
        (place / f"{camera}_DQM_Run6666.tar.gz").write_bytes(b"\x1f\x8b spoiled")
        url = f"{xrootd.url}/{camera}"
        puller = dqm.start("ingest", url, "--workers", "2")
        # some die before the first download, some among the commits, some at the very end
        if trial % 2:
            wanted = chance.randint(1, len(RUNS) - 1)
            eventually(
                lambda camera=camera, wanted=wanted, puller=puller: (
                    puller.poll() is not None or stored(dqm, camera) >= wanted
                ),
                "some runs are stored",
            )
        else:
            time.sleep(chance.uniform(0, 2.5))
        kill_with_its_workers_watched(puller)
        interrupted += 0 < stored(dqm, camera) < len(RUNS)
        result = dqm("ingest", url)
        assert result.code in (0, 1), result.err
        expected[camera] = list(RUNS)
        assert dqm.runs(camera) == {camera: list(RUNS)}, f"trial {trial}"
        assert [failure.run for failure in dqm.failures()] == [6666] * len(expected)
        assert dqm.leftovers() == []
    assert dqm.runs() == expected
    assert interrupted >= number // 5, "kills among the commits"


def stored(dqm: Caller, camera: str) -> int:
    """How many runs of the camera there are."""
    try:
        return dqm.read(lambda snapshot: len(snapshot.runs(camera)))
    except (NoDataYet, RunNotFound):
        return 0


@pytest.mark.timeout(600)
def test_kill_9_of_the_puller(dqm: Caller, xrootd: XRootD, data: Path) -> None:
    trials(dqm, xrootd, data, 5)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_kill_9_of_the_puller_many_times(dqm: Caller, xrootd: XRootD, data: Path) -> None:
    trials(dqm, xrootd, data, 50)
