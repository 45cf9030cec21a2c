"""Digests of transactions: equal for equal contents, and no damaged byte goes unnoticed."""

from __future__ import annotations

import errno
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import transaction
import ZODB
from BTrees.OOBTree import OOBTree
from hypothesis import given, settings
from hypothesis import strategies as st
from persistent.mapping import PersistentMapping
from ZODB._compat import FILESTORAGE_MAGIC
from ZODB.blob import Blob
from ZODB.FileStorage import FileStorage
from ZODB.FileStorage.FileStorage import FileIterator

from dqm_db.volume.digests import DigestReader, TransactionDigest, read_digests
from dqm_db.volume.errors import DamagedData
from dqm_db.volume.layout import Volume
from dqm_db.volume.transactions import NO_TRANSACTION
from dqm_db.volume.windows import BLOCK, PIECE


class Sample(NamedTuple):
    """A volume that nobody changes, and what was read from it when it was sound."""

    volume: Volume
    data: bytes
    sound: list[TransactionDigest]

    def copied(self, directory: Path, data: bytes | None = None) -> Volume:
        """A copy, with *data* as its ``Data.fs``."""
        shutil.copytree(self.volume.root, directory, dirs_exist_ok=True)
        volume = Volume(directory)
        if data is not None:
            volume.data_file.write_bytes(data)
        return volume


