"""Every change made inside ZEO 6.2 and FileStorage, and why it exists.

A server stores and sends pickles, but it has no reason to ever load one that a client made: it
then needs none of the stored classes, and a hostile record harms no server. :func:`install` is
called by the section ``<replicated>``, thus in servers only.
"""

from __future__ import annotations

import importlib
import logging
import time
from types import FunctionType, SimpleNamespace
from typing import Any

import ZEO.asyncio.server
import ZEO.StorageServer
import ZODB.Connection
from ZEO.StorageServer import never_resolve_conflict

from dqm_db.replication import methods
from dqm_db.replication.refusals import Refusals
from dqm_db.replication.wire import load_extension
from dqm_db.tls import WITHOUT_TLS, is_hello

logger = logging.getLogger(__name__)
refusals = Refusals("the client")

STOCK = ZEO.asyncio.server.ServerProtocol
ARE_YOU_OK = b"ruok"
"""What a monitor sends in place of a protocol: it gets the server's status and is hung up on."""


class ServerProtocol(STOCK):  # type: ignore[misc, valid-type]
    """One connection of a client."""

    def connection_made(self, transport: Any) -> None:
        """Begin; whoever speaks TLS where there is none is told from others by its first bytes."""
        super().connection_made(transport)
        receive = self.data_received  # type: ignore[has-type] # ZEO sets it for each connection

        def receive_first(data: bytes) -> None:
            self.data_received = receive
            if is_hello(data):
                # by a UNIX socket clients have no address
                host, port = (self.get_peername() or ("a UNIX socket", 0))[:2]
                refusals.log(host, port, WITHOUT_TLS)
                self.close()
            else:
                receive(data)

        self.data_received = receive_first

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client.

        With TLS, one that hangs up at once when we do so looks like an accident: ZEO would log an
        error at every question of a monitor.
        """
        super().connection_lost(None if self.closed else exc)

    def finish_connection(self, protocol_version: bytes) -> None:
        """Refuse every protocol but msgpack.

        ``msgpack true`` is merely what ZEO proposes; the client chooses. The other choice is
        pickle, whose decoder lets a stranger call ``builtins.eval``, unauthenticated.
        """
        if protocol_version != ARE_YOU_OK and protocol_version[:1] != b"M":
            logger.error(
                "refused the protocol %r of %s: only msgpack is spoken here; "
                "the client needs the package msgpack",
                protocol_version[:8],
                self.get_peername(),
            )
            self.close()
            return
        super().finish_connection(protocol_version)

    def close(self) -> None:
        """Hang up, and release what the connection holds.

        When ZEO 6.2 closes a connection itself, as it does after ``transaction-timeout``, it
        forgets to tell the storage: the commit lock of a client that hung after its vote was
        never released, and no other client could write until the server was restarted.
        """
        storage = self.zeo_storage
        super().close()
        if storage is not None and storage.connected:
            storage.notify_disconnected()


STOCK_TIMEOUT = ZEO.StorageServer.TimeoutThread


def by_steady_clock(function: Any) -> Any:
    """*function* of ``ZEO.StorageServer``, by a clock that nobody can set."""
    clock = SimpleNamespace(time=time.monotonic, sleep=time.sleep)
    return FunctionType(function.__code__, vars(ZEO.StorageServer) | {"time": clock})


class TimeoutThread(STOCK_TIMEOUT):  # type: ignore[misc, valid-type]
    """Drops a client that hangs after its vote, after as many seconds as were set.

    By the wall clock of stock ZEO, one that is set back by an hour lets such a client keep all
    others from writing for an hour.
    """

    begin = by_steady_clock(STOCK_TIMEOUT.begin)
    run = by_steady_clock(STOCK_TIMEOUT.run)


def install() -> None:
    """Replace the names inside ZEO and ZODB; calling it again changes nothing."""
    ZEO.StorageServer.TimeoutThread = TimeoutThread
    methods.install()
    ZEO.asyncio.server.ServerProtocol = ServerProtocol
    # The Acceptor of the server looks the class up in its module, at each connection.

    # `undoLog`, `history` and iteration unpickle the extension of transactions in the server.
    # (ZODB.FileStorage.FileStorage as an attribute is the class, hence import_module.)
    importlib.import_module("ZODB.FileStorage.FileStorage").loads = load_extension  # type: ignore[attr-defined]
    ZODB.Connection.loads = load_extension

    # "Connected", which names no client but ourselves, at every question of a monitor: dashboards
    # ask every few seconds. Clients are logged by their handshake and when they leave.
    logging.getLogger("ZEO.asyncio.base").setLevel(logging.WARNING)


def leave_conflicts_to_clients(storage: Any) -> None:
    """Never resolve a conflict in the server, which would load both records.

    ``client-conflict-resolution true`` in ``zeo.conf`` gives the conflict to the client, who has
    the classes. ZEO then sets this function on the outermost storage, but it is the FileStorage
    inside that would resolve.
    """
    storage.tryToResolveConflict = never_resolve_conflict
