"""Judging stored runs again, from their stored statistics, e.g. when thresholds have changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from ZODB.Connection import Connection
from ZODB.POSException import POSKeyError

from dqm_db import catalogue, verdicts
from dqm_db.checks import CheckResult, Judge, RunFacts, Status, Verdict
from dqm_db.checks.known import known_checks
from dqm_db.codec import DamagedRecord
from dqm_db.content import Statistics
from dqm_db.model import Camera
from dqm_db.overrides import prefetch
from dqm_db.reader import Snapshot
from dqm_db.records import unpack_contents, unpack_header
from dqm_db.storage import Database, checked_root
from dqm_db.urls import shown
from dqm_db.writer import Writer

BATCH = 256
"""Runs that are read, and written in one transaction: some hundred KB of verdicts."""


@dataclass(frozen=True, slots=True)
class Rechecked:
    """What became of the verdict on one run.

    Attributes
    ----------
    run : int
    before : Verdict or None
        What was stored; None: the run had not been judged.
    after : Verdict or None
        What is stored now, or would be; None: as before, because of *error*.
    error : DamagedRecord or POSKeyError or None
        Why the run could not be read: it is damaged, or lost.
    """

    run: int
    before: Verdict | None
    after: Verdict | None
    error: DamagedRecord | POSKeyError | None = None

    @property
    def changed(self) -> bool:
        """Whether anything that users see of it is another."""
        return self.after is not None and not self.after.says_the_same_as(self.before)

    @property
    def differences(self) -> list[tuple[CheckResult | None, CheckResult | None]]:
        """Checks whose status is another: before and after, None where there is no such check."""
        before = {result.check: result for result in self.before.results} if self.before else {}
        after = {result.check: result for result in self.after.results} if self.after else {}
        pairs = [(before.get(name), after.get(name)) for name in {**before, **after}]
        return [(old, new) for old, new in pairs if _status(old) is not _status(new)]


def preview(
    database: Database,
    judge: Judge,
    camera: str,
    wanted: Callable[[int], bool] = lambda _run: True,
) -> Iterator[Rechecked]:
    """What `recheck` would do; changes nothing and needs no lock.

    Raises
    ------
    RunNotFound
        There is no such camera.
    ConfigurationError
        The thresholds cannot be read.
    """
    with database.snapshot() as snapshot:
        runs = [run for run in snapshot.runs(camera) if wanted(run)]
        table = _Table.read(snapshot, camera)
    for batch in _batches(runs):
        with database.connection() as connection:
            root = checked_root(connection, shown(database.settings.db_url))
            stored = root.cameras.get(camera)
            if stored is None:  # nobody is kept from deleting its last run meanwhile
                return
            rows = _judged(stored, judge, table, batch)
        yield from rows


def recheck(
    writer: Writer,
    camera: str,
    wanted: Callable[[int], bool] = lambda _run: True,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Rechecked]:
    """Judge the runs of *camera* again; yields them when their verdicts are stored.

    Runs whose verdict is the same are not written.

    Raises
    ------
    RunNotFound, ConfigurationError
    WriteFailed, DatabaseUnavailable, ReadOnlyDatabase
        What was yielded is stored.
    """
    url = shown(writer.database.settings.db_url)
    with writer.database.snapshot() as snapshot:
        runs = [run for run in snapshot.runs(camera) if wanted(run)]
        table = _Table.read(snapshot, camera)
    for batch in _batches(runs):
        if stop():
            return

        def change(connection: Connection, batch: Sequence[int] = batch) -> list[Rechecked]:
            stored = checked_root(connection, url).cameras[camera]
            rows = _judged(stored, writer.judge, table, batch)
            new = {row.run: row.after for row in rows if row.after is not None and row.changed}
            for run, verdict in new.items():
                verdicts.put_verdict(stored, run, verdict)
            catalogue.put_verdicts(stored.catalogue, new)
            verdicts.put_thresholds(stored, writer.judge.thresholds(camera))
            return rows

        yield from writer.commit(f"recheck {camera}", change)


@dataclass(frozen=True, slots=True)
class _Table:
    """The statistics that checks look at, of all runs: some 2 MB for 10,000 runs."""

    columns: Sequence[tuple[str, str]]
    place: Mapping[int, int]
    values: NDArray[np.float64]

    @classmethod
    def read(cls, snapshot: Snapshot, camera: str) -> _Table:
        columns = sorted({column for check in known_checks().values() for column in check.columns})
        runs, values = snapshot.trends(camera, columns)
        return cls(columns, {run: at for at, run in enumerate(runs.tolist())}, values)

    def of(self, run: int) -> Statistics:
        found: dict[str, dict[str, float]] = {}
        if run in self.place:
            of_run = self.values[:, self.place[run]].tolist()
            for (quantity, statistic), value in zip(self.columns, of_run, strict=True):
                if not math.isnan(value):
                    found.setdefault(quantity, {})[statistic] = value
        return found


def _judged(camera: Camera, judge: Judge, table: _Table, runs: Sequence[int]) -> list[Rechecked]:
    records = {run: camera.runs[run] for run in runs if run in camera.runs}
    prefetch(camera, records.values())
    rows = []
    for run, record in records.items():
        before = verdicts.verdict_before(camera, run)
        try:
            header, entries = unpack_header(record.header), unpack_contents(record.contents)
        except (DamagedRecord, POSKeyError) as error:
            # it is named, and keeps no other from being judged
            rows.append(Rechecked(run, before, None, error))
            continue
        after = judge.judge(camera.name, RunFacts.of(header, entries, table.of(run)))
        rows.append(Rechecked(run, before, after))
    return rows


def _batches(runs: Sequence[int]) -> Iterator[Sequence[int]]:
    for at in range(0, len(runs), BATCH):
        yield runs[at : at + BATCH]


def _status(result: CheckResult | None) -> Status | None:
    return None if result is None else result.status
