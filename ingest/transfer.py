"""From a source into a private folder of this machine: whole, checked, and never for ever.

A file is written as ``NAME.part``, compared with the size and checksum that its source tells,
flushed to the disk and only then given its name. A transfer that makes no progress is given up,
whatever the library below it is waiting for; its thread is left to itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import math
import os
import shutil
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

from dqm_db.errors import WriteFailed
from ingest.errors import one_line
from ingest.sources.base import RemoteFile, Source
from ingest.sources.errors import Corrupt, Unavailable

LOOK_SECONDS = 0.5
_CHUNK = 2**20
_PREFIX = "dqm-ingest-"
_LOCK = "lock"


@contextlib.contextmanager
def private_folder(parent: Path | None = None) -> Iterator[Path]:
    """A folder that only we can read, removed at the end; also those of callers that were killed.

    *parent* is the system's folder for temporary files when None.

    Raises
    ------
    WriteFailed
        It cannot be made.
    """
    try:
        above = Path(tempfile.gettempdir()) if parent is None else parent
        above.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(above)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=above))
        lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        raise WriteFailed(
            f"no folder for downloads can be made ({one_line(error)}): "
            "make space, or set DQM_INGEST_TMP to another folder"
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _remove_abandoned(above: Path) -> None:
    """Folders of ours whose lock nobody holds: the kernel releases it when its holder dies."""
    for folder in above.glob(f"{_PREFIX}*"):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR)
        except OSError:  # just being made, or not ours after all
            continue
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


class Transfers:
    """Fetches files of one source, several at once, in threads of their own.

    Parameters
    ----------
    source : Source
    folder : Path
        A `private_folder`.
    stall : float
        Seconds without progress after which a transfer is given up, unless the source watches.
    largest : int
        Bytes; larger files are not fetched to their end.
    disk : int
        Bytes that files take in the folder; further ones wait until some are discarded.
    """

    def __init__(
        self, source: Source, folder: Path, *, stall: float, largest: int, disk: int
    ) -> None:
        self._source = source
        self._folder = folder
        self._stall = math.inf if source.watches_itself else stall
        self._largest = largest
        self._disk = disk
        self._numbers = itertools.count()
        self._room = threading.Condition()
        self._held: dict[Path, int] = {}

    def start(self, file: RemoteFile) -> Future[Path]:
        """Begin to fetch *file*; the result is where it can be read.

        The future raises the errors of `Source.fetch`, `Corrupt` when what arrived is not what the
        source has, `Unavailable` when nothing arrives any more, and `WriteFailed` when the disk
        cannot take it.
        """
        future: Future[Path] = Future()
        place = self._folder / str(next(self._numbers)) / file.name

        def work() -> None:
            try:
                future.set_result(self._transfer(file, place))
            except Exception as error:  # handed to whoever waits for the file
                self.discard(place)
                future.set_exception(error)

        threading.Thread(target=work, name=f"fetch {file.name}", daemon=True).start()
        return future

    def discard(self, path: Path) -> None:
        """Remove a file that was fetched; a file that its source has on this machine stays."""
        if self._folder in path.parents:
            shutil.rmtree(path.parent, ignore_errors=True)
            with self._room:
                self._held.pop(path, None)
                self._room.notify_all()

    def _transfer(self, file: RemoteFile, place: Path) -> Path:
        if file.size is not None and file.size > self._largest:
            raise Corrupt(f"has {file.size} bytes, more than the {self._largest} allowed")
        self._reserve(place, self._largest if file.size is None else file.size)
        part = place.with_name(f"{place.name}.part")
        try:
            place.parent.mkdir()
            got = self._watched(file, part)
            if got != part:  # it is on this machine, and takes no room here
                self.discard(place)
                return got
            self._check(file, part)
            part.replace(place)
        except OSError as error:
            raise WriteFailed(
                f"{file.name} cannot be written to {self._folder} ({one_line(error)}): "
                "make space, or set DQM_INGEST_TMP to another folder"
            ) from error
        return place

    def _reserve(self, place: Path, size: int) -> None:
        """Wait until there is room; a file that is larger than all of it comes alone."""
        with self._room:
            self._room.wait_for(
                lambda: not self._held or sum(self._held.values()) + size <= self._disk
            )
            self._held[place] = size

    def _watched(self, file: RemoteFile, part: Path) -> Path:
        fetch = _Fetch(lambda: self._source.fetch(file, part))
        size, since = 0, time.monotonic()
        while not fetch.wait(LOOK_SECONDS):
            now = part.stat().st_size if part.exists() else 0
            if now > self._largest:
                raise Corrupt(f"sends more than the {self._largest} bytes allowed")
            if now != size:
                size, since = now, time.monotonic()
            elif time.monotonic() - since > self._stall:
                raise Unavailable(f"nothing has arrived for {self._stall:g} s, after {size} bytes")
        return fetch.result()

    def _check(self, file: RemoteFile, part: Path) -> None:
        """Size and checksum, read from the file itself, which is then safe on the disk."""
        expected = file.adler32
        if expected is None:
            expected = self._source.adler32(file)
        size, found = 0, 1
        with part.open("r+b") as stream:
            while chunk := stream.read(_CHUNK):
                size += len(chunk)
                found = zlib.adler32(chunk, found)
            os.fsync(stream.fileno())
        if file.size is not None and size != file.size:
            raise Corrupt(f"{size} bytes arrived, the source has {file.size}")
        if expected is not None and found != expected:
            raise Corrupt(
                f"arrived with the checksum {found:08x} (adler32), the source has {expected:08x}"
            )


class _Fetch:
    """A call in a thread that may never return."""

    def __init__(self, call: Callable[[], Path]) -> None:
        self._future: Future[Path] = Future()
        self._done = threading.Event()
        self._call = call
        threading.Thread(target=self._run, daemon=True).start()

    def wait(self, seconds: float) -> bool:
        return self._done.wait(seconds)

    def result(self) -> Path:
        return self._future.result()

    def _run(self) -> None:
        try:
            self._future.set_result(self._call())
        except Exception as error:  # raised again by `result`
            self._future.set_exception(error)
        finally:
            self._done.set()
