"""`docker/compose.yaml` with Docker Engine, all on one host."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
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
    documented_line,
)
from tests.deploy.support.engines import DockerEngine
from tests.deploy.support.images import IMAGE
from tests.deploy.support.networks import Host, Network
from tests.deploy.support.visits import ADMIN, PASSWORD, LoggedInPage

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
    lines = documented("One host with Compose").replace("localhost ", f"{SITE} ")
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
    assert f"{ADMIN} may log in as admin" in stack.add_first_user()
    yield stack
    stack.down()


def test_all_services_are_healthy(stack: Stack) -> None:
    assert stack.engine.healths(cwd=stack.folder) == dict.fromkeys(SERVICES, "healthy")
    assert set(stack.seconds_until_healthy()) == SERVICES


def test_runs_that_were_pulled_are_seen_through_nginx(stack: Stack, browser: Browser) -> None:
    """Also once the dashboard was killed."""
    eventually(lambda: 6001 in stack.runs("primary"), "the puller has stored it", 60)
    with LoggedInPage(browser, f"https://{SITE}/") as page:
        page.wait_for_run(6001)
        stack.add(8001)
        page.wait_for_run(8001)
        assert page.state["camera"] == CAMERA
        assert page.errors == []
        stack.compose("kill", "dashboard")
        stack.compose("up", "--detach", "--wait")
        stack.add(8003)
        page.wait_for_run(8003)


def test_nobody_sees_anything_without_login(stack: Stack, desk: Host, tmp_path: Path) -> None:
    visitor = stack.visitor(desk, tmp_path)
    for page in ("/dqm_app?run=6001", "/account"):
        assert visitor.ask(page).asks_for_login, page
    runs = f"/api/v1/cameras/{CAMERA}/runs"
    for path in (runs, "/downloads", f"/originals/{CAMERA}/6001"):
        assert visitor.ask(path).status == 401, path
    assert visitor.ask(runs, "--header", f"Authorization: Bearer dqm_{'x' * 43}").status == 401


def test_a_user_logs_in(stack: Stack, desk: Host, tmp_path: Path) -> None:
    visitor = stack.visitor(desk, tmp_path)
    page = f"/dqm_app?camera={CAMERA}&run=6001"
    fields = ("--data-urlencode", f"name={ADMIN}", "--data-urlencode", f"password={PASSWORD}")
    assert visitor.ask("/login", *fields).status == 403, "the form of another site is taken"
    assert visitor.login(password="five words that are wrong").status == 403
    answer = visitor.login(then=page)
    assert (answer.status, answer.headers["location"]) == (303, page)
    (session,) = [cookie for cookie in answer.cookies if "session" in cookie]
    assert session.startswith("__Host-") and "; Secure" in session and "; HttpOnly" in session
    assert ADMIN in visitor.ask(page).text
    assert visitor.ask(f"/api/v1/cameras/{CAMERA}/runs").status == 200
    assert visitor.form("/account", "/logout").status == 303
    assert visitor.ask(page).asks_for_login
    # it was written down with the address of the browser, not that of nginx
    logged = stack.dqm("dashboard", "user", "log", ADMIN).splitlines()
    (login, *_) = [line for line in reversed(logged) if f"  {ADMIN}  login  " in line]
    assert login.split("  ")[3] == desk.address


def test_scripts_make_users(stack: Stack) -> None:
    (stack.folder / "password").write_text(f"{PASSWORD}\n")
    said = stack.type(documented_line("docker compose exec -T dashboard dqm user add"))
    assert said == "bruno may log in as expert\n"
    assert stack.dqm("dashboard", "user", "list").split()[:2] == [ADMIN, "admin"]


def test_accounts_are_copied(stack: Stack) -> None:
    stack.type(documented_line("docker compose exec -T dashboard dqm user backup"))
    stack.type(documented_line("docker compose cp"))
    with closing(sqlite3.connect(stack.folder / "accounts.sqlite")) as copy:
        assert (ADMIN,) in copy.execute("SELECT name FROM users").fetchall()


def test_a_program_takes_files_away(stack: Stack, desk: Host, tmp_path: Path) -> None:
    eventually(lambda: 6001 in stack.runs("dashboard"), "the replica has it", 60)
    reader = stack.visitor(desk, tmp_path, *stack.token("read"))
    assert 6001 in reader.ask(f"/api/v1/cameras/{CAMERA}/runs").json()["data"]["run"]
    assert reader.ask("/downloads").status == 403  # its token is not for that
    taker = stack.visitor(desk, tmp_path, *stack.token("download"))
    original, basket = tmp_path / "original", tmp_path / "basket.tar"
    assert taker.fetch(f"/originals/{CAMERA}/6001", original) == 200
    body = json.dumps({"camera": CAMERA, "runs": [6001]})
    begun = taker.ask("/downloads", "--header", "Content-Type: application/json", "--data", body)
    place = f"/downloads/{begun.json()['id']}"
    eventually(lambda: taker.ask(place).json()["state"] == "done", "the basket is built", 60)
    assert taker.fetch(f"{place}/file", basket) == 200
    with tarfile.open(basket) as archive:
        files = [archive.extractfile(member) for member in archive if member.isfile()]
        digests = [hashlib.sha256(file.read()).hexdigest() for file in files if file]
    assert hashlib.sha256(original.read_bytes()).hexdigest() in digests


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


def test_a_stop_is_orderly_and_accounts_stay(stack: Stack, desk: Host, tmp_path: Path) -> None:
    """So do logins, whose key is none of one container."""
    visitor = stack.visitor(desk, tmp_path)
    assert visitor.login(then="/dqm_app").status == 303
    stack.compose("stop")
    for service in SERVICES:
        (told,) = json.loads(stack.engine("inspect", f"dqm-{service}").stdout)
        assert told["State"]["ExitCode"] == 0, service
    stack.compose("down")
    stack.compose("up", "--detach", "--wait")  # others find it as it was
    assert ADMIN in visitor.ask("/dqm_app").text
    assert visitor.form("/account", "/logout").status == 303
    assert visitor.login(then="/dqm_app").status == 303
