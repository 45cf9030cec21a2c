"""The machines of a test module in one network, and the desk of their admin."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Self

from tests.deploy.support.machines import Machine
from tests.deploy.support.networks import Host, Network, run


class Fleet:
    """Machines by name, joined by a network, which has room for others that only look at them.

    Use it as a context manager.

    Attributes
    ----------
    network
        The wire.
    desk
        The admin's computer: programs of this machine, run in the same network.
    """

    def __init__(self, folder: Path, base: Path) -> None:
        self._folder = folder
        self._base = base
        self.network = Network(folder)
        self._machines: dict[str, Machine] = {}

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.network)
            self.desk = self.network.host("desk")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for machine in self._machines.values():
            machine.remove()
        self._stack.close()

    def host(self, name: str) -> Host:
        """A place in the network for a machine, whose name others can know before it is there."""
        return self.network.host(name, way_out=True)

    def machine(
        self, host: Host, user_data: str, *, binds: Mapping[str, Path] | None = None
    ) -> Machine:
        """A new machine, not booted yet, that knows the names of all hosts so far."""
        machine = Machine(
            host,
            self._base,
            self._folder / host.name,
            user_data,
            names=self.network.names(),
            binds=binds,
        )
        self._machines[host.name] = machine
        return machine

    @cached_property
    def ssh_key(self) -> Path:
        """The admin's key; the public one beside it ends in ``.pub``."""
        key = self._folder / "id_ed25519"
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "admin@desk", "-f", key])
        return key

    def type(
        self, line: str, *, check: bool = True, patience: float = 60, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a line of shell at the desk, whose ``ssh`` knows the key and all machines."""
        return self.desk.run(*self.shell(line), check=check, patience=patience, input=input)

    def shell(self, line: str) -> list[str]:
        """The command by which a line of shell is run at the desk, in the desk's network."""
        path = f"PATH={self._desk_programs()}:{os.environ['PATH']}"
        return ["env", path, "bash", "-euo", "pipefail", "-c", line]

    def ssh(
        self,
        machine: Machine,
        *command: str,
        user: str = "nectarcam",
        check: bool = True,
        patience: float = 60,
        input: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a machine as the admin does, by ssh from the desk."""
        line = shlex.join(["ssh", f"{user}@{machine.name}", *command])
        return self.type(line, check=check, patience=patience, input=input)

    def chromium(self, program: str, names: Mapping[str, Host]) -> Path:
        """A program that starts the browser *program* at the desk, where *names* are hosts."""
        rules = ", ".join(f"MAP {name} {host.address}" for name, host in names.items())
        script = self._desk_programs() / "chromium"
        words = self.desk.within(program, f"--host-resolver-rules={rules}")
        script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        script.chmod(0o755)
        return script

    def _desk_programs(self) -> Path:
        """Folder of programs that go first at the desk: ssh as its settings make it."""
        folder = self._folder / "desk"
        folder.mkdir(exist_ok=True)
        settings = folder / "ssh_config"
        hosts = "".join(
            f"Host {host.name}\n  HostName {host.address}\n" for host in self.network.hosts()
        )
        settings.write_text(
            f"{hosts}Host *\n  IdentityFile {self.ssh_key}\n  IdentitiesOnly yes\n  BatchMode yes\n"
            f"  ConnectTimeout 10\n  StrictHostKeyChecking accept-new\n  LogLevel ERROR\n"
            f"  UserKnownHostsFile {folder / 'known_hosts'}\n  GlobalKnownHostsFile /dev/null\n"
        )
        ssh = folder / "ssh"
        ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {settings} "$@"\n')
        ssh.chmod(0o755)
        return folder

    def complaints(self) -> list[tuple[str, str]]:
        """What the machines say of themselves, as sections of a report: console, units, journal."""
        sections = []
        for machine in self._machines.values():
            said = machine.console.read_text(errors="replace") if machine.console.exists() else ""
            if machine.is_running():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    said += machine.run("systemctl", "--failed", "--no-pager", check=False).stdout
                    said += machine.run("cloud-init", "status", "--long", check=False).stdout
                    said += machine.run(
                        "journalctl", "--boot", "--no-pager", "--lines=300", check=False
                    ).stdout
            output = machine.root / "var/log/cloud-init-output.log"
            if output.exists():
                said += f"\n--- {output.name}\n" + output.read_text(errors="replace")[-8000:]
            sections.append((f"machine {machine.name}", said))
        return sections
