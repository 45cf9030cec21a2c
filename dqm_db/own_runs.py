"""Which runs only one of two databases has, such as a former primary that was set aside."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dqm_db.ingestion import REMOVED
from dqm_db.reader import Snapshot
from dqm_db.volume_database import StoredRun


class Here(enum.StrEnum):
    """What a database has of a run of another one."""

    MISSING = "missing"
    OTHER = "other contents"
    DELETED = "deleted"  # by `dqm rm`; a pull leaves it alone


@dataclass(frozen=True, slots=True)
class OwnRun:
    """A run of a volume that a database does not have as it is.

    Attributes
    ----------
    run : StoredRun
    here : Here
    """

    run: StoredRun
    here: Here

    @property
    def has_original(self) -> bool:
        """Whether it can be pulled again; one that was imported without its file cannot."""
        return self.run.media is not None


def own_runs(runs: Iterable[StoredRun], snapshot: Snapshot | None) -> Iterator[OwnRun]:
    """Those of *runs* that are not in *snapshot* (None: an empty database) with the same contents.

    Runs are told by camera, number and the checksum of their results file.
    """
    stored: dict[tuple[str, int], str] = {}
    deleted: set[tuple[str, int]] = set()
    if snapshot is not None:
        for camera in snapshot.cameras():
            columns = snapshot.catalogue(camera).columns
            for number, sha256 in zip(columns["run"], columns["sha256"], strict=True):
                stored[camera, int(number)] = sha256.decode("ascii")
        deleted = {(one.camera, one.run) for one in snapshot.failures() if one.kind == REMOVED}
    for run in runs:
        key = (run.camera, run.run)
        if key not in stored:
            yield OwnRun(run, Here.DELETED if key in deleted else Here.MISSING)
        elif stored[key] != run.sha256:
            yield OwnRun(run, Here.OTHER)
