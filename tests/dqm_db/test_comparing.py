"""What is found to differ between two copies, and what a pack explains."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import transaction
import ZODB
from hypothesis import given, settings
from hypothesis import strategies as st
from persistent.mapping import PersistentMapping
from ZODB.blob import Blob
from ZODB.FileStorage import FileStorage
from ZODB.TimeStamp import TimeStamp

from dqm_db.verification.comparing import Verification, compare
from dqm_db.verification.local import VolumeSide
from dqm_db.verification.pairs import Verified
from dqm_db.verification.report import Report
from dqm_db.volume.digests import TransactionDigest, read_digests
from dqm_db.volume.errors import DamagedData
from dqm_db.volume.layout import Volume


@dataclass
class Copy:
    """A volume that can be written to, packed, copied and damaged."""

    volume: Volume

    @classmethod
    def new(cls, root: Path) -> Copy:
        volume = Volume(root)
        volume.create()
        return cls(volume)

    def copied(self, root: Path) -> Copy:
        shutil.copytree(self.volume.root, root)
        return Copy(Volume(root))

    def _with_db(self, act: Callable[[ZODB.DB], None]) -> Copy:
        storage = FileStorage(str(self.volume.data_file), blob_dir=str(self.volume.blob_dir))
        db = ZODB.DB(storage)
        try:
            act(db)
        finally:
            db.close()
        return self

    def write(self, *numbers: int) -> Copy:
        def act(db: ZODB.DB) -> None:
            for number in numbers:
                manager = transaction.TransactionManager(explicit=True)
                manager.begin()
                connection = db.open(manager)
                top = connection.root()
                manager.get().note(f"run {number}")
                top["last"] = number
                top["garbage"] = Blob(b"%d" % number * 100)
                top[number] = PersistentMapping(values="x" * 100)
                manager.commit()
                connection.close()

        return self._with_db(act)

    def pack(self, until: bytes) -> Copy:
        """Pack up to the transaction *until*, which stays."""
        at = TimeStamp(until).timeTime() + 5e-4
        return self._with_db(lambda db: db.pack(at))

    def without(self, tid: bytes, root: Path) -> Copy:
        """A copy, sound in itself, that lacks the transaction *tid*."""
        copy = Copy.new(root)
        source, target = (
            FileStorage(str(volume.data_file), blob_dir=str(volume.blob_dir))
            for volume in (self.volume, copy.volume)
        )
        kept = (one for one in source.iterator() if one.tid != tid)
        source.iterator = lambda: kept
        target.copyTransactionsFrom(source)
        source.close()
        target.close()
        return copy

    def found(self) -> list[TransactionDigest]:
        return list(read_digests(self.volume))

    def damage(self, position: int, value: bytes) -> Copy:
        with self.volume.data_file.open("r+b") as file:
            file.seek(position)
            file.write(value)
        return self

    def invert(self, position: int) -> Copy:
        """Damage one byte, whatever it is."""
        value = self.volume.data_file.read_bytes()[position]
        return self.damage(position, bytes([value ^ 0xFF]))

    def position(self, tid: bytes) -> int:
        return self.volume.data_file.read_bytes().index(tid)

    def cut(self, tid: bytes) -> Copy:
        """Remove what follows the transaction *tid*."""
        following = next(one.tid for one in self.found() if one.tid > tid)
        with self.volume.data_file.open("r+b") as file:
            file.truncate(self.position(following))
        Path(f"{self.volume.data_file}.index").unlink(missing_ok=True)
        return self


def compared(*copies: Copy, **options: object) -> Verification:
    return compare([VolumeSide(copy.volume) for copy in copies], **options)  # type: ignore[arg-type]


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    copy = Copy.new(tmp_path / "first")
    for number in range(1, 8):
        copy.write(number)  # each in a millisecond of its own: packs are told apart by time
    return copy


def test_copies_are_the_same(copy: Copy, tmp_path: Path) -> None:
    outcome = compared(copy, copy.copied(tmp_path / "second"), copy.copied(tmp_path / "third"))
    assert not outcome.is_damaged
    assert [pair.same for pair in outcome.pairs] == [8, 8]
    assert outcome.pairs[0].last == copy.found()[-1].tid
    size = copy.volume.data_file.stat().st_size
    assert all(read.size > size for read in outcome.read)


def test_a_replica_that_lags_is_no_difference(copy: Copy, tmp_path: Path) -> None:
    found = copy.found()
    behind = copy.copied(tmp_path / "second").cut(found[5].tid)
    outcome = compared(copy, behind)
    assert not outcome.is_damaged
    assert (outcome.pairs[0].same, outcome.pairs[0].last) == (6, found[5].tid)
    assert f"is behind {copy.volume.root}" in "\n".join(Report(outcome).lines())
    # But a primary must not lack what its replica has.
    (pair,) = compared(behind, copy).pairs
    assert [finding.tid for finding in pair.findings] == [found[-1].tid]
    assert not compared(behind, copy, first_leads=False).is_damaged


def test_a_replica_that_has_diverged(copy: Copy, tmp_path: Path) -> None:
    common = copy.found()[-1].tid
    other = copy.copied(tmp_path / "second")
    other.write(20)
    copy.write(30).write(31)
    (pair,) = compared(copy, other).pairs
    assert pair.last == common
    assert pair.found == 1
    assert "is not on" in pair.findings[0].text
    other.write(21)
    (pair,) = compared(copy, other).pairs
    assert pair.found == 4  # 20, 30, 31, and that its end is none of ours


def test_one_byte(copy: Copy, tmp_path: Path) -> None:
    found = copy.found()
    other = copy.copied(tmp_path / "second")
    contents = other.volume.data_file.read_bytes()
    other.damage(contents.index(b"xxx", copy.position(found[3].tid)), b"y")
    outcome = compared(copy, other)
    report = Report(outcome)
    report.describe()
    (pair,) = outcome.pairs
    assert (pair.same, pair.found) == (7, 1)
    assert pair.findings[0].faulty == ()  # its data are what they are
    text = "\n".join(report.lines())
    assert f"different: transaction {found[3].tid.hex()} of" in text
    assert "(run 3)" in text
    assert "differs in 1 of 3 records" in text
    assert "compare with a backup" in text
    assert report.exit_code == 65


def test_the_side_whose_file_is_damaged_is_at_fault(copy: Copy, tmp_path: Path) -> None:
    found = copy.found()
    other = copy.copied(tmp_path / "second")
    other.damage(copy.position(found[3].tid) + 16, b"x")  # its status
    outcome = compared(copy, other)
    text = "\n".join(Report(outcome).lines())
    assert outcome.read[1].faulty == 1
    assert outcome.read[0].faulty == 0
    assert f"{other.volume.root}: 8 transactions" in text
    assert "1 transaction damaged" in text
    other.invert(copy.position(found[4].tid) + 40)  # in a record's header
    report = Report(compared(copy, other))
    (pair,) = report.verification.pairs
    assert pair.findings[0].faulty == (str(other.volume.root),)
    assert f"at fault: {other.volume.root}" in "\n".join(report.lines())


def test_a_side_that_cannot_be_read_to_its_end(copy: Copy, tmp_path: Path) -> None:
    found = copy.found()
    other = copy.copied(tmp_path / "second")
    other.damage(copy.position(found[3].tid) + 8, bytes(200))
    outcome = compared(copy, other)
    assert outcome.is_damaged
    assert isinstance(outcome.read[1].error, DamagedData)
    assert outcome.pairs[0].same == 3
    assert outcome.pairs[0].found == 0  # nothing is known of what follows
    assert "cannot be read" in "\n".join(Report(outcome).lines())


def test_a_blob(copy: Copy, tmp_path: Path) -> None:
    other = copy.copied(tmp_path / "second")
    blob = sorted(other.volume.blob_dir.rglob("*.blob"))[2]
    blob.chmod(0o600)
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    (pair,) = compared(copy, other).pairs
    assert pair.found == 1
    blob.unlink()
    outcome = compared(copy, other)
    assert outcome.pairs[0].findings[0].faulty == (str(other.volume.root),)
    assert str(blob) in outcome.read[1].faults[0].text


def test_another_description(copy: Copy, tmp_path: Path) -> None:
    other = copy.copied(tmp_path / "second")
    other.damage(other.volume.data_file.read_bytes().index(b"run 3"), b"R")
    report = Report(compared(copy, other))
    report.describe()
    assert "differs in its user, description or extension" in "\n".join(report.lines())


@pytest.mark.parametrize("swapped", [False, True])
def test_a_pack_of_one_side_is_explained(copy: Copy, tmp_path: Path, swapped: bool) -> None:
    found = copy.found()
    packed = copy.copied(tmp_path / "second").pack(found[4].tid)
    assert len(packed.found()[0].digest) == 16
    sides = (packed, copy) if swapped else (copy, packed)
    outcome = compared(*sides)
    (pair,) = outcome.pairs
    assert not outcome.is_damaged, pair.findings
    assert pair.superseded > 0
    assert pair.unreachable > 0
    assert "packed away on one side" in "\n".join(Report(outcome).lines())


def test_packs_to_different_times_are_explained(copy: Copy, tmp_path: Path) -> None:
    found = copy.found()
    other = copy.copied(tmp_path / "second").pack(found[5].tid)
    copy.pack(found[2].tid)
    outcome = compared(copy, other)
    assert not outcome.is_damaged, outcome.pairs[0].findings
    copy.pack(found[5].tid)
    outcome = compared(copy, other)
    assert not outcome.is_damaged
    assert outcome.pairs[0].superseded == 0


def test_a_pack_does_not_hide_damage(copy: Copy, tmp_path: Path) -> None:
    found = copy.found()
    packed = copy.copied(tmp_path / "second").pack(found[4].tid)
    contents = packed.volume.data_file.read_bytes()
    kept = contents.index(b"x" * 100, packed.position(found[3].tid))
    packed.damage(kept, b"y")
    (pair,) = compared(copy, packed).pairs
    assert [finding.tid for finding in pair.findings] == [found[3].tid]
    assert "differs in 1 record" in pair.findings[0].text


def test_a_pack_does_not_hide_what_was_lost(copy: Copy, tmp_path: Path) -> None:
    found = copy.found()
    packed = copy.copied(tmp_path / "second").pack(found[4].tid)
    copy.pack(found[1].tid)
    assert not compared(packed, copy, first_leads=False).is_damaged
    # The transaction that the pack kept for its newest records.
    lost = found[4].tid
    assert packed.found()[[one.tid for one in packed.found()].index(lost)].packed
    (pair,) = compared(copy, packed.without(lost, tmp_path / "third")).pairs
    assert [finding.tid for finding in pair.findings] == [lost]
    assert "which no pack removes" in pair.findings[0].text


def test_a_pack_in_the_meantime_is_explained(copy: Copy, tmp_path: Path) -> None:
    """The other side is packed just when this one has been read."""
    last = copy.found()[-1].tid
    other = copy.copied(tmp_path / "second")

    class PackedMeanwhile(VolumeSide):
        def transactions(self, *arguments: Any) -> Iterator[TransactionDigest]:
            if not any(one.packed for one in copy.found()):
                copy.pack(last)
            return super().transactions(*arguments)

    outcome = compare([PackedMeanwhile(copy.volume), VolumeSide(other.volume)])
    assert not outcome.is_damaged, outcome.pairs[0].findings
    assert outcome.pairs[0].superseded > 0


def test_the_end_of_a_replica_is_not_explained_by_a_pack(copy: Copy, tmp_path: Path) -> None:
    """A primary that was packed past its replica's end: whether both diverged cannot be told."""
    behind = copy.copied(tmp_path / "second")
    behind.write(20)
    copy.write(30, 31, 32)
    last = copy.found()[-1].tid
    copy.pack(last)
    (pair,) = compared(copy, behind).pairs
    assert pair.findings[-1].tid == behind.found()[-1].tid


