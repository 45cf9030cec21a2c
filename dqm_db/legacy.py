"""Reading the databases of nectarchain's own tools, which keep pickled numpy arrays.

``root["NectarCAMQM_Run6310"]`` is an ``OOBTree``, in the oldest ones a plain dict, of nested dicts
with arrays in them. Unpickling usually executes whatever a pickle says. Here it cannot: nothing but
the few containers of `_LOADED` is ever made, arrays are put together from their bytes by this
module (numpy trusts what pickles say of dtypes and shapes), and everything else becomes an inert
`Refused`, for which nothing is imported or called. An entry that holds one is not read; the others
are.
"""

from __future__ import annotations

import contextlib
import functools
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np
import ZODB
from BTrees.OOBTree import OOBTree, OOBucket
from numpy.typing import NDArray
from persistent import Persistent
from persistent.list import PersistentList
from persistent.mapping import PersistentMapping
from ZEO.Exceptions import ClientDisconnected
from ZODB.Connection import Connection
from ZODB.POSException import POSKeyError

from dqm_db.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    DQMError,
    ForeignDatabase,
    NoDataYet,
)
from dqm_db.settings import DatabaseSettings
from dqm_db.storage import Database
from dqm_db.urls import shown

MOST_MEMBERS = 10_000
"""Members of one mapping or list of an entry; damaged trees can be endless."""

_DTYPE = re.compile(r"[biufc]\d{1,2}|[SU]\d{1,6}")


class UnreadableEntry(DQMError):
    """An entry holds what cannot be read, or is not; the text says what."""


class Refused(Persistent):
    """Stands for an object of a class that is not loaded, and takes whatever its pickle does."""

    of_class = ""

    def __init__(self, *arguments: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, value: object) -> None:
        """Do nothing."""

    def extend(self, values: object) -> None:
        """Do nothing."""


class _DType:
    """A dtype as it is pickled."""

    def __init__(self, code: object = None, *_: object) -> None:
        self._code = code
        self._order: object = "|"
        self._is_plain = True

    def __setstate__(self, state: Any) -> None:
        _, self._order, subarray, names, fields = state[:5]
        self._is_plain = subarray is names is fields is None

    def dtype(self) -> np.dtype:
        """The dtype, of numbers or text; raises `UnreadableEntry` for others."""
        code, order = self._code, self._order
        if not self._is_plain or not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise UnreadableEntry(f"holds an array of dtype {code!r}, which is not read")
        return np.dtype(f"{order}{code}" if order in ("<", ">") else code)


class _Array:
    """An array as it is pickled."""

    def __init__(self, subtype: object = None, *_: object) -> None:
        self._subtype = subtype
        self._state: Any = None

    def __setstate__(self, state: object) -> None:
        self._state = state

    def array(self) -> NDArray:
        """The values, read-only; raises `UnreadableEntry` when there are none."""
        if self._subtype is not _Array:
            raise UnreadableEntry(f"holds {_words(self._subtype)}, which is not read")
        _, shape, dtype, is_fortran, data = self._state
        return _put_together(dtype, shape, data, is_fortran=bool(is_fortran))


class _Scalar:
    """A numpy scalar as it is pickled."""

    def __init__(self, dtype: object = None, data: object = None) -> None:
        self._dtype, self._data = dtype, data

    def array(self) -> NDArray:
        """The value, shape ()."""
        return _put_together(self._dtype, (), self._data)


def _put_together(dtype: object, shape: Any, data: object, *, is_fortran: bool = False) -> NDArray:
    if not isinstance(dtype, _DType):
        raise UnreadableEntry(f"holds an array of {_words(dtype)}, which is not read")
    plain = dtype.dtype()
    if not isinstance(data, bytes) or len(data) != plain.itemsize * math.prod(shape):
        raise UnreadableEntry("holds an array whose bytes do not fill its shape")
    values: NDArray = np.frombuffer(data, plain) if data else np.empty(0, plain)
    return values.reshape(shape, order="F" if is_fortran else "C")


_LOADED: Mapping[tuple[str, str], type] = {
    ("persistent.mapping", "PersistentMapping"): PersistentMapping,
    ("persistent.list", "PersistentList"): PersistentList,
    ("BTrees.OOBTree", "OOBTree"): OOBTree,
    ("BTrees.OOBTree", "OOBucket"): OOBucket,
    ("numpy", "dtype"): _DType,
    ("numpy", "ndarray"): _Array,  # as the argument of _reconstruct
    **{
        (f"numpy.{package}.multiarray", name): kind
        for package in ("core", "_core")  # before numpy 2, and since
        for name, kind in (("_reconstruct", _Array), ("scalar", _Scalar))
    },
}


@functools.lru_cache(1000)
def _class_of(module: str, name: str) -> type:
    refused = {"of_class": f"{module}.{name}"}
    return _LOADED.get((module, name)) or type("Refused", (Refused,), refused)


def _class_factory(_connection: Connection, module: str, name: str) -> type:
    """What ZODB calls for every class that a record names."""
    return _class_of(module, name)


