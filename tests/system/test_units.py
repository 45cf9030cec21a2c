"""The units that are shipped for plain hosts, as systemd's own tools judge them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from grid_servers import program
from processes import COMMANDS
from schedules import SHIPPED, require_accepted_units, unit

pytestmark = pytest.mark.system

PODMAN = SHIPPED / "podman"
KINDS = ("service", "socket", "timer", "path")
UNITS = sorted(path.name for kind in KINDS for path in SHIPPED.glob(f"*.{kind}"))
SERVICES = [name for name in UNITS if name.endswith(".service")]
LONG_RUNNING = ["dqm-dashboard.service", "dqm-primary.service", "dqm-replica.service",
                "dqm-worker.service", "dqm-zeo@.service"]  # fmt: skip
EXPOSURE = 3.0
"""What a service may have at most, of 10."""


def test_systemd_accepts_all_units(tmp_path: Path) -> None:
    assert set(LONG_RUNNING) < set(UNITS)
    require_accepted_units(UNITS, tmp_path)


def test_systemd_accepts_the_units_of_podman(tmp_path: Path) -> None:
    names = [f"podman/{path.name}" for kind in KINDS for path in PODMAN.glob(f"*.{kind}")]
    assert len(names) > 8
    timers = ["dqm-ingest.timer", "dqm-backup.timer", "dqm-accounts-backup.timer"]
    require_accepted_units([*names, *timers], tmp_path)


@pytest.mark.parametrize(
    "name", ["primary", "replica", "dashboard", "ingest", "backup", "accounts-backup"]
)
def test_both_ways_of_podman_run_the_same(name: str) -> None:
    """What Quadlet makes into options is written out in the unit of the same name."""
    plain = (PODMAN / f"dqm-{name}.service").read_text().replace("\\\n", " ").split()
    quadlet = unit(f"podman/quadlet/dqm-{name}.container")
    keys = dict(quadlet)
    assert keys["ReadOnly"] == keys["NoNewPrivileges"] == "true" and keys["DropCapability"] == "all"
    assert {"--read-only", "--cap-drop=all", "--security-opt=no-new-privileges"} <= set(plain)
    assert f"--userns={keys['UserNS']}" in plain and keys["Image"] in plain
    assert ("NETWORK=none" in " ".join(plain)) == (keys.get("Network") == "none")
    volumes = {value.replace(".volume:", ":") for key, value in quadlet if key == "Volume"}
    assert {word for word in plain if word.startswith("--volume=")} == {
        f"--volume={volume}" for volume in volumes
    }
    told = {word for key, value in quadlet if key == "Environment" for word in value.split()}
    assert told == {word.removeprefix("--env=") for word in plain if re.match("--env=.*=", word)}
    assert " ".join(plain).partition(f" {keys['Image']} ")[2].startswith(keys["Exec"])
    # the timer of a health check has podman 4.3 hang when the host shuts down
    assert "--no-healthcheck" in plain and "--no-healthcheck" in keys["PodmanArgs"].split()
    assert not [word for word in (*plain, *keys) if re.match("--health|Health", word)]


def test_accounts_in_a_container_are_copied_where_there_are_any(tmp_path: Path) -> None:
    """By what the container runs, with other folders."""
    state, copies = tmp_path / "state", tmp_path / "copies"
    copies.mkdir()
    command = dict(unit("podman/quadlet/dqm-accounts-backup.container"))["Exec"]
    for place, own in (("/var/lib/nectarcam-dqm", state), ("/backup", copies)):
        assert place in command
        command = command.replace(place, str(own))
    settings = {
        "PATH": f"{COMMANDS}:{os.environ['PATH']}",
        "DQM_STATE_DIR": str(state),
        "DQM_DB_URL": f"file://{tmp_path}/Data.fs",
    }

    def run(command: list[str], given: str = "") -> None:
        subprocess.run(command, input=given, text=True, check=True, env=settings)

    run(shlex.split(command))
    assert list(copies.iterdir()) == []
    run(["dqm", "user", "add", "anna", "--password-stdin"], "four words of a test\n")
    for _ in range(2):
        run(shlex.split(command))
    assert {path.name for path in copies.iterdir()} == {"accounts.sqlite", "accounts.sqlite.1"}


def exposure(path: Path) -> float:
    """How much the service at *path* could do besides its work, by systemd's table."""
    done = subprocess.run(
        [program("systemd-analyze", "systemd"), "security", "--offline=true", "--no-pager", path],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for .*: ([\d.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    return float(found[1])


@pytest.mark.parametrize("name", SERVICES)
def test_services_may_do_little_else(name: str) -> None:
    assert exposure(SHIPPED / name) <= EXPOSURE


def test_exposure_is_measured(tmp_path: Path) -> None:
    """The same service without what protects the host from it."""
    bare = tmp_path / "dqm-bare.service"
    bare.write_text("[Service]\nExecStart=/bin/true\nUser=nobody\n")
    assert exposure(bare) > EXPOSURE


@pytest.mark.parametrize("name", SERVICES)
def test_services_use_the_settings_of_the_host(name: str) -> None:
    keys = unit(name)
    commands = [value for key, value in keys if key == "ExecStart"]
    if any("/dqm" in command for command in commands):
        assert ("EnvironmentFile", "/etc/nectarcam-dqm/dqm.env") in keys
        assert ("User", "nectarcam") in keys
    else:  # of the system, as root
        assert dict(keys)["PrivateNetwork"] == "yes"


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_what_the_admin_has_to_repair_is_not_tried_for_ever(name: str) -> None:
    keys = dict(unit(name))
    assert keys["Restart"] == "on-failure"
    never = set(map(int, keys["RestartPreventExitStatus"].split()))
    assert {2, 78} <= never and not never & {69, 70, 73, 74, 75}
    tries, seconds = int(keys["StartLimitBurst"]), int(keys["RestartSec"])
    minutes = int(keys["StartLimitIntervalSec"].removesuffix("min"))
    assert tries * (seconds + 1) < minutes * 60, "the limit would never be reached"
