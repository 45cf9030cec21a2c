"""Packs as systemd and cron call them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import DatabaseServer
from schedules import (
    SETTINGS,
    SHIPPED,
    Crontab,
    client,
    normalized,
    noted,
    require_accepted_units,
    run_as_systemd,
    settings_of_pair,
    unit,
)

from dqm_db.operations import Operation, OperationName
from dqm_db.volume.layout import Volume
from dqm_db.volume.maintenance import maintaining
from dqm_db.writer import open_writer

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def servers(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[DatabaseServer, DatabaseServer]]:
    directory = tmp_path_factory.mktemp("packs")
    primary = DatabaseServer(directory, "primary")
    with primary, DatabaseServer(directory, "replica", source=primary) as replica:
        now = time.time()
        with open_writer(client(primary)) as writer:  # else each pack warns that there is none
            writer.note_operation(Operation(OperationName.BACKUP, now, now, True, "", "here"))
        replica.wait_for(primary)
        yield primary, replica


@pytest.fixture
def settings(servers: tuple[DatabaseServer, DatabaseServer], tmp_path: Path) -> Path:
    """The shipped settings with this test's own places in them."""
    return settings_of_pair(*servers, tmp_path)


def last_pack(server: DatabaseServer) -> Operation:
    return noted(server, OperationName.PACK)


def require_packed(server: DatabaseServer, since: float) -> None:
    """The last one began after *since*, went well on both servers, and kept 30 days."""
    noted = last_pack(server)
    assert noted.ok and noted.started > since
    assert noted.text.startswith("2 servers packed, up to ")
    kept = time.strftime("%Y-%m-%d", time.gmtime(noted.started - 30 * 86_400))
    assert f"up to {kept}" in noted.text


def test_what_systemd_packs(servers: tuple[DatabaseServer, DatabaseServer], settings: Path) -> None:
    began = time.time()
    keys = dict(unit("dqm-pack.service"))
    assert keys["EnvironmentFile"] == SETTINGS
    own = dict([keys["Environment"].split("=", 1)])
    done = run_as_systemd(keys["ExecStart"], settings, own)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "pack: 2 servers packed" in done.stdout
    require_packed(servers[0], began)


def test_what_cron_packs(
    servers: tuple[DatabaseServer, DatabaseServer], settings: Path, tmp_path: Path
) -> None:
    began = time.time()
    crontab = Crontab("dqm-pack.cron")
    (line,) = crontab.lines
    assert line.split()[:6] == ["7", "13", "1", "*", "*", "nectarcam"]
    done = crontab.run(line, settings, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "pack: 2 servers packed" in (tmp_path / "pack.log").read_text()
    require_packed(servers[0], began)


def test_a_backup_under_way_is_no_success(
    servers: tuple[DatabaseServer, DatabaseServer], settings: Path
) -> None:
    began = time.time()
    with maintaining(Volume(servers[0].data_dir), "a backup"):
        done = run_as_systemd(dict(unit("dqm-pack.service"))["ExecStart"], settings)
    assert done.returncode == 75
    noted = last_pack(servers[0])
    assert not noted.ok and noted.started > began


def test_systemd_packs_by_day_once_a_month(tmp_path: Path) -> None:
    require_accepted_units(["dqm-pack.service", "dqm-pack.timer"], tmp_path)
    calendar = dict(unit("dqm-pack.timer"))["OnCalendar"]
    assert normalized(calendar).startswith("*-*-01 13:07:00 UTC")


def test_containers_pack_the_same() -> None:
    """The unit of who runs containers calls the command of the plain host."""
    in_container = (SHIPPED.parent / "cloud-init" / "user-dqm-pack.service").read_text()
    _program, arguments = dict(unit("dqm-pack.service"))["ExecStart"].split(" ", 1)
    assert f"ExecStart=/usr/local/bin/dqm {arguments}\n" in in_container