def open_legacy(settings: DatabaseSettings, url: str) -> LegacyDatabase:
    """Open the database at *url* (any that DQM_DB_URL may be) for reading.

    Raises
    ------
    ConfigurationError
        The URL cannot be understood.
    DatabaseUnavailable
        No server answers, or there is no such file.
    DamagedDatabase
        It is no ZODB file.
    """
    own = {"db_url": url, "blob_cache_dir": None, "db_pool": 1}
    try:
        return LegacyDatabase(settings.model_copy(update=own), read_only=True, must_answer=True)
    except DatabaseUnavailable as error:
        raise _unavailable(url, error) from error
    except ConfigurationError as error:
        reason = error.__cause__ or error
        raise ConfigurationError(
            f"{shown(url)} is not the address of a database that can be opened here: "
            f"{shown(str(reason))}"
        ) from error


class LegacyDatabase(Database):
    """A database of nectarchain's tools as it was when it was first read; see `open_legacy`."""

    _connection: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def keys(self) -> list[str]:
        """The keys of the root that are text, sorted.

        Raises
        ------
        ForeignDatabase
            The root cannot be read, or is no mapping.
        NoDataYet, DatabaseUnavailable
        """
        return sorted(self._entries)

    def read(self, key: str) -> Mapping[str, object]:
        """All that an entry holds: nested dicts and lists of arrays (read-only) and plain values.

        What was loaded for it is forgotten by the connection.

        Raises
        ------
        UnreadableEntry
        DatabaseUnavailable
        """
        value = self._entries[key]
        try:
            with self._reworded():
                entry = _plain(value)
        except (UnreadableEntry, DatabaseUnavailable):
            raise
        except POSKeyError as error:
            raise UnreadableEntry(f"its database has lost a part of it, {error}") from error
        except Exception as error:
            # there is no telling what a damaged or hostile pickle raises
            raise UnreadableEntry(f"cannot be read: {type(error).__name__}: {error}") from error
        finally:
            if self._connection is not None:
                self._connection.cacheMinimize()
        if not isinstance(entry, dict):
            raise UnreadableEntry("is no mapping of results")
        return entry

    @functools.cached_property
    def _entries(self) -> dict[str, object]:
        """The values of the root, of which persistent ones are not loaded yet."""
        url = shown(self.settings.db_url)
        try:
            with self._reworded():
                self._connection = self._resources.enter_context(self.connection())
                root = self._connection.root()
                if not isinstance(root, PersistentMapping | OOBTree):
                    raise ForeignDatabase(f"the root of {url} is {_words(root)}, not a mapping")
                return {key: value for key, value in root.items() if isinstance(key, str)}
        except DQMError:
            raise
        except Exception as error:
            # as in `read`
            raise ForeignDatabase(
                f"the root of {url} cannot be read: {type(error).__name__}: {error}"
            ) from error

    def _opened(self) -> ZODB.DB:
        with self._opening:
            if self._db is None:
                self._require_root()
                self._db = ZODB.DB(
                    self._storage,
                    pool_size=1,
                    cache_size_bytes=self.settings.db_cache_bytes,
                    class_factory=_class_factory,
                )
            return self._db

    @contextlib.contextmanager
    def _reworded(self) -> Iterator[None]:
        """Errors of loading, said of this database rather than of that of DQM_DB_URL."""
        url = self.settings.db_url
        try:
            yield
        except NoDataYet:
            raise NoDataYet(f"{shown(url)} is empty: nothing was ever written into it") from None
        except (DatabaseUnavailable, ClientDisconnected) as error:
            raise _unavailable(url, error) from error


def _unavailable(url: str, error: Exception) -> DatabaseUnavailable:
    if isinstance(error.__cause__, OSError):
        return DatabaseUnavailable(f"{shown(url)} cannot be opened: {error.__cause__}")
    return DatabaseUnavailable(
        f"the database to import at {shown(url)} does not answer: is its server running, and the "
        "address right?"
    )


def _plain(value: object) -> object:
    """*value* with everything loaded, and nothing in it but numpy and plain values."""
    if isinstance(value, _Array | _Scalar):
        return value.array()
    if isinstance(value, dict | PersistentMapping | OOBTree):
        found: dict[str, object] = {}
        for number, (key, member) in enumerate(value.items()):
            if not isinstance(key, str):
                raise UnreadableEntry(f"holds {_words(key)} where a name is expected")
            _check_size(number)
            found[key] = _plain(member)
        return found
    if isinstance(value, list | tuple | PersistentList):
        _check_size(len(value) - 1)
        return [_plain(member) for member in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise UnreadableEntry(f"holds {_words(value)}, which is not read")


def _check_size(number: int) -> None:
    if number >= MOST_MEMBERS:
        raise UnreadableEntry(f"holds more than {MOST_MEMBERS} members in one place")


def _words(value: object) -> str:
    kind = value if isinstance(value, type) else type(value)
    name = kind.of_class if issubclass(kind, Refused) else kind.__name__
    return f"an object of class {name}"
