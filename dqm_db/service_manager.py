"""Tells the service manager how a service is, by systemd's protocol: sd_notify(3)."""

from __future__ import annotations

import logging
import os
import socket

logger = logging.getLogger(__name__)

SOCKET = "NOTIFY_SOCKET"
READY = "READY=1"
RELOADING = "RELOADING=1"
STOPPING = "STOPPING=1"


def notify(state: str) -> None:
    """Send *state*, if a service manager is there to be told; what fails is logged.

    Parameters
    ----------
    state
        Lines of NAME=VALUE.
    """
    path = os.environ.get(SOCKET)
    if not path:
        return
    # a first @ stands for the zero byte of the abstract namespace
    where = f"\0{path[1:]}" if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(state.encode(), where)
    except OSError as error:
        logger.warning("cannot tell the service manager %r at %s: %s", state, path, error)
