"""Runs out of the databases of nectarchain's own tools, which keep the arrays without the file.

Two layouts are understood, by what an entry holds rather than by its key:

``{EXTNAME: {column: array}}``
    The HDUs of a results file, images under their own name.
``{"Results_…": {name: array, list, number or dict of them}}``
    What the processors returned, before the results file was written of it; it is brought into the
    form that the results file has.

Both become `ingest.results.RawHDU` and go through the parser of results files.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from dqm_db.content import LARGEST_RUN, Provenance, RunContent, RunHeader
from dqm_db.errors import DatabaseUnavailable, DQMError, NoDataYet, ReadOnlyDatabase
from dqm_db.legacy import LegacyDatabase
from dqm_db.quantities import known_quantities
from dqm_db.reader import Snapshot
from dqm_db.storage import Database
from dqm_db.urls import shown
from dqm_db.writer import Writer
from ingest import PARSER_VERSION
from ingest.errors import ResultsFileError, printable
from ingest.finding import RunRanges
from ingest.formats import split_complex
from ingest.outcomes import FileOutcome, Status, failed
from ingest.parse import parse_hdus
from ingest.results import RawHDU

KEY = re.compile(r"(?P<camera>[A-Za-z][A-Za-z0-9-]{0,63})_Run(?P<run>\d{1,10})")
ANY_CAMERA = "NectarCAM"
"""What keys have in place of the camera when their writer did not know it."""

_PROCESSOR = "Results_"
_KEPT_KINDS = frozenset("biufcSU")


@dataclass(frozen=True, slots=True)
class LegacyRun:
    """An entry of the database, and whose run it is."""

    key: str
    camera: str
    run: int


@dataclass(slots=True)
class FoundRuns:
    """What there is to import.

    Attributes
    ----------
    runs : list of LegacyRun
        By camera and run; those whose key tells the camera before those of which the user told it.
    unread : list of FileOutcome
        Entries whose camera is not known.
    others : int
        Keys that name no run.
    """

    runs: list[LegacyRun] = field(default_factory=list)
    unread: list[FileOutcome] = field(default_factory=list)
    others: int = 0


def find_runs(
    legacy: LegacyDatabase, *, camera: str | None = None, runs: RunRanges | None = None
) -> FoundRuns:
    """The entries of *legacy* that are wanted.

    Parameters
    ----------
    legacy : LegacyDatabase
        Where to look.
    camera : str, optional
        Only runs of it, among them those whose key does not tell the camera.
    runs : RunRanges, optional
        Only these.
    """
    found = FoundRuns()
    for key in legacy.keys():  # noqa: SIM118 (it is no mapping)
        match = KEY.fullmatch(key)
        if match is None:
            found.others += 1
            continue
        number = int(match["run"])
        if runs is not None and number not in runs:
            continue
        if match["camera"] != ANY_CAMERA:
            if camera in (None, match["camera"]):
                found.runs.append(LegacyRun(key, match["camera"], number))
        elif camera is not None:
            found.runs.append(LegacyRun(key, camera, number))
        else:
            text = "its key does not tell the camera: give it with --camera"
            source = source_of(legacy, key)
            found.unread.append(FileOutcome(source, Status.FAILED, None, number, text))
    found.runs.sort(key=lambda one: (one.camera, one.run, not one.key.startswith(one.camera)))
    return found


def import_runs(
    legacy: LegacyDatabase,
    runs: Iterable[LegacyRun],
    database: Database,
    writer: Writer | None,
    *,
    force: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[FileOutcome]:
    """Store *runs* one after the other, yielding what became of each.

    Parameters
    ----------
    legacy : LegacyDatabase
        Where they are.
    runs : iterable of LegacyRun
        Which of them.
    database : Database
        Where they are to be stored; it is asked what it holds already.
    writer : Writer or None
        Of *database*. Without it nothing is stored: ``Status.TO_DO`` is what would be.
    force : bool
        Replace runs that are stored with other contents.
    stop
        Once it returns true no further run is begun.

    Raises
    ------
    DatabaseUnavailable, ReadOnlyDatabase
        Nothing more can be read or stored; what was yielded before is done.
    """
    done: dict[tuple[str, int], str] = {}
    for one in runs:
        if stop():
            return
        first = done.setdefault((one.camera, one.run), one.key)
        is_first = first == one.key
        outcome = _import_run(legacy, one, database, writer, force=force and is_first)
        if outcome.status is Status.REFUSED and not is_first:
            text = f"the entry {first} is of the same run and has other contents; it was taken"
            outcome = replace(outcome, message=text)
        yield outcome


def source_of(legacy: LegacyDatabase, key: str) -> str:
    """What is shown and stored as the source of an entry: URL without password, and key."""
    return printable(f"{shown(legacy.settings.db_url)}#{key}")


def _import_run(
    legacy: LegacyDatabase,
    one: LegacyRun,
    database: Database,
    writer: Writer | None,
    *,
    force: bool,
) -> FileOutcome:
    source = source_of(legacy, one.key)
    try:
        if not 0 < one.run <= LARGEST_RUN:
            raise ResultsFileError(f"its run number is not between 1 and {LARGEST_RUN}")
        hdus = to_hdus(legacy.read(one.key))
        provenance = Provenance(
            source=source,
            source_size=0,
            source_adler32=0,
            results_name="",
            results_size=0,
            results_sha256=digest(hdus),
            ingested_at=time.time(),
            parser_version=PARSER_VERSION,
        )
        content = parse_hdus(hdus, camera=one.camera, run=one.run, provenance=provenance)
    except DatabaseUnavailable:
        raise
    except Exception as error:
        # whatever others have put there is the fault of this entry alone
        return failed(source, error, one.camera, one.run)

    def outcome(status: Status, message: str = "") -> FileOutcome:
        return FileOutcome(source, status, one.camera, one.run, message)

    stored, is_same = _compare(database, content)
    if is_same:
        return outcome(Status.SKIPPED)
    if stored is not None and not force:
        loss = " and its original is lost" if stored.provenance.has_original else ""
        return outcome(
            Status.REFUSED,
            f"{one.camera} run {one.run} is stored with other contents "
            f"(from {stored.provenance.source}); --force replaces it{loss}",
        )
    if writer is None:
        return outcome(Status.TO_DO)
    try:
        writer.store_run(content, None, replace=stored is not None)
    except (DatabaseUnavailable, ReadOnlyDatabase):
        raise
    except (DQMError, ValueError, TypeError) as error:
        return failed(source, error, one.camera, one.run)
    return outcome(Status.STORED if stored is None else Status.REPLACED)


def to_hdus(entry: Mapping[str, object]) -> dict[str, RawHDU]:
    """The HDUs that a results file has of what *entry* holds, in the order of display.

    Raises
    ------
    ResultsFileError
        It holds something else, or no quantity that this release knows.
    """
    contents: list[tuple[str, object]] = []
    for key, value in entry.items():
        if key.startswith(_PROCESSOR) and isinstance(value, Mapping):
            contents.extend(value.items())
        else:
            contents.append((key, value))
    hdus: dict[str, RawHDU] = {}
    for label, content in contents:
        name = label.strip().upper()
        if name in hdus:
            raise ResultsFileError(f"holds two quantities of the name {printable(name)}")
        hdus[name] = RawHDU(name, _columns(name, label, content))
    known = {name: position for position, name in enumerate(known_quantities())}
    if hdus.keys().isdisjoint(known):
        names = ", ".join(map(printable, list(hdus)[:3])) or "nothing"
        raise ResultsFileError(f"holds no DQM quantity ({names})")
    return {name: hdus[name] for name in sorted(hdus, key=lambda n: (known.get(n, len(known)), n))}


def digest(hdus: Mapping[str, RawHDU]) -> str:
    """SHA-256 (hex) of what HDUs hold, whatever their order and layout; see ``docs/schema.md``."""
    sha256 = hashlib.sha256()
    for name in sorted(hdus):
        columns = hdus[name].columns
        sha256.update(json.dumps([name, len(columns)]).encode() + b"\n")
        for column in sorted(columns):
            values = columns[column]
            head = [column, values.dtype.str, list(values.shape)]
            sha256.update(json.dumps(head).encode() + b"\n" + values.tobytes())
    return sha256.hexdigest()


def _columns(name: str, label: str, content: object) -> dict[str, NDArray]:
    """The columns that the results file has of *content*, which was called *label*."""
    if isinstance(content, Mapping):
        columns = {key: np.atleast_1d(_array(name, value)) for key, value in content.items()}
        if len({len(values) for values in columns.values()}) > 1:
            raise ResultsFileError(f"{printable(name)}: its columns have not the same length")
    elif isinstance(content, list) and not content:
        columns = {}  # written as a table without columns
    else:
        values = _array(name, content)
        column = {0: "col0", 1: label}.get(values.ndim, name)  # else an image
        columns = {column: np.atleast_1d(values)}
    return {
        part: half.astype(half.dtype.newbyteorder("<"), order="C", copy=False)
        for column, values in columns.items()
        for part, half in split_complex(column, values).items()
    }


def _array(name: str, value: object) -> NDArray:
    try:
        values = np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise ResultsFileError(f"{printable(name)}: it is no array: {error}") from error
    if values.dtype.kind not in _KEPT_KINDS:
        raise ResultsFileError(f"{printable(name)}: its values are neither numbers nor text")
    return values


def _compare(database: Database, content: RunContent) -> tuple[RunHeader | None, bool]:
    """The header of the run if it is stored, and whether its contents are the same."""
    header = content.header
    try:
        with database.snapshot() as snapshot:
            if not snapshot.has_run(header.camera, header.run):
                return None, False
            stored = snapshot.header(header.camera, header.run)
            if stored.provenance.results_sha256 == header.provenance.results_sha256:
                return stored, True
            return stored, stored.provenance.has_original and _is_stored(snapshot, content)
    except NoDataYet:  # a dry run before anything was stored
        return None, False


def _is_stored(snapshot: Snapshot, content: RunContent) -> bool:
    """Whether all values of the run are stored bit for bit, and no others."""
    camera, run = content.header.camera, content.header.run
    entries = snapshot.quantities(camera, run)
    if {entry.name for entry in entries if entry.columns} != {
        quantity.name for quantity in content.quantities if quantity.columns
    }:
        return False
    return all(
        _bits(snapshot.columns(camera, run, quantity.name)) == _bits(quantity.columns)
        for quantity in content.quantities
        if quantity.columns
    )


def _bits(columns: Mapping[str, NDArray]) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {
        name: (values.dtype.newbyteorder("<").str, values.shape, values.tobytes())
        for name, values in columns.items()
    }
