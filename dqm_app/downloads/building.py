"""Writes the archive of a basket: a plain tar file with the originals, a table and their digests.

Originals are compressed already, so that the archive is not; it is written to the disk piece by
piece, and each original is held in memory only while it is written.
"""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import os
import tarfile
import time
from collections.abc import Callable
from datetime import UTC, datetime

from dqm_app.downloads.basket import Basket, Progress, State
from dqm_db.content import Original, RunHeader
from dqm_db.errors import DatabaseUnavailable, DQMError, RunNotFound
from dqm_db.storage import Database

log = logging.getLogger(__name__)

NOTE_SECONDS = 0.3
"""Between two words about how far it is."""
PAUSE = 0.7
"""After each run, as a part of the time that it took: the database server serves pages, too."""
DATABASE_SECONDS = 600.0
"""For so long a basket waits for a database that does not answer."""
FIRST_RETRY_SECONDS, RETRY_SECONDS = 0.01, 1.0
"""Between two looks whether it does: at first, since a client that was just made is connected in a
moment, and at most."""
LONGEST_PAUSE = 0.5
"""Seconds; a run for which the database had to be waited for has not kept it busy."""
COLUMNS = ("run", "file", "bytes", "sha256", "start (UTC)", "events", "why it is missing")


class BasketGone(Exception):
    """The basket was removed while it was built."""


class BuildingStopped(Exception):
    """The worker is to end; the basket waits again, for another one."""


class Archive:
    """Builds one archive.

    Parameters
    ----------
    basket : Basket
    database : Database
    is_stopping : callable
        Whether to leave it to another worker.
    """

    def __init__(
        self, basket: Basket, database: Database, is_stopping: Callable[[], bool] = lambda: False
    ) -> None:
        self._basket = basket
        self._database = database
        self._is_stopping = is_stopping
        self._rows: list[tuple[str, ...]] = []
        self._done = 0
        self._bytes = 0
        self._noted = 0.0

    def build(self) -> None:
        """Write it; whatever goes wrong is noted in the basket, and nothing half-done is left.

        Raises
        ------
        BuildingStopped
        """
        try:
            self._build()
        except BasketGone:
            log.info("basket %s was removed", self._basket.id)

    def _build(self) -> None:
        basket = self._basket
        try:
            self._note(State.BUILDING)
            self._write()
            basket.part.replace(basket.archive)
        except BasketGone:
            raise
        except BuildingStopped:
            basket.part.unlink(missing_ok=True)
            self._done = self._bytes = 0
            self._tell(State.WAITING, "")
            raise
        except Exception as error:  # else it would be built again and again
            basket.part.unlink(missing_ok=True)
            if isinstance(error, DQMError | OSError):
                reason = str(getattr(error, "strerror", None) or error)
                if isinstance(error, OSError):
                    reason += "; tell the admin"
                log.error(
                    "basket %s of %s failed: %s", basket.id, basket.owner or "anybody", reason
                )
            else:
                reason = "its worker's log says why; tell the admin"
                log.exception("basket %s of %s failed", basket.id, basket.owner or "anybody")
            self._tell(State.FAILED, f"the archive could not be written: {reason}")
        else:
            missing = sum(bool(row[-1]) for row in self._rows)
            of_all = f"{missing} of {len(basket.runs)}"
            text = f"runs that are missing: {of_all}; runs.csv says why" if missing else ""
            self._tell(State.DONE, text)

    def _write(self) -> None:
        basket = self._basket
        with basket.part.open("wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                for run in basket.runs:
                    began = time.monotonic()
                    self._add(tar, run)
                    self._done += 1
                    self._note(State.BUILDING)
                    time.sleep(min(PAUSE * (time.monotonic() - began), LONGEST_PAUSE))
                self._add_file(tar, "runs.csv", self._table(), time.time())
                self._add_file(tar, "SHA256SUMS", self._digests(), time.time())
            file.flush()
            os.fsync(file.fileno())

    def _read(self, run: int) -> tuple[RunHeader, Original]:
        """A run, once the database answers: a replica that is restarted costs nobody a basket."""
        camera = self._basket.camera
        patience = time.monotonic() + DATABASE_SECONDS
        pause = FIRST_RETRY_SECONDS
        while True:
            if self._is_stopping():
                raise BuildingStopped
            try:
                # a snapshot each: a long one would keep a pack from what was replaced
                with self._database.snapshot() as snapshot:
                    return snapshot.header(camera, run), snapshot.original(camera, run)
            except DatabaseUnavailable as error:
                if time.monotonic() > patience:
                    raise
                if pause >= RETRY_SECONDS:
                    log.warning("basket %s waits: %s", self._basket.id, error)
                    text = "the database does not answer; it goes on when it does"
                    self._tell(State.BUILDING, text)
            time.sleep(pause)
            pause = min(2 * pause, RETRY_SECONDS)

    def _add(self, tar: tarfile.TarFile, run: int) -> None:
        try:
            header, original = self._read(run)
        except RunNotFound as error:
            self._rows.append((str(run), "", "", "", "", "", str(error)))
            return
        name = f"{run}/{file_name(header, original.media)}"
        at = header.provenance.source_modified or header.provenance.ingested_at
        self._add_file(tar, name, original.data, at)
        start = header.times.start
        self._rows.append(
            (
                str(run),
                name,
                str(len(original.data)),
                hashlib.sha256(original.data).hexdigest(),
                "" if start is None else datetime.fromtimestamp(start, UTC).isoformat(),
                "" if header.events.total is None else str(header.events.total),
                "",
            )
        )

    def _add_file(self, tar: tarfile.TarFile, name: str, data: bytes, at: float) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mtime, entry.mode = len(data), int(at), 0o644
        tar.addfile(entry, io.BytesIO(data))
        self._bytes += len(data)

    def _table(self) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        writer.writerows(self._rows)
        return text.getvalue().encode()

    def _digests(self) -> bytes:
        return "".join(f"{row[3]}  {row[1]}\n" for row in self._rows if row[3]).encode()

    def _note(self, state: State) -> None:
        now = time.monotonic()
        if now - self._noted < NOTE_SECONDS:
            return
        self._noted = now
        self._tell(state, "")

    def _tell(self, state: State, text: str) -> None:
        basket = self._basket
        size = basket.archive.stat().st_size if state is State.DONE else basket.size
        done = size if state is State.DONE else self._bytes
        try:
            basket.note(Progress(state, self._done, len(basket.runs), done, size, text))
        except FileNotFoundError:
            raise BasketGone from None


def file_name(header: RunHeader, media: str) -> str:
    """What the original of a run is called where it is taken away."""
    address = header.provenance.source.partition("?")[0]
    name = (address if media == "tar" else header.provenance.results_name).rpartition("/")[2]
    if name in ("", ".", ".."):
        name = f"{header.camera}-{header.run}"
    return name if media == "tar" else f"{name}.zst"
