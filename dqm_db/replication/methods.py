"""What our servers answer beside what ZEO's do."""

from __future__ import annotations

import time
from typing import Any

import ZEO.StorageServer

from dqm_db.replication.server_state import ServerState
from dqm_db.replication.serving_pack import pack_served

STOCK_SERVER = ZEO.StorageServer.StorageServer
STOCK_HANDLER = ZEO.StorageServer.ZEOStorage


class ClientHandler(STOCK_HANDLER):  # type: ignore[misc, valid-type]
    """What one client can ask for."""

    def _pack_impl(self, time_: float) -> dict[str, float] | None:
        """Pack, and tell the client what it has gained: stock ZEO tells nothing."""
        state = self.server.states[self.storage_id]
        if state.files is None:
            super()._pack_impl(time_)
            return None
        gained = pack_served(state.files, lambda: super(ClientHandler, self)._pack_impl(time_))
        state.packed = time.time()
        return gained


class StorageServer(STOCK_SERVER):  # type: ignore[misc, valid-type]
    """ZEO's server of storages, which also tells of itself."""

    def __init__(self, addr: Any, storages: dict[str, Any], *args: Any, **options: Any) -> None:
        self.states = {name: ServerState(storage) for name, storage in storages.items()}
        super().__init__(addr, storages, *args, **options)

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
