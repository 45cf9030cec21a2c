"""Which of several values of a run holds, and the records that have them, for `dqm_db.trends` and
`dqm_db.pixel_history`.

Both keep columns of all runs as a tail of single runs and blocks of many. A value in the tail holds
over those in blocks, a newer block over an older one, and a deleted run is remembered with the
number of blocks whose values of it are void.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from persistent import Persistent


def not_void(runs: NDArray[np.int64], index: int, deleted: Mapping[int, int]) -> NDArray[np.bool_]:
    """Which values of *runs* in block number *index* are not those of deleted runs."""
    return np.array([deleted.get(run, 0) <= index for run in runs.tolist()], bool)


def holding(parts: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Every run once, and where the value of it stands that holds.

    Parameters
    ----------
    parts : sequence of ndarray of int64
        Runs of the blocks in their order, those of the tail last; none twice in one part.

    Returns
    -------
    runs : ndarray of int64, shape (n,)
        Ascending.
    places : ndarray of int, shape (n,)
        In the concatenation of all parts.
    """
    every = np.concatenate([np.empty(0, np.int64), *parts])
    order = np.argsort(every, kind="stable")  # of one run, the part that holds comes last
    ordered = every[order]
    last = np.append(ordered[1:] != ordered[:-1], True)[: len(order)]
    return ordered[last], order[last]


def prefetch(owner: Persistent, records: Iterable[Persistent]) -> None:
    """Ask the server for many records at once rather than one after the other."""
    connection = owner._p_jar
    if connection is not None:
        connection.prefetch(list(records))
