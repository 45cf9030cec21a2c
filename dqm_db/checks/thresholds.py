"""Limits of the checks, with the run or the date from which they hold.

They come from TOML files: `packaged ones <dqm_db/data/thresholds>`, then those in the site's own
folder (``DQM_THRESHOLDS_DIR``), in both ``default.toml`` for all cameras before ``CAMERA.toml``. A
later section replaces single limits of earlier ones. docs/checks.md describes the format.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from dqm_db.checks.known import known_checks
from dqm_db.checks.results import Limits, Status
from dqm_db.content import LARGEST_RUN
from dqm_db.errors import ConfigurationError

LEVELS: Mapping[str, Status] = {
    "bad": Status.BAD,
    "warning": Status.WARNING,
    "info": Status.INFO,
}
"""Statuses that a limit can give, the worst first."""

DEFAULT = "default.toml"

Band = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Lowest and highest value that is not yet of a status, each (n,); NaN: no limit."""


def _ordered(limit: tuple[float, float]) -> tuple[float, float]:
    low, high = limit
    if math.isnan(low) or math.isnan(high) or low > high:
        raise ValueError("must be [lowest, highest]")
    return limit


def _known(name: str) -> str:
    if name not in known_checks():
        raise ValueError(f"there is no check “{name}”; known: {', '.join(known_checks())}")
    return name


def _dated(moment: object) -> datetime:
    if isinstance(moment, str):
        with contextlib.suppress(ValueError):  # refused below, with what is wanted
            moment = datetime.fromisoformat(moment)
    if not isinstance(moment, date):  # a number would be taken for seconds since 1970
        raise ValueError("must be a date, e.g. 2026-11-02, or 2026-11-02T18:00:00")
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _number(end: object) -> object:
    if isinstance(end, bool | str):
        raise ValueError("must be a number")
    return end


CheckId = Annotated[str, AfterValidator(_known)]
End = Annotated[float, BeforeValidator(_number)]
Limit = Annotated[tuple[End, End], AfterValidator(_ordered)]


