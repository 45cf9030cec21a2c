"""Values of runs at the places of other runs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def aligned(
    runs: NDArray[np.integer],
    known: NDArray[np.integer],
    values: NDArray,
    missing: float = np.nan,
) -> NDArray:
    """*values* of the runs *known* (ascending), shape (…, known), at *runs*; *missing* elsewhere.

    The dtype is that of *values*.
    """
    if np.array_equal(runs, known):
        return values
    if not len(known):
        return np.full((*values.shape[:-1], len(runs)), missing, values.dtype)
    at = np.minimum(np.searchsorted(known, runs), len(known) - 1)
    return np.where(known[at] == runs, values[..., at], missing).astype(values.dtype)
