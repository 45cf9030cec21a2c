"""Services that a first connection starts, by systemd's own `systemd-socket-activate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from grid_servers import program
from processes import COMMANDS, LOOPBACK, ServerProcess, eventually, free_port

STARTED = "Execing"
"""What is logged at the first connection."""


class Activated(ServerProcess):
    """A service whose sockets listen, and which is started by whoever connects first.

    Parameters
    ----------
    command
        As of `ServerProcess`.
    sockets
        Name and place of each: a port of the loopback address, or the path of a UNIX socket.
    log, environment
        As of `ServerProcess`.
    """

    def __init__(
        self,
        command: Sequence[str],
        sockets: Sequence[tuple[str, int | Path]],
        log: Path,
        environment: Mapping[str, str],
    ) -> None:
        environment = {"DQM_AUTH": "none", **environment}
        self.places = [place for _, place in sockets]
        activate = [program("systemd-socket-activate", "systemd")]
        for place in self.places:
            activate += ["-l", str(place) if isinstance(place, Path) else f"{LOOPBACK}:{place}"]
        activate.append(f"--fdname={':'.join(name for name, _ in sockets)}")
        for name in ("PATH", *environment):  # it hands nothing on by itself
            activate += ["-E", name]
        name, *arguments = command
        port = next(place for place in self.places if isinstance(place, int))
        super().__init__(
            [*activate, str(COMMANDS / name), *arguments], port, log, environment, cwd=log.parent
        )

    def listen(self) -> None:
        """Have the sockets, and nobody who serves them."""
        self.start(wait=False)
        eventually(lambda: self.text().count("Listening on") == len(self.places), "sockets")
        assert not self.has_started()

    def has_started(self) -> bool:
        """Whether somebody has connected."""
        return STARTED in self.text()


class ActivatedServer(Activated):
    """A server of the database, with sockets for clients by TCP and UNIX, and for replicas.

    Parameters
    ----------
    directory
        Gets its volume and its log.
    name
    source
        HOST:PORT that it follows; a primary when None.
    environment
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        source: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.data_dir = directory / name
        self.socket = directory / f"{name}.sock"
        self.replication_port = free_port()
        role = ["primary"] if source is None else ["replica", "--from", source]
        super().__init__(
            ["dqm", *role, "--data-dir", str(self.data_dir)],
            [("zeo", self.socket), ("zeo", free_port()), ("zrs", self.replication_port)],
            directory / f"{name}.log",
            {"DQM_RECONNECT_DELAY": "0.2"} | dict(environment or {}),
        )

    @property
    def feeds_at(self) -> str:
        """Where replicas connect to it."""
        return f"{LOOPBACK}:{self.replication_port}"

    @property
    def url(self) -> str:
        """For clients by TCP."""
        return f"zeo://{LOOPBACK}:{self.port}"

    @property
    def socket_url(self) -> str:
        """For clients by its UNIX socket."""
        return f"zeo://{self.socket}"
