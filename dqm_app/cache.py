"""A cache of decoded runs, bounded by the memory that they take."""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np


class ByteCache:
    """Keeps the values used last, up to a number of bytes. Thread-safe.

    Parameters
    ----------
    limit : int
        Bytes; a value that is larger on its own is not kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def nbytes(self) -> int:
        """Bytes of all values kept."""
        return self._bytes

    def get(self, key: Hashable, default: Any = None) -> Any:
        """The value of *key*, which then counts as just used; *default* when it is not kept."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return default
            self._entries.move_to_end(key)
            return entry[0]

    def put(self, key: Hashable, value: Any) -> None:
        """Keep *value*; drops those that were not used for longest when the limit is exceeded."""
        size = nbytes(value)
        with self._lock:
            previous = self._entries.pop(key, None)
            if previous is not None:
                self._bytes -= previous[1]
            if size > self._limit:
                return
            self._entries[key] = (value, size)
            self._bytes += size
            while self._bytes > self._limit:
                _, (_, dropped) = self._entries.popitem(last=False)
                self._bytes -= dropped


def nbytes(value: Any) -> int:
    """Bytes that *value* takes: arrays by their data, containers and dataclasses by their contents.

    An array that is a view into another one counts as the whole other one.
    """
    return _nbytes(value, set())


def _nbytes(value: Any, seen: set[int]) -> int:
    if id(value) in seen:
        return 0
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        base = value.base if isinstance(value.base, np.ndarray) else None
        return 112 + (_nbytes(base, seen) if base is not None else value.nbytes)
    size = sys.getsizeof(value, 64)
    if isinstance(value, Mapping):
        return size + sum(_nbytes(k, seen) + _nbytes(v, seen) for k, v in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return size + sum(_nbytes(item, seen) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return size + sum(
            _nbytes(getattr(value, field.name), seen) for field in dataclasses.fields(value)
        )
    return size
