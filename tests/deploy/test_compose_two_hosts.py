"""`docker/compose.yaml` with Docker Engine, on two hosts with TLS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from processes import eventually

from tests.deploy.support.compose import SITE, Stack, browser_at, documented
from tests.deploy.support.docker_programs import docker_programs
from tests.deploy.support.engines import DockerEngine
from tests.deploy.support.images import IMAGE
from tests.deploy.support.networks import Network
from tests.deploy.support.visits import LoggedInPage

pytestmark = [pytest.mark.deploy, pytest.mark.browser, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def browser(
    yard: Network,
    docker_engine: DockerEngine,
    chromium: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("browser")
    with browser_at(yard.host("desk-of-two"), docker_engine, chromium, folder) as browser:
        yield browser


def test_two_hosts_replicate_over_tls(
    docker_engine: DockerEngine,
    yard: Network,
    image_archive: Path,
    browser: Browser,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("hosts")
    other = Path("/mnt") / f"docker-ro-{folder.name}"
    rw_host = yard.host("docker-rw")
    with DockerEngine(other, rw_host, docker_programs()) as engine:
        rw = Stack(engine, folder / "rw", image_archive)
        ro = Stack(docker_engine, folder / "ro", image_archive)
        set_up = documented("One host with Compose").replace("\\\n", " ").splitlines()
        set_up = [line for line in set_up if not line.startswith(("openssl req", "docker compose"))]
        names = {"STACK_PRIMARY": rw_host.address, "STACK_REPLICA": docker_engine.host.address}
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
        address = docker_engine.host.address
        answer = certs(rw, "ca:/ca", "sign", "--dir", "/ca", SITE, "--ip", address, said=request)
        certs(ro, "secrets:/tls", "install", "--dir", "/tls", said=answer)
        ro.type("ln -s cert.pem secrets/web-cert.pem; ln -s key.pem secrets/web-key.pem")
        try:
            ro.type("docker compose up --detach --wait")
            rw.add(6001)
            eventually(lambda: 6001 in ro.runs("dashboard"), "the run is replicated", 60)
            ro.add_first_user()
            with LoggedInPage(browser, f"https://{SITE}/") as page:
                page.wait_for_run(6001)
            plain = rw.engine("compose", "exec", "-T", "--env=DQM_TLS_CA=", "--env=DQM_TLS_CERT=",
                              "--env=DQM_TLS_KEY=", "ingest", "dqm", "runs", "--db", f"zeo://{address}:8100",
                              cwd=rw.folder, check=False)  # fmt: skip
            assert plain.returncode != 0
        finally:
            ro.down()
            rw.down()
