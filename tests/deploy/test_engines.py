"""The container engines of these tests do what the tests take for granted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.support.engines import SLIM_IMAGE, DockerEngine, Podman
from tests.deploy.support.networks import Network

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(600)]

COMPOSE = """
services:
  primary:
    image: debian:bookworm-slim
    command: sleep infinity
    init: true
    read_only: true
    volumes: [data:/data]
    healthcheck: {test: [CMD, test, -d, /data], interval: 200ms}
  replica:
    image: debian:bookworm-slim
    command: getent hosts primary
    depends_on: {primary: {condition: service_healthy}}
volumes: {data: {}}
"""


def test_podman_publishes_ports_and_keeps_volumes(podman: Podman, yard: Network) -> None:
    looking = yard.host("looking")
    address = podman.host.address
    assert looking.tries(address, 8000) == "refused"
    podman("volume", "create", "kept")
    listen = "exec perl -MIO::Socket::INET -e '" + (
        'open F, ">/kept/made"; $s = IO::Socket::INET->new(Listen => 1, LocalPort => 80); '
        "$s->accept while 1'"
    )
    podman("run", "--detach", "--rm", "--name=web", "--publish=8000:80", "--volume=kept:/kept",
           SLIM_IMAGE, "sh", "-c", listen)  # fmt: skip
    podman("exec", "web", "sh", "-c", "until test -e /kept/made; do sleep 0.1; done")
    assert looking.tries(address, 8000) == "open"
    podman("stop", "--time=1", "web")
    found = podman("run", "--rm", "--volume=kept:/kept", SLIM_IMAGE, "ls", "/kept").stdout
    assert found == "made\n"
    podman("volume", "rm", "kept")


def test_compose_waits_for_health_and_knows_services(
    podman: Podman, docker_engine: DockerEngine, tmp_path: Path
) -> None:
    podman("save", "--quiet", "--output", tmp_path / "slim.tar", SLIM_IMAGE)
    docker_engine("load", "--quiet", "--input", tmp_path / "slim.tar")
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    project = ["--project-name=waits"]
    docker_engine("compose", *project, "up", "--detach", "--wait", "primary", cwd=tmp_path)
    assert docker_engine.healths(*project, cwd=tmp_path) == {"primary": "healthy"}
    found = docker_engine("compose", *project, "run", "--rm", "replica", cwd=tmp_path).stdout
    assert found.split()[1] == "primary"
    docker_engine("compose", *project, "down", "--volumes", "--timeout=1", cwd=tmp_path)
