"""What our servers answer beside what ZEO's do."""

from __future__ import annotations

import threading
import time
from typing import Any

import ZEO.StorageServer

from dqm_db.replication.receiving import Receiver
from dqm_db.replication.server_state import ServerState
from dqm_db.replication.serving_digests import ServedDigests
from dqm_db.replication.serving_pack import pack_served
from dqm_db.replication.tls_acceptor import Acceptor
from dqm_db.volume.digest_wire import MOST_OIDS

STOCK_SERVER = ZEO.StorageServer.StorageServer

OURS = frozenset(
    {"dqm_digests", "dqm_packed_until", "dqm_bytes_after", "dqm_current", "dqm_reachable"}
)
"""Names of what clients may call beside ZEO's methods."""


class ClientHandler(Receiver):
    """What one client can ask for."""

    _served: ServedDigests | None = None

    def setup_delegation(self) -> None:
        """Allow our methods, once the client has chosen its storage."""
        super().setup_delegation()
        files = self.server.states[self.storage_id].files
        if files is not None and files.blob_dir:
            self._served = ServedDigests(files)
            self.connection.methods = self.connection.methods | OURS

    def notify_disconnected(self) -> None:
        """The client has gone."""
        if self._served is not None:
            self._served.close()
        super().notify_disconnected()

    def dqm_digests(self, after: bytes, limit_bytes: int, detailed_until: bytes) -> Any:
        """See `ServedDigests.digests`."""
        limit = max(0, int(limit_bytes))
        return self._in_thread("digests", _eight(after), limit, _eight(detailed_until))

    def dqm_packed_until(self, after: bytes) -> Any:
        """See `ServedDigests.packed_until`."""
        return self._in_thread("packed_until", _eight(after))

    def dqm_bytes_after(self, tid: bytes) -> Any:
        """See `ServedDigests.bytes_after`."""
        return self._in_thread("bytes_after", _eight(tid))

    def dqm_current(self, oids: list[bytes]) -> Any:
        """See `ServedDigests.current`."""
        return self._in_thread("current", _oids(oids))

    def dqm_reachable(self, oids: list[bytes]) -> Any:
        """See `ServedDigests.reachable`."""
        return self._in_thread("reachable", _oids(oids))

    def _in_thread(self, name: str, *args: Any) -> Any:
        thread = ZEO.StorageServer.SlowMethodThread(getattr(self._served, name), args)
        thread.daemon = True  # whoever stops the server does not wait for it
        thread.start()
        return thread.delay

    def getInvalidations(self, tid: bytes) -> Any:  # noqa: N802 (ZEO's name)
        """What a client that comes back has to forget; None, which is everything.

        That is also the answer when *tid*, the last transaction that the client has seen, is none
        of ours: the server was restored, or another one was promoted, and has gone on past *tid*.
        Stock ZEO then tells the client what has changed since, and what was lost stays in the
        client's cache for good.
        """
        queue = self.server.invq[self.storage_id]
        if not any(known == tid for known, _ in list(queue)):
            return None
        return super().getInvalidations(tid)

    def pack(self, until: float, wait: bool = True) -> Any:
        """Pack in a thread that ends with the server, as if that had been killed.

        Stock ZEO's goes on when the server has released the lock of its file, and replaces the
        file when another server may have it open already.
        """
        if not wait:
            threading.Thread(target=self._pack_impl, args=(until,), daemon=True).start()
            return None
        thread = ZEO.StorageServer.SlowMethodThread(self._pack_impl, (until,))
        thread.daemon = True
        thread.start()
        return thread.delay

    def _pack_impl(self, time_: float) -> dict[str, float] | None:
        """Pack, and tell the client what it has gained: stock ZEO tells nothing."""
        state = self.server.states[self.storage_id]
        if state.files is None:
            super()._pack_impl(time_)
            return None
        gained = pack_served(state.files, lambda: super(ClientHandler, self)._pack_impl(time_))
        state.packed = time.time()
        return gained


def _eight(value: object) -> bytes:
    """*value* if it can be the id of a transaction or an object; ValueError for the client."""
    if not isinstance(value, bytes) or len(value) != 8:
        raise ValueError(f"{value!r:.40} is no id of 8 bytes")
    return value


def _oids(value: object) -> list[bytes]:
    """*value* if it can be ids of objects, not too many; ValueError for the client."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"{type(value).__name__} where a list of ids is expected")
    if len(value) > MOST_OIDS:
        raise ValueError(f"{len(value)} ids at once: ask for at most {MOST_OIDS} each time")
    return [_eight(oid) for oid in value]


class StorageServer(STOCK_SERVER):  # type: ignore[misc, valid-type]
    """ZEO's server of storages, which also tells of itself."""

    def __init__(self, addr: Any, storages: dict[str, Any], *args: Any, **options: Any) -> None:
        self.states = {name: ServerState(storage) for name, storage in storages.items()}
        super().__init__(addr, storages, *args, **({"Acceptor": Acceptor} | options))

    def create_client_handler(self) -> ClientHandler:
        """Whoever has just connected gets one."""
        return ClientHandler(self, self.read_only)

    def ruok(self) -> dict[str, dict[str, Any]]:
        """What monitors get without a login: ZEO's status and, as ``dqm``, what we tell."""
        return {
            name: {**status, "dqm": self.states[name].answer(status["connections"])}
            for name, status in super().ruok().items()
        }


def install() -> None:
    """Let servers that are made from now on be ours; calling it again changes nothing."""
    ZEO.StorageServer.StorageServer = StorageServer
    # ZEO.runzeo imports the name when it makes the server.
