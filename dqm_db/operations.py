"""What was done last to keep the database safe: backups, verifications, packs.

Kept in the database, so that every host and every page can say when it was, and how it ended.
"""

from __future__ import annotations

import enum
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from BTrees.OOBTree import OOBTree

from dqm_db.codec import pack_record, unpack_record
from dqm_db.model import Root, SmallRecord


class OperationName(enum.StrEnum):
    """What can be done; the last one of each is remembered."""

    BACKUP = "backup"
    BACKUP_VERIFICATION = "backup-verification"
    VERIFICATION = "verification"
    PACK = "pack"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation that has ended.

    Attributes
    ----------
    name : OperationName
    started, finished : float
        Unix seconds, UTC.
    ok : bool
        Whether it did what it should, or found everything in order.
    text : str
        What came of it, in one sentence for people.
    host : str
        Where it ran.
    facts : mapping of str to float, int or str
        Its numbers, such as ``bytes`` and ``transactions``.
    """

    name: OperationName
    started: float
    finished: float
    ok: bool
    text: str
    host: str
    facts: Mapping[str, float | int | str] = field(default_factory=dict)

    @classmethod
    def ended(
        cls,
        name: OperationName,
        started: float,
        text: str,
        *,
        ok: bool,
        facts: Mapping[str, float | int | str],
    ) -> Self:
        """One that has ended now, on this host."""
        return cls(name, started, time.time(), ok, text, socket.gethostname(), dict(facts))


def put_operation(root: Root, operation: Operation) -> None:
    """Remember *operation* instead of the last one of its name."""
    if root.operations is None:
        root.operations = OOBTree()
    data = pack_record({**asdict(operation), "name": str(operation.name)})
    record = root.operations.get(str(operation.name))
    if record is None:
        root.operations[str(operation.name)] = SmallRecord(data)
    else:
        record.data = data


def read_operations(root: Root) -> dict[OperationName, Operation]:
    """The last operation of each name; those that only a later release knows are left out."""
    known = {str(name): name for name in OperationName}
    found: dict[OperationName, Operation] = {}
    for key, record in (root.operations or {}).items():
        if key in known:
            document: dict[str, Any] = unpack_record(record.data)
            found[known[key]] = Operation(**{**document, "name": known[key]})
    return found
