"""Values of single pixels over all runs of a camera.

A run that is not folded yet is read from its own matrix (`Run.maps`), so storing a run adds one
number to the ``tail``. When `FOLD` runs are there, `dqm_db.pixel_folding` transposes them into a
block: one record per quantity and group of `GROUP` neighbouring pixels, so that one pixel and the
rest of its module over thousands of runs are a few dozen small records.

Which value of a run holds is decided as `dqm_db.overrides` says, so a block is never rewritten, and
runs that come late or again need no place of their own.

Blocks hold float32: seven digits, which is more than a plot shows and halves what a run adds to the
database. The exact values stay in the runs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from ZODB.POSException import POSKeyError

from dqm_db.codec import unpack_bytes
from dqm_db.content import N_PIXELS, PIXELS_PER_MODULE, Kind
from dqm_db.model import Camera, PixelHistory, PixelMapsRecord
from dqm_db.overrides import holding, not_void, prefetch
from dqm_db.records import unpack_contents

LOG = logging.getLogger(__name__)

FOLD = 128
"""Runs per block: fewer make more records to read, more a longer tail."""
GROUP = 5 * PIXELS_PER_MODULE
"""Pixels per record: whole modules."""

Part = tuple[NDArray[np.int64], dict[str, NDArray[np.float32]]]
"""Runs (n,), and values (pixels, n) by quantity."""


def put_run(camera: Camera, run: int) -> None:
    """Let *run*, which is stored or replaced in this transaction, be read from its own record."""
    history_of(camera).tail.insert(run)


def drop_run(camera: Camera, run: int) -> None:
    """Forget the values of *run*, wherever they are."""
    history = history_of(camera)
    if run in history.tail:
        history.tail.remove(run)
    if history.blocks:
        history.deleted[run] = len(history.blocks)


def history_of(camera: Camera) -> PixelHistory:
    """The history of *camera*; of a database that is older than histories, all in the tail."""
    if camera.pixels is None:
        camera.pixels = PixelHistory()
        camera.pixels.tail.update(camera.runs.keys())
    return camera.pixels


def read_names(camera: Camera) -> tuple[str, ...]:
    """Quantities that any run of *camera* has a map of, in the order in which they appeared."""
    names: dict[str, None] = {}
    if camera.pixels is not None:
        for block in camera.pixels.blocks.values():
            names |= dict.fromkeys(block.quantities)
    runs = _tail(camera)
    prefetch(camera, (camera.runs[run] for run in runs))
    for run in runs:
        names |= dict.fromkeys(
            entry.name
            for entry in unpack_contents(camera.runs[run].contents)  # a few KB, unlike the maps
            if entry.kind is Kind.PIXEL_MAP and entry.unavailable is None
        )
    return tuple(names)


def read_history(
    camera: Camera, quantities: Sequence[str], pixels: Sequence[int]
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float32]]]:
    """Values of some pixels over all runs.

    Parameters
    ----------
    camera : Camera
        Whose.
    quantities : sequence of str
        EXTNAMEs of per-pixel maps.
    pixels : sequence of int
        Ids, 0 to 1854; those of one module are read together.

    Returns
    -------
    runs : ndarray of int64, shape (n,)
        Ascending.
    values : dict of str to ndarray of float32, shape (pixels, n)
        NaN where the run has no such map or the pixel no value.

    Raises
    ------
    ValueError
        There is no such pixel.
    """
    wrong = [pixel for pixel in pixels if not 0 <= pixel < N_PIXELS]
    if wrong:
        raise ValueError(f"there is no pixel {wrong[0]}; they are numbered 0 to {N_PIXELS - 1}")
    parts = [*_of_blocks(camera, quantities, pixels), _of_tail(camera, quantities, pixels)]
    runs, places = holding([runs for runs, _ in parts])
    values = {
        name: np.concatenate([part[name] for _, part in parts], axis=1)[:, places]
        for name in quantities
    }
    return runs, values


def _of_blocks(camera: Camera, quantities: Sequence[str], pixels: Sequence[int]) -> Iterator[Part]:
    history = camera.pixels
    if history is None:
        return
    blocks = list(history.blocks.items())
    groups = sorted({pixel // GROUP for pixel in pixels})
    # what a server is asked for in one go: three questions instead of hundreds
    prefetch(camera, (block for _, block in blocks))
    held = [
        {name: block.quantities[name] for name in quantities if name in block.quantities}
        for _, block in blocks
    ]
    prefetch(camera, (stored for of_block in held for stored in of_block.values()))
    prefetch(
        camera,
        (s.parts[g] for of_block in held for s in of_block.values() for g in groups),
    )
    for (index, block), of_block in zip(blocks, held, strict=True):
        runs = unpack_bytes(block.runs)
        valid = not_void(runs, index, history.deleted)
        values = {}
        for name in quantities:
            found = np.full((len(pixels), len(runs)), np.nan, np.float32)
            stored = of_block.get(name)
            if stored is not None:
                tables = {group: unpack_bytes(stored.parts[group].values) for group in groups}
                for row, pixel in enumerate(pixels):
                    found[row] = tables[pixel // GROUP][pixel % GROUP]
            values[name] = found[:, valid]
        yield runs[valid], values


def _of_tail(camera: Camera, quantities: Sequence[str], pixels: Sequence[int]) -> Part:
    runs = _tail(camera)
    values = {name: np.full((len(pixels), len(runs)), np.nan, np.float32) for name in quantities}
    wanted = list(pixels)
    prefetch(camera, (camera.runs[run] for run in runs))
    records = [camera.runs[run].maps for run in runs]
    prefetch(camera, (record for record in records if record is not None))
    for column, record in enumerate(records):
        for name, row in matrix_rows(record, quantities).items():
            values[name][:, column] = row[wanted]
    return np.array(runs, np.int64), values


def matrix_rows(
    record: PixelMapsRecord | None, quantities: Iterable[str] | None = None
) -> Mapping[str, NDArray[np.float32]]:
    """Maps of a run, each float32 (1855,): those of *quantities* that it has, or all.

    None when the run has none, or when its record cannot be read: one damaged run must not take all
    others away from those who look at a pixel; whoever opens that run is told.
    """
    if record is None:
        return {}
    try:
        names = record.names
        matrix = unpack_bytes(record.values)
    except (ValueError, POSKeyError) as error:  # ValueError: see `dqm_db.codec.DamagedRecord`
        LOG.warning("maps of a run are left out of the history of its pixels: %s", error)
        return {}
    # a record holds some hundred KB: what is read of it is small, and it is needed only now
    record._p_deactivate()
    wanted = names if quantities is None else [name for name in quantities if name in names]
    with np.errstate(over="ignore"):  # beyond float32 lies infinity, which plots leave out
        return {name: matrix[names.index(name)].astype(np.float32) for name in wanted}


def _tail(camera: Camera) -> list[int]:
    return list(camera.runs.keys() if camera.pixels is None else camera.pixels.tail)
