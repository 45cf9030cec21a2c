"""A parsed run as compressed bytes, ready for a transaction.

All the work of compression happens here, before the transaction starts, so that a conflict is
retried cheaply and may even be done in another process.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dqm_db.codec import pack, pack_bytes, pack_record
from dqm_db.content import N_PIXELS, Kind, Original, Quantity, RunContent
from dqm_db.model import (
    ArraysRecord,
    OriginalRecord,
    PixelMapsRecord,
    Run,
    SmallRecord,
)
from dqm_db.reader import HISTOGRAM_BINS
from dqm_db.records import pack_contents, pack_header

SMALL = 4096
"""Arrays of a quantity that together have at most so many bytes share one record."""

_PackedColumns = tuple[tuple[str, str, tuple[int, ...], bytes], ...]


@dataclass(slots=True)
class PackedRun:
    """One run, compressed; `make_run` gives new persistent objects each time."""

    header: bytes
    contents: bytes
    maps: tuple[tuple[str, ...], bytes, bytes, bytes] | None
    small: bytes
    arrays: dict[str, _PackedColumns] = field(default_factory=dict)
    summaries: dict[str, bytes] = field(default_factory=dict)
    original: Original | None = None

    def make_run(self) -> Run:
        """The persistent objects of this run, not stored yet."""
        run = Run(self.header, self.contents)
        run.maps = PixelMapsRecord(*self.maps) if self.maps else None
        run.small = SmallRecord(self.small)
        run.arrays = {name: ArraysRecord(columns) for name, columns in self.arrays.items()}
        run.summaries = {name: SmallRecord(data) for name, data in self.summaries.items()}
        if self.original is not None:
            run.original = OriginalRecord(self.original.media, self.original.data)
        return run


def pack_run(content: RunContent, original: Original | None) -> PackedRun:
    """Compress *content*.

    Raises
    ------
    ValueError
        A pixel map has not 1855 values, a name occurs twice, or the original is empty (an empty
        blob is not replicated by zc.zrs 3.1.0).
    """
    if original is not None and not original.data:
        raise ValueError("the original file is empty")
    names = [quantity.name for quantity in content.quantities]
    if len(set(names)) != len(names):
        raise ValueError(f"a quantity occurs twice in run {content.header.run}")
    maps: list[tuple[str, NDArray]] = []
    small_columns: dict[str, dict[str, NDArray]] = {}
    small_summaries: dict[str, dict[str, NDArray]] = {}
    arrays: dict[str, _PackedColumns] = {}
    summaries: dict[str, bytes] = {}
    for quantity in content.quantities:
        in_matrix = _matrix_row(quantity)
        if in_matrix is not None:
            maps.append((quantity.name, in_matrix))
        if in_matrix is None or in_matrix.dtype != np.float64:
            columns = dict(quantity.columns)
            if sum(array.nbytes for array in columns.values()) <= SMALL:
                small_columns[quantity.name] = columns
            else:
                arrays[quantity.name] = _pack_columns(columns)
        if quantity.summary:
            summary = dict(quantity.summary)
            if sum(array.nbytes for array in summary.values()) <= SMALL:
                small_summaries[quantity.name] = summary
            else:
                summaries[quantity.name] = pack_record(summary)
    return PackedRun(
        header=pack_header(content.header),
        contents=pack_contents(content.quantities),
        maps=_pack_maps(maps) if maps else None,
        small=pack_record({"columns": small_columns, "summaries": small_summaries}),
        arrays=arrays,
        summaries=summaries,
        original=original,
    )


def _matrix_row(quantity: Quantity) -> NDArray | None:
    if quantity.kind is not Kind.PIXEL_MAP or not quantity.columns:
        return None
    if len(quantity.columns) != 1:
        raise ValueError(f"{quantity.name}: a pixel map has one column")
    (values,) = quantity.columns.values()
    if values.shape != (N_PIXELS,):
        raise ValueError(f"{quantity.name}: shape {values.shape}, a pixel map has ({N_PIXELS},)")
    return values


def _pack_columns(columns: dict[str, NDArray]) -> _PackedColumns:
    packed = [(name, pack(array)) for name, array in columns.items()]
    return tuple((name, array.dtype, array.shape, array.data) for name, array in packed)


def _pack_maps(
    maps: list[tuple[str, NDArray]],
) -> tuple[tuple[str, ...], bytes, bytes, bytes]:
    names = tuple(name for name, _ in maps)
    values = np.array([row for _, row in maps], np.float64)
    histograms = [_histogram(row[np.isfinite(row)]) for row in values]
    return (
        names,
        pack_bytes(values),
        pack_bytes(np.array([counts for counts, _ in histograms], np.int64)),
        pack_bytes(np.array([limits for _, limits in histograms], np.float64)),
    )


def _histogram(finite: NDArray[np.float64]) -> tuple[NDArray[np.int64], tuple[float, float]]:
    """Counts in `HISTOGRAM_BINS` equal bins between the returned limits.

    Unlike `numpy.histogram` this accepts values so large that float64 has no 64 steps between them,
    and none at all.
    """
    bounded = np.clip(finite, -1e300, 1e300)
    low, high = (bounded.min(), bounded.max()) if len(bounded) else (0.0, 1.0)
    steps = HISTOGRAM_BINS * np.spacing(max(abs(low), abs(high)))
    if high - low < steps:
        room = max(0.5, steps)
        low, high = low - room, high + room
    bins = np.floor((bounded - low) / (high - low) * HISTOGRAM_BINS).astype(np.int64)
    counts = np.bincount(np.minimum(bins, HISTOGRAM_BINS - 1), minlength=HISTOGRAM_BINS)
    return counts, (float(low), float(high))
