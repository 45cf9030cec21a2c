"""What a running server is: its role, and the epoch of the database that it serves."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from ZODB.POSException import POSKeyError
from ZODB.utils import load_current, z64

from dqm_db.volume.errors import DamagedFence
from dqm_db.volume.fence import Fence

logger = logging.getLogger(__name__)

DAMAGED = "damaged"
"""Fence state of a database whose fence cannot be read."""


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """What a server is at one moment.

    Attributes
    ----------
    role : str
        ``primary`` or ``replica``.
    epoch : int
        That of its database.
    fence_state : str
        ``serving``, ``demoted`` or ``damaged``.
    source : str or None
        HOST:PORT that it follows.
    """

    role: str
    epoch: int
    fence_state: str
    source: str | None


class Identity:
    """Knows what the server of *storage* is; the epoch of a replica comes with its transactions.

    Parameters
    ----------
    storage
        The open FileStorage, which it reads from any thread.
    role, source
        See :class:`ServerIdentity`.
    """

    def __init__(self, storage: Any, role: str, source: str | None) -> None:
        self._storage = storage
        self._role = role
        self._source = source
        self._read: tuple[bytes, int, str] = (b"", 0, Fence().state)  # of which tid; what it says

    def now(self) -> ServerIdentity:
        """What the server is now; reads the fence again when its record has changed."""
        try:
            data, tid = load_current(self._storage, z64)
        except POSKeyError:  # nothing was ever written
            data, tid = None, b""
        known, epoch, state = self._read
        if tid != known and data is not None:
            try:
                fence = Fence.of_record(data)
                epoch, state = fence.epoch, fence.state
            except DamagedFence as error:
                logger.error("%s", error)
                state = DAMAGED
            self._read = (tid, epoch, state)
        return ServerIdentity(self._role, epoch, state, self._source)


def identity_of(storage: Any) -> ServerIdentity | None:
    """What the server of the outermost *storage* is now; None for one that is not ours."""
    identity = getattr(storage, "dqm_identity", None)
    return identity.now() if isinstance(identity, Identity) else None
