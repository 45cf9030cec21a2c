"""Stored runs, and what one run holds, as tables for people and programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from dqm_db.catalogue import NOT_JUDGED
from dqm_db.checks import Status
from dqm_db.ingestion import Failure
from dqm_db.own_runs import OwnRun
from dqm_db.quantities import describe
from dqm_db.reader import Snapshot
from ingest.errors import printable
from ingest.export import iso_utc

COLUMNS = (
    "camera",
    "run",
    "start",
    "verdict",
    "events",
    "pedestal_events",
    "absent_modules",
    "absent_pixels",
    "bad_pixels",
    "size",
    "sha256",
    "ingested_at",
    "parser_version",
)
SHOWN = {
    # column: heading in the table for people
    "camera": "camera",
    "run": "run",
    "start": "start (UTC)",
    "verdict": "verdict",
    "events": "events",
    "pedestal_events": "pedestals",
    "absent_modules": "absent\nmodules",
    "bad_pixels": "bad\npixels",
}
SHOWN_WIDE = {"size": "size / kB", "ingested_at": "ingested (UTC)"}
WIDE = 110
"""Characters from which on the terminal has room for `SHOWN_WIDE`."""


def list_runs(snapshot: Snapshot, camera: str | None, limit: int | None) -> list[dict[str, object]]:
    """Rows of the catalogue, per camera newest first; what is unknown is None.

    Raises
    ------
    RunNotFound
        There is no such camera.
    """
    rows: list[dict[str, object]] = []
    for name in snapshot.cameras() if camera is None else (camera,):
        catalogue = snapshot.catalogue(name).columns
        newest = np.argsort(catalogue["run"])[::-1][:limit]
        for index in newest.tolist():
            row: dict[str, object] = {"camera": name}
            for column in COLUMNS[1:]:
                row[column] = _plain(column, catalogue[column][index].item())
            rows.append(row)
    return rows


def runs_table(rows: list[dict[str, object]]) -> None:
    """Print rows of `list_runs` as a table."""
    console = _console()
    shown = {**SHOWN, **SHOWN_WIDE} if console.width >= WIDE else SHOWN
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, heading in shown.items():
        left = column in ("camera", "start", "verdict", "ingested_at")
        table.add_column(heading, justify="left" if left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(_cell(column, row[column]) for column in shown))
    console.print(table)


def list_own_runs(runs: Iterable[OwnRun]) -> list[dict[str, object]]:
    """Rows of the runs that only a volume has."""
    return [
        {
            "camera": one.run.camera,
            "run": one.run.run,
            "here": one.here.value,
            "original": one.has_original,
            "source": None if one.run.provenance is None else one.run.provenance.source,
            "sha256": one.run.sha256,
        }
        for one in runs
    ]


def own_runs_table(rows: list[dict[str, object]]) -> None:
    """Print rows of `list_own_runs` as a table."""
    console = _console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("camera", "run", "here", "comes back", "source"):
        table.add_column(heading, no_wrap=True)
    for row in rows:
        comes_back = "yes" if row["original"] else "no: it has no original file"
        table.add_row(
            str(row["camera"]),
            str(row["run"]),
            str(row["here"]),
            comes_back,
            printable(str(row["source"] or "–")),
        )
    console.print(table)


def _cell(column: str, value: object) -> str:
    if value is None:
        return "–"
    if column in ("start", "ingested_at"):
        return str(value).replace("T", " ").removesuffix("Z")
    if column == "size" and isinstance(value, int):
        return f"{value / 1000:.0f}"
    return str(value)


def failures_table(failures: Sequence[Failure]) -> None:
    """Print files that could not be stored, those in quarantine first."""
    console = _console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("camera", "run", "state", "attempts", "last (UTC)", "reason", "file"):
        table.add_column(heading, no_wrap=True)
    for failure in sorted(failures, key=lambda one: not one.is_quarantined):
        last = iso_utc(failure.last_at).replace("T", " ").removesuffix("Z")
        table.add_row(
            failure.camera,
            str(failure.run),
            failure_state(failure),
            str(failure.attempts),
            last,
            failure.error,
            failure.source,
        )
    console.print(table)


def failure_state(failure: Failure) -> str:
    """What will become of the file."""
    if failure.is_removed:
        return "deleted"
    if failure.next_at is None:
        return "in quarantine"
    return f"tried from {iso_utc(failure.next_at)[11:16]} on"


def list_quantities(snapshot: Snapshot, camera: str, run: int) -> None:
    """Print what a run holds, and why what it lacks is missing."""
    console = _console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("quantity", "values", "title"):
        table.add_column(heading, no_wrap=True)
    for entry in snapshot.quantities(camera, run):
        shapes = "; ".join("×".join(map(str, shape)) or "1" for _, shape in entry.columns.values())
        table.add_row(entry.name, entry.unavailable or shapes, describe(entry.name).title)
    console.print(table)


def _plain(column: str, value: object) -> object:
    if column in ("start", "ingested_at"):
        text = iso_utc(value if isinstance(value, float) else None)
        return None if text == "unknown" else text
    if column in ("events", "pedestal_events", "bad_pixels") and value == -1:
        return None
    if column == "verdict" and isinstance(value, int):
        return None if value == NOT_JUDGED else Status(value).name
    if isinstance(value, bytes):
        return value.decode("ascii")
    return value


def _console() -> Console:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if not console.is_terminal:
        # no terminal to fit into: nothing is cut
        console = Console(highlight=False, markup=False, width=10_000)
    return console
