"""Real processes for the system tests: start, wait, stop, kill, and look at what they stored.

``import processes`` works in every test below ``tests/system``.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import ZEO.ClientStorage

from dqm_db.settings import ServerSettings, SystemSettings, load
from dqm_db.tls import TLSFiles, client_context

LOOPBACK = "127.0.0.1"
PATIENCE = 30.0
"""Seconds after which something that should happen is a failure; nothing is this slow."""

COMMANDS = Path(sys.executable).parent

_taken: set[int] = set()
_random = random.SystemRandom()  # pytest-randomly restarts the other one before each test
_PORTS = range(20_000, 32_000)
_SHARES = 8
"""Parts of `_PORTS`, of which each process of a parallel test run keeps to one."""


def free_port() -> int:
    """A port on which nobody listens, never given twice by this process.

    Nor by another one of the same test run: a port that is free between the stop and the next start
    of its server, or not bound yet, would be taken by that one's. Below the range from which the
    kernel takes the ports of outgoing connections, and above the one of `dqm.demo.ports`.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = _PORTS[worker % _SHARES :: _SHARES]
    while True:
        port = _random.choice(own)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
        if port not in _taken:
            _taken.add(port)
            return port


def eventually(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """The first true value of *condition*, for which OSErrors are false; else fails with *what*."""
    end = time.monotonic() + patience
    while True:
        try:
            value = condition()
        except OSError:
            value = None
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {patience:g} s: {what}")
        time.sleep(0.02)


class ServerProcess:
    """A server, its log, and the port where it answers.

    Parameters
    ----------
    command
        Program and arguments; a bare name is looked up beside this Python.
    port
        Where it listens on the loopback address when it is ready.
    log
        File that gets its standard output and error, appended at each start.
    environment
        Variables beside ours, from which every ``DQM_*`` is removed. Nobody logs in unless
        ``DQM_AUTH`` says so.
    cwd
        Its working directory; the log's folder when None.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        port: int,
        log: Path,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        program, *arguments = map(str, command)
        self.command = [str(COMMANDS / program) if "/" not in program else program, *arguments]
        self.port = port
        self.log = log
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("DQM_")
        }
        self.environment |= {"DQM_AUTH": "none", **dict(environment or {})}
        self.cwd = cwd or log.parent
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self, *, wait: bool = True) -> Self:
        """Start it, and with *wait* return only when its port answers."""
        assert self.process is None, f"{self.command} is already running"
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.environment,
                cwd=self.cwd,
            )
        if wait:
            eventually(self._answers, f"port {self.port} of {self.command}")
        return self

    def _answers(self) -> bool:
        assert self.process is not None
        code = self.process.poll()
        assert code is None, f"{self.command} ended with {code}:\n{self.text()[-3000:]}"
        with socket.create_connection((LOOPBACK, self.port), 1):
            return True

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def send(self, number: int) -> None:
        """Send a signal and go on."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, patience: float = PATIENCE) -> int:
        """Its exit code, once it has ended by itself."""
        assert self.process is not None
        code = self.process.wait(patience)
        self.process = None
        return code

    def stop(self, number: int = signal.SIGTERM, patience: float = PATIENCE) -> int:
        """Send *number* and return the exit code."""
        self.send(number)
        return self.wait(patience)

    def kill(self) -> None:
        """kill -9, if it is running at all."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)
            self.process = None

    def text(self) -> str:
        """Everything it has logged."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def wait_for_log(self, text: str, *, count: int = 1, patience: float = PATIENCE) -> None:
        """Return when *text* stands in the log at least *count* times."""
        eventually(lambda: self.text().count(text) >= count, f"{text!r} in {self.log}", patience)


class DatabaseServer(ServerProcess):
    """A ZEO server with its own data directory, as primary, replica or link of a chain.

    Parameters
    ----------
    directory
        Gets ``<name>/`` (the data directory) and ``<name>.log``.
    source
        The server that it follows; a primary when None.
    feeds
        Whether replicas can follow it; primaries always feed.
    stock
        Start it by ``runzeo -C`` rather than ``dqm``, on the same ``zeo.conf``.
    port, replication_port
        Free ones when None.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        *,
        source: DatabaseServer | None = None,
        feeds: bool = False,
        stock: bool = False,
        environment: Mapping[str, str] | None = None,
        port: int | None = None,
        replication_port: int | None = None,
    ) -> None:
        self.data_dir = directory / name
        self.replication_port = replication_port or free_port()
        port = port or free_port()
        own = ["--data-dir", str(self.data_dir), "--address", f"{LOOPBACK}:{port}"]
        feed = ["--replication-address", f"{LOOPBACK}:{self.replication_port}"]
        variables = {"DQM_RECONNECT_DELAY": "0.2"} | dict(environment or {})
        if source is None:
            command = ["dqm", "primary", *own, *feed]
        else:
            follow = ["--from", f"{LOOPBACK}:{source.replication_port}"]
            command = ["dqm", "replica", *follow, *own, *(feed if feeds else [])]
        super().__init__(command, port, directory / f"{name}.log", variables)
        if stock:
            self._write_configuration(command)
            self.command = [str(COMMANDS / "runzeo"), "-C", str(self.data_dir / "zeo.conf")]

    def _write_configuration(self, command: list[str]) -> None:
        """The ``zeo.conf`` that `dqm` would serve, by the functions that `dqm` calls."""
        from dqm_db.replication.configuration import configuration, write_configuration

        given = dict(zip(command[2::2], command[3::2], strict=True))
        settings = load(
            ServerSettings,
            data_dir=self.data_dir,
            zeo_address=given["--address"],
            zrs_address=given.get("--replication-address"),
            reconnect_delay=float(self.environment["DQM_RECONNECT_DELAY"]),
            keep_alive=float(self.environment.get("DQM_KEEP_ALIVE", "60")),
            transaction_timeout=float(self.environment.get("DQM_TRANSACTION_TIMEOUT", "120")),
        )
        files = TLSFiles.of(self._system())
        text = configuration(settings, source=given.get("--from"), tls=files)
        write_configuration(settings, text)

    def _system(self) -> SystemSettings:
        """The certificates in its environment."""
        names = ("DQM_TLS_CA", "DQM_TLS_CERT", "DQM_TLS_KEY")
        files = {name.removeprefix("DQM_").lower(): self.environment.get(name) for name in names}
        return load(SystemSettings, **files)

    @property
    def tls(self) -> ssl.SSLContext | None:
        """How to connect to it as another host of the same CA; None without TLS."""
        return client_context(self._system())

    @property
    def url(self) -> str:
        """What ``DQM_DB_URL`` is for its clients."""
        return f"zeo://{LOOPBACK}:{self.port}"

    @property
    def data_file(self) -> Path:
        return self.data_dir / "filestorage" / "Data.fs"

    def last_transaction(self) -> bytes:
        """The tid of the last transaction that it serves."""
        return last_transaction(self.port, self.tls)

    def contents(self) -> dict[str, bytes]:
        """Its ``Data.fs`` and blobs, by name: equal for servers that are in sync."""
        blobs = self.data_dir / "blobstorage"
        files = {str(path.relative_to(blobs)): path for path in blobs.glob("0x*/**/*.blob")}
        return {name: path.read_bytes() for name, path in files.items()} | {
            "Data.fs": self.data_file.read_bytes()
        }

    def wait_for(self, other: DatabaseServer) -> None:
        """Return when it has the last transaction of *other*."""
        eventually(
            lambda: self.last_transaction() == other.last_transaction(),
            f"{self.data_dir.name} in sync with {other.data_dir.name}; log:\n"
            + self.text()[-3000:],
        )

    def client(self, **options: Any) -> ZEO.ClientStorage.ClientStorage:
        """A new ZEO client; close it, or the ``ZODB.DB`` made of it."""
        return ZEO.ClientStorage.ClientStorage(
            (LOOPBACK, self.port), **({"wait_timeout": PATIENCE, "ssl": self.tls} | options)
        )


def last_transaction(port: int, tls: ssl.SSLContext | None = None) -> bytes:
    """The tid of the last transaction that the ZEO server at *port* serves, without logging in."""
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection((LOOPBACK, port), 5))
        if tls is not None:
            connection = stack.enter_context(tls.wrap_socket(connection, server_hostname=LOOPBACK))
        connection.sendall(frame(b"ruok"))
        stream = connection.makefile("rb")
        read_frame(stream)  # the protocol it proposes
        answer = read_frame(stream)
        stream.close()
    if not answer:
        raise ConnectionError(f"the server at port {port} closed the connection")
    status = json.loads(answer)
    return bytes.fromhex(status["1"]["last-transaction"])


def frame(message: bytes) -> bytes:
    """*message* as ZEO and zc.zrs send it."""
    return struct.pack(">I", len(message)) + message


def read_frame(stream: Any) -> bytes:
    """The next message from a binary file; empty at its end."""
    header = stream.read(4)
    return stream.read(struct.unpack(">I", header)[0]) if len(header) == 4 else b""
