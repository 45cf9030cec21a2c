"""What a running server is: its role, and the epoch of the database that it serves."""

from __future__ import annotations

import logging
import socket
import time
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
    fence_at : float
        When its epoch was begun, or ended, Unix seconds; 0 when there never was another one.
    host : str
        Name of its machine.
    started : float
        Unix seconds; with `host` the name of this very process.
    asks : int
        How many servers it asks for their epoch; 0: nobody tells it of another primary.
    """

    role: str
    epoch: int
    fence_state: str
    source: str | None
    fence_at: float = 0.0
    host: str = ""
    started: float = 0.0
    asks: int = 0


class Identity:
    """Knows what the server of *storage* is; the epoch of a replica comes with its transactions.

    Parameters
    ----------
    storage
        The open FileStorage, which it reads from any thread.
    role, source, asks
        See :class:`ServerIdentity`.
    """

    def __init__(self, storage: Any, role: str, source: str | None, asks: int = 0) -> None:
        self._storage = storage
        self._role = role
        self._source = source
        self._asks = asks
        self._host = socket.gethostname()
        self._started = time.time()
        # of which tid; what it says
        self._read: tuple[bytes, int, str, float] = (b"", 0, Fence().state, 0.0)

    def now(self) -> ServerIdentity:
        """What the server is now; reads the fence again when its record has changed."""
        try:
            data, tid = load_current(self._storage, z64)
        except POSKeyError:  # nothing was ever written
            data, tid = None, b""
        known, epoch, state, at = self._read
        if tid != known and data is not None:
            try:
                fence = Fence.of_record(data)
                epoch, state, at = fence.epoch, fence.state, fence.at
            except DamagedFence as error:
                logger.error("%s", error)
                state = DAMAGED
            self._read = (tid, epoch, state, at)
        return ServerIdentity(
            self._role,
            epoch,
            state,
            self._source,
            fence_at=at,
            host=self._host,
            started=self._started,
            asks=self._asks,
        )


def identity_of(storage: Any) -> ServerIdentity | None:
    """What the server of the outermost *storage* is now; None for one that is not ours."""
    identity = getattr(storage, "dqm_identity", None)
    return identity.now() if isinstance(identity, Identity) else None
