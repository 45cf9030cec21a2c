"""The units of rootless podman: systemd listens, containers have no network."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from browsing import chromium as browser_of
from playwright.sync_api import Browser
from processes import eventually
from test_docs_commands import SAMPLES, console_blocks

from tests.deploy.conftest import FLEET
from tests.deploy.support.base_systems import CLOUD_IMAGE, BaseSystem
from tests.deploy.support.fleet import Fleet
from tests.deploy.support.machines import Machine
from tests.deploy.support.networks import run
from tests.deploy.support.visits import (
    ADMIN,
    PASSWORD,
    LoggedInPage,
    Visitor,
    typed_at_a_terminal,
)

pytestmark = [pytest.mark.deploy, pytest.mark.browser, pytest.mark.timeout(600)]

PAGE = "docs/systemd.md"
SHIPPED = Path(__file__).parents[2] / "systemd"
UNITS = "/opt/nectarcam-dqm/share/nectarcam-dqm/systemd"
ARCHIVE = "/srv/release/nectarcam-dqm-image.tar.gz"
USER = "nectarcam"
NUMBER = 4242
SAMPLE = "NectarCAMQM_DQM_Run8003.tar.gz"
RUN = 8003
CAMERA = "NectarCAMQM"
SITE = "http://127.0.0.1:5006"
SETTINGS = "~/.config/nectarcam-dqm"
KEY = f"{SETTINGS}-secrets/BOKEH_SECRET_KEY"
USER_DATA = f"""\
#cloud-config
locale: C.UTF-8
users:
  - name: {USER}
    shell: /bin/bash
    uid: {NUMBER}
