"""Blobs are on the disk before the transaction that names them is.

ZODB, ZEO and zc.zrs sync ``Data.fs`` at the end of each transaction, but never a blob, nor the
folders that name it. When power fails soon after a commit, it would be there without its original:
an empty file, or none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dqm_db.volume.syncing import sync_file, sync_folder


def sync_blobs(files: Any) -> None:
    """Let *files* sync each blob before that gets its name, and then the folders.

    Clients, the stream of the primary and undoing all store blobs by the one method that is
    replaced here, before the vote. What cannot be synced raises OSError, so that the transaction
    fails.

    Parameters
    ----------
    files
        The open FileStorage; of its folders, those up to the volume are synced at once.

    Raises
    ------
    OSError
    """
    stock = files._blob_storeblob
    blob_dir = Path(files.blob_dir)
    known: set[Path] = set()  # folders of folders of blobs whose own names are on the disk

    def store(oid: bytes, tid: bytes, draft: str) -> None:
        written = Path(draft)
        sync_file(written)
        inode = written.stat().st_ino
        path = Path(files.fshelper.getBlobFilename(oid, tid))
        folder = path.parent
        if not folder.parent.exists():  # never was, or went with its last blob in a pack
            known.discard(folder.parent)
        stock(oid, tid, draft)
        if path.stat().st_ino != inode:  # another file system, so that it was copied
            sync_file(path)
        sync_folder(folder)
        sync_folder(folder.parent)
        if folder.parent not in known:
            for above in folder.parent.parents:
                if above == blob_dir.parent:
                    break
                sync_folder(above)
            known.add(folder.parent)

    files._blob_storeblob = store
    data_dir = Path(files.getName()).absolute().parent
    for folder in dict.fromkeys((blob_dir, data_dir, blob_dir.parent, data_dir.parent)):
        sync_folder(folder)
