"""Which database a volume holds: when it was created, as its root says.

That is written once, when the first run is stored, and stays: replicas have it, packed and restored
volumes, too. So two volumes with the same moment hold the same database, at whatever state.

As with the fence nothing that clients have stored is loaded; see `dqm_db.volume.fence`.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from ZODB.utils import z64

from dqm_db.model import ROOT_KEY
from dqm_db.volume.errors import DamagedData
from dqm_db.volume.fence import InertUnpickler

_LATEST = 2**36
"""Unix seconds; so that it is a date, and one of four digits."""


class _Referring(InertUnpickler):
    """Reads plain data, and the ids of the objects that they refer to."""

    def persistent_load(self, pid: Any) -> Any:
        """The id; a reference is that, or a pair of it and a class."""
        return pid[0] if isinstance(pid, list) and pid else pid


def created(record_of: Callable[[bytes], bytes | None]) -> float | None:
    """When the database was created, Unix seconds; None when nothing was stored in it yet.

    Parameters
    ----------
    record_of
        Gives the record of an object by its id, or None when there is none.

    Raises
    ------
    DamagedData
        Its root cannot be read.
    """
    top = record_of(z64)
    if top is None:
        return None
    mapping = _state(top, "the root").get("data")
    if type(mapping) is not dict:
        raise _damaged("the root", "it is no mapping")
    oid = mapping.get(ROOT_KEY)
    if oid is None:
        return None
    record = record_of(oid) if type(oid) is bytes and len(oid) == len(z64) else None
    if record is None:
        raise _damaged(ROOT_KEY, "it is missing")
    moment = _state(record, ROOT_KEY).get("created")
    if type(moment) is not float or not 0 <= moment < _LATEST:  # false for NaN, too
        raise _damaged(ROOT_KEY, "it does not say when it was created")
    return moment


def _state(data: bytes, what: str) -> dict[Any, Any]:
    try:
        record = _Referring(io.BytesIO(data))
        record.load()  # the class, to which the state may refer by the memo of the pickle
        state = record.load()
        if type(state) is not dict:
            raise ValueError("it has no attributes")
    except Exception as error:  # pickle raises whatever it stumbles upon
        raise _damaged(what, f"{type(error).__name__}: {error}") from error
    return state


def _damaged(what: str, reason: str) -> DamagedData:
    return DamagedData(
        f"{what} of the database cannot be read ({reason}): restore it from a backup, or "
        "`dqm resync` when it is a replica's"
    )
