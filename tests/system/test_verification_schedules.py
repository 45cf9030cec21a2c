"""Verifications as systemd and cron call them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from grid_servers import program
from processes import COMMANDS, LOOPBACK, DatabaseServer

from dqm_db.operations import OperationName
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import open_database
from dqm_db.writer import open_writer

pytestmark = pytest.mark.system

SHIPPED = Path(__file__).parents[2] / "systemd"
SERVICES = ("dqm-verify", "dqm-verify-new")
INSTALLED = "/opt/nectarcam-dqm/bin/"
SETTINGS = "/etc/nectarcam-dqm/dqm.env"
LOG = "/var/log/nectarcam-dqm"


@pytest.fixture(scope="module")
def servers(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[DatabaseServer, DatabaseServer]]:
    directory = tmp_path_factory.mktemp("schedules")
    primary = DatabaseServer(directory, "primary")
    with primary, DatabaseServer(directory, "replica", source=primary) as replica:
        with open_writer(client(primary)):
            pass  # it makes what this system needs in an empty database
        replica.wait_for(primary)
        yield primary, replica


def client(server: DatabaseServer) -> DatabaseSettings:
    locks = server.data_dir.parent / "locks"
    return load(DatabaseSettings, db_url=server.url, db_wait=30.0, lock_dir=locks)


@pytest.fixture
def settings(servers: tuple[DatabaseServer, DatabaseServer], tmp_path: Path) -> Path:
    """The shipped settings with this test's own places in them."""
    primary, replica = servers
    own = {
        "DQM_DB_URL": primary.url,
        "DQM_LOCK_DIR": str(client(primary).lock_dir),
        "DQM_STATE_DIR": str(tmp_path / "state"),
        "#DQM_SERVERS": f"{LOOPBACK}:{primary.port},{LOOPBACK}:{replica.port}",
    }
    text = (SHIPPED / "dqm.env").read_text()
    for name, value in own.items():
        text, count = re.subn(
            rf"^{name}=.*$", f"{name.lstrip('#')}={value}", text, flags=re.MULTILINE
        )
        assert count == 1
    path = tmp_path / "dqm.env"
    path.write_text(text)
    return path


def verified(server: DatabaseServer) -> float:
    """When the last verification began, which was well."""
    with open_database(client(server)) as database, database.snapshot() as snapshot:
        noted = snapshot.operations()[OperationName.VERIFICATION]
    assert noted.ok
    return noted.started


def unit(name: str) -> list[tuple[str, str]]:
    """Keys of a unit and their values."""
    lines = (SHIPPED / name).read_text().splitlines()
    return [
        (line.partition("=")[0], line.partition("=")[2])
        for line in lines
        if "=" in line and not line.startswith("#")
    ]


def test_what_systemd_runs(
    servers: tuple[DatabaseServer, DatabaseServer], settings: Path, tmp_path: Path
) -> None:
    environment = dict(
        word.split("=", 1) for word in shlex.split(settings.read_text(), comments=True)
    )
    last = 0.0
    for name in SERVICES:
        keys = dict(unit(f"{name}.service"))
        assert keys["EnvironmentFile"] == SETTINGS
        own = dict([keys["Environment"].split("=", 1)])
        done = subprocess.run(
            shlex.split(keys["ExecStart"].replace(INSTALLED, f"{COMMANDS}/")),
            env={**environment, **own, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        assert ("since" in done.stdout) == (name == "dqm-verify-new")
        now = verified(servers[0])
        assert now > last
        last = now
    assert len(list((tmp_path / "state").iterdir())) == 1


def test_what_cron_runs(
    servers: tuple[DatabaseServer, DatabaseServer], settings: Path, tmp_path: Path
) -> None:
    lines = [
        line
        for line in (SHIPPED / "dqm-verify.cron").read_text().splitlines()
        if not line.startswith("#")
    ]
    environment = dict(line.split("=", 1) for line in lines[:2])
    for line in lines[2:]:
        minute, _hour, day, month, _weekday, user, command = line.split(maxsplit=6)
        assert minute.isdigit()
        assert (day, month, user) == ("*", "*", "nectarcam")
        assert "%" not in command, "cron makes line ends of them"
        for installed, here in (
            (INSTALLED, f"{COMMANDS}/"),
            (SETTINGS, str(settings)),
            (LOG, str(tmp_path)),
        ):
            assert installed in command
            command = command.replace(installed, here)
        done = subprocess.run(
            [environment["SHELL"], "-c", command],
            env={**environment, "HOME": str(tmp_path), "LOGNAME": user},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    log = (tmp_path / "verify.log").read_text()
    assert log.count("are the same in") == 2
    verified(servers[0])


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    analyze = program("systemd-analyze", "systemd")
    names = [f"{name}.{kind}" for name in SERVICES for kind in ("service", "timer")]
    for name in names:
        text = (SHIPPED / name).read_text().replace(f"{INSTALLED}dqm", "/bin/true")
        (tmp_path / name).write_text(text.replace("User=nectarcam", "User=root"))
    checked = subprocess.run(
        [analyze, "verify", *(tmp_path / name for name in names)],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:", "SYSTEMD_LOG_LEVEL": "warning"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    for name, expected in (
        ("dqm-verify.timer", "Sun *-*-* 03:43:00 UTC"),
        ("dqm-verify-new.timer", "*-*-* *:17:00"),
    ):
        when = dict(unit(name))["OnCalendar"]
        calendar = subprocess.run(
            [analyze, "calendar", when], capture_output=True, text=True, check=True
        ).stdout
        assert f"Normalized form: {expected}" in calendar
