"""Values of single pixels over all runs of a camera.

A run that is not folded yet is read from its own matrix (`Run.maps`), so storing a run adds one
number to the ``tail``. When `FOLD` runs are there, `dqm_db.pixel_folding` transposes them into a
block: one record per module with all its quantities, so that whatever is asked of one pixel and its
neighbours over thousands of runs is in some hundred records. What costs time is their number.

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

from dqm_db.codec import unpack_bytes, unpack_items
from dqm_db.content import N_PIXELS, PIXELS_PER_MODULE, Kind
from dqm_db.model import Camera, PixelBlockModule, PixelHistory, PixelMapsRecord
from dqm_db.overrides import holding, not_void, prefetch
from dqm_db.records import unpack_contents

LOG = logging.getLogger(__name__)

FOLD = 64
"""Runs per block: fewer make more records to read, more a longer tail."""

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
    names: dict[str, None] = dict.fromkeys(() if camera.pixels is None else camera.pixels.names)
    runs = _tail(camera)
    prefetch(camera, (camera.runs[run] for run in runs))
    for run in runs:
        try:
            contents = unpack_contents(camera.runs[run].contents)  # a few KB, unlike the maps
        except (ValueError, POSKeyError) as error:  # see `map_values`
            LOG.warning("run %d is left out of the history of pixels: %s", run, error)
            continue
        names |= dict.fromkeys(
            entry.name
            for entry in contents
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
        Ids, 0 to 1854; those of one module are read together, and so are all quantities.

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
    modules = sorted({pixel // PIXELS_PER_MODULE for pixel in pixels})
    blocks = list(history.blocks.items())
    # what a server is asked for in one go: two questions instead of hundreds
    prefetch(camera, (block for _, block in blocks))
    prefetch(camera, (block.modules[module] for _, block in blocks for module in modules))
    for index, block in blocks:
        runs = unpack_bytes(block.runs)
        tables = {module: _read_module(block.modules[module]) for module in modules}
        values = {}
        for name in quantities:
            found = np.full((len(pixels), len(runs)), np.nan, np.float32)
            if name in block.names:
                table = block.names.index(name)
                for row, pixel in enumerate(pixels):
                    module, place = divmod(pixel, PIXELS_PER_MODULE)
                    found[row] = tables[module][table, place]
            values[name] = found
        valid = not_void(runs, index, history.deleted)
        yield runs[valid], {name: found[:, valid] for name, found in values.items()}


def _read_module(record: PixelBlockModule) -> NDArray[np.float32]:
    values = unpack_bytes(record.values)
    record._p_deactivate()  # together they would drive everything else out of the cache
    return values


def _of_tail(camera: Camera, quantities: Sequence[str], pixels: Sequence[int]) -> Part:
    runs = _tail(camera)
    values = {name: np.full((len(pixels), len(runs)), np.nan, np.float32) for name in quantities}
    # a database that is older than histories has all its runs in the tail: not all maps at once
    for start in range(0, len(runs), FOLD):
        some = runs[start : start + FOLD]
        prefetch(camera, (camera.runs[run] for run in some))
        records = [maps_of(camera, run) for run in some]
        prefetch(camera, (record for record in records if record is not None))
        for column, record in enumerate(records, start):
            for name, row in map_values(record, quantities, pixels).items():
                values[name][:, column] = row
    return np.array(runs, np.int64), values


def maps_of(camera: Camera, run: int) -> PixelMapsRecord | None:
    """The maps of a stored run, not read yet; None when it has none, or its own record is lost."""
    try:
        return camera.runs[run].maps
    except POSKeyError as error:  # see `map_values`
        LOG.warning("run %d is left out of the history of pixels: %s", run, error)
        return None


def map_values(
    record: PixelMapsRecord | None,
    quantities: Iterable[str] | None = None,
    pixels: Sequence[int] = range(N_PIXELS),
) -> Mapping[str, NDArray[np.float32]]:
    """Values of *pixels* in a run by quantity: of *quantities* that it has, or of all.

    None when the run has none, or when its record cannot be read: one damaged run must not take all
    others away from those who look at a pixel; whoever opens that run is told.
    """
    if record is None:
        return {}
    try:
        names = record.names
        wanted = names if quantities is None else [name for name in quantities if name in names]
        rows = np.array([names.index(name) for name in wanted], np.int64)
        places = rows[:, None] * N_PIXELS + np.array(pixels, np.int64)
        values = unpack_items(record.values, places.reshape(-1)).reshape(places.shape)
    except (ValueError, IndexError, POSKeyError) as error:  # see `dqm_db.codec.DamagedRecord`
        LOG.warning("maps of a run are left out of the history of its pixels: %s", error)
        return {}
    # a record holds some hundred KB: what is read of it is small, and it is needed only now
    record._p_deactivate()
    with np.errstate(over="ignore"):  # beyond float32 lies infinity, which plots leave out
        return dict(zip(wanted, values.astype(np.float32), strict=True))


def _tail(camera: Camera) -> list[int]:
    return list(camera.runs.keys() if camera.pixels is None else camera.pixels.tail)