def verified(copy: Copy, place: int) -> Verified:
    one = copy.found()[place]
    return Verified(one.tid, one.digest, 0.0)


def test_only_what_is_new(copy: Copy, tmp_path: Path) -> None:
    other = copy.copied(tmp_path / "second")
    known = verified(copy, 5)
    outcome = compared(copy, other, remembered=[known])
    assert not outcome.is_damaged
    assert [read.transactions for read in outcome.read] == [3, 3]
    assert outcome.pairs[0].last == copy.found()[-1].tid
    # Nothing new: the last one is looked at again.
    outcome = compared(copy, other, remembered=[verified(copy, 7)])
    assert [read.transactions for read in outcome.read] == [1, 1]
    assert not outcome.is_damaged


def test_what_was_verified_has_changed(copy: Copy, tmp_path: Path) -> None:
    other = copy.copied(tmp_path / "second")
    known = verified(copy, 5)
    stale = Verified(known.tid, b"?" * 16, 0.0)
    (pair,) = compared(copy, other, remembered=[stale]).pairs
    assert "no longer what was verified" in pair.findings[0].text
    between = Verified(known.tid[:-1] + bytes([known.tid[-1] ^ 1]), known.digest, 0.0)
    (pair,) = compared(copy, other, remembered=[between]).pairs
    assert "is on neither side now" in pair.findings[0].text
    for one in (copy, other):
        one.cut(copy.found()[4].tid) if one is other else None
    (pair,) = compared(copy, other, remembered=[known]).pairs
    assert f"but {other.volume.root} has gone back" in pair.findings[0].text


