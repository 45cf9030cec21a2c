"""A Redis server of Debian's package for the tests, on a free port of loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator

import pytest
from processes import LOOPBACK, eventually, free_port

MISSING = "no Redis on this machine: install it (Debian: apt-get install redis-server)"


@contextlib.contextmanager
def redis_server(port: int | None = None) -> Iterator[str]:
    """Its URL; without Debian's package the test is skipped, and fails in CI.

    At a free *port* when None. What it holds ends with it.
    """
    program = shutil.which("redis-server")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail(MISSING, pytrace=False)
        pytest.skip(MISSING)
    port = port or free_port()
    with tempfile.TemporaryDirectory(prefix="dqm-redis-") as folder:
        process = subprocess.Popen(
            [program, "--bind", LOOPBACK, "--port", str(port), "--dir", folder, "--save", "",
             "--appendonly", "no"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            eventually(lambda: _answers(port), "Redis answers")
            yield f"redis://{LOOPBACK}:{port}/0"
        finally:
            process.terminate()
            process.wait(30)


def _answers(port: int) -> bool:
    with socket.create_connection((LOOPBACK, port), 1) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(16) == b"+PONG\r\n"
