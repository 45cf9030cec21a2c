"""The fence: which epoch of the database this is, and whether it is still served.

A database that was promoted or restored begins a new epoch. The fence is a dict in ZODB's root
mapping, which is replicated like everything else: so each copy knows the epoch in which it was
written, and a server of a lower epoch than another's knows that its time is over. A database
without it is in epoch 0.

A server never loads what clients have stored. So the fence is read from the bytes of the root's
record, by an unpickler for which every class is the same inert thing; and it is written with none
but the classes of containers and our own.
"""

from __future__ import annotations

import functools
import io
import pickle
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, ClassVar, NoReturn, Self

import transaction
import ZODB
from ZODB.POSException import POSKeyError, StateLoadError
from ZODB.utils import load_current, z64

from dqm_db.stored_classes import stored_class
from dqm_db.volume.errors import DamagedFence

FENCE_KEY = "nectarcam-dqm-fence"
SERVING = "serving"
DEMOTED = "demoted"


@dataclass(frozen=True, slots=True)
class Fence:
    """What the fence in a database says.

    Attributes
    ----------
    epoch : int
        Counts promotions and restorations.
    state : str
        :data:`SERVING`, or :data:`DEMOTED` when this is the last transaction of its primary.
    host : str
        Where it was written.
    at : float
        When that was decided, Unix seconds.
    reason : str
        Why: ``promoted``, ``restored`` or ``demoted``.
    """

    epoch: int = 0
    state: str = SERVING
    host: str = ""
    at: float = 0.0
    reason: str = ""

    @classmethod
    def of_record(cls, data: bytes) -> Self:
        """The fence in the record of ZODB's root mapping; nothing that it names is imported.

        Raises
        ------
        DamagedFence
            The record cannot be read, or what it has in the fence's place is none.
        """
        try:
            record = InertUnpickler(io.BytesIO(data))
            record.load()  # the class, to which the state may refer by the memo of the pickle
            state = record.load()
            mapping = state.get("data") if type(state) is dict else None
            value = mapping.get(FENCE_KEY) if type(mapping) is dict else None
        except Exception as error:  # pickle raises whatever it stumbles upon
            raise DamagedFence(
                f"the root of the database cannot be read ({type(error).__name__}: {error}): "
                "restore it from a backup, or `dqm resync` when it is a replica's"
            ) from error
        return cls() if value is None else cls(**_checked(value))

    @classmethod
    def of_storage(cls, storage: Any) -> Self:
        """The fence in an open ZODB *storage*.

        Raises
        ------
        DamagedFence
        """
        try:
            data, _ = load_current(storage, z64)
        except POSKeyError:  # nothing was ever written
            return cls()
        return cls.of_record(data)

    def write(self, storage: Any) -> None:
        """Commit this fence to an open *storage* that nobody else writes to.

        Raises
        ------
        DamagedFence
            The root mapping holds objects of classes that a server does not load.
        """
        # No DB.close(): it would close the storage.
        connection = _Plain(storage).open(manager := transaction.TransactionManager())
        try:
            manager.begin()
            manager.get().note(f"fence: epoch {self.epoch}, {self.state}, {self.reason}")
            connection.root()[FENCE_KEY] = asdict(self)
            manager.commit()
        except StateLoadError as error:
            raise DamagedFence(str(error.__context__)) from error
        finally:
            manager.abort()
            connection.close()


def _checked(value: Any) -> dict[str, Any]:
    types = {"epoch": int, "state": str, "host": str, "at": float, "reason": str}
    sound = (
        type(value) is dict
        and len(value) == len(types)
        and all(type(value.get(name)) is kind for name, kind in types.items())
        and 0 <= value["epoch"] < 2**31
        and value["state"] in (SERVING, DEMOTED)
    )
    if not sound:
        raise DamagedFence(
            "what the root of the database holds as fence is none of this release: use the "
            "release that wrote it, or restore the database from a backup"
        )
    return dict(value)


class _Plain(ZODB.DB):
    """A database of which only root mapping and references in it are ever loaded."""

    def classFactory(self, connection: Any, modulename: str, globalname: str) -> type:  # noqa: ARG002, N802
        """The class of an object; none of anybody else's."""
        found = stored_class(modulename, globalname)
        if found is None:
            raise DamagedFence(
                f"the root of the database holds a {modulename}.{globalname}: a database with "
                "more than this system's own has no epochs, and cannot be promoted, demoted or "
                "restored; remove volume.json to serve it as before"
            )
        return found


class _Items(list[Any]):
    """A tuple whose hash is not computed from what is in it: that overflows the stack."""

    __hash__ = object.__hash__  # type: ignore[assignment]


def _load_tuple(unpickler: Any, length: int | None) -> None:
    if length is None:
        items = unpickler.pop_mark()
    else:
        first = len(unpickler.stack) - length
        items = unpickler.stack[first:]
        del unpickler.stack[first:]
    unpickler.append(_Items(items))


def _load_extension(_unpickler: Any) -> NoReturn:
    raise pickle.UnpicklingError("it names a class by a number")


class InertUnpickler(pickle._Unpickler):
    """Reads the plain data in a pickle; of its objects nothing, without importing them.

    In Python's own Python rather than C, whose unpickler takes memory by the GB when told to.
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **pickle._Unpickler.dispatch,
        pickle.TUPLE[0]: functools.partial(_load_tuple, length=None),
        pickle.EMPTY_TUPLE[0]: functools.partial(_load_tuple, length=0),
        pickle.TUPLE1[0]: functools.partial(_load_tuple, length=1),
        pickle.TUPLE2[0]: functools.partial(_load_tuple, length=2),
        pickle.TUPLE3[0]: functools.partial(_load_tuple, length=3),
        pickle.EXT1[0]: _load_extension,
        pickle.EXT2[0]: _load_extension,
        pickle.EXT4[0]: _load_extension,
    }

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)

        class Inert:  # a new one each time: a pickle can set attributes of classes
            """Whatever a pickle makes of a class, or does to an object."""

            def __new__(cls, *_arguments: Any, **_named: Any) -> Self:
                return super().__new__(cls)

            def _nothing(self, *_arguments: Any) -> None:
                pass

            __init__ = __setitem__ = __setstate__ = append = extend = add = _nothing

        self._inert = Inert

    def find_class(self, module: str, name: str, /) -> Any:  # noqa: ARG002
        """The inert class, whichever is named."""
        return self._inert

    def persistent_load(self, pid: Any) -> Any:  # noqa: ARG002
        """An inert object in place of another record's."""
        return self._inert()
