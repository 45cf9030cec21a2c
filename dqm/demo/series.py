"""Which simulated runs the folder of a demo is to hold, so that one that was stopped can go on."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dqm_db.errors import ConfigurationError, NoDataYet
from dqm_db.settings import DatabaseSettings, load

FILE_NAME = "series.json"
DEFAULT_RUNS = 24
_TIME = "%Y-%m-%dT%H:%M:%S"

CameraRun = tuple[str, int]


@dataclass(frozen=True)
class Series:
    """A series of simulated runs of two cameras.

    Attributes
    ----------
    runs : int
        How many, of both together.
    until : datetime
        UTC; the last night of observations has ended by then.
    """

    runs: int
    until: datetime

    @classmethod
    def of(cls, folder: Path, runs: int | None = None) -> Series:
        """The series that *folder* was begun with, else a new one, which is noted there.

        *runs* wins over what is noted; the nights stay those of the beginning.

        Raises
        ------
        ConfigurationError
            The note in the folder cannot be read.
        """
        note = folder / FILE_NAME
        try:
            noted = json.loads(note.read_text())
            series = cls(int(noted["runs"]), datetime.strptime(noted["until"], _TIME))
        except FileNotFoundError:
            series = cls(DEFAULT_RUNS, datetime.now(UTC).replace(tzinfo=None, microsecond=0))
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{note} is not what a demo writes ({error}): delete it, or take another --dir"
            ) from error
        series = dataclasses.replace(series, runs=runs or series.runs)
        note.write_text(json.dumps({"runs": series.runs, "until": series._until_text}) + "\n")
        return series

    @property
    def _until_text(self) -> str:
        return self.until.strftime(_TIME)

    def options(self, left_out: set[CameraRun]) -> list[str]:
        """Options of `dqm simulate` for this series without the runs that are *left_out*."""
        out = [f"--leave-out={camera}:{run}" for camera, run in sorted(left_out)]
        return ["--runs", str(self.runs), "--until", self._until_text, *out]

    def planned(self) -> set[CameraRun]:
        """Camera and number of each run."""
        from dqm.simulation.campaign import plan_campaign  # takes half a second to import
        from dqm.simulation.commands import DEFAULT_CAMERAS

        until = self.until.replace(tzinfo=UTC).timestamp()
        plan = plan_campaign(list(DEFAULT_CAMERAS), self.runs, until=until)
        return {(run.camera, run.run) for run in plan}


def stored_runs(data_dir: Path) -> set[CameraRun]:
    """The runs in the volume *data_dir*, which no server has open."""
    from dqm_db.storage import open_database

    data = data_dir / "filestorage" / "Data.fs"
    if not data.exists():
        return set()
    settings = load(DatabaseSettings, db_url=f"file://{data}")
    try:
        with open_database(settings) as database, database.snapshot() as snapshot:
            return {(camera, run) for camera in snapshot.cameras() for run in snapshot.runs(camera)}
    except NoDataYet:
        return set()