class CheckLimits(BaseModel):
    """The limits of one check; None: this status is not given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    info: Limit | None = None
    warning: Limit | None = None
    bad: Limit | None = None

    @model_validator(mode="after")
    def _nested(self) -> CheckLimits:
        given = [limit for limit in (self.info, self.warning, self.bad) if limit is not None]
        for inner, outer in itertools.pairwise(given):
            if inner[0] < outer[0] or inner[1] > outer[1]:
                raise ValueError("the limits of a worse status must be the wider ones")
        if not given:
            raise ValueError("has no limit: name the check in `off` to leave it out")
        return self

    def status(self, value: float) -> Status:
        """The status of *value*; a limit itself is still within."""
        for level, status in LEVELS.items():
            limit = getattr(self, level)
            if limit is not None and not limit[0] <= value <= limit[1]:
                return status
        return Status.OK

    def plain(self) -> Limits:
        """For a `CheckResult`: open ends as None."""
        given = {"info": self.info, "warning": self.warning, "bad": self.bad}
        return {
            level: (_closed(limit[0]), _closed(limit[1]))
            for level, limit in given.items()
            if limit is not None
        }


class Section(BaseModel):
    """A section ``[[valid]]`` of a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    from_run: Annotated[int, Field(strict=True, ge=0, le=LARGEST_RUN)] | None = None
    from_date: Annotated[datetime, BeforeValidator(_dated)] | None = None
    limits: dict[CheckId, CheckLimits] = Field(default_factory=dict)
    off: tuple[CheckId, ...] = ()

    @model_validator(mode="after")
    def _either(self) -> Section:
        both = [name for name in self.off if name in self.limits]
        if both:
            raise ValueError(f"“{both[0]}” is in `off` and has limits")
        return self

    def holds(self, runs: NDArray[np.int64], starts: NDArray[np.float64]) -> NDArray[np.bool_]:
        """For which runs, (n,), it holds; not from a date for runs whose start is not known."""
        holds = np.ones(len(runs), bool)
        if self.from_run is not None:
            holds &= runs >= self.from_run
        if self.from_date is not None:
            holds &= np.nan_to_num(starts, nan=-np.inf) >= self.from_date.timestamp()
        return holds


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    valid: tuple[Section, ...] = ()


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The limits that hold for one run, by id of the check; what is off is left out."""

    limits: Mapping[str, CheckLimits]
    label: str


class ThresholdSeries:
    """All limits of a camera.

    Parameters
    ----------
    files : sequence of (str, sequence of Section)
        Name and sections of each file; later ones win.
    """

    def __init__(self, files: Sequence[tuple[str, Sequence[Section]]]) -> None:
        self._files = [(name, tuple(sections)) for name, sections in files]
        self._sections = [section for _, sections in self._files for section in sections]
        text = json.dumps(self.document(), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        self.label = f"{', '.join(name for name, _ in self._files)} ({digest})"

    def at(self, run: int, start: float | None) -> Thresholds:
        """The limits of a run; *start* is unix s, UTC."""
        runs, starts = np.array([run]), np.array([np.nan if start is None else start])
        found: dict[str, CheckLimits] = {}
        for section in self._sections:
            if section.holds(runs, starts)[0]:
                found |= section.limits
                for name in section.off:
                    found.pop(name, None)
        return Thresholds(found, self.label)

    def bands(
        self,
        quantity: str,
        statistic: str,
        runs: NDArray[np.int64],
        starts: NDArray[np.float64],
    ) -> dict[Status, Band]:
        """Limits of a statistic for each of many runs.

        Parameters
        ----------
        quantity : str
            EXTNAME.
        statistic : str
            That a check looks at as it is.
        runs : ndarray of int64, shape (n,)
            In any order.
        starts : ndarray of float64, shape (n,)
            Unix s, UTC; NaN where not known.

        Returns
        -------
        dict
            Status -> lowest and highest value; empty when nothing checks this statistic.
        """
        checks = {
            check.id
            for check in known_checks().values()
            if check.plain and check.columns == ((quantity, statistic),)
        }
        found: dict[Status, Band] = {}
        for section in self._sections:
            holds = section.holds(runs, starts)
            if checks.intersection(section.off):
                for low, high in found.values():
                    low[holds] = high[holds] = np.nan
            for name in checks.intersection(section.limits):
                for level, status in LEVELS.items():
                    limit = getattr(section.limits[name], level)
                    low, high = found.setdefault(status, _open(len(runs)))
                    low[holds] = np.nan if limit is None else _finite(limit[0])
                    high[holds] = np.nan if limit is None else _finite(limit[1])
        return {
            status: band
            for status, band in found.items()
            if np.isfinite(band[0]).any() or np.isfinite(band[1]).any()
        }

    def document(self) -> dict[str, Any]:
        """Plain values, from which `of_document` makes it again."""
        return {
            "files": [
                [name, [section.model_dump(mode="json") for section in sections]]
                for name, sections in self._files
            ]
        }

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> ThresholdSeries:
        """Inverse of `document`; checks that this release does not know are left out."""
        return cls(
            [
                (name, [Section.model_validate(_known_only(section)) for section in sections])
                for name, sections in document["files"]
            ]
        )


def read_thresholds(camera: str, folder: Path | None) -> ThresholdSeries:
    """The thresholds of *camera*: those of this release, and those in *folder*.

    Raises
    ------
    ConfigurationError
        A file cannot be read; names file, section and key.
    """
    packaged = resources.files("dqm_db").joinpath("data/thresholds")
    names = DEFAULT, f"{camera}.toml"
    files: list[tuple[str, Traversable]] = [
        (name, packaged.joinpath(name))
        for name in names
        if name == DEFAULT or packaged.joinpath(name).is_file()
    ]
    if folder is not None:
        there = _files_in(folder)
        files += [(f"{folder}/{name}", folder / name) for name in names if name in there]
    return ThresholdSeries([(name, _read(name, file)) for name, file in files])


def cameras_of(folder: Path) -> list[str]:
    """Cameras, ``default`` perhaps among them, that have a file in *folder*.

    Raises
    ------
    ConfigurationError
        It is no folder, or cannot be read.
    """
    return [Path(name).stem for name in _files_in(folder)]


def _files_in(folder: Path) -> list[str]:
    try:
        return sorted(file.name for file in folder.iterdir() if file.suffix == ".toml")
    except OSError as error:  # else runs would be judged as if there were no such files
        raise ConfigurationError(
            f"DQM_THRESHOLDS_DIR: the folder {folder} cannot be read: {error}"
        ) from error


def _read(name: str, file: Traversable) -> Sequence[Section]:
    try:
        return _File.model_validate(tomllib.loads(file.read_text("utf-8"))).valid
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"thresholds {name}: cannot be read: {error}") from error
    except ValidationError as error:
        faults = "; ".join(
            f"{_place(fault['loc'])}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors()
        )
        raise ConfigurationError(f"thresholds {name}: {faults}") from error


def _place(path: tuple[int | str, ...]) -> str:
    """Where in the file, as its author would say."""
    words = []
    for at, step in enumerate(path):
        if at and path[at - 1] == "valid" and isinstance(step, int):
            words.append(f"section {step + 1}")
        elif isinstance(step, str) and step != "[key]" and (step != "valid" or len(path) == 1):
            words.append(step)
    return ", ".join(words)


def _known_only(section: Mapping[str, Any]) -> dict[str, Any]:
    known = known_checks()
    limits = {
        name: {level: _numbers(limit) for level, limit in given.items()}
        for name, given in section["limits"].items()
        if name in known
    }
    return {**section, "limits": limits, "off": [name for name in section["off"] if name in known]}


def _numbers(limit: Sequence[Any] | None) -> tuple[float, ...] | None:
    return None if limit is None else tuple(float(end) for end in limit)


def _open(count: int) -> Band:
    return np.full(count, np.nan), np.full(count, np.nan)


def _closed(end: float) -> float | None:
    return end if math.isfinite(end) else None


def _finite(end: float) -> float:
    return end if math.isfinite(end) else math.nan
