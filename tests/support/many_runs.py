"""Thousands of runs in a second, for the tests of lists: one sample run under many numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import transaction

from dqm_db import catalogue, trends
from dqm_db.codec import pack_record
from dqm_db.content import RunContent
from dqm_db.model import CatalogueChunk, Run
from dqm_db.records import pack_header
from dqm_db.storage import checked_root
from dqm_db.writer import Writer


@dataclass(frozen=True)
class Row:
    """What a list shows of a run; times in Unix seconds, UTC."""

    run: int
    start: float
    duration: float = 60.0
    events: int = 1000
    pedestal_events: int = 20
    absent_modules: int = 0
    bad_pixels: int = 0
    verdict: int = -1


def write_many(writer: Writer, content: RunContent, rows: Iterable[Row]) -> None:
    """Store *content* under the number of each row, with what the row says in its catalogue."""
    camera = content.header.camera
    by_number = {row.run: row for row in rows}
    first = next(iter(by_number))
    writer.store_run(replace(content, header=_header(content, by_number[first])), None)
    manager = transaction.TransactionManager(explicit=True)
    with writer.database.connection(manager) as connection:
        stored = checked_root(connection, "many runs").cameras[camera]
        shared = stored.runs[first]
        columns: dict[int, list[tuple]] = {}
        for number, row in by_number.items():
            header = _header(content, row)
            run = Run(pack_header(header), shared.contents)
            run.maps, run.small = shared.maps, shared.small
            run.arrays, run.summaries = dict(shared.arrays), dict(shared.summaries)
            stored.runs[number] = run
            columns.setdefault(number // catalogue.CHUNK, []).append(_row(row))
        trends.put_row(stored.trends, first, content.statistics)
        for key, values in columns.items():
            table = {
                name: np.array([value[at] for value in sorted(values)], dtype)
                for at, (name, (dtype, _)) in enumerate(_ordered().items())
            }
            stored.catalogue[key] = CatalogueChunk(pack_record(table))
        manager.commit()


def _ordered() -> dict[str, tuple[str, object]]:
    return {"run": catalogue.COLUMNS["run"], **catalogue.COLUMNS}


def _row(row: Row) -> tuple:
    known = {
        "end": row.start + row.duration,
        "ingested_at": row.start + row.duration + 300,
        "sha256": f"{row.run:064x}".encode(),
        "parser_version": 1,
        **{name: getattr(row, name) for name in catalogue.COLUMNS if hasattr(row, name)},
    }
    return tuple(known.get(name, default) for name, (_, default) in _ordered().items())


def _header(content: RunContent, row: Row):
    header = content.header
    times = replace(
        header.times,
        run_start=row.start,
        first_event=row.start + 1,
        last_event=row.start + row.duration,
    )
    return replace(header, run=row.run, times=times)
