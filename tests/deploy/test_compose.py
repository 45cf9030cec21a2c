"""`docker/compose.yaml` with Docker Engine: all on one host, and two hosts with TLS."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import browsing
import pytest
from browsing import DashboardPage
from playwright.sync_api import Browser
from processes import eventually

from tests.deploy.support.docker_programs import docker_programs
from tests.deploy.support.engines import DockerEngine
from tests.deploy.support.images import ARCHIVE, IMAGE
from tests.deploy.support.networks import Host, Network

pytestmark = [pytest.mark.deploy, pytest.mark.browser, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "tests/data"
CAMERA = "NectarCAMQM"
SITE = "dqm.example.org"
SERVICES = {"primary", "ingest", "backup", "replica", "dashboard", "web"}
OWNER = 10001


def documented(heading: str) -> str:
    """The first `sh` block of a section of docs/containers.md."""
    section = (ROOT / "docs/containers.md").read_text().partition(f"## {heading}\n")[2]
    return re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)[0]


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


@pytest.fixture(scope="module")
def desk(yard: Network) -> Host:
    """Where the browser is."""
    return yard.host("desk")


@pytest.fixture(scope="module")
def browser(
    desk: Host, docker_engine: DockerEngine, chromium: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    script = tmp_path_factory.mktemp("browser") / "chromium"
    rules = f"--host-resolver-rules=MAP {SITE} {docker_engine.host.address}"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(desk.within(chromium, rules))} "$@"\n')
    script.chmod(0o755)
    with browsing.chromium(str(script)) as browser:
        yield browser


@pytest.fixture(scope="module")
def stack(
    docker_engine: DockerEngine,
    image_archive: Path,
    tmp_path_factory: pytest.TempPathFactory,
    measured: Callable[[str, float], None],
) -> Iterator[Stack]:
    """All roles on one host, started by the lines of the document."""
    stack = Stack(docker_engine, tmp_path_factory.mktemp("host") / "dqm-one", image_archive)
    lines = documented("One host with Compose").replace("localhost -addext", f"{SITE} -addext")
    prepare, _, start = lines.partition("docker compose up")
    stack.type(prepare)
    values = {"DQM_WEB_NAME": SITE, "DQM_WEB_ORIGIN": SITE, "DQM_NUM_PROCS": "1"}
    stack.set(**values, STACK_INCOMING=str(stack.incoming), STACK_BACKUPS=str(stack.backups))
    for sample in SAMPLES.glob("*Run6001.tar.gz"):
        shutil.copy(sample, stack.incoming)
    began = time.monotonic()
    stack.type(f"docker compose up {start}")
    measured("all services of compose.yaml healthy", time.monotonic() - began)
    for name, seconds in stack.seconds_until_healthy().items():
        measured(f"container {name} healthy", seconds)
    yield stack
    stack.down()


def test_all_services_are_healthy(stack: Stack) -> None:
    assert stack.engine.healths(cwd=stack.folder) == dict.fromkeys(SERVICES, "healthy")
    assert set(stack.seconds_until_healthy()) == SERVICES


def test_a_run_that_was_pulled_is_seen_through_nginx(stack: Stack, browser: Browser) -> None:
    eventually(lambda: 6001 in stack.runs("primary"), "the puller has stored it", 60)
    with DashboardPage(browser, f"https://{SITE}/", trusting=True) as page:
        page.wait_for_run(6001)
        stack.add(8001)
        page.wait_for_run(8001)
        assert page.state["camera"] == CAMERA
        assert page.errors == []


def test_containers_may_do_nothing_but_their_work(stack: Stack) -> None:
    script = "id -u; grep -E 'CapEff|NoNewPrivs' /proc/1/status; ! touch /x 2>/dev/null"
    for service in SERVICES:
        said = stack.compose("exec", "-T", service, "sh", "-c", script).split()
        assert said == [str(OWNER), "CapEff:", "0" * 16, "NoNewPrivs:", "1"], service
        environment = stack.compose(
            "exec", "-T", service, "sh", "-c", "tr '\\0' '\\n' </proc/1/environ"
        )
        assert (stack.folder / "secrets/BOKEH_SECRET_KEY").read_text().strip() not in environment


def test_nothing_is_published_but_the_site(stack: Stack, desk: Host) -> None:
    address = stack.engine.host.address
    ports = {port: desk.tries(address, port) for port in (80, 443, 5000, 5006, 8100)}
    assert ports == {80: "open", 443: "open", 5000: "refused", 5006: "refused", 8100: "refused"}
    plain = desk.run("curl", "--silent", "--head", f"http://{address}/").stdout
    assert f"location: https://{SITE}/" in plain.lower()

    def reaches(service: str, place: str) -> bool:
        host, _, port = place.rpartition(":")
        script = f"exec 3<>/dev/tcp/{host}/{port}"
        said = stack.engine("compose", "exec", "-T", service, "timeout", "3", "bash", "-c", script,
                            cwd=stack.folder, check=False)  # fmt: skip
        return said.returncode == 0

    assert reaches("dashboard", "replica:8100") and reaches("web", "dashboard:5006")
    assert not reaches("web", "replica:8100") and not reaches("web", "primary:8100")
    outside = f"{desk.address}:22"
    assert not any(reaches(service, outside) for service in ("primary", "replica", "dashboard"))


def test_a_backup_is_made_and_the_puller_reports(stack: Stack) -> None:
    stack.compose("exec", "-T", "backup", "sh", "-c", "dqm backup create && exec dqm backup verify")
    assert any(stack.backups.iterdir())
    said = stack.dqm("primary", "status", "--json", check=False)
    assert json.loads(said)["servers"]
    stack.dqm("ingest", "ingest", "--last-pull", "900")


def test_a_killed_dashboard_comes_back(stack: Stack, browser: Browser) -> None:
    with DashboardPage(browser, f"https://{SITE}/", trusting=True) as page:
        page.wait_for_run(8001)
        stack.compose("kill", "dashboard")
        stack.compose("up", "--detach", "--wait")
        stack.add(8003)
        page.wait_for_run(8003)


def test_a_volume_is_that_of_the_document(stack: Stack) -> None:
    said = stack.engine(
        "run", "--rm", "--volumes-from", "dqm-primary", IMAGE, "sh", "-c", "ls /data"
    ).stdout
    assert {"filestorage", "blobstorage"} <= set(said.split())


def test_a_stop_is_orderly(stack: Stack) -> None:
    stack.compose("stop")
    for service in SERVICES:
        (told,) = json.loads(stack.engine("inspect", f"dqm-{service}").stdout)
        assert told["State"]["ExitCode"] == 0, service
    stack.compose("up", "--detach", "--wait")  # others find it as it was


def test_two_hosts_replicate_over_tls(
    stack: Stack,
    yard: Network,
    image_archive: Path,
    browser: Browser,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    stack.down()
    other = Path("/mnt") / f"docker-ro-{stack.folder.parent.name}"
    rw_host = yard.host("docker-rw")
    with DockerEngine(other, rw_host, docker_programs()) as engine:
        folder = tmp_path_factory.mktemp("hosts")
        rw = Stack(engine, folder / "rw", image_archive)
        ro = Stack(stack.engine, folder / "ro", image_archive)
        set_up = documented("One host with Compose").replace("\\\n", " ").splitlines()
        set_up = [line for line in set_up if not line.startswith(("openssl req", "docker compose"))]
        names = {"STACK_PRIMARY": rw_host.address, "STACK_REPLICA": stack.engine.host.address}
        for one, profile in ((rw, "rw"), (ro, "ro")):
            one.type("\n".join(set_up))
            one.set(COMPOSE_PROFILES=profile, COMPOSE_FILE="compose.yaml:compose.tls.yaml", **names,
                    DQM_WEB_NAME=SITE, DQM_WEB_ORIGIN=SITE, DQM_NUM_PROCS="1",
                    STACK_INCOMING=str(one.incoming))  # fmt: skip
        lines = documented("Two hosts with Compose")
        # names are addresses here, where nobody answers for names
        lines = lines.replace("primary.example.org", f"rw --ip {rw_host.address}")
        rw.type(lines)

        def certs(one: Stack, place: str, *arguments: str, said: str | None = None) -> str:
            return one.engine("run", "--rm", "-i", f"--volume={one.folder}/{place}", IMAGE, "certs",
                              *arguments, input=said).stdout  # fmt: skip

        request = certs(ro, "secrets:/tls", "request", "--dir", "/tls")
        address = stack.engine.host.address
        answer = certs(rw, "ca:/ca", "sign", "--dir", "/ca", SITE, "--ip", address, said=request)
        certs(ro, "secrets:/tls", "install", "--dir", "/tls", said=answer)
        ro.type("ln -s cert.pem secrets/web-cert.pem; ln -s key.pem secrets/web-key.pem")
        try:
            ro.type("docker compose up --detach --wait")
            rw.add(6001)
            eventually(lambda: 6001 in ro.runs("dashboard"), "the run is replicated", 60)
            with DashboardPage(browser, f"https://{SITE}/", trusting=True) as page:
                page.wait_for_run(6001)
            plain = rw.engine("compose", "exec", "-T", "--env=DQM_TLS_CA=", "--env=DQM_TLS_CERT=",
                              "--env=DQM_TLS_KEY=", "ingest", "dqm", "runs", "--db", f"zeo://{address}:8100",
                              cwd=rw.folder, check=False)  # fmt: skip
            assert plain.returncode != 0
        finally:
            ro.down()
            rw.down()
