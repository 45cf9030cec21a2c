"""Free TCP ports on loopback for processes that are about to start."""

from __future__ import annotations

import random
import socket
from dataclasses import dataclass

LOOPBACK = "127.0.0.1"
# Below the range from which systems pick ports for outgoing connections, so that none of those
# takes a port between its choice and its use.
_LOWEST, _HIGHEST = 15_000, 20_000


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of loopback now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """Whether something accepts connections on this port of loopback."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0


def free_ports(count: int) -> list[int]:
    """*count* different free ports, chosen at random so that several stacks hardly ever collide.

    Raises
    ------
    OSError
        When there are not enough.
    """
    # Seeded by the system, whatever a test runner does to the global generator.
    candidates = random.SystemRandom().sample(range(_LOWEST, _HIGHEST), 50 * count)
    chosen = [port for port in candidates if is_free(port)][:count]
    if len(chosen) < count:
        raise OSError(f"no {count} free ports between {_LOWEST} and {_HIGHEST} on {LOOPBACK}")
    return chosen


@dataclass(frozen=True)
class StackPorts:
    """Where the processes of one stack listen."""

    primary: int
    primary_replication: int
    replica: int
    dashboard: int

    @classmethod
    def choose(cls, dashboard: int | None = None) -> StackPorts:
        """Free ports; the dashboard's may be given."""
        primary, primary_replication, replica, free = free_ports(4)
        return cls(primary, primary_replication, replica, dashboard or free)


USUAL = StackPorts(primary=8100, primary_replication=5000, replica=8101, dashboard=5006)
"""The defaults of the commands, and the replica's as the documents have it."""
