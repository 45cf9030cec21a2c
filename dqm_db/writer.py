"""Writing: one writer at a time, one transaction per run, conflicts retried."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

import filelock
import transaction
from ZEO.Exceptions import ServerException
from ZODB.Connection import Connection
from ZODB.POSException import ConflictError, ReadOnlyError, StorageError

from dqm_db import (
    catalogue,
    ingestion,
    migrations,
    pixel_folding,
    pixel_history,
    trends,
    verdicts,
)
from dqm_db.checks import Judge, RunFacts
from dqm_db.content import LARGEST_RUN, Original, Provenance, RunContent, RunHeader
from dqm_db.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    ReadOnlyDatabase,
    RunExists,
    RunNotFound,
    WriteFailed,
    WriterLocked,
)
from dqm_db.model import ROOT_KEY, SCHEMA, Camera, Root
from dqm_db.operations import Operation, put_operation
from dqm_db.packing import pack_run
from dqm_db.peers import only_where_to_write
from dqm_db.records import pack_header, unpack_header
from dqm_db.settings import CheckSettings, DatabaseSettings, load
from dqm_db.storage import Database, checked_root, open_database
from dqm_db.urls import identities, shown
from dqm_db.volume.fence import FENCE_KEY
from dqm_db.zeo_client import why

LOG = logging.getLogger(__name__)

RETRIES = 8
"""Attempts at a transaction that conflicts; conflicts are rare, since writers take a lock."""

T = TypeVar("T")


@contextlib.contextmanager
def writer_lock(settings: DatabaseSettings) -> Iterator[None]:
    """The lock that every command that writes takes: one per database, for this user and host.

    Its name does not depend on how the URL is written (`dqm_db.urls.identities`).

    Raises
    ------
    WriterLocked
        Somebody else holds it for longer than ``settings.lock_wait`` seconds.
    ConfigurationError
        ``settings.lock_dir`` cannot be used.
    """
    folder = settings.lock_dir
    with contextlib.ExitStack() as locks:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder.stat().st_uid not in (os.getuid(), 0):
                raise PermissionError(f"it belongs to uid {folder.stat().st_uid}")
            for identity in identities(settings.db_url):
                name = f"writer-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.lock"
                lock = filelock.FileLock(folder / name, timeout=settings.lock_wait)
                locks.enter_context(lock)
        except filelock.Timeout as error:
            raise WriterLocked(
                f"another command is writing to {shown(settings.db_url)} "
                f"(lock {error.lock_file}): try again later"
            ) from None
        except OSError as error:
            raise ConfigurationError(
                f"the writer lock cannot be made in {folder} ({error}): "
                "give all commands that write another DQM_LOCK_DIR"
            ) from error
        yield


@contextlib.contextmanager
def open_writer(settings: DatabaseSettings) -> Iterator[Writer]:
    """Take the writer lock, open the database for writing, bring its schema up to date.

    Raises
    ------
    WriterLocked, DatabaseUnavailable, ReadOnlyDatabase, ForeignDatabase, NewerDatabase,
    ConfigurationError
        Of several servers, only the primary of the highest epoch is written to
        (`dqm_db.peers.only_where_to_write`).
    """
    judge = Judge(load(CheckSettings).thresholds_dir)
    with writer_lock(settings), _open_writable(only_where_to_write(settings)) as database:
        writer = Writer(database, judge)
        writer.prepare()
        yield writer


class Writer:
    """Changes the database, one transaction per call; made by `open_writer`."""

    def __init__(self, database: Database, judge: Judge) -> None:
        self.database = database
        self.judge = judge

    def prepare(self) -> None:
        """Make our root in an empty database; migrate an older schema step by step."""
        self.commit("prepare", _make_root)
        while self.commit("migrate", self._migrate):
            LOG.info("migrated the database towards schema %d", SCHEMA)

    def stored(self, camera: str, run: int) -> RunHeader | None:
        """Header of the run if it is stored."""
        with self.database.connection() as connection:
            found = self._root(connection).cameras.get(camera)
            run_record = None if found is None else found.runs.get(run)
            return None if run_record is None else unpack_header(run_record.header)

    def store_run(
        self, content: RunContent, original: Original | None, *, replace: bool = False
    ) -> None:
        """Store a run with its catalogue row, statistics and verdict, all or nothing.

        Whatever failure of its file was remembered is forgotten with it.

        Raises
        ------
        RunExists
            The run is stored already and *replace* is not set; nothing was changed.
        ValueError
            The run number does not fit the database, or the content cannot be stored.
        ConfigurationError
            The thresholds of the checks cannot be read.
        """
        header = content.header
        if not 0 < header.run <= LARGEST_RUN:
            raise ValueError(f"run number {header.run} is not between 1 and {LARGEST_RUN}")
        packed = pack_run(content, original)
        facts = RunFacts.of(header, content.quantities, content.statistics)
        verdict = self.judge.judge(header.camera, facts)
        thresholds = self.judge.thresholds(header.camera)

        def put(connection: Connection) -> bool:
            root = self._root(connection)
            cameras = root.cameras
            camera = cameras.get(header.camera)
            if camera is None:
                camera = cameras[header.camera] = Camera(header.camera)
            if header.run in camera.runs and not replace:
                raise RunExists(
                    f"{header.camera} run {header.run} is already stored; --force replaces it"
                )
            camera.runs[header.run] = packed.make_run()
            catalogue.put_row(camera.catalogue, header, verdict)
            verdicts.put_verdict(camera, header.run, verdict)
            verdicts.put_thresholds(camera, thresholds)
            trends.put_row(camera.trends, header.run, content.statistics)
            pixel_history.put_run(camera, header.run)
            ingestion.drop_failure(root, header.camera, header.run)
            history = pixel_history.history_of(camera)
            return trends.needs_folding(camera.trends) or pixel_folding.needs_folding(history)

        if self.commit(f"store {header.camera} run {header.run}", put):
            try:
                self.fold(header.camera)
            except WriteFailed as error:  # the run is stored; the next one folds again
                LOG.warning("%s", error)

    def delete_run(
        self, camera: str, run: int, *, instead: ingestion.Failure | None = None
    ) -> None:
        """Forget a run, its catalogue row and its statistics, all or nothing.

        *instead* is remembered in its place, to keep the puller from fetching its file again.

        Raises
        ------
        RunNotFound
        """

        def drop(connection: Connection) -> None:
            root = self._root(connection)
            found = root.cameras.get(camera)
            if found is None or run not in found.runs:
                raise RunNotFound(f"{camera} has no run {run}; `dqm runs` lists what is stored")
            del found.runs[run]
            catalogue.drop_row(found.catalogue, run)
            trends.drop_row(found.trends, run)
            verdicts.drop_verdict(found, run)
            pixel_history.drop_run(found, run)
            if not found.runs:
                del root.cameras[camera]
            if instead is not None:
                ingestion.put_failure(root, instead)

        self.commit(f"delete {camera} run {run}", drop)

    def confirm_source(self, camera: str, run: int, provenance: Provenance) -> None:
        """Remember that the run's file at its source is now another one with the same results.

        Raises
        ------
        RunNotFound
        """

        def confirm(connection: Connection) -> None:
            found = self._root(connection).cameras.get(camera)
            if found is None or run not in found.runs:
                raise RunNotFound(f"{camera} has no run {run}; `dqm runs` lists what is stored")
            stored = found.runs[run]
            header = replace(unpack_header(stored.header), provenance=provenance)
            stored.header = pack_header(header)
            verdict = verdicts.verdict_before(found, run)
            catalogue.put_row(found.catalogue, header, verdict)

        self.commit(f"confirm the source of {camera} run {run}", confirm)

    def note_failure(self, failure: ingestion.Failure) -> None:
        """Remember that a file could not be stored."""

        def note(connection: Connection) -> None:
            ingestion.put_failure(self._root(connection), failure)

        self.commit(f"failure of {failure.camera} run {failure.run}", note)

    def forget_failure(self, camera: str, run: int) -> bool:
        """Forget that a file could not be stored: the next pull tries it; whether it had failed."""

        def forget(connection: Connection) -> bool:
            return ingestion.drop_failure(self._root(connection), camera, run)

        return self.commit(f"release {camera} run {run}", forget)

    def note_pull(self, pull: ingestion.Pull) -> None:
        """Remember when files were last looked for, and what came of it."""

        def note(connection: Connection) -> None:
            ingestion.put_pull(self._root(connection), pull)

        self.commit("pull", note)

    def note_operation(self, operation: Operation) -> None:
        """Remember what was done last to keep the database safe."""

        def note(connection: Connection) -> None:
            put_operation(self._root(connection), operation)

        self.commit(f"note the {operation.name}", note)

    def fold(self, camera: str) -> None:
        """Fold full blocks of statistics, one transaction each, and of single pixels, a few each.

        Raises
        ------
        WriteFailed, DatabaseUnavailable, ReadOnlyDatabase
        """

        def fold(connection: Connection) -> bool:
            stored = self._root(connection).cameras[camera].trends
            if trends.needs_folding(stored):
                trends.fold(stored)
            return trends.needs_folding(stored)

        def commit(change: Callable[[Camera], T]) -> T:
            return self.commit(
                f"fold pixels of {camera}",
                lambda connection: change(self._root(connection).cameras[camera]),
            )

        while self.commit(f"fold trends of {camera}", fold):
            pass
        while pixel_folding.fold(commit, pixel_history.history_of):
            pass

    def _migrate(self, connection: Connection) -> bool:
        url = shown(self.database.settings.db_url)
        return migrations.migrate(checked_root(connection, url, migrating=True))

    def _root(self, connection: Connection) -> Root:
        return checked_root(connection, shown(self.database.settings.db_url))

    def commit(self, note: str, change: Callable[[Connection], T]) -> T:
        """Run *change* in one transaction; again from the start when it conflicts.

        *note* says what it is for, in the transaction and in errors: "store …".

        Raises
        ------
        WriteFailed
            Nothing of it was stored.
        DatabaseUnavailable, ReadOnlyDatabase
        Exception
            What *change* raises; nothing was stored then either.
        """
        for attempt in range(1, RETRIES + 1):
            manager = transaction.TransactionManager(explicit=True)
            try:
                with self.database.connection(manager) as connection:
                    manager.get().note(note)
                    result = change(connection)
                    manager.commit()
                    return result
            except ConflictError as error:
                if attempt == RETRIES:
                    raise WriteFailed(
                        f"could not {note}: it conflicted {RETRIES} times with other writers; "
                        "give all of them the same DQM_LOCK_DIR"
                    ) from error
                LOG.info("%s: conflict, attempt %d", note, attempt + 1)
                time.sleep(random.uniform(0, 0.05 * attempt))  # noqa: S311
            except ReadOnlyError as error:
                raise ReadOnlyDatabase(_replica(self.database.settings)) from error
            except (ServerException, StorageError, OSError) as error:
                raise WriteFailed(
                    f"could not {note}: {why(error)}; nothing of it was stored; "
                    "look at the server's log and its disk"
                ) from error
        raise AssertionError("unreachable")


def _make_root(connection: Connection) -> None:
    top = connection.root()
    if not set(top) - {FENCE_KEY}:
        top[ROOT_KEY] = Root(time.time())


def _open_writable(settings: DatabaseSettings) -> Database:
    try:
        return open_database(settings, read_only=False)
    except DatabaseUnavailable:
        if not settings.db_url.startswith("zeo://"):
            raise
    # A read-only server turns writers away and they see only silence; so does one that is just
    # starting, or busy. Which it is shows when a reader gets an answer and a writer still none.
    open_database(settings, read_only=True).close()
    try:
        return open_database(settings, read_only=False)
    except DatabaseUnavailable:
        raise ReadOnlyDatabase(_replica(settings)) from None


def _replica(settings: DatabaseSettings) -> str:
    return (
        f"{shown(settings.db_url)} accepts no writes: it is a replica or read-only; "
        "give the primary's address in DQM_DB_URL"
    )
