"""Imports of legacy databases in files, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from legacy_databases import write_entries
from ZODB.FileStorage import FileStorage

from dqm_db.legacy import LegacyDatabase, open_legacy
from dqm_db.writer import Writer
from ingest.legacy import find_runs, import_runs
from ingest.outcomes import FileOutcome


def write(path: Path, entries: Mapping[str, Any], *, bare: bool = False) -> None:
    write_entries(FileStorage(str(path)), entries, bare=bare)


def opened(writer: Writer, path: Path) -> LegacyDatabase:
    return open_legacy(writer.database.settings, f"file://{path}")


def run_import(
    writer: Writer, path: Path, *, camera: str | None = None, force: bool = False
) -> dict[str, FileOutcome]:
    """What became of each entry, by key."""
    with opened(writer, path) as legacy:
        found = find_runs(legacy, camera=camera)
        done = import_runs(legacy, found.runs, writer.database, writer, force=force)
        return {one.source.partition("#")[2]: one for one in (*found.unread, *done)}
