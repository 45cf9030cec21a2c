"""`docker/compose.yaml` with Docker Engine, all on one host."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browsing import DashboardPage
from playwright.sync_api import Browser
from processes import eventually

from tests.deploy.support.compose import (
    CAMERA,
    OWNER,
    SAMPLES,
    SERVICES,
    SITE,
    Stack,
    browser_at,
    documented,
)
from tests.deploy.support.engines import DockerEngine
from tests.deploy.support.images import IMAGE
from tests.deploy.support.networks import Host, Network

pytestmark = [pytest.mark.deploy, pytest.mark.browser, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def desk(yard: Network) -> Host:
    """Where the browser is."""
    return yard.host("desk")


@pytest.fixture(scope="module")
def browser(
    desk: Host, docker_engine: DockerEngine, chromium: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("browser")
    with browser_at(desk, docker_engine, chromium, folder) as browser:
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


def test_runs_that_were_pulled_are_seen_through_nginx(stack: Stack, browser: Browser) -> None:
    """Also once the dashboard was killed."""
    eventually(lambda: 6001 in stack.runs("primary"), "the puller has stored it", 60)
    with DashboardPage(browser, f"https://{SITE}/", trusting=True) as page:
        page.wait_for_run(6001)
        stack.add(8001)
        page.wait_for_run(8001)
        assert page.state["camera"] == CAMERA
        assert page.errors == []
        stack.compose("kill", "dashboard")
        stack.compose("up", "--detach", "--wait")
        stack.add(8003)
        page.wait_for_run(8003)


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
