"""A client that stays up while its server is restored must forget what was lost."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import ZODB
from persistent.mapping import PersistentMapping
from processes import DatabaseServer, eventually
from ZODB.FileStorage import FileStorage

from dqm_db.volume.layout import Volume


def test_a_client_forgets_what_a_restore_has_lost(tmp_path: Path) -> None:
    primary = DatabaseServer(tmp_path, "primary")
    copy = tmp_path / "copy"
    with contextlib.ExitStack() as stack:
        stack.enter_context(primary)
        db = ZODB.DB(primary.client())
        stack.callback(db.close)
        with db.transaction() as connection:
            top = connection.root()
            top["kept"] = PersistentMapping(value="before")
            top["other"] = PersistentMapping()
        primary.stop()
        shutil.copytree(primary.data_dir, copy)
        primary.start()
        eventually(db.storage.is_connected, "the client is back")
        with db.transaction() as connection:
            top = connection.root()
            top["kept"]["value"] = "lost"
            top["lost"] = PersistentMapping(value="lost")
        reader = db.open()
        stack.callback(reader.close)
        assert reader.root()["kept"]["value"] == "lost"
        assert "lost" in reader.root()
        primary.stop()

        # The older copy comes back, and goes on past what the client has seen.
        shutil.rmtree(primary.data_dir)
        shutil.copytree(copy, primary.data_dir)
        volume = Volume(primary.data_dir)
        storage = FileStorage(str(volume.data_file), blob_dir=str(volume.blob_dir))
        restored = ZODB.DB(storage)
        with restored.transaction() as connection:
            connection.root()["other"]["value"] = "after"
        restored.close()
        primary.start()

        def is_restored() -> bool:
            reader.newTransaction(None)
            return bool(reader.root()["other"].get("value") == "after")

        eventually(db.storage.is_connected, "the client is back")
        eventually(is_restored, "the client sees what was written after the restore")
        assert reader.root()["kept"]["value"] == "before"
        assert "lost" not in reader.root()


def test_a_client_that_missed_something_keeps_its_cache(tmp_path: Path) -> None:
    """It need not fetch everything anew only because the server was restarted."""
    with DatabaseServer(tmp_path, "primary") as primary:
        db = ZODB.DB(primary.client())
        with db.transaction() as connection:
            top = connection.root()
            top["kept"] = PersistentMapping(value="before")
            top["other"] = PersistentMapping()
        with db.transaction() as connection:
            assert connection.root()["kept"]["value"] == "before"
        primary.stop()
        volume = Volume(primary.data_dir)
        storage = FileStorage(str(volume.data_file), blob_dir=str(volume.blob_dir))
        elsewhere = ZODB.DB(storage)
        with elsewhere.transaction() as connection:
            connection.root()["other"]["value"] = "after"
        elsewhere.close()
        primary.start()
        eventually(db.storage.is_connected, "the client is back")
        with db.transaction() as connection:
            assert connection.root()["other"]["value"] == "after"
        assert db.storage._server.client.verify_result == "quick verification"
        db.close()
