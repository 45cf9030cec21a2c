"""The timer and the line for cron that are shipped, as systemd and cron run them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import DatabaseServer
from pulling import Caller
from results_files import write_run
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

pytestmark = pytest.mark.system


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
    return own_settings(own, tmp_path)


def check(dqm: Caller, done: subprocess.CompletedProcess[str], log: str) -> None:
    """One source was stored, the other one is not there, and both are said as JSON."""
    assert done.returncode == 66, log
    assert dqm.runs() == {"NectarCAMQM": [1]}
    assert '"status": "stored"' in log and '"event": "summary"' in log
    assert "nothing-there" in log and "Traceback" not in log
    pull = dqm.last_pull()
    assert pull is not None and len(pull.sources) == 2


def test_what_systemd_runs(dqm: Caller, settings: Path) -> None:
    service = dict(unit("dqm-ingest.service"))
    assert service["EnvironmentFile"] == SETTINGS
    done = run_as_systemd(service["ExecStart"], settings)
    check(dqm, done, done.stdout + done.stderr)


def test_what_cron_runs(dqm: Caller, settings: Path, tmp_path: Path) -> None:
    crontab = Crontab("dqm-ingest.cron")
    [line] = crontab.lines
    minute, *others, user, _command = line.split(maxsplit=6)
    assert (minute, others, user) == ("*/5", ["*"] * 4, "nectarcam")
    done = crontab.run(line, settings, tmp_path)
    assert (done.stdout, done.stderr) == ("", ""), "cron would mail it"
    check(dqm, done, (tmp_path / "ingest.log").read_text())


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    require_accepted_units(("dqm-ingest.service", "dqm-ingest.timer"), tmp_path)
    assert normalized(dict(unit("dqm-ingest.timer"))["OnCalendar"]).startswith("*-*-* *:00/5:00")


def test_the_settings_are_known() -> None:
    from dqm.variables import unknown_variables

    text = (SHIPPED / "dqm.env").read_text()
    names = re.findall(r"^(\w+)=", text, re.MULTILINE)
    assert len(names) > 4 and list(unknown_variables(names)) == []
