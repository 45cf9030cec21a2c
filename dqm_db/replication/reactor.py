"""The thread in which Twisted runs beside ZEO's asyncio loop."""

from __future__ import annotations

import atexit
import functools
import logging
import os
import threading
import time
from typing import Any

logger = logging.getLogger(__name__)

STOP_SECONDS = 5.0
"""Patience with the reactor when the process ends."""


@functools.cache
def running_reactor() -> Any:
    """Twisted's reactor, started in a thread by the first call.

    zc.zrs has such a function, but when its reactor ends by itself it only logs that: the server
    would go on serving and never replicate again. Ours ends the process, so that a service
    manager starts it anew.
    """
    from twisted.internet import reactor as started

    reactor: Any = started  # its type depends on the platform
    # Twisted measures by the wall clock. When that is set back by an hour, nothing would be tried
    # again for an hour, and no silence noticed.
    reactor.seconds = time.monotonic

    stopping = threading.Event()

    def run() -> None:
        try:
            reactor.run(installSignalHandlers=False)
        except Exception:
            logger.critical("the replication thread failed", exc_info=True)
        if not stopping.is_set():
            logger.critical("the replication thread ended: so does this server")
            logging.shutdown()
            os._exit(os.EX_SOFTWARE)

    thread = threading.Thread(target=run, name="replication", daemon=True)

    def stop() -> None:
        stopping.set()
        if thread.is_alive():
            reactor.callFromThread(reactor.stop)
            thread.join(STOP_SECONDS)

    thread.start()
    atexit.register(stop)
    return reactor