def write(root: Path, *, pack_after: int | None = None) -> Sample:
    volume = Volume(root)
    volume.create()
    storage = FileStorage(str(volume.data_file), blob_dir=str(volume.blob_dir))
    db = ZODB.DB(storage)
    manager = transaction.TransactionManager(explicit=True)
    packed_at = 0.0

    def commit(number: int) -> None:
        manager.begin()
        connection = db.open(manager)
        manager.get().setUser("somebody")
        manager.get().note(f"run {number}")
        manager.get().setExtendedInfo("number", number)
        top = connection.root()
        top[number] = OOBTree({n: "x" * n for n in range(number)})
        top["large"] = "y" * 100 * number
        top[f"blob {number}"] = Blob(b"original " * number)
        top["blob"] = top[f"blob {number}"]
        manager.commit()
        connection.close()

    for number in range(1, 5):
        commit(number)
        if number == pack_after:
            packed_at = time.time()
    manager.begin()
    db.undo(db.undoInfo(0, 1)[0]["id"], manager.get())
    manager.commit()
    commit(5)
    if pack_after:
        db.pack(packed_at)
    db.close()
    return Sample(volume, volume.data_file.read_bytes(), list(read_digests(volume)))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return write(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return write(tmp_path_factory.mktemp("packed"), pack_after=3)


@pytest.fixture(params=["plain", "packed"])
def sample(request: pytest.FixtureRequest) -> Sample:
    return request.getfixturevalue(request.param)


def same_tids(sample: Sample) -> list[bytes]:
    return [found.tid for found in FileIterator(str(sample.volume.data_file))]


def is_noticed(volume: Volume, sound: list[TransactionDigest]) -> bool:
    """Whether the volume is told from the sound one."""
    try:
        found = list(read_digests(volume))
    except DamagedData:
        return True
    return found != sound  # a fault is part of it


def test_all_transactions_are_read_in_order(sample: Sample) -> None:
    assert [found.tid for found in sample.sound] == same_tids(sample)
    assert not any(found.faults for found in sample.sound)
    iterator = FileIterator(str(sample.volume.data_file))
    assert [found.records for found in sample.sound] == [len(list(one)) for one in iterator]
    blobs = sum(path.stat().st_size for path in sample.volume.blob_dir.rglob("*.blob"))
    assert sum(found.bytes for found in sample.sound) == len(sample.data) - 4 + blobs


def test_a_pack_changes_only_what_it_packs(plain: Sample, tmp_path: Path) -> None:
    volume = plain.copied(tmp_path)
    storage = FileStorage(str(volume.data_file), blob_dir=str(volume.blob_dir))
    at = [ZODB.TimeStamp.TimeStamp(one.tid).timeTime() for one in plain.sound]
    ZODB.DB(storage).pack((at[3] + at[4]) / 2)
    storage.close()
    found = list(read_digests(volume))
    assert not any(one.faults for one in found)
    assert [one.packed for one in found] == [True] * (len(found) - 3) + [False] * 3
    assert found[-3:] == plain.sound[-3:]
    assert found[0].digest not in {one.digest for one in plain.sound}
    with DigestReader(volume.data_file, volume.blob_dir) as reader:
        assert found[-4].tid <= reader.packed_until() < found[-3].tid
        assert reader.packed_until(found[-4].tid) == reader.packed_until()
        assert reader.packed_until(found[-3].tid) == NO_TRANSACTION
    with DigestReader(plain.volume.data_file, plain.volume.blob_dir) as reader:
        assert reader.packed_until() == NO_TRANSACTION


def test_what_is_in_a_transaction_is_told_when_asked(plain: Sample) -> None:
    with DigestReader(plain.volume.data_file, plain.volume.blob_dir) as reader:
        reader.seek(plain.sound[0].tid)
        found = reader.read(detailed_until=plain.sound[1].tid)
        following = reader.read(detailed_until=plain.sound[1].tid)
    assert found is not None
    assert found.detail is not None
    assert found.detail.description == b"run 1"
    assert following == plain.sound[2]
    assert len(found.detail.records) == found.records
    assert replace(found, detail=None) == plain.sound[1]


@given(data=st.data())
def test_reading_goes_on_from_any_transaction(data: st.DataObject, plain: Sample) -> None:
    place = data.draw(st.integers(0, len(plain.sound) - 1))
    after = plain.sound[place].tid
    assert list(read_digests(plain.volume, after)) == plain.sound[place + 1 :]
    between = (int.from_bytes(after, "big") - 1).to_bytes(8, "big")
    assert list(read_digests(plain.volume, between)) == plain.sound[place:]
    assert list(read_digests(plain.volume, b"\xff" * 8)) == []


def test_every_damaged_byte_is_noticed(sample: Sample, tmp_path: Path) -> None:
    volume = sample.copied(tmp_path)
    unnoticed = []
    with volume.data_file.open("r+b", buffering=0) as file:
        for position, byte in enumerate(sample.data):
            file.seek(position)
            file.write(bytes([byte ^ 1 << position % 8]))
            if not is_noticed(volume, sample.sound):
                unnoticed.append(position)
            file.seek(position)
            file.write(bytes([byte]))
    assert unnoticed == []


@settings(max_examples=200)
@given(data=st.data())
def test_any_other_byte_is_noticed(
    data: st.DataObject, plain: Sample, tmp_path_factory: pytest.TempPathFactory
) -> None:
    position = data.draw(st.integers(0, len(plain.data) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda other: other != plain.data[position]))
    damaged = plain.data[:position] + bytes([byte]) + plain.data[position + 1 :]
    volume = Volume(tmp_path_factory.mktemp("damaged"))
    volume.create()
    volume.blob_dir.symlink_to(plain.volume.blob_dir)
    volume.data_file.write_bytes(damaged)
    assert is_noticed(volume, plain.sound)


@settings(max_examples=200)
@given(
    data=st.one_of(
        st.binary(max_size=300), st.binary(max_size=300).map(lambda tail: FILESTORAGE_MAGIC + tail)
    ),
    after=st.sampled_from([NO_TRANSACTION, b"\x01" * 8, b"\xff" * 8]),
)
def test_garbage_is_damage(
    data: bytes, after: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    volume = Volume(tmp_path_factory.mktemp("garbage"))
    volume.create()
    volume.data_file.write_bytes(data)
    try:
        assert all(isinstance(one.faults, tuple) for one in read_digests(volume, after))
    except DamagedData as error:
        assert str(volume.data_file) in str(error)


@given(data=st.data())
def test_a_file_that_was_cut(
    data: st.DataObject, plain: Sample, tmp_path_factory: pytest.TempPathFactory
) -> None:
    length = data.draw(st.integers(0, len(plain.data) - 1))
    volume = Volume(tmp_path_factory.mktemp("cut"))
    volume.create()
    volume.blob_dir.symlink_to(plain.volume.blob_dir)
    volume.data_file.write_bytes(plain.data[:length])
    assert is_noticed(volume, plain.sound)


def test_one_damaged_length_does_not_hide_the_rest(plain: Sample, tmp_path: Path) -> None:
    begin = plain.data.index(plain.sound[2].tid)
    end = plain.data.index(plain.sound[3].tid)
    for position in (begin + 15, begin + 9, end - 1, end - 8):
        damaged = bytearray(plain.data)
        damaged[position] ^= 0x55
        found = list(read_digests(plain.copied(tmp_path, bytes(damaged))))
        assert [bool(one.faults) for one in found] == [n == 2 for n in range(len(found))]
        assert [one.tid for one in found] == [one.tid for one in plain.sound]


def test_records_that_cannot_be_read_do_not_blame_later_ones(plain: Sample, tmp_path: Path) -> None:
    begin = plain.data.index(plain.sound[2].tid)
    damaged = bytearray(plain.data)
    damaged[begin + 18] ^= 0x04  # the length of a text: no record is where it should be
    found = list(read_digests(plain.copied(tmp_path, bytes(damaged))))
    assert [bool(one.faults) for one in found] == [n == 2 for n in range(len(found))]


def test_a_damaged_id_stays_in_its_place(plain: Sample, tmp_path: Path) -> None:
    begin = plain.data.index(plain.sound[2].tid)
    damaged = bytearray(plain.data)
    damaged[begin] ^= 0xFF
    found = list(read_digests(plain.copied(tmp_path, bytes(damaged))))
    assert [one.tid for one in found] == [one.tid for one in plain.sound]
    assert [bool(one.faults) for one in found] == [n == 2 for n in range(len(found))]


def test_blobs_that_changed_or_went(plain: Sample, tmp_path: Path) -> None:
    volume = plain.copied(tmp_path)
    blobs = sorted(volume.blob_dir.rglob("*.blob"))
    contents = blobs[0].read_bytes()
    blobs[0].chmod(0o600)
    blobs[0].write_bytes(b"O" + contents[1:])
    found = list(read_digests(volume))
    different = [n for n, (a, b) in enumerate(zip(found, plain.sound, strict=True)) if a != b]
    assert len(different) == 1
    assert not found[different[0]].faults  # only the other side can tell

    blobs[0].unlink()
    (fault,) = list(read_digests(volume))[different[0]].faults
    assert fault == f"the blob {blobs[0]} is missing"
    blobs[0].mkdir()
    (fault,) = list(read_digests(volume))[different[0]].faults
    assert str(blobs[0]) in fault


def test_an_unfinished_transaction_at_the_end_is_left_out(plain: Sample, tmp_path: Path) -> None:
    begin = plain.data.index(plain.sound[-1].tid)
    unfinished = plain.data[: begin + 16] + b"c" + plain.data[begin + 17 :]
    for length in (len(unfinished), begin + 300, begin + 20, begin + 17, begin + 3):
        volume = plain.copied(tmp_path, unfinished[:length])
        assert list(read_digests(volume)) == plain.sound[:-1]
    # A server knows where its last finished transaction ends.
    with DigestReader(volume.data_file, volume.blob_dir, begin) as reader:
        assert [reader.read() for _ in plain.sound] == [*plain.sound[:-1], None]


def test_records_larger_than_what_is_read_at_once(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    volume.create()
    storage = FileStorage(str(volume.data_file), blob_dir=str(volume.blob_dir))
    db = ZODB.DB(storage)
    for number in range(3):
        with db.transaction() as connection:
            connection.root()["large"] = bytes([number]) * (2 * PIECE + 100)
            connection.root()["blob"] = Blob(bytes([number]) * (2 * PIECE + 100))
    db.close()
    sound = list(read_digests(volume))
    assert not any(one.faults for one in sound)
    assert len({one.digest for one in sound}) == 4
    contents = bytearray(volume.data_file.read_bytes())
    contents[contents.index(sound[2].tid) + 2 * PIECE] ^= 1
    volume.data_file.write_bytes(contents)
    found = list(read_digests(volume))
    assert [a == b for a, b in zip(found, sound, strict=True)] == [True, True, False, True]


def test_a_sector_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = Volume(tmp_path)
    volume.create()
    storage = FileStorage(str(volume.data_file), blob_dir=str(volume.blob_dir))
    db = ZODB.DB(storage)
    for number in range(4):
        with db.transaction() as connection:
            connection.root()["large"] = bytes([number]) * (4 * BLOCK)
    db.close()
    sound = list(read_digests(volume))
    bad = volume.data_file.read_bytes().index(sound[2].tid) // BLOCK * BLOCK + 2 * BLOCK
    read = os.preadv

    def preadv(descriptor: int, buffers: list[memoryview], position: int) -> int:
        if position < bad + BLOCK and position + len(buffers[0]) > bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(descriptor, buffers, position)

    monkeypatch.setattr(os, "preadv", preadv)
    found = list(read_digests(volume))
    assert [bool(one.faults) for one in found] == [False, False, True, False, False]
    assert "Input/output error" in found[2].faults[0]
    assert found[3:] == sound[3:]


def test_faults_are_not_told_without_end(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    volume.create()
    storage = FileStorage(str(volume.data_file))
    db = ZODB.DB(storage)
    with db.transaction() as connection:
        for number in range(60):
            connection.add(persistent := PersistentMapping())
            connection.root()[number] = persistent
    db.close()
    damaged = bytearray(volume.data_file.read_bytes())
    tid = list(read_digests(volume))[-1].tid
    damaged[damaged.index(tid) : damaged.index(tid) + 8] = b"\x7f" * 8
    volume.data_file.write_bytes(damaged)
    faults = list(read_digests(volume))[-1].faults
    assert len(faults) == 21
    assert faults[-1].startswith("and ")


def test_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DamagedData, match="No such file"):
        list(read_digests(Volume(tmp_path)))