"""

# What differs from a host of one's own: limits are those of the machine that runs the tests, and it
# may have cgroups of both versions, in which podman 4.3 would move itself out of its unit by a bus.
CONTAINERS = """\
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
default_sysctls = []
pids_limit = 0
[engine]
cgroup_manager = "cgroupfs"
"""
NO_BUS = "DBUS_SESSION_BUS_ADDRESS=unix:path=/nonexistent\n"
INTO_GROUP = f"""\
group=/sys/fs/cgroup/user.slice/user-{NUMBER}.slice/user@{NUMBER}.service/typed
mkdir -p $group
echo $$ >$group/cgroup.procs
exec runuser -u {USER} -- env HOME=/home/{USER} XDG_RUNTIME_DIR=/run/user/{NUMBER} "$@"
"""
"""Where podman would move itself by the bus, for what joins a container that runs."""


@dataclass(frozen=True)
class Way:
    """A release of Debian, and the block of the document that installs the units there."""

    system: BaseSystem
    quadlet: bool

    def __str__(self) -> str:
        return self.system.suite

    @property
    def own_network(self) -> tuple[str, str]:
        """Folder and text of a drop-in by which the replica reaches its own host."""
        if self.quadlet:
            folder = "~/.config/containers/systemd/dqm-replica.container.d"
            return folder, "[Container]\\nNetwork=host\\n"
        return (
            "~/.config/systemd/user/dqm-replica.service.d",
            # and it is soon started again
            "[Service]\\nEnvironment=NETWORK=host\\nRestartSec=1\\n",
        )


PACKAGES = [*CLOUD_IMAGE, "crun", "fuse-overlayfs", "podman", "uidmap"]
UNITS_OF_12 = Way(
    BaseSystem("bookworm-podman", "bookworm", [*PACKAGES, "slirp4netns"]), quadlet=False
)
QUADLET_OF_13 = Way(BaseSystem("trixie-podman", "trixie", [*PACKAGES, "passt"]), quadlet=True)
written_out = pytest.mark.parametrize("pods", [UNITS_OF_12], ids=str, indirect=True)
"""Tried with one way only: both give podman the same options (tests/system/test_units.py)."""


def block_with(command: str) -> list[str]:
    """The lines of the block of the document that has *command*."""
    [block] = [block for block in console_blocks(PAGE) if any(command in line for line in block)]
    return block


class Pods:
    """A machine, whose user runs the containers."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def type(self, *lines: str) -> str:
        """Type lines as the user, in the folder of the units; gives what they print."""
        text = "\n".join([f"cd {UNITS}", *lines])
        return self.machine.run("bash", "-euc", text, user=USER, patience=180).stdout

    def has_services(self) -> bool:
        """Whether the services of the user can be told to, as soon as it may linger."""
        done = self.machine.run("systemctl", "is-active", f"user@{NUMBER}.service", check=False)
        return done.returncode == 0

    def shown(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.type(f"systemctl --user show -P {name} {unit}").strip()

    def state(self, unit: str) -> str:
        return self.shown(unit, "ActiveState")

    def log(self, unit: str) -> str:
        found = f"_SYSTEMD_USER_UNIT={unit}"
        return self.machine.run("journalctl", "--no-pager", "--output=cat", found).stdout

    def told(self, container: str, file: str) -> str:
        """What the kernel tells of the first process of a container, by a file of ``/proc``."""
        number = self.type(f"podman inspect --format '{{{{.State.Pid}}}}' {container}").strip()
        return self.machine.run("cat", f"/proc/{number}/{file}").stdout

    def add_first_user(self) -> str:
        """Type the lines that let the admin log in, and the password; gives what is shown."""
        command = self._joining(*block_with("dqm-dashboard dqm user add"))
        prompts = ("Password:", "Repeat for confirmation:")
        return typed_at_a_terminal(command, dict.fromkeys(prompts, PASSWORD), patience=120)

    def exec(self, role: str, *command: str) -> str:
        """What a command prints in the container of *role*."""
        return run(self._joining(f"podman exec dqm-{role} {shlex.join(command)}")).stdout

    def _joining(self, *lines: str) -> list[str]:
        text = "\n".join(lines)
        return self.machine.within("sh", "-euc", INTO_GROUP, "sh", "bash", "-euc", text)

    def visitor(self, jar: str, *options: str) -> Visitor:
        """curl on the same host, with its cookies in ``/tmp``."""
        return Visitor(self.machine.run, SITE, f"/tmp/{jar}", *options)

    def ready(self) -> str:
        """What the dashboard says of itself; empty when nobody listens."""
        return self.type(f"curl --silent --max-time 50 {SITE}/ready || true")


def install(pods: Pods, way: Way) -> None:
    """As the document says; one line is root's, and one is another one with Quadlet."""
    [quadlet] = [
        block
        for block in console_blocks(PAGE)
        if "mkdir -p ~/.config/containers/systemd" in block[0]
    ]
    for line in block_with("podman load"):
        if line.startswith("loginctl"):
            # as a unit: newer releases ask of which one the caller is
            pods.machine.run("systemd-run", "--quiet", "--wait", "sh", "-c", line)
            eventually(pods.has_services, "its services can be told to")
        elif way.quadlet and "podman/*.service" in line:
            pods.type(*quadlet)
        else:
            pods.type(line.replace("nectarcam-dqm-image.tar.gz", ARCHIVE))


@pytest.fixture(scope="module", params=[UNITS_OF_12, QUADLET_OF_13], ids=str)
def pods(request: pytest.FixtureRequest, image_archive: Path) -> Iterator[Pods]:
    """Primary, replica and dashboard of a user, and a run that the puller has brought."""
    way = request.param
    folder = Path("/mnt") / f"pods-{way}-{os.getpid()}"
    folder.mkdir()
    with Fleet(folder, way.system.folder()) as fleet:
        request.session.stash[FLEET] = fleet
        binds = {UNITS: SHIPPED, ARCHIVE: image_archive}
        machine = fleet.machine(fleet.host("pods"), USER_DATA, binds=binds)
        for name, text in (
            ("etc/containers/containers.conf", CONTAINERS),
            ("etc/environment.d/test.conf", NO_BUS),
        ):
            (machine.root / name).parent.mkdir(parents=True, exist_ok=True)
            (machine.root / name).write_text(text)
        (machine.root / "var/log/journal").mkdir(exist_ok=True)  # what it has said stays
        machine.boot()
        assert machine.wait_for_cloud_init()["status"] == "done"
        pods = Pods(machine)
        install(pods, way)
        pods.type(f"mkdir {SETTINGS}/results")
        shutil.copy(SAMPLES / SAMPLE, machine.root / f"home/{USER}/.config/nectarcam-dqm/results")
        # one host stands for two
        for setting in ("PRIMARY=127.0.0.1:5000", "INGEST_SOURCES=/etc/nectarcam-dqm/results"):
            pods.type(f"echo DQM_{setting} >> {SETTINGS}/dqm.env")
        place, text = way.own_network
        pods.type(f"mkdir -p {place}", f"printf '{text}' > {place}/one-host.conf",
                  "systemctl --user daemon-reload")  # fmt: skip
        pods.type(*block_with("--user enable --now dqm-primary.socket"))
        for line in block_with("--user enable --now dqm-replica.service"):
            generated = way.quadlet and line.endswith(".service")
            pods.type(line.replace("enable --now", "start") if generated else line)
        pods.type("systemctl --user start dqm-ingest.service")
        assert f"{ADMIN} may log in as admin" in pods.add_first_user()
        yield pods
        del request.session.stash[FLEET]
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def browser_beside(
    pods: Pods, chromium: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    """A browser on the same host."""
    program = tmp_path_factory.mktemp("browser") / "chromium"
    words = shlex.join(pods.machine.host.within(chromium))
    program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    program.chmod(0o755)
    with browser_of(str(program)) as browser:
        yield browser


def test_a_connection_starts_the_dashboard_which_shows_a_run(
    pods: Pods, browser_beside: Browser, measured: Callable[[str, float], None]
) -> None:
    pods.type("systemctl --user stop dqm-dashboard.service")
    assert pods.state("dqm-dashboard.socket") == "active"
    waited = pods.type(
        "curl --silent --fail --output /dev/null --write-out '%{time_starttransfer}' "
        f"--max-time 50 {SITE}/health"
    )
    measured("first connection until the first byte of a dashboard in a container", float(waited))
    assert pods.state("dqm-dashboard.service") == "active"
    eventually(lambda: '"database": "ok"' in pods.ready(), "the replica is read")
    with LoggedInPage(browser_beside, f"{SITE}/") as page:
        page.wait_for_run(RUN)


def test_accounts_logins_and_baskets_stay(pods: Pods, tmp_path: Path) -> None:
    """Though the container, whose root is read-only, is another one after each start."""
    visitor = pods.visitor(tmp_path.name)
    assert visitor.ask("/dqm_app").asks_for_login
    assert visitor.ask("/api/v1/cameras").status == 401
    assert visitor.login(password="five words that are wrong").status == 403
    assert visitor.login(then="/dqm_app").status == 303
    make_token = ("dqm", "user", "token", ADMIN, "--label", "test", "--scope", "download")
    token = pods.exec("dashboard", *make_token).strip()
    taker = pods.visitor(tmp_path.name, "--header", f"Authorization: Bearer {token}")
    body = json.dumps({"camera": CAMERA, "runs": [RUN]})
    eventually(lambda: '"database": "ok"' in pods.ready(), "the replica is read")
    begun = taker.ask("/downloads", "--header", "Content-Type: application/json", "--data", body)
    basket = f"/downloads/{begun.json()['id']}"
    eventually(lambda: taker.ask(basket).json()["state"] == "done", "the basket is built", 60)

    pods.type("systemctl --user restart dqm-dashboard.service")
    assert ADMIN in visitor.ask("/dqm_app").text
    assert taker.fetch(f"{basket}/file", Path("/tmp/basket.tar")) == 200
    assert f"Run{RUN}" in pods.machine.run("tar", "--list", "--file=/tmp/basket.tar").stdout


@written_out
def test_only_the_dashboard_has_accounts_and_key(pods: Pods) -> None:
    assert pods.type(f"stat -c %a {KEY} $(dirname {KEY})").split() == ["600", "700"]
    key = pods.type(f"cat {KEY}").strip()
    assert len(key) == 44
    pods.type(
        "systemctl --user start dqm-dashboard.service dqm-replica.service dqm-primary.service"
    )
    look = "cat /run/secrets/BOKEH_SECRET_KEY; echo; ls /var/lib/nectarcam-dqm; env; hostname"
    seen = pods.exec("dashboard", "sh", "-c", look).split()
    assert seen[0] == key and "accounts.sqlite" in seen and seen[-1] == pods.machine.name
    for role in ("primary", "replica"):
        seen = pods.exec(role, "sh", "-c", look).split()
        assert key not in seen and "accounts.sqlite" not in seen
        assert seen[-1] == pods.machine.name


@pytest.mark.parametrize("role", ["primary", "dashboard"])
def test_containers_have_no_network(pods: Pods, role: str) -> None:
    pods.type(f"systemctl --user start dqm-{role}.service")
    interfaces = pods.told(f"dqm-{role}", "net/dev").splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]


@written_out
@pytest.mark.parametrize("role", ["primary", "replica", "dashboard"])
def test_containers_can_do_little(pods: Pods, role: str) -> None:
    pods.type(f"systemctl --user start dqm-{role}.service")
    status = pods.told(f"dqm-{role}", "status")
    said = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
    assert said["NoNewPrivs"] == "1"
    assert {said[name] for name in ("CapEff", "CapPrm", "CapBnd")} == {"0" * 16}
    assert set(said["Uid"].split()) == {str(NUMBER)}
    mounts = [line.split() for line in pods.told(f"dqm-{role}", "mounts").splitlines()]
    [options] = [mount[3] for mount in mounts if mount[1] == "/"]
    assert options.split(",")[0] == "ro"


@written_out
def test_the_volume_is_backed_up(pods: Pods) -> None:
    pods.type("systemctl --user start dqm-backup.service")
    assert pods.type("ls ~/backup").strip()
    assert "sound" in pods.log("dqm-backup.service")


def test_accounts_are_copied(pods: Pods) -> None:
    """Nobody else can read the copies."""
    for _ in range(2):
        pods.type("systemctl --user start dqm-accounts-backup.service")
    assert pods.state("dqm-accounts-backup.timer") == "active"
    names = ("accounts.sqlite", "accounts.sqlite.1")
    told = pods.type("cd ~/backup", f"stat -c '%n %U %a' {' '.join(names)}").splitlines()
    assert told == [f"{name} {USER} 600" for name in names]
    with closing(sqlite3.connect(pods.machine.root / f"home/{USER}/backup/{names[0]}")) as copy:
        assert (ADMIN,) in copy.execute("SELECT name FROM users").fetchall()


@written_out
def test_what_ends_is_started_again(pods: Pods) -> None:
    pods.type("systemctl --user start dqm-replica.service")
    before = pods.shown("dqm-replica.service", "NRestarts")
    pods.type("podman kill --signal=KILL dqm-replica")
    eventually(
        lambda: pods.shown("dqm-replica.service", "NRestarts") != before, "it is started again"
    )
    eventually(lambda: pods.state("dqm-replica.service") == "active", "it serves")


def test_a_reboot_closes_the_volume_and_starts_all_again(pods: Pods) -> None:
    pods.type(
        "systemctl --user start dqm-primary.service dqm-replica.service dqm-dashboard.service"
    )
    pods.machine.reboot()
    eventually(pods.has_services, "its services can be told to", 60)
    said = pods.machine.run("journalctl", "--no-pager", "--output=cat").stdout
    _, found, last = said.rpartition(f"Stopping user@{NUMBER}.service")
    assert found and "closing /data/filestorage/Data.fs at" in last
    # what hangs is killed in the end, with all else of the user
    assert not re.findall(r".*(?:Stopping timed out|'stop-.*' timed out).*", last)
    eventually(lambda: '"database": "ok"' in pods.ready(), "the replica is read", 60)


@written_out
def test_wrong_settings_are_for_the_admin(pods: Pods) -> None:
    """Of the dashboard, which nobody connects to meanwhile, so that nobody starts it again."""
    settings, unit = f"{SETTINGS}/dqm.env", "dqm-dashboard.service"
    pods.type(f"systemctl --user stop {unit}", f"echo DQM_READ_THREADS=x >> {settings}")
    try:
        pods.type(f"systemctl --user start {unit} || true")
        assert pods.shown(unit, "ExecMainStatus") == "78"
        assert pods.state(unit) == "failed", "it would be activating"
    finally:
        pods.type(f"sed -i /READ_THREADS/d {settings}")
    pods.type(f"systemctl --user start {unit}")
