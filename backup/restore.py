"""Makes a volume from a backup."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from ZODB.blob import FilesystemHelper

from backup.assemble import assemble, write_index
from backup.check import MOST_FAULTS, RecordCheck
from backup.errors import DamagedBackup, RestoreTargetNotEmpty
from backup.files import copy, require_room, sync, sync_all, writing
from backup.place import Backup, BackupPlace
from backup.pool import BlobPool
from backup.progress import Progress
from backup.reading import DataFile
from dqm_db.volume.layout import Volume
from dqm_db.volume.state import RESTORED, VolumeState

UNFINISHED = ".dqm-restore"
"""The folder in the volume in which it grows, so that no server takes it for one before it is."""

_EMPTY = frozenset({"lost+found", UNFINISHED})


def restore(
    place: BackupPlace, chain: Sequence[Backup], volume: Volume, progress: Progress | None = None
) -> None:
    """Make *volume* from the last backup of *chain*, and check all of it.

    Its server begins a new epoch when it first starts as primary, so that replicas and caches that
    know more than the backup are refused.

    Parameters
    ----------
    place
        Where the blobs are.
    chain
        A full backup and those that follow it, oldest first.
    volume
        An empty folder, or none yet.
    progress
        Is told how far it is.

    Raises
    ------
    RestoreTargetNotEmpty
        Something is there; nothing was changed.
    DamagedBackup
        The backup lacks something; nothing was restored.
    BackupUnwritable, BackupFailed
        The folder cannot be used, or its disk is full; nothing was restored.
    """
    try:
        _restore(place, chain, volume, progress or Progress())
    except DamagedBackup as error:
        raise DamagedBackup(
            f"{error}; nothing was restored: take another backup (--backup; `dqm backup list` has "
            "all), or the volume of a replica"
        ) from error


def _restore(
    place: BackupPlace, chain: Sequence[Backup], volume: Volume, progress: Progress
) -> None:
    backup = chain[-1]
    with writing("restoring", volume.root):
        _require_empty(volume.root)
        volume.root.mkdir(mode=0o750, parents=True, exist_ok=True)
        draft = Volume(volume.root / UNFINISHED)
        shutil.rmtree(draft.root, ignore_errors=True)  # of one that was killed
        blobs = sum(blob.size for link in chain for blob in link.manifest.blobs)
        require_room(volume.root, backup.manifest.end + blobs, "the restored volume")
        try:
            draft.data_file.parent.mkdir(parents=True)
            _restore_data(chain, draft, progress)
            _restore_blobs(place, chain, draft, progress)
            _check(chain, draft)
            # Else what comes after an old backup would seem older than those of a later epoch.
            after = max(one.manifest.epoch for one in (*place.read().found, *chain))
            why = f"restored from the backup {backup.name} ({backup.utc})"
            VolumeState(begin_epoch=RESTORED, after_epoch=after, at=time.time(), why=why).write(
                draft
            )
            sync_all(draft.root)
            # Data.fs comes last: without it there is nothing to serve.
            for path in (draft.state, draft.blob_dir, draft.data_file.parent):
                path.rename(volume.root / path.name)
            draft.root.rmdir()
        except BaseException:
            shutil.rmtree(draft.root, ignore_errors=True)  # the next one removes what is left
            raise
        sync(volume.root)


def _require_empty(root: Path) -> None:
    there = sorted(path.name for path in root.iterdir()) if root.exists() else []
    if others := [name for name in there if name not in _EMPTY]:
        advice = "restore into another folder, or move what is there out of the way"
        if UNFINISHED in there:
            advice = f"a restore was killed here, as {UNFINISHED} says: remove what it has left"
        raise RestoreTargetNotEmpty(
            f"{root} is not empty (it holds {', '.join(others[:4])}): {advice}"
        )


def _restore_data(chain: Sequence[Backup], draft: Volume, progress: Progress) -> None:
    for _, error in assemble(chain, draft.data_file, progress):
        if error is not None:
            raise error
    write_index(chain, draft.data_file)


def _restore_blobs(
    place: BackupPlace, chain: Sequence[Backup], draft: Volume, progress: Progress
) -> None:
    pool = BlobPool(place.blobs, {})
    helper = FilesystemHelper(str(draft.blob_dir), layout_name="bushy")
    helper.create()
    blobs = [blob for link in chain for blob in link.manifest.blobs]
    advance = progress.begin("blobs", sum(blob.size for blob in blobs))
    for blob in blobs:
        oid, tid = bytes.fromhex(blob.oid), bytes.fromhex(blob.tid)
        helper.getPathForOID(oid, create=True)
        target = Path(helper.getBlobFilename(oid, tid))
        source = pool.path((blob.oid, blob.tid))
        try:
            # Copied, never linked: what happens to the volume must not happen to the backup.
            with source.open("rb", buffering=0) as stored, target.open("xb") as file:
                done = copy(stored, file, advance)
                os.fchmod(file.fileno(), 0o400)  # as ZODB does
        except FileNotFoundError as error:
            raise DamagedBackup(f"{source} is missing") from error
        if done != (blob.size, blob.digest):
            raise DamagedBackup(f"{source} is damaged")


def _check(chain: Sequence[Backup], draft: Volume) -> None:
    """Raise DamagedBackup unless every record can be loaded and every blob is there."""
    check = RecordCheck()
    helper = FilesystemHelper(str(draft.blob_dir), layout_name="bushy")
    manifest = chain[-1].manifest
    with DataFile(draft.data_file) as file:
        faults = check.advance(
            file,
            manifest.end,
            None,
            lambda oid, tid: Path(helper.getBlobFilename(oid, tid)).exists(),
        )
    if check.tid.hex() != manifest.tid:
        faults.append(f"its last transaction is {check.tid.hex()}, not {manifest.tid}")
    if faults:
        raise DamagedBackup(
            f"backup {manifest.name} is damaged: " + "; ".join(faults[:MOST_FAULTS])
        )