def test_what_was_verified_may_have_been_packed(copy: Copy, tmp_path: Path) -> None:
    other = copy.copied(tmp_path / "second")
    known, last = verified(copy, 3), copy.found()[-1].tid
    copy.pack(last)
    assert not compared(copy, other, remembered=[known]).is_damaged
    other.pack(last)
    assert not compared(copy, other, remembered=[known]).is_damaged


def test_one_volume_alone(copy: Copy) -> None:
    outcome = compared(copy)
    assert not outcome.is_damaged
    assert not outcome.pairs
    assert Report(outcome).summary() == f"{copy.volume.root} is sound in 8 transactions"
    copy.damage(copy.position(copy.found()[3].tid) + 16, b"x")
    report = Report(compared(copy))
    assert report.exit_code == 65
    assert "damage on" in report.summary()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """Nobody changes it."""
    return Copy.new(tmp_path_factory.mktemp("sound")).write(1, 2, 3)


@settings(max_examples=150)
@given(data=st.data())
def test_no_damage_is_the_same(
    data: st.DataObject, sound: Copy, tmp_path_factory: pytest.TempPathFactory
) -> None:
    contents = sound.volume.data_file.read_bytes()
    position = data.draw(st.integers(0, len(contents) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda other: other != contents[position]))
    other = Copy.new(tmp_path_factory.mktemp("damaged"))
    other.volume.blob_dir.symlink_to(sound.volume.blob_dir)
    other.volume.data_file.write_bytes(contents)
    other.damage(position, bytes([byte]))
    is_status = contents[position - 16 : position - 8] in {one.tid for one in sound.found()}
    outcome = compared(sound, other)
    # The one byte that may change is the status of the first transaction, to "packed".
    assert outcome.is_damaged or (is_status and byte == ord("p"))


def test_documents_hold_everything(copy: Copy, tmp_path: Path) -> None:
    other = copy.copied(tmp_path / "second")
    other.damage(copy.position(copy.found()[3].tid) + 16, b"x")
    document = Report(compared(copy, other)).document()
    assert document["ok"] is False
    assert document["sides"][1]["damaged"] == 1
    assert document["sides"][1]["faults"][0]["transaction"] == copy.found()[3].tid.hex()
    assert document["pairs"][0]["same"] == 8
