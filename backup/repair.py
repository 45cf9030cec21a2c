"""Cuts a copy that ``tar`` made of a live volume where its blobs end.

When tar reads the blobs before ``Data.fs``, the copy has transactions that were committed meanwhile
but not their blobs. What was committed before tar started is whole in either order: blobs are never
changed, and of ``Data.fs`` only the end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from persistent.TimeStamp import TimeStamp
from ZODB.blob import FilesystemHelper

from backup.errors import TooMuchToCut
from backup.files import copy, require_room, sync, writing
from backup.reading import DataFile, Transaction
from dqm_db.volume.errors import DamagedData
from dqm_db.volume.layout import Volume
from dqm_db.volume.state import RESTORED, VolumeState
from dqm_db.volume.transactions import NO_TRANSACTION, START

LONGEST = 6 * 3600.0
"""Seconds between the first and the last transaction that are cut, beyond which it is refused."""

MOST_UNREADABLE = 64_000_000
"""Bytes at the end that may be no whole transactions: several, as tar finds them half written."""

_BESIDE_DATA = ("index", "index.index_tmp", "tmp")


@dataclass(frozen=True, slots=True)
class Repair:
    """What is cut, or would be.

    Attributes
    ----------
    end : int
        Where the last whole transaction ends in ``Data.fs``.
    tid : bytes
        The last whole transaction.
    cut : tuple of Transaction
        Those that are cut; incomplete ones at the end not counted.
    bytes : int
        What is cut of ``Data.fs``.
    unreadable : int
        How many of these are no whole transaction.
    blobs : tuple of Path
        Blobs of transactions that are not, or no more, in it.
    aside : Path
        Where both are kept.
    """

    end: int
    tid: bytes
    cut: tuple[Transaction, ...]
    bytes: int
    unreadable: int
    blobs: tuple[Path, ...]
    aside: Path


def plan_repair(volume: Volume) -> Repair:
    """Find the last transaction up to which all blobs exist; nothing is changed.

    Raises
    ------
    DamagedData
        It has a ``Data.fs`` that is none.
    OSError
        It cannot be read.
    """
    helper = FilesystemHelper(str(volume.blob_dir))
    end, tid = START, NO_TRANSACTION
    cut: list[Transaction] = []
    with DataFile(volume.data_file) as file:
        size = file.size
        for transaction in _whole(file):
            if cut or not _has_blobs(file, transaction, helper):
                cut.append(transaction)
            else:
                end, tid = transaction.end, transaction.tid
    end = min(end, size)
    last = cut[-1].end if cut else end
    return Repair(
        end,
        tid,
        tuple(cut),
        size - end,
        size - last,
        tuple(_later_blobs(volume, tid)),
        volume.root / f"cut-after-{tid.hex()}",
    )


def repair(volume: Volume, *, however_much: bool = False, dry_run: bool = False) -> Repair:
    """Do it, and mark the volume as restored. What is cut is kept beside.

    Parameters
    ----------
    volume
        On which no server runs.
    however_much
        Cut also what tar cannot have missed.
    dry_run
        Change nothing.

    Raises
    ------
    DataInUse
        A server runs on it.
    DamagedData
        There is no ``Data.fs``, or it is none.
    DataUnwritable
    TooMuchToCut
        The blob that is missing belongs to an old transaction; nothing was changed.
    BackupUnwritable, BackupFailed
        There is no room to keep what is cut; nothing was cut.
    """
    if not volume.data_file.exists():
        raise DamagedData(
            f"there is no {volume.data_file}: give the folder that the copy was restored to"
        )
    with volume.locked(), writing("the repair", volume.root):
        found = plan_repair(volume)
        if not however_much:
            _require_little(volume, found)
        if dry_run:
            return found
        if found.bytes or found.blobs:
            _keep(volume, found)
            with volume.data_file.open("r+b") as file:
                file.truncate(found.end)
            sync(volume.data_file)
        for suffix in _BESIDE_DATA:  # they belong to another moment; the index is made again
            Path(f"{volume.data_file}.{suffix}").unlink(missing_ok=True)
        state = VolumeState.read(volume)
        if state.begin_epoch is None:
            why = f"restored from a copy, up to transaction {found.tid.hex()}"
            VolumeState(begin_epoch=RESTORED, at=time.time(), why=why).write(volume)
    return found


def time_of(tid: bytes) -> float:
    """When a transaction was committed, Unix seconds."""
    return float(TimeStamp(tid).timeTime())


def _whole(file: DataFile) -> Iterator[Transaction]:
    """The transactions of *file* up to the first one that is not whole.

    tar reads the end of the file while transactions are written, or taken back, there.
    """
    try:
        yield from file.transactions()
    except DamagedData:
        if file.size < START or not file.is_data_file():
            raise


def _has_blobs(file: DataFile, transaction: Transaction, helper: FilesystemHelper) -> bool:
    return all(
        Path(helper.getBlobFilename(record.oid, transaction.tid)).exists()
        for record in transaction.records
        if file.is_blob(record)
    )


def _later_blobs(volume: Volume, tid: bytes) -> Iterator[Path]:
    """Blobs of transactions after *tid*."""
    for path in sorted(volume.blob_dir.glob("0x*/**/0x*.blob")):
        try:
            later = int(path.stem, 16) > int.from_bytes(tid, "big")
        except ValueError:
            continue  # not named by ZODB
        if later:
            yield path


def _require_little(volume: Volume, found: Repair) -> None:
    if found.unreadable > MOST_UNREADABLE:
        raise TooMuchToCut(
            f"{volume.data_file} is damaged: its last {found.unreadable} bytes are no "
            "transactions, more than tar can have found half written. Nothing was changed. Take "
            "another copy; --however-much cuts all the same"
        )
    if not found.cut:
        return
    first, last = time_of(found.cut[0].tid), time_of(found.cut[-1].tid)
    if last - first > LONGEST:
        since = datetime.fromtimestamp(first, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        raise TooMuchToCut(
            f"{volume.root} lacks a blob of {found.cut[0].description!r}, and {len(found.cut)} "
            f"transactions since {since} would have to be cut: more than tar can have missed. "
            "Nothing was changed. Take another copy, or bring the blob back; --however-much cuts "
            "all the same"
        )


def _keep(volume: Volume, found: Repair) -> None:
    """Copy what is cut of Data.fs, and move the blobs that belong to it, to *found.aside*."""
    require_room(volume.root, found.bytes, "keeping what is cut")
    found.aside.mkdir(mode=0o750, exist_ok=True)  # it exists when a repair was killed here
    with (
        volume.data_file.open("rb") as file,
        (found.aside / f"Data.fs-from-byte-{found.end}").open("wb") as target,
    ):
        file.seek(found.end)
        copy(file, target, lambda _: None)
        target.flush()
        os.fsync(target.fileno())
    for path in found.blobs:
        target_path = found.aside / path.relative_to(volume.root)
        target_path.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target_path)
    sync(found.aside)
    sync(volume.root)
