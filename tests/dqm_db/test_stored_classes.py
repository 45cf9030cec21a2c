"""The list of stored classes has all that are stored, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from backup_volumes import delete, opened, store
from ZODB.utils import get_pickle_metadata

from dqm_db.stored_classes import stored_class
from dqm_db.volume.layout import Volume


def test_all_that_a_writer_stores_is_in_it(tmp_path: Path) -> None:
    volume = Volume(tmp_path / "volume")
    store(volume, *range(1, 9), 130, 260)  # chunks of the catalogue, and their tree
    delete(volume, 3)
    with opened(volume) as database:
        found = {
            get_pickle_metadata(record.data)
            for transaction in database.storage.iterator()
            for record in transaction
            if record.data is not None
        }
    assert len(found) > 5
    for module, name in found:
        kind = stored_class(module, name)
        assert kind is not None and (kind.__module__, kind.__name__) == (module, name)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("builtins", "dict"),
        ("ZODB.blob", "BlobStorage"),
        ("ZODB.blob", "os"),
        ("dqm_db.model", "Persistent"),
        ("persistent.mapping", "PersistentMapping.__init__"),
        ("BTrees.OOBTree", "OOBTree.__class__"),
        ("", ""),
    ],
)
def test_nothing_else_is(module: str, name: str) -> None:
    assert stored_class(module, name) is None
