"""`dqm ingest` as a process of its own, on a primary of its own, and what it leaves there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from processes import COMMANDS, DatabaseServer, eventually

from dqm_db.errors import NoDataYet
from dqm_db.ingestion import Failure, Pull
from dqm_db.reader import Snapshot
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import open_database


class Ended(NamedTuple):
    """What a call did."""

    code: int
    out: str
    err: str


class Caller:
    """Calls ``dqm`` with a database and a folder for downloads of their own.

    Attributes
    ----------
    temporary : Path
        The folder for downloads.
    environment : dict
        Of every call; may be changed.
    """

    def __init__(self, primary: DatabaseServer, folder: Path, **variables: str) -> None:
        self.primary = primary
        self.temporary = folder / "downloads"
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("DQM_")},
            "DQM_DB_URL": primary.url,
            "DQM_LOCK_DIR": str(folder / "locks"),
            "DQM_INGEST_TMP": str(self.temporary),
            **variables,
        }

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [COMMANDS / "dqm", *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def __call__(self, *arguments: str, **options: Any) -> Ended:
        with self.start(*arguments, **options) as process:
            out, err = process.communicate(timeout=100)
        return Ended(process.returncode, out, err)

    def leftovers(self) -> list[str]:
        """Files in the folder for downloads."""
        return [path.name for path in self.temporary.rglob("*")] if self.temporary.exists() else []

    def read(self, look: Callable[[Snapshot], Any]) -> Any:
        """What *look* finds in the primary now."""
        with (
            open_database(load(DatabaseSettings, db_url=self.primary.url)) as database,
            database.snapshot() as snapshot,
        ):
            return look(snapshot)

    def runs(self, *cameras: str) -> dict[str, list[int]]:
        """Stored runs by camera (of all when none is named), after looking into each of them."""
        try:
            return self.read(lambda snapshot: whole_runs(snapshot, cameras))
        except NoDataYet:
            return {}

    def failures(self) -> list[Failure]:
        return list(self.read(Snapshot.failures))

    def last_pull(self) -> Pull | None:
        return self.read(Snapshot.last_pull)


def whole_runs(snapshot: Snapshot, cameras: Sequence[str]) -> dict[str, list[int]]:
    """Run numbers by camera: each in the catalogue once, readable, with statistics and original."""
    found = {}
    for camera in cameras or snapshot.cameras():
        runs = snapshot.runs(camera)
        assert snapshot.catalogue(camera).columns["run"].tolist() == runs
        name = "CHARGE-INTEGRATION-IMAGE-ALL-AVERAGE-HIGH-GAIN"
        assert snapshot.trend(camera, name, "mean")[0].tolist() == runs
        for run in runs:
            header = snapshot.header(camera, run)
            assert len(snapshot.original(camera, run).data) == header.provenance.source_size
            assert snapshot.statistics(camera, run)[name]
            for entry in snapshot.quantities(camera, run):
                assert entry.columns.keys() == snapshot.columns(camera, run, entry.name).keys()
        found[camera] = runs
    return found


def kill_with_its_workers_watched(process: subprocess.Popen[str]) -> None:
    """kill -9 of a process; returns when the processes that it had started have ended too."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    process.kill()
    process.communicate()
    eventually(lambda: not [one for one in family if one.is_running()], "its workers have ended")


def only(failures: Mapping[int, Failure] | list[Failure]) -> Failure:
    (one,) = failures.values() if isinstance(failures, Mapping) else failures
    return one
