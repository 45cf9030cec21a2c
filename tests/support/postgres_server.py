"""A PostgreSQL server of Debian's package for the tests, on a socket of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

MISSING = "no PostgreSQL on this machine: install it (Debian: apt-get install postgresql)"


class PostgresServer:
    """A running server, and its databases."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self._folder = folder
        self._process = process

    def stop(self) -> None:
        """Stop it, whoever is connected."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(30)

    def database(self) -> str:
        """The address of a new empty database, as SQLAlchemy writes it."""
        name = f"accounts_{uuid.uuid4().hex}"
        how = f"host={self._folder} user=postgres dbname=postgres"
        with psycopg.connect(how, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return f"postgresql+psycopg://postgres@/{name}?host={self._folder}"


@contextlib.contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Start one; without Debian's package the test is skipped, and fails in CI."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        if os.environ.get("CI") == "true":
            pytest.fail(MISSING, pytrace=False)
        pytest.skip(MISSING)
    binaries = programs[-1].parent
    # its user must be able to reach the folder, and the name of a socket may not be long
    folder = Path(tempfile.mkdtemp(prefix="dqm-pg-", dir="/tmp"))
    user = None
    if os.geteuid() == 0:  # it refuses to run as root
        user = "postgres"
        shutil.chown(folder, user)
    data = folder / "data"
    log = (folder / "log").open("wb")
    try:
        subprocess.run(
            [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8"],
            user=user, cwd=folder, stdout=log, stderr=log, check=True, env={"LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        server = subprocess.Popen(
            [binaries / "postgres", "-D", data, "-k", folder, "-h", "", "-F"],
            user=user, cwd=folder, stdout=log, stderr=log, env={"LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        try:
            subprocess.run(
                [binaries / "pg_isready", "-h", folder, "-t", "30"],
                stdout=log, stderr=log, check=False,
            )  # fmt: skip
            for _ in range(300):
                with contextlib.suppress(psycopg.OperationalError):
                    psycopg.connect(f"host={folder} user=postgres dbname=postgres").close()
                    break
                with contextlib.suppress(subprocess.TimeoutExpired):
                    server.wait(0.1)
                assert server.poll() is None, (folder / "log").read_text()
            yield PostgresServer(folder, server)
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)
    finally:
        log.close()
        shutil.rmtree(folder)
