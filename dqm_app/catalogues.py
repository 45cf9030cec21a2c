"""What the database holds, as the dashboard keeps it in memory: the runs of each camera.

One immutable `Catalogues` per process, replaced after each commit; looking something up never
touches the database.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqm_db.catalogue import COLUMNS
from dqm_db.checks import Status
from dqm_db.reader import Snapshot

SHOWN_COLUMNS = ("run", "start", "events", "absent_modules", "bad_pixels", "verdict")
_SERIALS = itertools.count(1)
VERSION_COLUMNS = ("sha256", "adler32", "ingested_at", "parser_version")


@dataclass(frozen=True, slots=True)
class Found:
    """Answer to a search for runs.

    Attributes
    ----------
    rows : list of list
        One row per run, newest first, in the order of `SHOWN_COLUMNS`; ``None`` where the value is
        unknown. Times are Unix seconds, UTC.
    matching, total : int
        Runs that match the search, and all runs of the camera.
    """

    rows: list[list[Any]]
    matching: int
    total: int


class CameraRuns:
    """The runs of one camera, sorted by number; all but `none` have at least one.

    Parameters
    ----------
    name : str
    columns : mapping of str to ndarray
        The catalogue's columns, see ``dqm_db.reader.Snapshot.catalogue``; ``run`` ascending.
    """

    def __init__(self, name: str, columns: Mapping[str, NDArray]) -> None:
        self.name = name
        self._columns = columns
        self._runs: NDArray[np.int64] = columns["run"]
        self._serial = next(_SERIALS)

    @classmethod
    def none(cls, name: str) -> CameraRuns:
        """A camera all of whose runs have been deleted."""
        return cls(name, {key: np.empty(0, dtype) for key, (dtype, _) in COLUMNS.items()})

    def __len__(self) -> int:
        return len(self._runs)

    def __contains__(self, run: int) -> bool:
        index = int(np.searchsorted(self._runs, run))
        return index < len(self._runs) and int(self._runs[index]) == run

    @property
    def newest(self) -> int:
        """The highest run number."""
        return int(self._runs[-1])

    @property
    def newest_start(self) -> float:
        """When the newest run started, Unix seconds UTC; minus infinity when it is not known."""
        start = float(self._columns["start"][-1])
        return start if np.isfinite(start) else -np.inf

    @property
    def newest_at(self) -> float | None:
        """When the newest run ended, else started, Unix seconds UTC; None when neither is known."""
        times = (float(self._columns[name][-1]) for name in ("end", "start"))
        return next((time for time in times if np.isfinite(time)), None)

    def verdict(self, run: int) -> int | None:
        """Status of *run* (``dqm_db.checks.Status``); None when it is unknown or was not judged."""
        if run not in self:
            return None
        status = int(self._columns["verdict"][np.searchsorted(self._runs, run)])
        return status if status >= 0 else None

    def nearest(self, run: int) -> int:
        """The run whose number is closest to *run*; of two, the older one."""
        index = int(np.searchsorted(self._runs, run))
        around = self._runs[max(index - 1, 0) : index + 1]
        return int(min(around, key=lambda other: (abs(int(other) - run), other)))

    def neighbours(self, run: int, count: int) -> tuple[list[int], list[int]]:
        """Up to *count* older and newer runs, each with the nearest one first."""
        index = int(np.searchsorted(self._runs, run))
        older = self._runs[max(index - count, 0) : index][::-1]
        after = index + 1 if run in self else index
        newer = self._runs[after : after + count]
        return older.tolist(), newer.tolist()

    def last_good(self, run: int) -> int | None:
        """The newest run before *run* whose verdict is nothing to worry about; None without one."""
        verdicts = self._columns["verdict"][: int(np.searchsorted(self._runs, run))]
        good = np.flatnonzero((verdicts >= Status.OK) & (verdicts <= Status.INFO))
        return int(self._runs[good[-1]]) if len(good) else None

    @property
    def columns(self) -> Mapping[str, NDArray]:
        """The catalogue's columns, each (runs,), by ascending run; read-only."""
        return self._columns

    @property
    def serial(self) -> int:
        """Differs between two states of the catalogue of a camera, within this process."""
        return self._serial

    def identity(self, run: int) -> tuple[Any, ...]:
        """What changes when the stored run is replaced; raises `KeyError` for an unknown run."""
        index = int(np.searchsorted(self._runs, run))
        if run not in self:
            raise KeyError(run)
        return tuple(self._columns[name][index].item() for name in VERSION_COLUMNS)

    def same_as(self, other: CameraRuns | None) -> bool:
        """Whether *other* is the same camera with the same runs, none of them replaced."""
        return (
            other is not None
            and self.name == other.name
            and self._columns.keys() == other._columns.keys()
            # as bytes: a time that is not known equals itself
            and all(
                values.tobytes() == other._columns[name].tobytes()
                for name, values in self._columns.items()
            )
        )

    def search(self, text: str, limit: int) -> Found:
        """Runs whose number or start (``YYYY-MM-DD HH:MM``, UTC) contains every word of *text*.

        Newest first, but a run whose number is exactly *text* comes before all others.
        """
        chosen = np.ones(len(self), dtype=bool)
        for word in text.upper().removeprefix("RUN").split():
            chosen &= np.char.find(self._searchable, word) >= 0
        indices = np.flatnonzero(chosen)[::-1]
        exact = text.strip()
        if exact.isascii() and exact.isdigit() and len(exact) <= 18 and int(exact) in self:
            first = int(np.searchsorted(self._runs, int(exact)))
            indices = np.concatenate(([first], indices[indices != first]))
        rows = [self._row(int(index)) for index in indices[:limit]]
        return Found(rows, len(indices), len(self))

    @functools.cached_property
    def _searchable(self) -> NDArray[np.str_]:
        starts = np.where(np.isfinite(self._columns["start"]), self._columns["start"], np.nan)
        seconds = np.full(len(starts), np.datetime64("NaT", "s"))
        known = np.isfinite(starts)
        seconds[known] = starts[known].astype("int64").astype("datetime64[s]")
        dates = np.char.replace(np.datetime_as_string(seconds, unit="m"), "T", " ")
        return np.char.add(np.char.add(self._runs.astype(str), " "), dates)

    def _row(self, index: int) -> list[Any]:
        row = []
        for name in SHOWN_COLUMNS:
            value = self._columns[name][index].item()
            unknown = value != value or (name != "run" and isinstance(value, int) and value < 0)
            row.append(None if unknown else value)
        return row


class Catalogues(Mapping[str, CameraRuns]):
    """The runs of all cameras that have any."""

    def __init__(self, cameras: Iterable[CameraRuns] = ()) -> None:
        self._cameras = {camera.name: camera for camera in cameras}

    def renewed(self, snapshot: Snapshot) -> Catalogues:
        """All catalogues of the database; cameras without runs are left out.

        A camera that is as it was stays the same object, and so does all when nothing changed: most
        transactions are those of a puller that found nothing new.
        """
        catalogues = ((name, snapshot.catalogue(name)) for name in snapshot.cameras())
        read = (CameraRuns(name, found.columns) for name, found in catalogues if len(found))
        known = self._cameras
        cameras = [known[new.name] if new.same_as(known.get(new.name)) else new for new in read]
        same = len(cameras) == len(known) and all(known.get(c.name) is c for c in cameras)
        return self if same else Catalogues(cameras)

    def __getitem__(self, name: str) -> CameraRuns:
        return self._cameras[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._cameras)

    def __len__(self) -> int:
        return len(self._cameras)

    @property
    def default(self) -> CameraRuns | None:
        """The camera whose newest run started last; ``None`` when there is no run at all."""
        return max(self._cameras.values(), key=lambda camera: camera.newest_start, default=None)
