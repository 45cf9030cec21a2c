"""Packing in a server, whoever asks for it: ``dqm pack``, ``zeopack`` or another client."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dqm_db.volume.layout import Volume, bytes_below
from dqm_db.volume.maintenance import maintaining
from dqm_db.volume.syncing import sync_file


def pack_served(files: Any, pack: Callable[[], object]) -> dict[str, float]:
    """Call *pack* when no backup copies the volume, and say what it has gained.

    Parameters
    ----------
    files
        The open FileStorage.
    pack
        Packs it.

    Returns
    -------
    dict
        ``file_before``, ``file_after``, ``blobs_before``, ``blobs_after`` in bytes, ``seconds``.

    Raises
    ------
    MaintenanceUnderWay
        A backup, or another pack, is under way.
    """
    data_file = Path(files.getName()).absolute()
    volume = Volume(data_file.parent.parent)
    with maintaining(volume, "a pack"):
        started = time.monotonic()
        found = {"file_before": files.getSize(), "blobs_before": _blobs(files)}
        pack()
        volume.packed.touch()
        return found | {
            "file_after": files.getSize(),
            "blobs_after": _blobs(files),
            "seconds": time.monotonic() - started,
        }


def sync_packs(files: Any) -> None:
    """Let every pack have its new file on the disk before that takes the place of the old one.

    FileStorage renames what it has just written, and then removes the old file and blobs. If power
    failed in the seconds after a pack, neither the new nor the old one might be there.

    Parameters
    ----------
    files
        The open FileStorage.
    """
    stock = files.packer

    def packer(storage: Any, *args: Any) -> Any:
        packed = stock(storage, *args)
        if packed is None:  # nothing to remove, thus no new file
            return None
        path = Path(f"{storage._file_name}.pack")
        try:
            sync_file(path)
        except BaseException:
            storage._commit_lock.release()  # which the packer has left to its caller
            path.unlink(missing_ok=True)
            raise
        return packed

    files.packer = packer


def _blobs(files: Any) -> int:
    return bytes_below(Path(files.blob_dir)) if files.blob_dir else 0
