"""Container engines of the tests: podman, and Docker's with Compose, each as on a host of its own.

Both keep their containers in memory and run in the network of a `Host`, where what they publish can
be reached.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.deploy.support.networks import Host, run

SLIM_IMAGE = "docker.io/library/debian:bookworm-slim"
"""Name under which the base of images is known without asking a registry for it."""

_CONTAINERS = """\
[containers]
# as many as this machine allows
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_config_dir = "{folder}/networks"
"""


class Podman:
    """podman and buildah as root, in the network of *host*.

    All share the store of root, which ``tests/deploy/apart`` keeps in memory.
    """

    def __init__(self, folder: Path, host: Host) -> None:
        self.host = host
        folder.mkdir(parents=True)
        settings = folder / "containers.conf"
        settings.write_text(_CONTAINERS.format(folder=folder))
        self.environment = os.environ | {"CONTAINERS_CONF": str(settings)}

    def __call__(
        self,
        *arguments: str | Path,
        program: str = "podman",
        check: bool = True,
        patience: float = 120,
        input: str | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run ``podman ARGUMENTS``, or another *program* that takes its settings."""
        return run(
            self.host.within(program, *arguments),
            check=check, patience=patience, input=input, env=self.environment, cwd=cwd,
        )  # fmt: skip

    def has(self, image: str) -> bool:
        return self("image", "exists", image, check=False).returncode == 0

    def import_root(self, root: Path, name: str) -> None:
        """Make an image of a root file system."""
        command = f'tar -C "{root}" --numeric-owner -c . | podman import --quiet - "{name}"'
        self("-euc", command, program="sh", patience=300)

    def close(self) -> None:
        """End all containers."""
        self("rm", "--all", "--force", "--time=0", check=False)


class DockerEngine:
    """A Docker daemon with Compose, in the network of *host*; `docker_programs` gives *programs*.

    Use it as a context manager: the daemon runs until its end.
    """

    def __init__(self, folder: Path, host: Host, programs: Path) -> None:
        self.host = host
        self._folder = folder
        self._socket = f"unix://{folder}/docker.sock"
        (folder / "cli/cli-plugins").mkdir(parents=True)
        (folder / "cli/cli-plugins/docker-compose").symlink_to(programs / "docker-compose")
        path = f"{programs}/usr/bin:{programs}/usr/sbin:{os.environ['PATH']}"
        self.environment = os.environ | {
            "PATH": path,
            "DOCKER_HOST": self._socket,
            "DOCKER_CONFIG": str(folder / "cli"),
        }
        self._daemon: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        folder = self._folder
        command = [
            "dockerd", f"--data-root={folder}/data", f"--exec-root={folder}/exec",
            f"--pidfile={folder}/pid", f"--host={self._socket}", "--default-ulimit=nofile=20000",
        ]  # fmt: skip
        with self.log.open("wb") as log:
            self._daemon = subprocess.Popen(
                self.host.within(*command),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment,
            )  # fmt: skip
        end = time.monotonic() + 60
        while self("version", check=False).returncode != 0:
            assert self._daemon.poll() is None and time.monotonic() < end, self.log.read_text()
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._daemon is not None
        names = self("ps", "--all", "--quiet", check=False).stdout.split()
        if names:
            self("rm", "--force", *names, check=False)
        self._daemon.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._daemon.wait(30)
        self._daemon.kill()
        self._daemon.wait()

    @property
    def log(self) -> Path:
        """What the daemon says."""
        return self._folder / "dockerd.log"

    def __call__(
        self,
        *arguments: str | Path,
        program: str = "docker",
        check: bool = True,
        patience: float = 120,
        input: str | None = None,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run ``docker ARGUMENTS``; ``compose`` is one of its commands."""
        return run(
            self.host.within("env", f"PATH={self.environment['PATH']}", program, *arguments),
            check=check, patience=patience, input=input, cwd=cwd,
            env=self.environment | dict(environment or {}),
        )  # fmt: skip

    def healths(self, *compose: str | Path, cwd: Path | None = None) -> dict[str, str]:
        """State of health of each service of a Compose project, by service."""
        said = self("compose", *compose, "ps", "--all", "--format", "json", cwd=cwd).stdout
        try:
            rows = [json.loads(line) for line in said.splitlines()]
        except json.JSONDecodeError:
            rows = json.loads(said)
        rows = [row for part in rows for row in (part if isinstance(part, list) else [part])]
        return {row["Service"]: row["Health"] or row["State"] for row in rows}
