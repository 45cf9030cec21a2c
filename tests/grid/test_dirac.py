"""What a real DIRAC gives, and the ways in which it fails."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from processes import eventually

from ingest.sources.base import RemoteFile
from ingest.sources.dirac import Dirac
from ingest.sources.errors import AuthExpired, Corrupt, NotFound, SourceError, Unavailable
from tests.grid.dirac_server import DiracServer

pytestmark = [pytest.mark.grid, pytest.mark.timeout(300)]

BASE = "/ctao/user/d/dqm/nectarcam/dqm"
LARGE = 60_000_000
"""Bytes that take long enough to be interrupted."""

Opener = Callable[[str], Dirac]
Stored = Callable[[str, dict[str, bytes]], dict[RemoteFile, bytes]]


def contents(count: int, size: int = 200_000) -> dict[str, bytes]:
    return {
        f"NectarCAMQM_DQM_Run{6000 + number}.tar.gz": random.Random(number).randbytes(size + number)
        for number in range(count)
    }


def undated(file: RemoteFile) -> RemoteFile:
    return dataclasses.replace(file, modified=None)


def fetched(source: Dirac, file: RemoteFile, folder: Path) -> Path:
    """As the puller does it: each file to a folder of its own."""
    place = folder / f"{file.name}.folder"
    place.mkdir(exist_ok=True, parents=True)
    return source.fetch(file, place / f"{file.name}.part")


def holds(path: Path, content: bytes) -> bool:
    # not compared in an assert, which would look for the differences of millions of bytes
    return path.read_bytes() == content


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def arriving(folder: Path) -> bool:
    """Whether some bytes have come, of a file that is not whole."""
    return any(0 < path.stat().st_size < LARGE for path in files_in(folder))


def test_listing_has_sizes_times_and_checksums(
    open_dirac: Opener, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")  # times of the catalogue are UTC wherever we are
    before = time.time()
    expected = stored(f"{BASE}/listed/NectarCAMQM", contents(3))
    source = open_dirac(f"{BASE}/listed/NectarCAMQM")
    listing = source.list(source.root)
    assert [undated(file) for file in listing.files] == list(expected)
    assert listing.folders == ()
    for file in listing.files:
        assert file.modified is not None
        assert before - 2 <= file.modified <= time.time() + 2
        assert source.adler32(file) == file.adler32
    assert source.list(f"{BASE}/listed").folders == (f"{BASE}/listed/NectarCAMQM",)


def test_many_at_once_arrive_as_they_are(
    open_dirac: Opener, stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DQM_DIRAC_STREAMS", "3")
    monkeypatch.setenv("DQM_DIRAC_BATCH", "4")
    expected = stored(f"{BASE}/many", contents(25))
    source = open_dirac(f"{BASE}/many")
    assert source.streams == 16
    with ThreadPoolExecutor(source.streams) as threads:
        got = list(threads.map(lambda file: fetched(source, file, tmp_path / "got"), expected))
    assert all(map(holds, got, expected.values()))
    assert sorted(files_in(tmp_path / "got")) == sorted(got)


def test_a_missing_file_does_not_keep_the_others(
    open_dirac: Opener, stored: Stored, tmp_path: Path
) -> None:
    good = list(stored(f"{BASE}/gaps", contents(3)))
    missing = RemoteFile(f"{BASE}/gaps/none.tar.gz", "none.tar.gz")
    source = open_dirac(f"{BASE}/gaps")
    with ThreadPoolExecutor(4) as threads:
        results = [threads.submit(fetched, source, file, tmp_path) for file in [*good, missing]]
    with pytest.raises(NotFound, match=r"none\.tar\.gz: No such file"):
        results.pop().result()
    assert [result.result().stat().st_size for result in results] == [file.size for file in good]


def test_missing_directory(open_dirac: Opener) -> None:
    with pytest.raises(NotFound, match="/ctao/user/n/nobody: Directory does not exist"):
        open_dirac("/ctao/user/n/nobody").list("/ctao/user/n/nobody")


@pytest.mark.parametrize("damage", ["flipped bit", "cut short", "empty", "lost"])
def test_damage_in_the_storage_is_noticed(
    damage: str, dirac: DiracServer, open_dirac: Opener, stored: Stored, tmp_path: Path
) -> None:
    directory = f"{BASE}/damaged/{damage.replace(' ', '-')}"
    bad, good = stored(directory, contents(2))
    place = dirac.stored(bad.path)
    content = bytearray(place.read_bytes())
    content[1000] ^= 1
    if damage == "lost":
        place.unlink()
    else:
        place.write_bytes({"flipped bit": content, "cut short": content[:-4], "empty": b""}[damage])
    source = open_dirac(directory)
    with ThreadPoolExecutor(2) as threads:
        results = [threads.submit(fetched, source, file, tmp_path / "got") for file in (bad, good)]
    with pytest.raises(NotFound if damage == "lost" else Corrupt, match=bad.name):
        results[0].result()
    assert results[1].result().stat().st_size == good.size
    assert files_in(tmp_path / "got") == [results[1].result()]


def test_no_proxy(open_dirac: Opener, proxy: Path) -> None:
    proxy.unlink()
    with pytest.raises(AuthExpired, match=r"(?i)proxy.*dirac-proxy-init.*DQM_DIRAC_PROXY_COMMAND"):
        open_dirac(BASE).list(BASE)


def test_expired_proxy_is_renewed_by_the_command(
    dirac: DiracServer,
    open_dirac: Opener,
    stored: Stored,
    proxy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = next(iter(stored(f"{BASE}/renewed", contents(1))))
    dirac.make_proxy(proxy, -10)
    source = open_dirac(f"{BASE}/renewed")
    with pytest.raises(AuthExpired, match="expired"):
        source.list(source.root)
    with pytest.raises(AuthExpired, match="expired"):
        fetched(source, file, tmp_path)

    command = f"{dirac.python} {dirac.bin / 'dirac-proxy-init'} -N -g ctao_nectarcam"
    monkeypatch.setenv("DQM_DIRAC_PROXY_COMMAND", command)
    renewing = open_dirac(f"{BASE}/renewed")
    assert [undated(found) for found in renewing.list(renewing.root).files] == [file]
    assert fetched(renewing, file, tmp_path).stat().st_size == file.size
    # The other process notices the new one.
    assert len(source.list(source.root).files) == 1


def test_proxy_that_expires_under_way_is_renewed(
    dirac: DiracServer,
    open_dirac: Opener,
    stored: Stored,
    proxy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = next(iter(stored(f"{BASE}/midway", contents(1))))
    command = f"{dirac.python} {dirac.bin / 'dirac-proxy-init'} -N -g ctao_nectarcam"
    monkeypatch.setenv("DQM_DIRAC_PROXY_COMMAND", command)
    source = open_dirac(f"{BASE}/midway")
    source.list(source.root)
    dirac.make_proxy(proxy, -10)
    assert fetched(source, file, tmp_path).stat().st_size == file.size


def test_proxy_with_little_time_left_is_renewed_before_it_expires(
    dirac: DiracServer,
    open_dirac: Opener,
    stored: Stored,
    proxy: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored(f"{BASE}/early", contents(1))
    dirac.make_proxy(proxy, 1800)
    before = proxy.read_bytes()
    command = f"{dirac.python} {dirac.bin / 'dirac-proxy-init'} -N -g ctao_nectarcam"
    monkeypatch.setenv("DQM_DIRAC_PROXY_COMMAND", command)
    monkeypatch.setenv("DQM_DIRAC_PROXY_HOURS", "0.25")
    open_dirac(f"{BASE}/early").list(f"{BASE}/early")
    assert proxy.read_bytes() == before
    monkeypatch.setenv("DQM_DIRAC_PROXY_HOURS", "1")
    open_dirac(f"{BASE}/early").list(f"{BASE}/early")
    assert proxy.read_bytes() != before


def test_no_configuration(
    open_dirac: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRACSYSCONFIG", str(tmp_path / "none.cfg"))
    monkeypatch.setenv("DIRAC_ROOT_PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(Unavailable, match="DIRAC does not start"):
        open_dirac(BASE).list(BASE)


def test_catalogue_down_and_up_again(
    dirac: DiracServer, open_dirac: Opener, stored: Stored, tmp_path: Path
) -> None:
    file = next(iter(stored(f"{BASE}/down", contents(1))))
    source = open_dirac(f"{BASE}/down")
    source.list(source.root)
    dirac.services["catalog"].kill()
    try:
        with pytest.raises(Unavailable, match=file.name):
            fetched(source, file, tmp_path)
        with pytest.raises(Unavailable):
            source.list(source.root)
    finally:
        dirac.services["catalog"].start()
    assert len(source.list(source.root).files) == 1


def test_storage_killed_in_mid_download(
    dirac: DiracServer, open_dirac: Opener, stored: Stored, tmp_path: Path
) -> None:
    expected = stored(f"{BASE}/killed", contents(1, LARGE))
    file, content = next(iter(expected.items()))
    source = open_dirac(f"{BASE}/killed")
    got = tmp_path / "got"
    result = begun(source, file, got)
    try:
        dirac.services["storage"].kill()
        with pytest.raises(Unavailable, match=file.name):
            result.result()
    finally:
        dirac.services["storage"].kill()
        dirac.services["storage"].start()
    assert files_in(got) == []
    assert holds(fetched(source, file, got), content)


def test_hanging_storage_is_given_up(
    dirac: DiracServer,
    open_dirac: Opener,
    stored: Stored,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DQM_DIRAC_TIMEOUT", "3")
    monkeypatch.setenv("DQM_DIRAC_STREAMS", "1")
    expected = stored(f"{BASE}/hanging", contents(1, LARGE))
    file, content = next(iter(expected.items()))
    source = open_dirac(f"{BASE}/hanging")
    result = begun(source, file, tmp_path / "got")
    dirac.services["storage"].send(signal.SIGSTOP)
    try:
        with pytest.raises(Unavailable, match="nothing has come from DIRAC for 3 s"):
            result.result()
    finally:
        dirac.services["storage"].send(signal.SIGCONT)
    # Its only stream hangs no longer, whatever became of the first thread.
    assert holds(fetched(source, file, tmp_path / "again"), content)


def test_killed_process_is_started_again(
    open_dirac: Opener, stored: Stored, tmp_path: Path
) -> None:
    expected = stored(f"{BASE}/crash", contents(1, LARGE))
    file, content = next(iter(expected.items()))
    source = open_dirac(f"{BASE}/crash")
    result = begun(source, file, tmp_path / "got")
    assert source.pid is not None
    os.kill(source.pid, signal.SIGKILL)
    with pytest.raises(Unavailable, match=r"DIRAC's process ended \(SIGKILL\)"):
        result.result()
    assert files_in(tmp_path / "got") == []
    assert holds(fetched(source, file, tmp_path / "got"), content)


def test_full_disk_is_told_as_such(
    dirac: DiracServer,
    open_dirac: Opener,
    stored: Stored,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = next(iter(stored(f"{BASE}/full", contents(1))))
    limited = tmp_path / "python"  # no file larger than 100 KiB
    limited.write_text(f'#!/bin/bash\nulimit -f 100\nexec {dirac.python} "$@"\n')
    limited.chmod(0o755)
    monkeypatch.setenv("DQM_DIRAC_PYTHON", str(limited))
    with pytest.raises(OSError, match="File too large") as caught:
        fetched(open_dirac(f"{BASE}/full"), file, tmp_path / "got")
    assert not isinstance(caught.value, SourceError)
    assert files_in(tmp_path / "got") == []


def begun(source: Dirac, file: RemoteFile, folder: Path) -> Future[Path]:
    """A fetch of a large file of which some bytes have come."""
    source.list(source.root)  # DIRAC takes its time to start
    with_thread = ThreadPoolExecutor(1)
    result = with_thread.submit(fetched, source, file, folder)
    with_thread.shutdown(wait=False)
    eventually(lambda: arriving(folder) or result.done(), "bytes of a file")
    assert not result.done(), "it came too soon to be interrupted"
    return result
