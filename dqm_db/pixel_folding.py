"""Making a block of `dqm_db.pixel_history`: several small transactions, the last one shows it.

Until then the block grows as ``PixelHistory.growing``, where no reader looks. What a fold that was
killed has left there is thrown away by the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqm_db.codec import pack_bytes
from dqm_db.content import N_PIXELS, PIXELS_PER_MODULE
from dqm_db.model import Camera, PixelBlock, PixelBlockModule, PixelHistory
from dqm_db.pixel_history import FOLD, map_values, maps_of

TRANSACTION_BYTES = 1_500_000
"""After which a transaction ends; none is larger than this and one module, some 30 KB."""

Commit = Callable[[Callable[[Camera], Any]], Any]
"""Runs a change of a camera in one transaction and returns what it returns."""


@dataclass(frozen=True, slots=True)
class _Maps:
    """What goes into a block: per quantity float32 (1855, runs).

    ``oids`` are those of the records that were read; None where there was none.
    """

    runs: tuple[int, ...]
    oids: tuple[bytes | None, ...]
    values: dict[str, NDArray[np.float32]]


def needs_folding(history: PixelHistory, size: int = FOLD) -> bool:
    """Whether the tail holds enough runs for a block."""
    return len(history.tail) >= size


def fold(commit: Commit, history_in: Callable[[Camera], PixelHistory], size: int = FOLD) -> bool:
    """Move the oldest runs of the tail (by number) into a new block, if there are enough.

    Holds the maps of all its runs meanwhile, some 15 MB.

    Parameters
    ----------
    commit : callable
        Changes the camera that has the runs.
    history_in : callable
        The history of such a camera, or the one that is being rebuilt in it.
    size : int
        Runs per block.

    Returns
    -------
    bool
        Whether a block was made.
    """
    maps: _Maps | None = commit(lambda camera: _collect(camera, history_in(camera), size))
    if maps is None:
        return False

    def begin(camera: Camera) -> None:
        runs = pack_bytes(np.array(maps.runs, np.int64))
        history_in(camera).growing = PixelBlock(runs, tuple(maps.values))

    commit(begin)
    for packed in _packed(maps):

        def add(camera: Camera, packed: list[bytes] = packed) -> None:
            _growing(history_in(camera)).modules += tuple(map(PixelBlockModule, packed))

        commit(add)
    commit(lambda camera: _show(camera, history_in(camera), maps))
    return True


def _collect(camera: Camera, history: PixelHistory, size: int) -> _Maps | None:
    if not needs_folding(history, size):
        return None
    runs = tuple(run for run, _ in zip(history.tail, range(size), strict=False))
    oids: list[bytes | None] = []
    values: dict[str, NDArray[np.float32]] = {}
    for column, run in enumerate(runs):
        record = maps_of(camera, run)
        oids.append(None if record is None else record._p_oid)
        for name, row in map_values(record).items():
            if name not in values:
                values[name] = np.full((N_PIXELS, len(runs)), np.nan, np.float32)
            values[name][:, column] = row
    return _Maps(runs, tuple(oids), values)


def _packed(maps: _Maps) -> Iterator[list[bytes]]:
    """Packed records, one per module in their order, as many as one transaction takes."""
    batch: list[bytes] = []
    for first in range(0, N_PIXELS, PIXELS_PER_MODULE):
        pixels = slice(first, first + PIXELS_PER_MODULE)
        tables = [table[pixels] for table in maps.values.values()]
        shape = len(tables), PIXELS_PER_MODULE, len(maps.runs)
        batch.append(pack_bytes(np.array(tables, np.float32).reshape(shape)))
        if sum(map(len, batch)) >= TRANSACTION_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


def _show(camera: Camera, history: PixelHistory, maps: _Maps) -> None:
    index = len(history.blocks)
    block = _growing(history)
    history.blocks[index] = block
    history.names = tuple(dict.fromkeys((*history.names, *block.names)))
    del history.growing
    for run, oid in zip(maps.runs, maps.oids, strict=True):
        if run not in camera.runs:  # deleted since it was read
            history.deleted[run] = index + 1
        else:
            record = maps_of(camera, run)
            if (None if record is None else record._p_oid) != oid:
                continue  # replaced since: the tail goes on to hold over the block
        if run in history.tail:
            history.tail.remove(run)


def _growing(history: PixelHistory) -> PixelBlock:
    if history.growing is None:
        raise AssertionError("the block has not been begun")  # the writer lock is held
    return history.growing
