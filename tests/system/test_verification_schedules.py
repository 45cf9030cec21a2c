"""Verifications as systemd and cron call them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import DatabaseServer
from schedules import (
    SETTINGS,
    Crontab,
    client,
    normalized,
    noted,
    require_accepted_units,
    run_as_systemd,
    settings_of_pair,
    unit,
)

from dqm_db.operations import OperationName
from dqm_db.writer import open_writer

pytestmark = pytest.mark.system

SERVICES = ("dqm-verify", "dqm-verify-new")


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


@pytest.fixture
def settings(servers: tuple[DatabaseServer, DatabaseServer], tmp_path: Path) -> Path:
    """The shipped settings with this test's own places in them."""
    return settings_of_pair(*servers, tmp_path)


def verified(server: DatabaseServer) -> float:
    """When the last verification began, which was well."""
    last = noted(server, OperationName.VERIFICATION)
    assert last.ok
    return last.started


def test_what_systemd_runs(
    servers: tuple[DatabaseServer, DatabaseServer], settings: Path, tmp_path: Path
) -> None:
    last = 0.0
    for name in SERVICES:
        keys = dict(unit(f"{name}.service"))
        assert keys["EnvironmentFile"] == SETTINGS
        own = dict([keys["Environment"].split("=", 1)])
        done = run_as_systemd(keys["ExecStart"], settings, own)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        assert ("since" in done.stdout) == (name == "dqm-verify-new")
        now = verified(servers[0])
        assert now > last
        last = now
    assert len(list((tmp_path / "state").iterdir())) == 1


def test_what_cron_runs(
    servers: tuple[DatabaseServer, DatabaseServer], settings: Path, tmp_path: Path
) -> None:
    crontab = Crontab("dqm-verify.cron")
    for line in crontab.lines:
        minute, _hour, day, month, _weekday, user, _command = line.split(maxsplit=6)
        assert minute.isdigit()
        assert (day, month, user) == ("*", "*", "nectarcam")
        done = crontab.run(line, settings, tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    log = (tmp_path / "verify.log").read_text()
    assert log.count("are the same in") == 2
    verified(servers[0])


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    names = [f"{name}.{kind}" for name in SERVICES for kind in ("service", "timer")]
    require_accepted_units(names, tmp_path)
    for name, expected in (
        ("dqm-verify.timer", "Sun *-*-* 03:43:00 UTC"),
        ("dqm-verify-new.timer", "*-*-* *:17:00"),
    ):
        assert normalized(dict(unit(name))["OnCalendar"]).startswith(expected)
