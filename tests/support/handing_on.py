"""Starts programs with inherited sockets, as a service manager does."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence

PROGRAM = """
import fcntl, os, sys
descriptors, names, *command = sys.argv[1:]
given = [int(one) for one in descriptors.split(",")]
high = [fcntl.fcntl(one, fcntl.F_DUPFD, 100) for one in given]
for one in set(given):
    os.close(one)
for number, one in enumerate(high):
    os.dup2(one, 3 + number)
    os.close(one)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = str(len(high))
if names:
    os.environ["LISTEN_FDNAMES"] = names
os.execv(command[0], command)
"""


def handing_on(
    command: Sequence[str], sockets: Sequence[socket.socket], names: str = ""
) -> list[str]:
    """*command*, which inherits *sockets*; to be started with ``pass_fds`` of their descriptors.

    Parameters
    ----------
    command
        With the absolute path of its program.
    names
        ``LISTEN_FDNAMES``; none when empty.
    """
    descriptors = ",".join(str(one.fileno()) for one in sockets)
    return [sys.executable, "-c", PROGRAM, descriptors, names, *command]
