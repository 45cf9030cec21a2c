"""Networks of the tests: hosts with addresses of their own on one wire.

Each host is a network namespace; a machine or a single program runs in it. Nothing of it is seen on
the machine that runs the tests.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

PREFIX = "198.51.100."
"""Addresses for documentation (RFC 5737): nobody has them."""
PREFIX_6 = "2001:db8::"
"""The same of IPv6 (RFC 3849)."""

RESOLVER = "10.0.2.3"
"""Where slirp4netns answers questions for names, in every host with a way out."""

_TRY = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3])).close()
    print("open")
except ConnectionRefusedError:
    print("refused")
except OSError:
    print("no answer")
"""

_numbers = itertools.count(1)


class Host:
    """One network namespace with an address on the wire; made by `Network.host`.

    Attributes
    ----------
    name
        By which others find it.
    address
        IPv4, on the wire.
    addresses
        All of them: IPv4 and IPv6.
    namespace
        File of the namespace, for ``nsenter --net=…``.
    """

    def __init__(self, name: str, number: int, namespace: Path) -> None:
        self.name = name
        self.address = f"{PREFIX}{number}"
        self.addresses = (self.address, f"{PREFIX_6}{number:x}")
        self.namespace = namespace

    def within(self, *command: str | Path) -> list[str]:
        """*command* as it is to be run in its network, beside whatever else runs there."""
        return ["nsenter", f"--net={self.namespace}", "--", *map(str, command)]

    def tries(self, address: str, port: int, patience: float = 3) -> str:
        """What comes of a TCP connection from here: ``open``, ``refused`` or ``no answer``."""
        seconds = str(patience)
        return self.run(sys.executable, "-c", _TRY, address, str(port), seconds).stdout.strip()

    def run(
        self,
        *command: str | Path,
        check: bool = True,
        patience: float = 60,
        input: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of the machine that runs the tests in its network."""
        return run(self.within(*command), check=check, patience=patience, input=input)


class Network:
    """A wire that joins hosts, and their ways out to package registries.

    Use it as a context manager; at its end the namespaces are gone. Runs only below
    ``tests/deploy/apart``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._wire = f"wire-{os.getpid()}-{next(_numbers)}"
        self._hosts: dict[str, Host] = {}
        self._ways_out: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        run(["ip", "netns", "add", self._wire])
        self._ip("link", "add", "wire", "type", "bridge")
        self._ip("link", "set", "wire", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._ways_out:
            process.kill()
            process.wait()
        for name in [*(host.namespace.name for host in self._hosts.values()), self._wire]:
            run(["ip", "netns", "delete", name])

    def host(self, name: str, *, way_out: bool = False) -> Host:
        """A new host, that reaches package registries when it has a *way_out*."""
        number = len(self._hosts) + 1
        namespace = f"{self._wire}-{name}"
        run(["ip", "netns", "add", namespace])
        host = Host(name, number, Path("/run/netns") / namespace)
        self._hosts[name] = host
        self._ip("link", "add", f"port{number}", "type", "veth", "peer", "name", "eth0",
                 "netns", namespace)  # fmt: skip
        self._ip("link", "set", f"port{number}", "master", "wire", "up")
        for settings in (
            ["link", "set", "lo", "up"],
            ["address", "add", f"{host.address}/24", "dev", "eth0"],
            ["address", "add", f"{host.addresses[1]}/64", "dev", "eth0", "nodad"],
            ["link", "set", "eth0", "up"],
        ):
            run(["ip", "-n", namespace, *settings])
        if way_out:
            self._give_way_out(host)
        return host

    def hosts(self) -> list[Host]:
        """All hosts so far."""
        return list(self._hosts.values())

    def names(self) -> str:
        """Lines of ``/etc/hosts`` for all hosts so far."""
        return "".join(f"{host.address} {host.name}\n" for host in self._hosts.values())

    def cut(self, host: Host) -> None:
        """Pull its plug; `mend` puts it back."""
        self._ip("link", "set", f"port{host.address.removeprefix(PREFIX)}", "down")

    def mend(self, host: Host) -> None:
        self._ip("link", "set", f"port{host.address.removeprefix(PREFIX)}", "up")

    def _ip(self, *command: str) -> None:
        run(["ip", "-n", self._wire, *command])

    def _give_way_out(self, host: Host) -> None:
        """slirp4netns carries its connections out through those of this machine."""
        with (self._folder / f"way-out-{host.name}.log").open("wb") as log:
            process = subprocess.Popen(
                ["slirp4netns", "--configure", "--mtu=1400", "--disable-host-loopback",
                 "--netns-type=path", "--ready-fd=1", str(host.namespace), "tap0"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        self._ways_out.append(process)
        assert process.stdout is not None
        with process.stdout as ready:
            assert ready.read(1), f"slirp4netns ended: {Path(log.name).read_text()}"


def run(
    command: Sequence[str | Path],
    *,
    check: bool = True,
    patience: float = 60,
    input: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run *command*; with *check* a failure says what it printed."""
    given = {"input": input} if input is not None else {"stdin": subprocess.DEVNULL}
    done: subprocess.CompletedProcess[str] = subprocess.run(
        list(map(str, command)),
        capture_output=True, text=True, timeout=patience, env=env, cwd=cwd, **given,
    )  # fmt: skip
    if check:
        assert done.returncode == 0, (
            f"{' '.join(map(str, command))} ended with {done.returncode}:\n"
            f"{done.stdout[-4000:]}{done.stderr[-4000:]}"
        )
    return done
