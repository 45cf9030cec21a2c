"""What is shipped for systemd and cron, and how these two run it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from grid_servers import program
from processes import COMMANDS, LOOPBACK, DatabaseServer

from dqm_db.operations import Operation, OperationName
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import open_database

SHIPPED = Path(__file__).parents[2] / "systemd"
SETTINGS = "/etc/nectarcam-dqm/dqm.env"
_INSTALLED = "/opt/nectarcam-dqm/bin/"
_LOG = "/var/log/nectarcam-dqm"

Completed = subprocess.CompletedProcess[str]


def own_settings(own: Mapping[str, str], folder: Path) -> Path:
    """A file in *folder* with the shipped settings, and a test's own places in them.

    Each of *own* stands there once; ``#NAME`` for one that is a comment there.
    """
    text = (SHIPPED / "dqm.env").read_text()
    for name, value in own.items():
        line = f"{name.lstrip('#')}={value}"
        text, count = re.subn(rf"^{name}=.*$", line, text, flags=re.MULTILINE)
        assert count == 1
    path = folder / "dqm.env"
    path.write_text(text)
    return path


def client(server: DatabaseServer) -> DatabaseSettings:
    """How a test's commands reach *server*, and where they lock each other out."""
    locks = server.data_dir.parent / "locks"
    return load(DatabaseSettings, db_url=server.url, db_wait=30.0, lock_dir=locks)


def settings_of_pair(primary: DatabaseServer, replica: DatabaseServer, folder: Path) -> Path:
    """The shipped settings with these two servers in them."""
    own = {
        "DQM_DB_URL": primary.url,
        "DQM_LOCK_DIR": str(client(primary).lock_dir),
        "DQM_STATE_DIR": str(folder / "state"),
        "#DQM_SERVERS": f"{LOOPBACK}:{primary.port},{LOOPBACK}:{replica.port}",
    }
    return own_settings(own, folder)


def noted(server: DatabaseServer, name: OperationName) -> Operation:
    """The last operation of that name that the database remembers."""
    with open_database(client(server)) as database, database.snapshot() as snapshot:
        return snapshot.operations()[name]


def unit(name: str) -> list[tuple[str, str]]:
    """Keys of a unit and their values, in order; a key may come again."""
    lines = (SHIPPED / name).read_text().splitlines()
    return [
        (line.partition("=")[0], line.partition("=")[2])
        for line in lines
        if "=" in line and not line.startswith("#")
    ]


def run_as_systemd(
    command: str, settings: Path, more: Mapping[str, str] | None = None
) -> Completed:
    """Run an ``ExecStart`` with the variables of an ``EnvironmentFile``, and *more*."""
    # systemd reads the file much as a shell does, and passes nothing else on
    words = shlex.split(settings.read_text(), comments=True)
    environment = dict(word.split("=", 1) for word in words)
    return subprocess.run(
        shlex.split(command.replace(_INSTALLED, f"{COMMANDS}/")),
        env={**environment, **(more or {}), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


class Crontab:
    """A file for ``/etc/cron.d``.

    Attributes
    ----------
    lines : list of str
        Those that say when who runs what.
    """

    def __init__(self, name: str) -> None:
        lines = [
            line for line in (SHIPPED / name).read_text().splitlines() if not line.startswith("#")
        ]
        variables = [line for line in lines if re.match(r"\w+=", line)]
        self.lines = lines[len(variables) :]
        self._environment = dict(line.split("=", 1) for line in variables)

    def run(self, line: str, settings: Path, folder: Path) -> Completed:
        """Run a *line* as cron does, with *settings*; logs and home are in *folder*."""
        *_when, user, command = line.split(maxsplit=6)
        assert "%" not in command, "cron makes line ends of them"
        for installed, here in (
            (_INSTALLED, f"{COMMANDS}/"),
            (SETTINGS, str(settings)),
            (_LOG, str(folder)),
        ):
            assert installed in command
            command = command.replace(installed, here)
        return subprocess.run(
            [self._environment["SHELL"], "-c", command],
            env={**self._environment, "HOME": str(folder), "LOGNAME": user},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )


def require_accepted_units(names: Iterable[str], folder: Path) -> None:
    """Let ``systemd-analyze verify`` look at copies of these units in *folder*."""
    paths = []
    for name in names:
        text = (SHIPPED / name).read_text()
        for installed in (f"{_INSTALLED}dqm", "/usr/bin/podman"):
            text = text.replace(installed, "/bin/true")
        paths.append(folder / Path(name).name)
        paths[-1].write_text(text.replace("User=nectarcam", "User=root"))
    done = subprocess.run(
        [program("systemd-analyze", "systemd"), "verify", *paths],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:", "SYSTEMD_LOG_LEVEL": "warning"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def normalized(calendar: str) -> str:
    """How ``systemd-analyze calendar`` writes an ``OnCalendar``."""
    told = subprocess.run(
        [program("systemd-analyze", "systemd"), "calendar", calendar],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = re.search(r"Normalized form: (.*)$", told, re.MULTILINE)
    assert found is not None, told
    return found[1]
