"""Fewer points that still tell the truth about many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Buckets:
    """Consecutive values in buckets whose sizes differ by one at most.

    Attributes
    ----------
    starts, ends : ndarray of intp, shape (buckets,)
        First index of each bucket, and one past its last.
    low, high, mean : ndarray of float64, shape (buckets,)
        NaN values of a bucket are left out; NaN when it has no other.
    """

    starts: NDArray[np.intp]
    ends: NDArray[np.intp]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mean: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.float64], points: int) -> Buckets:
        """At most *points* buckets of *values*; one per value when there are no more."""
        count = int(values.size)
        edges = np.linspace(0, count, min(points, count) + 1).astype(np.intp)
        starts, ends = edges[:-1], edges[1:]
        if not starts.size:
            empty = np.empty(0)
            return cls(starts, ends, empty, empty, empty)
        known = np.isfinite(values)
        number = np.add.reduceat(known, starts, dtype=np.int64)
        total = np.add.reduceat(np.where(known, values, 0.0), starts)
        return cls(
            starts=starts,
            ends=ends,
            low=_none(np.minimum.reduceat(np.where(known, values, np.inf), starts), number),
            high=_none(np.maximum.reduceat(np.where(known, values, -np.inf), starts), number),
            mean=_none(total / np.maximum(number, 1), number),
        )


def _none(values: NDArray[np.float64], number: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.where(number > 0, values, np.nan)


def evenly(count: int, points: int) -> NDArray[np.intp]:
    """At most *points* of *count* indices, evenly spread, both ends among them."""
    return np.unique(np.linspace(0, count - 1, min(points, count)).astype(np.intp))
