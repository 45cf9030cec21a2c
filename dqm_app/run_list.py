"""A list of the runs that were taken, kept by others, against which the stored ones are compared.

The file that ``DQM_RUN_LIST`` names is text with a line per run. The first line may name the
columns, of which ``run``, ``camera`` and ``date`` are read, in any order; without such a line these
are the columns, in this order. Only the run is needed. Columns are separated by tabs, semicolons,
commas or blanks, whichever the first line has; what follows ``#`` is a comment::

    run, camera, date
    6311, NectarCAMQM, 2024-05-03
    6312, NectarCAMQM, 2024-05-03T23:12   # a moment, UTC

A date is that of the evening on which the night began, a moment counts to the night that it is in.
A line without camera is a run of every camera.
"""

from __future__ import annotations

import csv
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dqm_app.nights import UNKNOWN_NIGHT, night_of

LARGEST = 20_000_000
"""Bytes of a list at most; one of a million runs is as large."""
NAMES = ("run", "camera", "date")
_DIGITS = 9
_EPOCH = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class ListedRuns:
    """The listed runs of one camera.

    Attributes
    ----------
    runs : ndarray of int64, shape (n,)
        Ascending.
    nights : ndarray of int32, shape (n,)
        See `dqm_app.nights`; `UNKNOWN_NIGHT` where the list does not say.
    """

    runs: NDArray[np.int64]
    nights: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class RunList:
    """What a list says.

    Attributes
    ----------
    cameras : mapping of str to mapping of int to int
        Night by run; under ``""`` those that belong to every camera.
    problem : str
        What is wrong with the file, in a sentence; empty when nothing is.
    """

    cameras: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    problem: str = ""

    def of(self, camera: str) -> ListedRuns | None:
        """The runs of *camera*; None when the list names none for it."""
        nights = {**self.cameras.get("", {}), **self.cameras.get(camera, {})}
        if not nights:
            return None
        runs = np.array(sorted(nights), np.int64)
        return ListedRuns(runs, np.array([nights[run] for run in runs.tolist()], np.int32))


class RunListFile:
    """The list in a file, read again when the file has changed. Thread-safe.

    Parameters
    ----------
    path : Path or None
        None: no list was given.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._version: tuple[int, int, int] | None = None
        self._read = RunList()

    def read(self) -> RunList | None:
        """What the file says now, or what is wrong with it; None when no list was given."""
        if self.path is None:
            return None
        with self._lock:
            try:
                found = self.path.stat()
                version = (found.st_mtime_ns, found.st_size, found.st_ino)
                if version != self._version:
                    self._read = self._parsed(self.path, found.st_size)
                    self._version = version
            except OSError as error:
                self._version = None
                reason = error.strerror or type(error).__name__
                self._read = RunList(
                    problem=f"The run list {self.path.name} cannot be read: {reason}."
                )
            return self._read

    @staticmethod
    def _parsed(path: Path, size: int) -> RunList:
        if size > LARGEST:
            return RunList(problem=f"The run list {path.name} is larger than {LARGEST:,} bytes.")
        try:
            return parse(path.read_bytes().decode("utf-8-sig"), path.name)
        except UnicodeDecodeError:
            return RunList(problem=f"The run list {path.name} is not text in UTF-8.")


def parse(text: str, name: str) -> RunList:
    """Read the *text* of a file called *name*; lines that make no sense are left out, and said."""
    rows = _rows(text)
    first = next(rows, None)
    if first is None:
        return RunList(problem=f"The run list {name} names no run.")
    columns = {title.strip().lower(): at for at, title in enumerate(first[1])}
    if "run" not in columns:
        columns = {title: at for at, title in enumerate(NAMES)}
        rows = _rows(text)
    cameras: dict[str, dict[int, int]] = defaultdict(dict)
    wrong = []
    for number, cells in rows:
        run, camera, when = (_cell(cells, columns.get(title)) for title in NAMES)
        try:
            cameras[camera][_run(run)] = _night(when)
        except ValueError as error:
            wrong.append(f"line {number}: {error}")
    problem = ""
    if wrong:
        lines = "1 line" if len(wrong) == 1 else f"{len(wrong):,} lines"
        problem = f"Of the run list {name}, {lines} could not be understood ({wrong[0]})."
    elif not cameras:
        problem = f"The run list {name} names no run."
    return RunList(dict(cameras), problem)


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and cells of what is neither empty nor a comment."""
    lines = [(number, line.partition("#")[0]) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line.strip()]
    first = "".join(line for _, line in islice(lines, 1))
    separator = next((letter for letter in "\t;," if letter in first), None)
    for number, line in lines:
        if separator is None:
            yield number, line.split()
        else:
            yield number, _split(line, separator)


def _split(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True))
    except csv.Error:  # a cell longer than anything that makes sense, which is then said
        return [line]


def _cell(cells: list[str], at: int | None) -> str:
    return cells[at].strip() if at is not None and at < len(cells) else ""


def _run(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise ValueError(f"“{text[:40]}” is not a run number")
    return int(text)


def _night(text: str) -> int:
    if not text:
        return UNKNOWN_NIGHT
    try:
        if len(text) == len("2024-05-03"):
            return date.fromisoformat(text).toordinal() - _EPOCH
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"“{text[:40]}” is neither YYYY-MM-DD nor YYYY-MM-DDTHH:MM") from None
    utc = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return night_of(utc.timestamp())
