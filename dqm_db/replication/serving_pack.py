"""Packing in a server, whoever asks for it: ``dqm pack``, ``zeopack`` or another client."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dqm_db.volume.layout import Volume, bytes_below
from dqm_db.volume.maintenance import maintaining


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


def _blobs(files: Any) -> int:
    return bytes_below(Path(files.blob_dir)) if files.blob_dir else 0
