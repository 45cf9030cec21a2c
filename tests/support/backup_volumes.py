"""Volumes with runs and their originals, and backups of them, for the tests of backups."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ZODB
from synthetic_runs import a_run
from ZODB.FileStorage import FileStorage

from dqm_db.content import Original
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import open_database
from dqm_db.volume.layout import Volume
from dqm_db.writer import open_writer

CAMERA = "NectarCAMQM"


def original_of(run: int) -> bytes:
    """The original of a run that `store` stores."""
    return f"the file of run {run} ".encode() * (run % 7 + 1)


def settings_of(volume: Volume) -> DatabaseSettings:
    """How a client opens *volume* without a server."""
    url = f"file://{volume.data_file}?blobstorage_dir={volume.blob_dir}"
    return load(DatabaseSettings, db_url=url, lock_dir=volume.root.parent / "locks")


def store(volume: Volume, *runs: int) -> None:
    """Store runs, each with its original, in a volume that no server has open."""
    volume.create()
    with open_writer(settings_of(volume)) as writer:
        for run in runs:
            writer.store_run(a_run(run), Original("x", original_of(run)), replace=True)


def delete(volume: Volume, run: int) -> None:
    with open_writer(settings_of(volume)) as writer:
        writer.delete_run(CAMERA, run)


def pack(volume: Volume) -> None:
    """Drop all that was replaced or deleted, as a server does."""
    with opened(volume) as database:
        database.pack()


@contextmanager
def opened(volume: Volume) -> Iterator[ZODB.DB]:
    """The volume as plain ZODB opens it."""
    database = ZODB.DB(FileStorage(str(volume.data_file), blob_dir=str(volume.blob_dir)))
    try:
        yield database
    finally:
        database.close()


def runs_of(volume: Volume) -> set[int]:
    """The runs that can be read whole, values and original; all that are there, or it raises."""
    found = set()
    with open_database(settings_of(volume)) as database, database.snapshot() as snapshot:
        for run in snapshot.runs(CAMERA):
            assert snapshot.original(CAMERA, run).data == original_of(run)
            for entry in snapshot.quantities(CAMERA, run):
                if not entry.unavailable:
                    snapshot.columns(CAMERA, run, entry.name)
            found.add(run)
    return found


def contents(volume: Volume) -> dict[str, bytes]:
    """``Data.fs`` and blobs by name."""
    files = {
        str(path.relative_to(volume.root)): path for path in volume.blob_dir.glob("0x*/**/*.blob")
    }
    return {name: path.read_bytes() for name, path in files.items()} | {
        "Data.fs": volume.data_file.read_bytes()
    }


def tree(folder: Path) -> dict[str, bytes]:
    """All files below *folder* by name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
