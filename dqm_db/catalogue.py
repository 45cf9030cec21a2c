"""The catalogue of a camera: one row per run in typed columns, for tables, filters and the puller.

Rows live in chunks of `CHUNK` neighbouring run numbers, so that storing a run rewrites a few KB and
reading 10,000 rows takes some eighty loads instead of 10,000.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from BTrees.IOBTree import IOBTree
from numpy.typing import NDArray

from dqm_db.checks import Verdict
from dqm_db.codec import pack_record, unpack_record
from dqm_db.content import RunHeader
from dqm_db.model import CatalogueChunk

CHUNK = 128

NOT_JUDGED = -1
"""In the column "verdict", of runs that were never judged."""

COLUMNS: Mapping[str, tuple[str, object]] = {
    # name: (dtype, value where the run or an older release has none)
    "run": ("<i8", 0),
    "start": ("<f8", np.nan),  # unix s, UTC
    "end": ("<f8", np.nan),  # last event, unix s, UTC
    "events": ("<i8", -1),
    "pedestal_events": ("<i8", -1),
    "absent_modules": ("<i2", 0),
    "absent_pixels": ("<i2", 0),
    "bad_pixels": ("<i2", -1),
    "size": ("<i8", 0),  # source file, bytes
    "adler32": ("<u4", 0),  # source file
    "modified": ("<f8", np.nan),  # source file, unix s, UTC
    "sha256": ("S64", b""),  # results file, hex
    "ingested_at": ("<f8", np.nan),  # unix s, UTC
    "parser_version": ("<i2", 0),
    "verdict": ("<i1", NOT_JUDGED),  # dqm_db.checks.Status
    "checked_at": ("<f8", np.nan),  # when it was judged, unix s, UTC
}


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The runs of one camera in ascending order.

    Attributes
    ----------
    columns : mapping of str to ndarray
        The `COLUMNS`, each (runs,), read-only.
    """

    columns: Mapping[str, NDArray]

    def __len__(self) -> int:
        return len(self.columns["run"])

    def position(self, run: int) -> int | None:
        """Row of *run*, or None."""
        runs = self.columns["run"]
        index = int(np.searchsorted(runs, run))
        return index if index < len(runs) and runs[index] == run else None


def read_catalogue(chunks: IOBTree) -> Catalogue:
    """All rows, from the chunks of a camera."""
    return _merge([_unpack(chunk) for chunk in chunks.values()])


def put_row(chunks: IOBTree, header: RunHeader, verdict: Verdict | None) -> None:
    """Insert or replace the row of a run; *verdict* is None when it was not judged."""
    _rewrite(chunks, header.run, _row(header, verdict))


def drop_row(chunks: IOBTree, run: int) -> None:
    """Remove the row of a run, if there is one."""
    _rewrite(chunks, run, None)


def put_verdicts(chunks: IOBTree, verdicts: Mapping[int, Verdict]) -> None:
    """Write status and time of verdicts into the rows of their runs.

    Of a damaged catalogue, which lacks rows, the others: `dqm_db.rebuilding` makes it anew.
    """
    of_chunks: dict[int, list[int]] = {}
    for run in verdicts:
        of_chunks.setdefault(run // CHUNK, []).append(run)
    for key, runs in of_chunks.items():
        if key not in chunks:
            continue
        columns = {name: values.copy() for name, values in _unpack(chunks[key]).items()}
        for place in np.flatnonzero(np.isin(columns["run"], runs)):
            verdict = verdicts[int(columns["run"][place])]
            columns["verdict"][place] = int(verdict.status)
            columns["checked_at"][place] = verdict.checked_at
        chunks[key].columns = pack_record(columns)


def _rewrite(chunks: IOBTree, run: int, row: Mapping[str, NDArray] | None) -> None:
    key = run // CHUNK
    chunk = chunks.get(key)
    parts: list[Mapping[str, NDArray]] = []
    if chunk is not None:
        columns = _unpack(chunk)
        others = columns["run"] != run
        parts.append({name: values[others] for name, values in columns.items()})
    if row is not None:
        parts.append(row)
    merged = _merge(parts).columns
    if not len(merged["run"]):
        if chunk is not None:
            del chunks[key]
        return
    packed = pack_record(merged)
    if chunk is None:
        chunks[key] = CatalogueChunk(packed)
    else:
        chunk.columns = packed


def _row(header: RunHeader, verdict: Verdict | None) -> dict[str, NDArray]:
    values = {
        "run": header.run,
        "start": header.times.start,
        "end": header.times.last_event,
        "events": header.events.total,
        "pedestal_events": header.events.pedestal,
        "absent_modules": len(header.absent_modules),
        "absent_pixels": len(header.absent_pixels),
        "bad_pixels": header.bad_pixels,
        "size": header.provenance.source_size,
        "adler32": header.provenance.source_adler32,
        "modified": header.provenance.source_modified,
        "sha256": header.provenance.results_sha256.encode(),
        "ingested_at": header.provenance.ingested_at,
        "parser_version": header.provenance.parser_version,
        "verdict": None if verdict is None else int(verdict.status),
        "checked_at": None if verdict is None else verdict.checked_at,
    }
    return {
        name: np.array([default if values[name] is None else values[name]], dtype)
        for name, (dtype, default) in COLUMNS.items()
    }


def _unpack(chunk: CatalogueChunk) -> dict[str, NDArray]:
    stored = unpack_record(chunk.columns)
    rows = len(stored["run"])  # type: ignore[arg-type]
    return {
        name: stored[name] if name in stored else np.full(rows, default, dtype)  # type: ignore[misc]
        for name, (dtype, default) in COLUMNS.items()
    }


def _merge(parts: Sequence[Mapping[str, NDArray]]) -> Catalogue:
    columns = {
        name: np.concatenate([part[name] for part in parts]) if parts else np.empty(0, dtype)
        for name, (dtype, _) in COLUMNS.items()
    }
    order = np.argsort(columns["run"], kind="stable")
    sorted_columns = {name: values[order] for name, values in columns.items()}
    for values in sorted_columns.values():
        values.setflags(write=False)
    return Catalogue(sorted_columns)
