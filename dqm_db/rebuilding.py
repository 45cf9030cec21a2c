"""Catalogue, trends, verdicts and pixel history of a camera computed anew from its runs.

They grow in small transactions below ``Camera.rebuild``, a `Camera` of the same name without runs,
where no reader looks; one transaction at the end puts them in the place of the old ones. What a
rebuild left there that did not come to its end is thrown away by the next one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from numpy.typing import NDArray
from ZODB.Connection import Connection

from dqm_db import catalogue, pixel_folding, pixel_history, trends, verdicts
from dqm_db.checks import RunFacts, Verdict
from dqm_db.codec import PackedArray, unpack, unpack_bytes, unpack_record
from dqm_db.content import Kind, Quantity, RunHeader, Statistics
from dqm_db.errors import DatabaseUnavailable
from dqm_db.model import Camera, Run
from dqm_db.records import QuantityEntry, unpack_contents, unpack_header
from dqm_db.storage import checked_root
from dqm_db.urls import shown
from dqm_db.writer import Writer

BATCH = 64
"""Runs per transaction: some hundred KB of rows."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RebuiltRun:
    """What became of one run.

    Attributes
    ----------
    camera : str
    run : int
    error : Exception or None
        Why it is not in the trends; it is not in the catalogue either when its header cannot be
        read.
    """

    camera: str
    run: int
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class _Row:
    run: int
    header: RunHeader | None = None
    statistics: Statistics | None = None
    verdict: Verdict | None = None
    error: Exception | None = None


def rebuild(
    writer: Writer,
    camera: str,
    statistics: Callable[[Sequence[Quantity]], Statistics],
    *,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[RebuiltRun]:
    """Compute catalogue, trends, verdicts and pixel history of *camera* from its stored runs.

    Yields what became of each run. Everything is as it was until the last one has been consumed.

    Parameters
    ----------
    writer : Writer
        Holds the lock, so that no run comes or goes meanwhile.
    camera : str
        Whose.
    statistics
        Computes the statistics of a run from all its quantities, which come with their columns
        but without summaries.
    stop
        Once it returns true nothing more is computed and nothing is changed.

    Raises
    ------
    RunNotFound
        There is no such camera.
    WriteFailed, DatabaseUnavailable, ReadOnlyDatabase
        Everything is as it was.
    """
    if stop():
        return
    with writer.database.snapshot() as snapshot:
        runs = iter(snapshot.runs(camera))
    change = _Change(writer, camera)
    change.begin()
    while batch := list(itertools.islice(runs, BATCH)):
        rows = []
        for run in batch:
            if stop():
                change.give_up()
                return
            rows.append(_read(writer, camera, run, statistics))
            yield RebuiltRun(camera, run, rows[-1].error)
        change.add(rows)
    change.finish()


class _Change:
    """The transactions of a rebuild."""

    def __init__(self, writer: Writer, camera: str) -> None:
        self._writer = writer
        self._name = camera

    def begin(self) -> None:
        def change(camera: Camera) -> None:
            camera.rebuild = Camera(self._name)

        self._commit("begin", change)

    def add(self, rows: Sequence[_Row]) -> None:
        def change(camera: Camera) -> bool:
            new = _growing(camera)
            for row in rows:
                if row.header is not None:
                    catalogue.put_row(new.catalogue, row.header, row.verdict)
                if row.verdict is not None:
                    verdicts.put_verdict(new, row.run, row.verdict)
                if row.statistics is not None:
                    trends.put_row(new.trends, row.run, row.statistics)
                if row.error is None and row.run in camera.runs:
                    pixel_history.put_run(new, row.run)
            return trends.needs_folding(new.trends)

        def fold(camera: Camera) -> bool:
            new = _growing(camera)
            trends.fold(new.trends)
            return trends.needs_folding(new.trends)

        is_full = self._commit("add runs", change)
        while is_full:
            is_full = self._commit("fold", fold)
        while pixel_folding.fold(
            lambda change: self._commit("fold pixels", change),
            lambda camera: pixel_history.history_of(_growing(camera)),
        ):
            pass

    def finish(self) -> None:
        def change(camera: Camera) -> None:
            new = _growing(camera)
            camera.catalogue, camera.trends = new.catalogue, new.trends
            camera.pixels = pixel_history.history_of(new)
            camera.verdicts = new.verdicts
            verdicts.put_thresholds(camera, self._writer.judge.thresholds(self._name))
            del camera.rebuild

        self._commit("finish", change)

    def give_up(self) -> None:
        def change(camera: Camera) -> None:
            del camera.rebuild

        self._commit("give up", change)

    def _commit(self, step: str, change: Callable[[Camera], T]) -> T:
        url = shown(self._writer.database.settings.db_url)

        def change_camera(connection: Connection) -> T:
            return change(checked_root(connection, url).cameras[self._name])

        return self._writer.commit(f"rebuild trends of {self._name}: {step}", change_camera)


def _growing(camera: Camera) -> Camera:
    if camera.rebuild is None:
        raise AssertionError("the rebuild has not begun")  # the writer lock is held
    return camera.rebuild


def _read(
    writer: Writer,
    camera: str,
    run: int,
    statistics: Callable[[Sequence[Quantity]], Statistics],
) -> _Row:
    header = None
    try:
        with writer.database.connection() as connection:
            root = checked_root(connection, shown(writer.database.settings.db_url))
            stored = root.cameras[camera].runs[run]
            header = unpack_header(stored.header)
            quantities = stored_quantities(stored)
            before = verdicts.verdict_before(root.cameras[camera], run)
        found = statistics(quantities)
        verdict = writer.judge.judge(camera, RunFacts.of(header, quantities, found))
        if before is not None and verdict.says_the_same_as(before):
            verdict = before  # it was made then, and pages that show it need not do so again
        return _Row(run, header, found, verdict)
    except DatabaseUnavailable:
        raise
    except Exception as error:
        # a run that is damaged, in whatever way, is named and keeps no other from being rebuilt
        return _Row(run, header, error=error)


def stored_quantities(stored: Run) -> list[Quantity]:
    """All quantities of a run with their columns, without summaries; each record is read once."""
    maps: dict[str, NDArray] = {}
    if stored.maps is not None:
        maps = dict(zip(stored.maps.names, unpack_bytes(stored.maps.values), strict=True))
    small: Mapping[str, Mapping[str, NDArray]] = {}
    if stored.small is not None:
        small = unpack_record(stored.small.data)["columns"]  # type: ignore[assignment]

    def columns(entry: QuantityEntry) -> Mapping[str, NDArray]:
        record = stored.arrays.get(entry.name)
        if record is not None:
            return {
                name: unpack(PackedArray(dtype, shape, data))
                for name, dtype, shape, data in record.columns
            }
        if entry.name in small:
            return small[entry.name]
        if entry.kind is Kind.PIXEL_MAP and entry.columns:
            (column,) = entry.columns
            return {column: maps[entry.name]}
        return {}

    return [
        Quantity(entry.name, entry.kind, columns(entry), entry.unavailable)
        for entry in unpack_contents(stored.contents)
    ]
