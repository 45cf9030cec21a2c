"""A writer that never pauses, for the tests of copies that are made meanwhile."""

from __future__ import annotations

import random
import threading
from typing import Self

from synthetic_runs import a_run

from dqm_db.content import Original
from dqm_db.errors import DamagedDatabase, RunNotFound
from dqm_db.settings import DatabaseSettings
from dqm_db.storage import open_database
from dqm_db.writer import open_writer

CAMERA = "NectarCAMQM"


def original_of(run: int) -> bytes:
    """Bytes that do not compress, 20 to 60 kB, the same for the same run."""
    source = random.Random(run)
    return source.randbytes(source.randrange(20_000, 60_000))


class BusyWriter:
    """Stores runs with their originals, one after the other, until the end of the ``with``.

    Parameters
    ----------
    settings
        Of the database.
    first
        The number of the first run.
    """

    def __init__(self, settings: DatabaseSettings, first: int = 1) -> None:
        self._settings = settings
        self._first = first
        self._stored: list[int] = []
        self._enough = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run)
        self._progress = threading.Condition()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    @property
    def stored(self) -> set[int]:
        """The runs whose commit has returned."""
        return set(self._stored)

    def wait_for(self, more: int) -> None:
        """Return once so many more runs are stored."""
        wanted = len(self._stored) + more
        with self._progress:
            reached = self._progress.wait_for(
                lambda: len(self._stored) >= wanted or self._error is not None, 60
            )
        if self._error is not None:
            raise self._error
        assert reached, f"{len(self._stored)} runs were stored within a minute, not {wanted}"

    def _run(self) -> None:
        try:
            with open_writer(self._settings) as writer:
                run = self._first
                while not self._enough.is_set():
                    writer.store_run(a_run(run), Original("x", original_of(run)))
                    with self._progress:
                        self._stored.append(run)
                        self._progress.notify_all()
                    run += 1
        except Exception as error:  # raised again by whoever waits
            self._error = error
            with self._progress:
                self._progress.notify_all()


def readable(
    settings: DatabaseSettings, among: set[int] | None = None
) -> tuple[set[int], set[int]]:
    """The runs (*among* these) that a database has, and those of which all is whole.

    That is header, values and original.
    """
    there: set[int] = set()
    whole: set[int] = set()
    with open_database(settings) as database:
        with database.snapshot() as snapshot:
            there.update(snapshot.runs(CAMERA) if CAMERA in snapshot.cameras() else ())
        if among is not None:
            there &= among
        for run in there:
            try:
                with database.snapshot() as snapshot:
                    assert snapshot.header(CAMERA, run).run == run
                    snapshot.pixel_maps(CAMERA, run)
                    assert snapshot.original(CAMERA, run).data == original_of(run)
            except (DamagedDatabase, RunNotFound):
                continue  # told by not being in the second set
            whole.add(run)
    return there, whole
