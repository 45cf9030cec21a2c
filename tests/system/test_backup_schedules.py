"""Backups as systemd and cron make them, and as the document tells to type them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from backup_load import BusyWriter, readable
from processes import COMMANDS, DatabaseServer
from schedules import (
    SETTINGS,
    SHIPPED,
    Crontab,
    normalized,
    own_settings,
    require_accepted_units,
    run_as_systemd,
    unit,
)
from test_docs_commands import console_blocks

from backup.place import BackupPlace
from dqm_db.operations import OperationName
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import open_database

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def primary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    with DatabaseServer(tmp_path_factory.mktemp("schedules"), "primary") as primary:
        with BusyWriter(client(primary)) as writer:
            writer.wait_for(3)
        yield primary


def client(server: DatabaseServer) -> DatabaseSettings:
    locks = server.data_dir.parent / "locks"
    return load(DatabaseSettings, db_url=server.url, db_wait=30.0, lock_dir=locks)


@pytest.fixture
def settings(primary: DatabaseServer, tmp_path: Path) -> Path:
    """The shipped settings with this test's own places in them."""
    own = {
        "DQM_DB_URL": primary.url,
        "DQM_LOCK_DIR": str(primary.data_dir.parent / "locks"),
        "DQM_DATA_DIR": str(primary.data_dir),
        "DQM_BACKUP_DIR": f'"{tmp_path}/two words"',
    }
    return own_settings(own, tmp_path)


def check(primary: DatabaseServer, place: BackupPlace) -> None:
    """A backup was made and verified, and the database knows of both."""
    made = place.read().newest()
    assert made.verification is not None and made.verification.ok
    with open_database(client(primary)) as database, database.snapshot() as snapshot:
        told = snapshot.operations()
    assert made.name in told[OperationName.BACKUP].text
    assert told[OperationName.BACKUP_VERIFICATION].ok


def test_what_systemd_runs(primary: DatabaseServer, settings: Path, tmp_path: Path) -> None:
    keys = unit("dqm-backup.service")
    assert ("EnvironmentFile", SETTINGS) in keys
    commands = [value for key, value in keys if key == "ExecStart"]
    assert len(commands) == 2
    for command in commands:
        done = run_as_systemd(command, settings)
        assert (done.returncode, done.stderr) == (0, "")
    check(primary, BackupPlace(tmp_path / "two words"))
    # the folders that it may write to are those of the settings
    shipped = dict(
        line.split("=", 1)
        for line in (SHIPPED / "dqm.env").read_text().splitlines()
        if not line.startswith("#")
    )
    writable = f"{shipped['DQM_DATA_DIR']} {shipped['DQM_BACKUP_DIR']}"
    assert ("ReadWritePaths", writable) in keys
    assert ("RequiresMountsFor", shipped["DQM_BACKUP_DIR"]) in keys


def test_what_cron_runs(primary: DatabaseServer, settings: Path, tmp_path: Path) -> None:
    crontab = Crontab("dqm-backup.cron")
    [line] = crontab.lines
    minute, hour, *others, user, _command = line.split(maxsplit=6)
    assert (minute, hour, others, user) == ("30", "1", ["*"] * 3, "nectarcam")
    done = crontab.run(line, settings, tmp_path)
    log = (tmp_path / "backup.log").read_text()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), log
    check(primary, BackupPlace(tmp_path / "two words"))
    assert "full backup" in log and "sound" in log


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    names = ("dqm-backup.service", "dqm-backup.timer")
    require_accepted_units(names, tmp_path)
    [when] = [value for key, value in unit(names[1]) if key == "OnCalendar"]
    assert normalized(when) == "*-*-* 01:30:00 UTC"


def typed(line: str, environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-e", "-c", line],
        env={**environment, "PATH": f"{COMMANDS}{os.pathsep}{os.environ['PATH']}"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_document_is_right(primary: DatabaseServer, tmp_path: Path) -> None:
    """Each line is typed as it stands, with other folders; systemd is not asked."""
    for place in ("systemd/system", "cron.d"):
        (tmp_path / "etc" / place).mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if name[:4] != "DQM_"}
    environment |= {
        "DQM_DB_URL": primary.url,
        "DQM_LOCK_DIR": str(primary.data_dir.parent / "locks"),
    }
    lines = [line for block in console_blocks("docs/backup.md") for line in block]
    said = {}
    for line in lines:
        here = re.sub(r" /(etc|backup)/", rf" {tmp_path}/\1/", line)
        here = here.replace("/srv/dqm-restored", f"{tmp_path}/restored")
        here = here.replace("/srv/dqm", str(primary.data_dir))
        if line.startswith("systemctl"):
            assert (tmp_path / "etc" / "systemd" / "system" / line.split()[-1]).is_file()
        else:
            said[line.split()[2]] = typed(here, environment)
    assert {"create", "verify", "list", "restore", "repair"} <= said.keys()
    assert said["repair"].startswith("nothing to cut"), "what was restored is whole"
    assert (tmp_path / "etc" / "cron.d" / "dqm-backup").is_file()
    with DatabaseServer(tmp_path, "restored") as restored:
        there, whole = readable(client(restored))
    assert there == whole != set()
