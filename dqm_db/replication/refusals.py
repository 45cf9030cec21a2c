"""Logs connections that were refused in the TLS handshake."""

from __future__ import annotations

import logging
import time

logger = logging.getLogger(__name__)

AGAIN_AFTER = 60.0
"""Seconds for which the same of the same host is not said again; it tries every second or so."""

REMEMBERED = 1000


class Refusals:
    """Says once a minute why a host is refused.

    Parameters
    ----------
    who
        What connects: ``the client`` or ``the replica``.
    """

    def __init__(self, who: str) -> None:
        self._who = who
        self._said: dict[tuple[str, str], float] = {}

    def log(self, host: str, port: int, reason: str) -> None:
        """*reason*, as `dqm_db.tls.explained`, for which the peer at *host*, *port* is refused."""
        now = time.monotonic()
        if now - self._said.get((host, reason), -AGAIN_AFTER) < AGAIN_AFTER:
            return
        if len(self._said) >= REMEMBERED:
            self._said.clear()
        self._said[host, reason] = now
        logger.error("TLS with %s at %s:%d failed: %s", self._who, host, port, reason)
