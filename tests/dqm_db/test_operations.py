"""What is remembered of backups, verifications and packs."""

from __future__ import annotations

from pathlib import Path

from dqm_db.operations import Operation, OperationName
from dqm_db.settings import DatabaseSettings
from dqm_db.storage import open_database
from dqm_db.writer import open_writer


def operation(name: OperationName, finished: float, **facts: float | int | str) -> Operation:
    return Operation(name, finished - 5, finished, True, "all is well", "host-a", facts)


def test_the_last_of_each_name_is_kept(tmp_path: Path) -> None:
    settings = DatabaseSettings(db_url=f"file://{tmp_path}/Data.fs", lock_dir=tmp_path / "locks")
    with open_writer(settings) as writer:
        writer.note_operation(operation(OperationName.BACKUP, 100.0, bytes=1))
        writer.note_operation(operation(OperationName.BACKUP, 200.0, bytes=2, kind="full"))
        writer.note_operation(operation(OperationName.PACK, 150.0))
    with open_database(settings) as database, database.snapshot() as snapshot:
        assert snapshot.operations() == {
            OperationName.BACKUP: operation(OperationName.BACKUP, 200.0, bytes=2, kind="full"),
            OperationName.PACK: operation(OperationName.PACK, 150.0),
        }


def test_a_new_database_has_none(tmp_path: Path) -> None:
    settings = DatabaseSettings(db_url=f"file://{tmp_path}/Data.fs", lock_dir=tmp_path / "locks")
    with open_writer(settings):
        pass
    with open_database(settings) as database, database.snapshot() as snapshot:
        assert snapshot.operations() == {}
