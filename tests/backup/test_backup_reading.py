"""What is read of a Data.fs is what ZODB reads of it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import transaction
import ZODB
from backup_volumes import contents, opened, store
from hypothesis import given
from hypothesis import strategies as st
from ZODB.blob import Blob
from ZODB.FileStorage import FileStorage
from ZODB.utils import load_current

from backup.create import create_backup
from backup.place import BackupPlace
from backup.reading import DataFile
from backup.restore import restore
from backup.verify import Verifier
from dqm_db.volume.errors import DamagedData
from dqm_db.volume.layout import Volume


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    """One in which runs were stored, and things undone: a value, a blob and a creation."""
    volume = Volume(tmp_path_factory.mktemp("reading") / "volume")
    store(volume, 1, 2)
    with opened(volume) as database:

        def put(key: str, value: object) -> None:
            with database.transaction("set " + key) as connection:
                connection.root()[key] = value

        def change(data: bytes) -> None:
            with (
                database.transaction("change the blob") as connection,
                connection.root()["blob"].open("w") as file,
            ):
                file.write(data)

        def undo(number: int) -> None:
            database.undo(database.undoLog(number, number + 1)[0]["id"])
            transaction.commit()

        put("blob", Blob(b"first"))
        change(b"second")
        undo(0)
        put("passing", Blob(b"never was"))
        undo(0)
    return volume


def test_every_record_is_that_of_zodb(volume: Volume) -> None:
    storage = FileStorage(str(volume.data_file), blob_dir=str(volume.blob_dir), read_only=True)
    current: dict[bytes, bytes | None] = {}
    with DataFile(volume.data_file) as file, contextlib.closing(storage.iterator()) as iterator:
        mine = list(file.transactions())
        for found, theirs in zip(mine, iterator, strict=True):
            assert found.tid == theirs.tid and found.description == theirs.description.decode()
            for record, record_theirs in zip(found.records, theirs, strict=True):
                assert record.oid == record_theirs.oid
                assert file.data_of(record) == record_theirs.data
                assert file.is_blob(record) == bool(storage.is_blob_record(record_theirs.data))
                current[record.oid] = record_theirs.data
        assert mine[-1].end == file.size == storage.getSize()
    for oid, data in current.items():
        if data is not None:
            assert load_current(storage, oid)[0] == data
    storage.close()


def test_what_was_undone_is_backed_up(volume: Volume, tmp_path: Path) -> None:
    place = BackupPlace(tmp_path / "backups")
    made = create_backup(volume, place)
    assert len(made.manifest.blobs) == 2 + 3 + 1
    assert not Verifier(place, place.read()).verify(made)[-1].faults
    restore(place, [made], Volume(tmp_path / "r"))
    assert contents(Volume(tmp_path / "r")) == contents(volume)
    database = ZODB.DB(
        FileStorage(
            str(tmp_path / "r" / "filestorage" / "Data.fs"),
            blob_dir=str(tmp_path / "r" / "blobstorage"),
        )
    )
    with database.transaction() as connection:
        with connection.root()["blob"].open("r") as blob:
            assert blob.read() == b"first"
        assert "passing" not in connection.root()
    database.close()


def test_a_part_of_the_file(volume: Volume) -> None:
    with DataFile(volume.data_file) as file:
        whole = list(file.transactions())
        assert list(file.transactions(whole[2].begin, whole[4].end)) == whole[2:5]
        with pytest.raises(DamagedData, match="out of order"):
            list(file.transactions(whole[2].begin, after=whole[2].tid))
        with pytest.raises(DamagedData, match=f"damaged at byte {whole[1].begin}"):
            list(file.transactions(end=whole[1].end - 1))


@given(st.data())
def test_any_cut_ends_with_a_whole_transaction(
    volume: Volume, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.fs"
    raw = volume.data_file.read_bytes()
    size = data.draw(st.integers(0, len(raw)))
    path.write_bytes(raw[:size])
    with DataFile(volume.data_file) as file:
        whole = [one for one in file.transactions() if one.end <= size]
    with DataFile(path) as file:
        assert list(file.transactions()) == whole


@given(st.data())
def test_any_change_is_read_or_refused(
    volume: Volume, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "changed.fs"
    raw = bytearray(volume.data_file.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(raw) - 20))
        change = data.draw(st.binary(min_size=1, max_size=20))
        raw[position : position + len(change)] = change
    path.write_bytes(raw)
    try:
        with DataFile(path) as file:
            for found in file.transactions():
                for record in found.records:
                    file.data_of(record)
                    file.is_blob(record)
    except DamagedData as error:
        assert str(path) in str(error)


def test_another_kind_of_file(tmp_path: Path) -> None:
    path = tmp_path / "Data.fs"
    path.write_bytes(b"this is none")
    with DataFile(path) as file, pytest.raises(DamagedData, match="is not the file of a ZODB"):
        list(file.transactions())
