"""The timer and the line for cron that are shipped, as systemd and cron run them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from grid_servers import program
from processes import COMMANDS, DatabaseServer
from pulling import Caller
from results_files import write_run

pytestmark = pytest.mark.system

SHIPPED = Path(__file__).parents[2] / "systemd"
INSTALLED = "/opt/nectarcam-dqm/bin/"
SETTINGS = "/etc/nectarcam-dqm/dqm.env"
LOG = "/var/log/nectarcam-dqm"


@pytest.fixture
def dqm(tmp_path: Path) -> Iterator[Caller]:
    with DatabaseServer(tmp_path, "primary") as primary:
        yield Caller(primary, tmp_path)


@pytest.fixture
def settings(dqm: Caller, tmp_path: Path) -> Path:
    """The shipped settings with this test's own places in them."""
    data = tmp_path / "two words"
    data.mkdir()
    write_run(tmp_path, 1)
    own = {
        "DQM_DB_URL": dqm.environment["DQM_DB_URL"],
        "DQM_LOCK_DIR": dqm.environment["DQM_LOCK_DIR"],
        "DQM_INGEST_TMP": str(dqm.temporary),
        "DQM_INGEST_SOURCES": f'"{tmp_path} file://{tmp_path}/nothing-there"',
    }
    text = (SHIPPED / "dqm.env").read_text()
    for name, value in own.items():
        text, count = re.subn(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
        assert count == 1
    path = tmp_path / "dqm.env"
    path.write_text(text)
    return path


def unit(name: str) -> dict[str, str]:
    """Keys of a unit, each as it was set last."""
    lines = (SHIPPED / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def check(dqm: Caller, done: subprocess.CompletedProcess[str], log: str) -> None:
    """One source was stored, the other one is not there, and both are said as JSON."""
    assert done.returncode == 66, log
    assert dqm.runs() == {"NectarCAMQM": [1]}
    assert '"status": "stored"' in log and '"event": "summary"' in log
    assert "nothing-there" in log and "Traceback" not in log
    pull = dqm.last_pull()
    assert pull is not None and len(pull.sources) == 2


def test_what_systemd_runs(dqm: Caller, settings: Path) -> None:
    service = unit("dqm-ingest.service")
    assert service["EnvironmentFile"] == SETTINGS
    # systemd reads the file much as a shell does, and passes nothing else on
    words = shlex.split(settings.read_text(), comments=True)
    environment = dict(word.split("=", 1) for word in words)
    command = shlex.split(service["ExecStart"].replace(INSTALLED, f"{COMMANDS}/"))
    done = subprocess.run(
        command,
        env={**environment, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    check(dqm, done, done.stdout + done.stderr)


def test_what_cron_runs(dqm: Caller, settings: Path, tmp_path: Path) -> None:
    *variables, line = [
        line
        for line in (SHIPPED / "dqm-ingest.cron").read_text().splitlines()
        if not line.startswith("#")
    ]
    minute, *others, user, command = line.split(maxsplit=6)
    assert (minute, others, user) == ("*/5", ["*"] * 4, "nectarcam")
    assert "%" not in command, "cron makes line ends of them"
    for installed, here in (
        (INSTALLED, f"{COMMANDS}/"),
        (SETTINGS, str(settings)),
        (LOG, str(tmp_path)),
    ):
        assert installed in command
        command = command.replace(installed, here)
    environment = dict(variable.split("=", 1) for variable in variables)
    done = subprocess.run(
        [environment["SHELL"], "-c", command],
        env={**environment, "HOME": str(tmp_path), "LOGNAME": user},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("", ""), "cron would mail it"
    check(dqm, done, (tmp_path / "ingest.log").read_text())


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    analyze = program("systemd-analyze", "systemd")
    for name in ("dqm-ingest.service", "dqm-ingest.timer"):
        text = (SHIPPED / name).read_text().replace(f"{INSTALLED}dqm", "/bin/true")
        (tmp_path / name).write_text(text.replace("User=nectarcam", "User=root"))
    verified = subprocess.run(
        [analyze, "verify", *(tmp_path / f"dqm-ingest.{kind}" for kind in ("service", "timer"))],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:", "SYSTEMD_LOG_LEVEL": "warning"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    calendar = subprocess.run(
        [analyze, "calendar", unit("dqm-ingest.timer")["OnCalendar"], "--iterations=2"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert re.search(r"Normalized form: \*-\*-\* \*:00/5:00", calendar)


def test_the_settings_are_known() -> None:
    from dqm.variables import unknown_variables

    text = (SHIPPED / "dqm.env").read_text()
    names = re.findall(r"^(\w+)=", text, re.MULTILINE)
    assert len(names) > 4 and list(unknown_variables(names)) == []
