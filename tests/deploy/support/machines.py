"""Machines of the tests: a whole Debian with systemd and cloud-init, as a cloud would start it.

systemd-nspawn boots a copy of a base file system with user-data, in the network of a `Host`. What
happens inside is as on a virtual machine, but for the kernel, which is the one of the machine that
runs the tests.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from tests.deploy.support.networks import RESOLVER, Host, run

COPIED = ("etc", "var", "home", "srv", "opt", "root")
"""Folders that each machine has copies of. Only /usr is an overlay: file systems that containers
are stored in cannot lie on one."""

_REBOOT = 133
"""Exit code of systemd-nspawn when the machine wants to be started again."""

_START = """\
umount --recursive /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/$1"
echo $$ > "/sys/fs/cgroup/$1/cgroup.procs"
shift
exec systemd-nspawn "$@"
"""
"""Cgroups as on a Debian of today, whatever this machine has; only the machine itself sees it."""

_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}


class Machine:
    """A machine that can be booted, and what an admin does to it.

    Parameters
    ----------
    host
        Its name and its network.
    base
        Root of a base file system, of which it gets a copy.
    folder
        Empty folder for the copy, in memory (below ``/mnt``).
    user_data
        The ``#cloud-config`` that it gets at its first boot.
    names
        Lines of ``/etc/hosts``, beside its own.
    binds
        Folders or files of this machine by where they are seen inside, read-only.
    """

    def __init__(
        self,
        host: Host,
        base: Path,
        folder: Path,
        user_data: str,
        *,
        names: str = "",
        binds: Mapping[str, Path] | None = None,
    ) -> None:
        self.host = host
        self.name = host.name
        self._folder = folder
        self._root = folder / "root"
        self._binds = dict(binds or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self._furnish(base, user_data, names)

    def _furnish(self, base: Path, user_data: str, names: str) -> None:
        self._root.mkdir(parents=True)
        for name in COPIED:
            run(["cp", "-a", base / name, self._root / name])
        for entry in base.iterdir():
            target = self._root / entry.name
            if entry.is_symlink():
                target.symlink_to(entry.readlink())
            elif not target.exists():
                target.mkdir()
                target.chmod(entry.stat().st_mode & 0o7777)
        above, work = self._folder / "usr", self._folder / "work"
        above.mkdir()
        work.mkdir()
        layers = f"lowerdir={base / 'usr'},upperdir={above},workdir={work}"
        run(["mount", "-t", "overlay", "overlay", "-o", layers, self._root / "usr"])
        seed = self._root / "var/lib/cloud/seed/nocloud"
        seed.mkdir(parents=True)
        (seed / "user-data").write_text(user_data)
        (seed / "meta-data").write_text(
            f"instance-id: i-{self.name}\nlocal-hostname: {self.name}\n"
        )
        etc = self._root / "etc"
        # its network is there before it boots
        (etc / "cloud/cloud.cfg.d/99_network.cfg").write_text("network: {config: disabled}\n")
        (etc / "resolv.conf").write_text(f"nameserver {RESOLVER}\n")
        (etc / "hosts").write_text(f"127.0.0.1 localhost\n::1 localhost\n{names}")

    @property
    def root(self) -> Path:
        """Its files, whether it runs or not."""
        return self._root

    @property
    def console(self) -> Path:
        """File with what it has said on its console."""
        return self._folder / "console.log"

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def boot(self) -> None:
        """Start it; returns when systemd is there and answers, which is before it is done."""
        assert self._process is None, f"{self.name} is running"
        binds = [f"--bind-ro={path}:{inside}" for inside, path in self._binds.items()]
        # /proc and /sys unmasked somewhere let containers inside mount their own
        options = [
            "--quiet", f"--directory={self._root}", f"--machine={self.name}", "--keep-unit",
            "--register=no", f"--network-namespace-path={self.host.namespace}",
            "--resolv-conf=off", "--timezone=off", "--console=pipe", "--link-journal=no",
            "--bind=/dev/fuse", "--bind=/dev/net/tun",
            "--bind=/proc:/run/unmasked/proc", "--bind=/sys:/run/unmasked/sys",
            "--system-call-filter=add_key keyctl bpf",
            "--capability=CAP_NET_ADMIN",  # it has a firewall of its own
            *binds, "--boot", "systemd.show_status=0",
        ]  # fmt: skip
        group = f"dqm-deploy-{os.getpid()}-{self.host.namespace.name}"
        with self.console.open("ab") as console:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-euc", _START, "sh", group, *options],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=_ENVIRONMENT | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            )
        self._leader = self._wait_for_leader(self._process)

    def _wait_for_leader(self, process: subprocess.Popen[bytes], patience: float = 60) -> int:
        """The machine's process 1, as seen from outside, once systemd can be talked to."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            assert process.poll() is None, f"{self.name} did not start:\n{self.console.read_text()}"
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children():
                    if Path(f"/proc/{child.pid}/root/run/systemd/private").exists():
                        return child.pid
            time.sleep(0.05)
        raise AssertionError(f"{self.name} did not start:\n{self.console.read_text()}")

    def run(
        self,
        *command: str | Path,
        user: str | None = None,
        check: bool = True,
        patience: float = 60,
        input: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root or as *user* with a session's environment.

        With *check* a failure is an AssertionError with its output.
        """
        return run(self.within(*command, user=user), check=check, patience=patience, input=input)

    def within(self, *command: str | Path, user: str | None = None) -> list[str]:
        """*command* as it is to be run here so that it runs inside, see `run`."""
        assert self._process is not None, f"{self.name} is off"
        words = list(map(str, command))
        if user is not None:
            number = self.run("id", "-u", user).stdout.strip()
            home = self.run("getent", "passwd", user).stdout.split(":")[5]
            session = [f"HOME={home}", f"USER={user}", f"XDG_RUNTIME_DIR=/run/user/{number}"]
            words = ["runuser", "-u", user, "--", "env", f"--chdir={home}", *session, *words]
        given = [f"{name}={value}" for name, value in _ENVIRONMENT.items()]
        return [
            "nsenter", f"--target={self._leader}", "--mount", "--pid", "--net", "--uts", "--ipc",
            "--cgroup", f"--root=/proc/{self._leader}/root", f"--wd=/proc/{self._leader}/root",
            "--", "env", "--ignore-environment", *given, *words,
        ]  # fmt: skip

    def wait_for_cloud_init(self, patience: float = 300) -> dict[str, Any]:
        """What cloud-init says of itself once it is done; it may have failed."""
        self.run("cloud-init", "status", "--wait", check=False, patience=patience)
        return json.loads(self.run("cloud-init", "status", "--format", "json", check=False).stdout)

    def failed_units(self) -> str:
        """Names of units that have failed; empty when all is well."""
        said = self.run("systemctl", "list-units", "--failed", "--plain", "--no-legend").stdout
        return " ".join(line.split()[0] for line in said.splitlines())

    def journal(self, *arguments: str) -> str:
        """What stands in its journal since the last boot."""
        return self.run("journalctl", "--boot", "--no-pager", "--output=short-monotonic",
                        *arguments).stdout  # fmt: skip

    def reboot(self) -> None:
        """As an admin does it; returns when it boots again."""
        self.run("systemctl", "reboot", "--no-block")
        assert self._ended() == _REBOOT
        self.boot()

    def poweroff(self) -> None:
        """As an admin does it; returns when it is off."""
        self.run("systemctl", "poweroff", "--no-block")
        assert self._ended() == 0

    def crash(self) -> None:
        """Power failure: all its processes are gone at once. Files are as they are."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._leader, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(self._leader).wait(60)  # it ends last
            self._process = None

    def _ended(self, patience: float = 120) -> int:
        assert self._process is not None
        code = self._process.wait(patience)
        self._process = None
        return code

    def remove(self) -> None:
        """Switch it off and remove its files."""
        self.crash()
        run(["umount", self._root / "usr"])
        shutil.rmtree(self._folder)
