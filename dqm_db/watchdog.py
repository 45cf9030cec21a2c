"""Notices a ZEO server that is connected but does not answer any more.

ZEO's client waits without limit for the answer to a call. When the server is frozen, or the network
swallows everything without a word, its threads hang for good, and a writer keeps the writer lock.
The watchdog asks for a sign of life and cuts the connection when none comes: every waiting call
then ends with ``ClientDisconnected`` and the client looks for a server again.

It uses attributes of ZEO 6.2's client that are not part of its interface; ``tests/system`` freezes
a server to see that they still do what is expected.
"""

from __future__ import annotations

import contextlib
import logging
import threading

from ZEO.ClientStorage import ClientStorage
from ZEO.Exceptions import ClientDisconnected

logger = logging.getLogger(__name__)

LOOKS = 20
"""How often it looks for an answer within its patience."""


class Watchdog:
    """Watches the connection of *storage* from a thread of its own until it is stopped.

    Parameters
    ----------
    storage : ClientStorage
    patience : float
        Seconds within which a server must answer; it is asked as often.
    """

    def __init__(self, storage: ClientStorage, patience: float) -> None:
        self._storage = storage
        self._patience = patience
        self._stopped = threading.Event()
        threading.Thread(target=self._watch, name="dqm-watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stop watching; the thread ends by itself, at once unless an answer is awaited."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(self._patience):
            if self._storage.is_connected():
                self._ask()

    def _ask(self) -> None:
        server = self._storage._server
        protocol = server.client.protocol
        try:
            answer = server.call("ping", wait=False)
        except ClientDisconnected:
            return
        # ZEO's futures cannot be waited for with a limit
        silent = not any(
            answer.done() or self._stopped.wait(self._patience / LOOKS) for _ in range(LOOKS)
        )
        if silent and protocol is not None:
            logger.warning("no answer for %g s: the connection is cut", self._patience)
            server.loop.call_soon_threadsafe(_cut, protocol)
        with contextlib.suppress(ClientDisconnected):  # it comes, or the connection has ended
            answer.result()


def _cut(protocol: object) -> None:
    """End a connection at once, without waiting for what is still to be sent."""
    transport = protocol.sm_protocol.transport  # type: ignore[attr-defined]
    if transport is not None:
        transport.abort()
