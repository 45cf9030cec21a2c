"""The units for plain hosts, installed as the document says, under systemd."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import eventually
from test_docs_commands import console_blocks

from tests.deploy.support.fleet import Fleet
from tests.deploy.support.installation import Installation
from tests.deploy.support.machines import Machine
from tests.deploy.support.visits import ADMIN, PASSWORD, Visitor

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(600)]

PROGRAM = "/opt/nectarcam-dqm"
UNITS = f"{PROGRAM}/share/nectarcam-dqm/systemd"
PAGE = "docs/systemd.md"

USER_DATA = """\
#cloud-config
locale: C.UTF-8
"""
# One host stands for two: the replica has a volume and an address of its own.
OWN_SETTINGS = {
    "replica.env": "DQM_DATA_DIR=/srv/dqm-replica\nDQM_ZEO_ADDRESS=127.0.0.1:8101\n"
    "DQM_PRIMARY=127.0.0.1:5000\n",
    "dashboard.env": "DQM_DB_URL=zeo://127.0.0.1:8101\nDQM_NUM_PROCS=2\n"
    "DQM_ACCOUNTS_URL=sqlite:////var/lib/nectarcam-dqm/own/accounts.sqlite\n",
}


def lines_with(command: str) -> list[str]:
    """The lines of the block of the document that has *command*."""
    [block] = [block for block in console_blocks(PAGE) if any(command in line for line in block)]
    return block


def typed(machine: Machine, lines: list[str]) -> str:
    """Type lines as root in the folder of the units; gives what they print."""
    return machine.run("bash", "-euc", "\n".join([f"cd {UNITS}", *lines]), patience=180).stdout


def start(fleet: Fleet, name: str, installation: Path) -> Machine:
    machine = fleet.machine(fleet.host(name), USER_DATA, binds={PROGRAM: installation})
    machine.boot()
    assert machine.wait_for_cloud_init()["status"] == "done"
    typed(machine, lines_with("systemd-sysusers"))
    return machine


def shown(machine: Machine, unit: str, name: str) -> str:
    """A property of a unit."""
    return machine.run("systemctl", "show", "-P", name, unit).stdout.strip()


def is_active(machine: Machine, unit: str) -> bool:
    return shown(machine, unit, "ActiveState") == "active"


def log(machine: Machine, unit: str) -> str:
    return machine.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}").stdout


def dqm(machine: Machine, *arguments: str) -> str:
    """A command as the document says; it runs as the user of the services, with their settings."""
    assert ["dqm status"] in console_blocks(PAGE)
    return typed(machine, [f"dqm {' '.join(arguments)}"])


def runs(machine: Machine) -> list[int]:
    """The numbers of the runs that clients find; none while no server answers."""
    rows = map(json.loads, dqm(machine, "runs", "--json || true").splitlines())
    return sorted(row["run"] for row in rows)


def serves(machine: Machine) -> bool:
    """Whether a primary answers, with or without data."""
    return '"role": "primary"' in dqm(machine, "status --json || true")


def ready(machine: Machine, *address: str) -> dict[str, object]:
    """What the dashboard at *address* says of itself; curl waits until it has started."""
    said = machine.run("curl", "--silent", "--max-time", "50", *address, check=False).stdout
    return json.loads(said or "{}")


@pytest.fixture(scope="module")
def installation(release: Path) -> Iterator[Path]:
    folder = Path("/mnt") / f"installation-{os.getpid()}"
    folder.mkdir()
    made = Installation(release, folder)
    yield made.program
    made.close()


@pytest.fixture(scope="module")
def host(fleet: Fleet, installation: Path) -> Iterator[Machine]:
    """Primary, replica and dashboard on one machine, with two runs."""
    host = start(fleet, "plain", installation)
    for name, text in OWN_SETTINGS.items():
        host.run("tee", f"/etc/nectarcam-dqm/{name}", input=text)
    host.run("install", "-d", "-o", "nectarcam", "/srv/dqm-replica")
    folder = "/etc/systemd/system/dqm-replica.service.d"
    host.run("install", "-d", folder)
    host.run(
        "tee",
        f"{folder}/volume.conf",
        input="[Service]\nReadWritePaths=/srv/dqm-replica\nRestartSec=1\n",
    )
    sources = "/var/lib/nectarcam-dqm/results"
    settings = {"INGEST_SOURCES": sources, "SERVERS": "127.0.0.1:8100,127.0.0.1:8101"}
    for name, value in settings.items():
        host.run("sed", "-i", f"s|^#\\?DQM_{name}=.*|DQM_{name}={value}|",
                 "/etc/nectarcam-dqm/dqm.env")  # fmt: skip
    host.run("systemctl", "daemon-reload")
    typed(host, lines_with("systemctl enable --now dqm-primary.service"))
    [enable, add] = lines_with("systemctl enable --now dqm-replica.service")
    # before the dashboard has ever run, and with its settings; on two machines the user comes later
    host.run("bash", "-euc", f"{add} --password-stdin", input=f"{PASSWORD}\n")
    typed(host, [enable])
    dqm(host, "simulate", "--runs", "2", "--out", sources)
    host.run("systemctl", "start", "dqm-ingest.service", patience=120)
    yield host


def test_systemd_has_nothing_to_say_about_them(host: Machine) -> None:
    done = host.run(
        "bash", "-c", "systemd-analyze verify /etc/systemd/system/dqm-*.{service,socket,timer,path}"
    )
    assert done.stdout + done.stderr == ""


def test_commands_do_their_work_with_few_rights(host: Machine) -> None:
    stored = runs(host)
    assert len(stored) == 2
    eventually(lambda: "lag                    none" in dqm(host, "status || true"), "in step")
    for unit in ("dqm-backup", "dqm-verify", "dqm-verify-new"):
        host.run("systemctl", "start", f"{unit}.service", patience=120)
        assert shown(host, unit, "Result") == "success"
    assert "sound" in log(host, "dqm-backup") and "are the same in" in log(host, "dqm-verify")
    assert "Permission" not in host.journal() and "Traceback" not in host.journal()


@pytest.mark.parametrize(
    "address",
    [
        ("http://127.0.0.1:5006/ready",),
        ("--unix-socket", "/run/dqm/http.sock", "http://dashboard/ready"),
    ],
)
def test_a_connection_starts_the_dashboard(
    host: Machine, address: tuple[str, ...], measured: Callable[[str, float], None]
) -> None:
    host.run("systemctl", "stop", "dqm-dashboard.service")
    assert is_active(host, "dqm-dashboard.socket")
    time = host.run("curl", "--silent", "--output", "/dev/null", "--max-time", "50",
                    "--write-out", "%{time_starttransfer}", *address).stdout  # fmt: skip
    measured("first connection until the first byte of a dashboard", float(time))
    assert is_active(host, "dqm-dashboard.service")
    eventually(lambda: ready(host, *address)["database"] == "ok", "the replica is read")
    key = host.run("stat", "-c", "%a %U %s", "/etc/nectarcam-dqm/secrets/BOKEH_SECRET_KEY").stdout
    assert key == "600 root 44\n"


def test_users_log_in(host: Machine) -> None:
    visitor = Visitor(host.run, "http://127.0.0.1:5006", "/root/cookies")
    assert visitor.ask("/dqm_app").asks_for_login
    assert visitor.ask("/api/v1/cameras").status == 401
    assert visitor.login(password="five words that are wrong").status == 403
    assert visitor.login(then="/dqm_app?view=maps").headers["location"] == "/dqm_app?view=maps"
    assert ADMIN in visitor.ask("/dqm_app?view=maps").text

    def cameras() -> list[dict]:  # none while the replica, killed by another test, comes back
        return visitor.ask("/api/v1/cameras").json().get("cameras", [])

    eventually(lambda: sum(one["runs"] for one in cameras()) == 2, "the dashboard has both runs")
    name = eventually(cameras, "the replica answers")[0]["name"]
    table = f"/api/v1/cameras/{name}/trends/names?format=votable"
    eventually(lambda: visitor.ask(table).status == 200, "a table is encoded")
    nice = host.run("ps", "-eo", "ni=,args=").stdout.splitlines()
    assert [line.split()[0] for line in nice if "api.encoder" in line] == ["10"], nice
    assert visitor.form("/account", "/logout").status == 303
    assert visitor.ask("/dqm_app").asks_for_login
    said = dqm(host, "user", "log", ADMIN)
    assert all(f"{ADMIN}  {event}  127.0.0.1" in said for event in ("login", "logout")), said
    owner = host.run("stat", "-c", "%a %U", "/var/lib/nectarcam-dqm/own/accounts.sqlite").stdout
    assert owner == "600 nectarcam\n"
    judged = json.loads(dqm(host, "status", "--json", "||", "true"))["items"]
    assert "accounts" in [item["key"] for item in judged], judged
    assert "Traceback" not in log(host, "dqm-dashboard")


def test_a_server_that_was_killed_is_started_again(host: Machine) -> None:
    restarts = shown(host, "dqm-replica", "NRestarts")
    host.run("systemctl", "kill", "--signal=KILL", "dqm-replica.service")
    eventually(lambda: shown(host, "dqm-replica", "NRestarts") != restarts, "it is started again")
    eventually(lambda: is_active(host, "dqm-replica"), "it serves")


def test_wrong_settings_are_for_the_admin(host: Machine) -> None:
    settings = "/etc/nectarcam-dqm/primary.env"
    with contextlib.ExitStack() as after:
        after.callback(host.run, "systemctl", "start", "dqm-primary.service")
        after.callback(host.run, "rm", settings)
        host.run("tee", settings, input="DQM_ZEO_ADDRESS=nonsense\n")
        host.run("systemctl", "restart", "dqm-primary.service", check=False)
        eventually(lambda: shown(host, "dqm-primary", "ExecMainStatus") == "78", "it has ended")
        assert shown(host, "dqm-primary", "ActiveState") == "failed", "it would be activating"
    eventually(lambda: runs(host), "it serves again")


def test_a_reload_begins_anew_in_the_same_process(host: Machine) -> None:
    eventually(lambda: runs(host), "it serves")
    before = shown(host, "dqm-primary", "MainPID")
    told = log(host, "dqm-primary").count("beginning anew")
    host.run("systemctl", "reload", "dqm-primary.service")
    eventually(lambda: log(host, "dqm-primary").count("beginning anew") > told, "it has begun")
    eventually(lambda: runs(host), "it serves again")
    assert shown(host, "dqm-primary", "MainPID") == before


def test_roles_change_while_services_run(host: Machine) -> None:
    """`dqm demote` has to find the process of the service, which may look at few others."""
    eventually(lambda: runs(host), "it serves")
    dqm(host, "demote", "--follow", "127.0.0.1:5001")
    said = dqm(host, "promote")
    assert "is the primary, in epoch" in said
    assert is_active(host, "dqm-primary")


def test_a_connection_starts_a_server(host: Machine) -> None:
    host.run("systemctl", "disable", "--now", "dqm-primary.service")
    with contextlib.ExitStack() as after:
        after.callback(host.run, "systemctl", "enable", "--now", "dqm-primary.service")
        units = ("dqm-zeo@primary.socket", "dqm-zrs@primary.socket", "dqm-zeo@primary.service")
        after.callback(host.run, "systemctl", "stop", *units)
        after.callback(host.run, "systemctl", "disable", *units[:2])
        typed(host, lines_with("dqm-zeo@primary.socket dqm-zrs@primary.socket"))
        # the replica, which tries again every two seconds, may have been the first
        for url in ("zeo://127.0.0.1:8100", "zeo:///run/dqm/primary/zeo.sock"):
            found = typed(host, [f"DQM_DB_WAIT=30 DQM_DB_URL={url} dqm runs --json"])
            assert len(found.splitlines()) == 2, url
        assert is_active(host, "dqm-zeo@primary.service")
        listening = host.run("ss", "--listening", "--tcp", "--numeric", "--processes").stdout
        assert all(f"127.0.0.1:{port}" in listening for port in (8100, 5000))


@pytest.fixture(scope="module")
def waiting(fleet: Fleet, installation: Path) -> Machine:
    """A machine with TLS and without certificates."""
    waiting = start(fleet, "waiting", installation)
    typed(waiting, lines_with("dqm-tls.conf"))
    waiting.run("sed", "-i", "s/^#DQM_TLS/DQM_TLS/", "/etc/nectarcam-dqm/dqm.env")
    typed(waiting, lines_with("systemctl enable --now dqm-primary.service"))
    waiting.run("systemctl", "enable", "--now", "dqm-dashboard.service")
    return waiting


def test_services_wait_for_certificates(waiting: Machine) -> None:
    units = ("dqm-primary.service", "dqm-dashboard.service")
    assert not any(is_active(waiting, unit) for unit in units)
    assert waiting.failed_units() == ""
    put = [
        "cd /root",
        f"{PROGRAM}/bin/dqm certs ca --dir ca; {PROGRAM}/bin/dqm certs host waiting --dir ca",
        "install -d -o nectarcam /etc/nectarcam-dqm/tls",
        "for name in ca key cert; do",
        "  install -o nectarcam -m 600 ca/hosts/waiting/$name.pem /etc/nectarcam-dqm/tls/new",
        "  mv /etc/nectarcam-dqm/tls/new /etc/nectarcam-dqm/tls/$name.pem",
        "done",
    ]
    typed(waiting, put)
    eventually(lambda: all(is_active(waiting, unit) for unit in units), "they have started")
    assert waiting.failed_units() == ""
    eventually(lambda: serves(waiting), "it serves")
    before = shown(waiting, "dqm-primary", "MainPID")
    told = log(waiting, "dqm-primary").count("beginning anew")
    typed(waiting, [line for line in put if "certs ca" not in line])
    eventually(lambda: log(waiting, "dqm-primary").count("beginning anew") > told, "uses the new")
    eventually(lambda: serves(waiting), "it serves again")
    assert shown(waiting, "dqm-primary", "MainPID") == before
