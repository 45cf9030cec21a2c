"""`docker/compose.yaml` in a folder of a host with Docker Engine."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import browsing
from playwright.sync_api import Browser

from tests.deploy.support.engines import DockerEngine
from tests.deploy.support.images import ARCHIVE
from tests.deploy.support.networks import Host
from tests.deploy.support.visits import ADMIN, PASSWORD, Visitor, typed_at_a_terminal

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "tests/data"
CAMERA = "NectarCAMQM"
SITE = "dqm.example.org"
SERVICES = {"primary", "ingest", "backup", "replica", "dashboard", "web"}
OWNER = 10001
FIRST_USER = "docker compose exec dashboard dqm user add"


def documented(heading: str) -> str:
    """The first `sh` block of a section of docs/containers.md."""
    section = (ROOT / "docs/containers.md").read_text().partition(f"## {heading}\n")[2]
    return re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)[0]


def documented_line(words: str) -> str:
    """The line of docs/containers.md to type that begins with *words*."""
    text = (ROOT / "docs/containers.md").read_text()
    (line,) = re.findall(rf"^\$ ({re.escape(words)} .*)$", text, re.MULTILINE)
    return line


class Stack:
    """A folder with `compose.yaml` on a host with Docker."""

    def __init__(self, engine: DockerEngine, folder: Path, archive: Path) -> None:
        self.engine = engine
        self.folder = folder
        self.incoming = folder / "incoming"
        self.backups = folder / "backups"
        self.incoming.mkdir(parents=True)
        self.backups.mkdir()
        shutil.chown(self.backups, OWNER)
        for path in (folder.parent, folder, self.incoming):
            path.chmod(0o755)
        (folder / ARCHIVE).symlink_to(archive)

    def type(self, text: str, *, patience: float = 300) -> str:
        """Run lines of shell in the folder."""
        return self.engine(
            "-euo", "pipefail", "-c", text, program="bash", cwd=self.folder, patience=patience
        ).stdout

    def set(self, **values: str) -> None:
        """Append to `.env`."""
        with (self.folder / ".env").open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in values.items())

    def compose(self, *arguments: str, check: bool = True) -> str:
        """What `docker compose ARGUMENTS` prints."""
        return self.engine("compose", *arguments, cwd=self.folder, check=check, patience=300).stdout

    def dqm(self, service: str, *arguments: str, check: bool = True) -> str:
        return self.compose("exec", "-T", service, "dqm", *arguments, check=check)

    def add_first_user(self) -> str:
        """Type the line of the document that lets the admin log in; gives what is shown."""
        line = f"cd {shlex.quote(str(self.folder))}; {documented_line(FIRST_USER)}"
        names = ("PATH", "DOCKER_HOST", "DOCKER_CONFIG")
        settings = [f"{name}={self.engine.environment[name]}" for name in names]
        command = self.engine.host.within("env", *settings, "bash", "-euc", line)
        prompts = ("Password:", "Repeat for confirmation:")
        return typed_at_a_terminal(command, dict.fromkeys(prompts, PASSWORD))

    def token(self, *scopes: str) -> tuple[str, str]:
        """Options for curl with a token of the admin."""
        options = [part for scope in scopes for part in ("--scope", scope)]
        made = self.dqm("dashboard", "user", "token", ADMIN, "--label", "test", *options)
        return "--header", f"Authorization: Bearer {made.strip()}"

    def visitor(self, desk: Host, folder: Path, *options: str) -> Visitor:
        """curl at the *desk*, which keeps cookies in the *folder* and knows the certificate."""
        place = f"{SITE}:443:{self.engine.host.address}"
        known = ("--resolve", place, "--cacert", self.folder / "secrets/web-cert.pem")
        return Visitor(desk.run, f"https://{SITE}", folder / "cookies", *known, *options)

    def runs(self, service: str) -> set[int]:
        said = self.dqm(service, "runs", "--json", check=False)
        return {json.loads(row)["run"] for row in said.splitlines()}

    def add(self, *runs: int) -> None:
        """Put results files where the puller finds them, and let it pull now."""
        for run in runs:
            (sample,) = SAMPLES.glob(f"*Run{run}.tar.gz")
            shutil.copy(sample, self.incoming)
        self.dqm("ingest", "ingest")

    def seconds_until_healthy(self) -> dict[str, float]:
        """Of each service, from the start of its container to its first good check."""
        found = {}
        for name in self.compose("ps", "--format", "{{.Name}}").split():
            (told,) = json.loads(self.engine("inspect", name).stdout)
            started = datetime.fromisoformat(told["State"]["StartedAt"][:26] + "+00:00")
            checks = told["State"]["Health"]["Log"]
            first = next(check for check in checks if check["ExitCode"] == 0)
            ended = datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", first["End"]))
            found[name.removeprefix("dqm-")] = (ended - started).total_seconds()
        return found

    def down(self) -> None:
        self.engine("compose", "down", "--volumes", "--timeout=5", cwd=self.folder, check=False)


@contextmanager
def browser_at(desk: Host, engine: DockerEngine, chromium: str, folder: Path) -> Iterator[Browser]:
    """A browser on another host of the network, for which the site is at that of *engine*."""
    script = folder / "chromium"
    rules = f"--host-resolver-rules=MAP {SITE} {engine.host.address}"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(desk.within(chromium, rules))} "$@"\n')
    script.chmod(0o755)
    with browsing.chromium(str(script)) as browser:
        yield browser
