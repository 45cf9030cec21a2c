"""Statistics of all runs of a camera: written once per run, folded once, read by column.

Each run adds one small row record to the tail. When the tail holds `FOLD` rows they are transposed
into one block (a record per quantity), so that a trend of one statistic over thousands of runs
reads a few dozen records, and no record is rewritten for every run.

Rows of a run may exist more than once; which one holds is decided as `dqm_db.overrides` says. So a
block is never rewritten, and late runs need no place of their own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dqm_db.codec import pack_bytes, pack_record, unpack_bytes, unpack_record
from dqm_db.content import Statistics
from dqm_db.model import TrendBlock, TrendBlockQuantity, TrendRow, Trends
from dqm_db.overrides import holding, not_void, prefetch

FOLD = 256
"""Rows per block; larger blocks make trends faster to read and the tail slower."""

Column = tuple[str, str]
"""(quantity, statistic)."""
_Part = tuple[NDArray[np.int64], NDArray[np.float64]]


def put_row(trends: Trends, run: int, statistics: Statistics) -> None:
    """Add or replace the statistics of *run*."""
    position = _positions(trends, statistics)
    values = np.full(len(position), np.nan)
    for quantity, by_name in statistics.items():
        for name, value in by_name.items():
            values[position[quantity, name]] = value
    trends.tail[run] = TrendRow(pack_bytes(values))


def drop_row(trends: Trends, run: int) -> None:
    """Forget the statistics of *run*, wherever they are."""
    if run in trends.tail:
        del trends.tail[run]
    if trends.blocks:
        trends.deleted[run] = len(trends.blocks)


def needs_folding(trends: Trends) -> bool:
    """Whether the tail holds enough rows for a block."""
    return len(trends.tail) >= FOLD


def fold(trends: Trends) -> None:
    """Move the oldest `FOLD` rows of the tail (by run number) into a new block."""
    names = _names(trends)
    runs = [run for run, _ in zip(trends.tail.keys(), range(FOLD), strict=False)]
    table = np.full((len(runs), len(names)), np.nan)
    for index, run in enumerate(runs):
        row = unpack_bytes(trends.tail[run].values)
        table[index, : len(row)] = row
    block = TrendBlock(pack_bytes(np.array(runs, np.int64)))
    for quantity, members in _by_quantity(names).items():
        columns = [index for _, index in members]
        block.quantities[quantity] = TrendBlockQuantity(
            tuple(statistic for statistic, _ in members), pack_bytes(table[:, columns].T)
        )
    trends.blocks[len(trends.blocks)] = block
    for run in runs:
        del trends.tail[run]


def read_trends(
    trends: Trends, columns: Sequence[Column]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Some statistics over all runs.

    Returns
    -------
    runs : ndarray of int64, shape (n,)
        Ascending.
    values : ndarray of float64, shape (columns, n)
        NaN where a run has none.
    """
    parts = [*_of_blocks(trends, columns), _of_tail(trends, columns)]
    runs, places = holding([runs for runs, _ in parts])
    return runs, np.concatenate([values for _, values in parts], axis=1)[:, places]


def _of_blocks(trends: Trends, columns: Sequence[Column]) -> Iterator[_Part]:
    blocks = list(trends.blocks.items())
    wanted = {quantity for quantity, _ in columns}
    prefetch(trends, (block for _, block in blocks))
    held = [
        {name: block.quantities[name] for name in wanted if name in block.quantities}
        for _, block in blocks
    ]
    prefetch(trends, (stored for of_block in held for stored in of_block.values()))
    for (index, block), of_block in zip(blocks, held, strict=True):
        runs = unpack_bytes(block.runs)
        tables = {name: unpack_bytes(stored.values) for name, stored in of_block.items()}
        values = np.full((len(columns), len(runs)), np.nan)
        for row, (quantity, statistic) in enumerate(columns):
            stored = of_block.get(quantity)
            if stored is not None and statistic in stored.statistics:
                values[row] = tables[quantity][stored.statistics.index(statistic)]
        valid = not_void(runs, index, trends.deleted)
        yield runs[valid], values[:, valid]


def _of_tail(trends: Trends, columns: Sequence[Column]) -> _Part:
    position = _index(_names(trends))
    places = np.array([position.get(column, -1) for column in columns], np.int64)
    prefetch(trends, trends.tail.values())
    values = np.full((len(columns), len(trends.tail)), np.nan)
    for index, row in enumerate(trends.tail.values()):
        stored = unpack_bytes(row.values)
        known = (places >= 0) & (places < len(stored))  # a column may be newer than the row
        values[known, index] = stored[places[known]]
    return np.array(list(trends.tail.keys()), np.int64), values


def read_row(
    trends: Trends, run: int, quantities: Collection[str] | None = None
) -> dict[str, dict[str, float]] | None:
    """The statistics of one run, or None when it has none; NaN values are left out.

    Of *quantities* only, when given: a folded row is read record by record, one per quantity.
    """
    row = trends.tail.get(run)
    if row is not None:
        values = unpack_bytes(row.values)
        named = zip(_names(trends), values.tolist(), strict=False)
        return _nested(each for each in named if quantities is None or each[0][0] in quantities)
    for index in reversed(range(trends.deleted.get(run, 0), len(trends.blocks))):
        block = trends.blocks[index]
        places = np.flatnonzero(unpack_bytes(block.runs) == run)
        if len(places):
            return _nested(_block_row(block, int(places[-1]), quantities))
    return None


def read_names(trends: Trends) -> dict[str, tuple[str, ...]]:
    """Which statistics exist: quantity -> names."""
    return {
        quantity: tuple(name for name, _ in members)
        for quantity, members in _by_quantity(_names(trends)).items()
    }


def _block_row(
    block: TrendBlock, place: int, quantities: Collection[str] | None
) -> Iterator[tuple[Column, float]]:
    for quantity in block.quantities if quantities is None else quantities:
        stored = block.quantities.get(quantity)
        if stored is None:
            continue
        column = unpack_bytes(stored.values)[:, place].tolist()
        for statistic, value in zip(stored.statistics, column, strict=True):
            yield (quantity, statistic), value


def _nested(values: Iterable[tuple[Column, float]]) -> dict[str, dict[str, float]]:
    nested: dict[str, dict[str, float]] = {}
    for (quantity, statistic), value in values:
        if not np.isnan(value):
            nested.setdefault(quantity, {})[statistic] = value
    return nested


def _names(trends: Trends) -> list[Column]:
    if not trends.names.data:
        return []
    document = unpack_record(trends.names.data)
    return [(quantity, name) for quantity, name in document["columns"]]  # type: ignore[attr-defined]


def _index(names: list[Column]) -> dict[Column, int]:
    return {column: index for index, column in enumerate(names)}


def _positions(trends: Trends, statistics: Statistics) -> Mapping[Column, int]:
    """Column numbers; columns not seen before are added at the end, so older rows stay valid."""
    names = _names(trends)
    known = _index(names)
    new = [
        (quantity, name)
        for quantity, by_name in statistics.items()
        for name in by_name
        if (quantity, name) not in known
    ]
    if new:
        trends.names.data = pack_record({"columns": [list(column) for column in names + new]})
        known = _index(names + new)
    return known


def _by_quantity(names: list[Column]) -> dict[str, list[tuple[str, int]]]:
    grouped: dict[str, list[tuple[str, int]]] = {}
    for index, (quantity, statistic) in enumerate(names):
        grouped.setdefault(quantity, []).append((statistic, index))
    return grouped
