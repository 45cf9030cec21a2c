"""What arrives is whole, or it does not arrive."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from memory_source import MemorySource

from dqm_db.errors import WriteFailed
from ingest.sources import open_url
from ingest.sources.base import RemoteFile
from ingest.sources.errors import Corrupt, SourceError, Unavailable
from ingest.transfer import Transfers, private_folder

NAME = "NectarCAMQM_DQM_Run1.tar.gz"
DATA = bytes(range(256)) * 9000


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with private_folder(tmp_path / "tmp") as folder:
        yield folder


def transfers(source: MemorySource, folder: Path, **options: float) -> Transfers:
    return Transfers(
        source,
        folder,
        stall=options.get("stall", 60.0),
        largest=int(options.get("largest", 10**9)),
        disk=int(options.get("disk", 10**9)),
    )


def left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and path.name != "lock"]


def test_a_file_arrives_whole(folder: Path) -> None:
    source = MemorySource({NAME: DATA})
    moving = transfers(source, folder)
    path = moving.start(source.described(NAME)).result()
    assert path.name == NAME and path.read_bytes() == DATA
    assert left_in(folder) == [NAME]
    moving.discard(path)
    assert left_in(folder) == []


@pytest.mark.parametrize(
    ("arrives", "words"),
    [
        (DATA[:-1], "2303999 bytes arrived, the source has 2304000"),
        (DATA + b"x", "2304001 bytes arrived"),
        (b"", "0 bytes arrived"),
        (DATA[:100] + b"\xff" + DATA[101:], "checksum"),
    ],
)
def test_what_is_not_the_file_is_refused(folder: Path, arrives: bytes, words: str) -> None:
    source = MemorySource({NAME: DATA})
    source.behaviours[NAME] = lambda _file, target: target.write_bytes(arrives) and None
    with pytest.raises(Corrupt, match=words):
        transfers(source, folder).start(source.described(NAME)).result()
    assert left_in(folder) == []


def test_the_checksum_may_have_a_price(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = MemorySource({NAME: DATA}, checksums=False)
    monkeypatch.setattr(source, "adler32", lambda _file: zlib.adler32(b"other"), raising=False)
    with pytest.raises(Corrupt, match="checksum"):
        transfers(source, folder).start(source.described(NAME)).result()


def test_a_silent_source_is_given_up(folder: Path) -> None:
    source = MemorySource({NAME: DATA})
    for_ever = threading.Event()

    def hang(_file: RemoteFile, target: Path) -> None:
        target.write_bytes(b"12345")
        for_ever.wait()

    source.behaviours[NAME] = hang
    with pytest.raises(Unavailable, match=r"nothing has arrived for 0.2 s, after 5 bytes"):
        transfers(source, folder, stall=0.2).start(source.described(NAME)).result(timeout=60)
    for_ever.set()


def test_a_source_that_watches_itself_may_take_its_time(folder: Path) -> None:
    source = MemorySource({NAME: DATA})
    source.watches_itself = True

    def late(_file: RemoteFile, target: Path) -> None:
        threading.Event().wait(1.2)
        target.write_bytes(DATA)

    source.behaviours[NAME] = late
    future = transfers(source, folder, stall=0.01).start(source.described(NAME))
    assert future.result(timeout=60).read_bytes() == DATA


def test_a_slow_source_is_not(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.transfer.LOOK_SECONDS", 0.01)
    source = MemorySource({NAME: DATA[:20]})

    def drip(_file: RemoteFile, target: Path) -> None:
        with target.open("wb", buffering=0) as stream:
            for byte in DATA[:20]:
                stream.write(bytes([byte]))
                threading.Event().wait(0.05)

    source.behaviours[NAME] = drip
    path = transfers(source, folder, stall=0.5).start(source.described(NAME)).result(timeout=60)
    assert path.read_bytes() == DATA[:20]


def test_too_large_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.transfer.LOOK_SECONDS", 0.01)
    source = MemorySource({NAME: DATA})
    with pytest.raises(Corrupt, match="more than the 1000 allowed"):
        transfers(source, folder, largest=1000).start(source.described(NAME)).result()
    assert source.fetched == []
    stop = threading.Event()

    def flood(_file: RemoteFile, target: Path) -> None:
        with target.open("wb", buffering=0) as stream:
            while not stop.wait(0.001):
                stream.write(bytes(100))

    source.behaviours[NAME] = flood
    unknown = RemoteFile(f"{source.root}/{NAME}", NAME)
    with pytest.raises(Corrupt, match="sends more than the 1000 bytes"):
        transfers(source, folder, largest=1000).start(unknown).result(timeout=60)
    stop.set()


def test_a_full_disk_is_not_the_fault_of_the_file(folder: Path) -> None:
    source = MemorySource({NAME: DATA})

    def full(_file: RemoteFile, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    source.behaviours[NAME] = full
    with pytest.raises(WriteFailed, match=r"No space left.*DQM_INGEST_TMP"):
        transfers(source, folder).start(source.described(NAME)).result()
    assert left_in(folder) == []


def test_errors_of_the_source_come_through(folder: Path) -> None:
    source = MemorySource({NAME: DATA})

    def deny(_file: RemoteFile, target: Path) -> None:
        target.write_bytes(b"half")
        raise SourceError("no")

    source.behaviours[NAME] = deny
    with pytest.raises(SourceError, match="no"):
        transfers(source, folder).start(source.described(NAME)).result()
    assert left_in(folder) == []


def test_files_wait_for_room_on_the_disk(folder: Path) -> None:
    names = [f"NectarCAMQM_DQM_Run{run}.tar.gz" for run in range(6)]
    source = MemorySource(dict.fromkeys(names, bytes(100)))
    moving = transfers(source, folder, disk=250)
    futures = [moving.start(source.described(name)) for name in names]
    arrived = 0
    while pending := [future for future in futures if future is not None]:
        done = [future for future in pending if future.done()]
        assert len(left_in(folder)) <= 2
        for future in done:
            moving.discard(future.result())
            futures[futures.index(future)] = None
            arrived += 1
    assert arrived == 6


def test_a_file_larger_than_the_room_comes_alone(folder: Path) -> None:
    source = MemorySource({NAME: DATA})
    moving = transfers(source, folder, disk=10)
    for _ in range(2):
        moving.discard(moving.start(source.described(NAME)).result(timeout=60))


def test_local_files_are_read_where_they_are(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    path = tmp_path / "here" / NAME
    path.write_bytes(DATA)
    source = open_url(str(path.parent))
    (file,) = source.list(source.root).files
    moving = transfers(source, folder)  # type: ignore[arg-type]
    assert moving.start(file).result() == path
    moving.discard(path)
    assert path.read_bytes() == DATA
    assert left_in(folder) == []


def test_folders_of_the_dead_are_removed(tmp_path: Path) -> None:
    script = (
        "import os, signal; from pathlib import Path; from ingest.transfer import private_folder\n"
        f"with private_folder(Path({str(tmp_path)!r})) as folder:\n"
        "    (folder / 'half.part').touch()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    (abandoned,) = tmp_path.iterdir()
    (tmp_path / "dqm-ingest-other").mkdir()  # without a lock: just being made
    with private_folder(tmp_path) as first, private_folder(tmp_path) as second:
        assert not abandoned.exists()
        assert first.exists() and second.exists()
        assert first.stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.iterdir()] == ["dqm-ingest-other"]


def test_no_folder_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteFailed, match="DQM_INGEST_TMP"), private_folder(tmp_path / "file"):
        pass
