"""What a pack leaves behind when its server is killed, and how the next start puts it right.

``FileStorage.pack`` writes ``Data.fs.pack``, renames ``Data.fs`` to ``Data.fs.old``, then
``Data.fs.pack`` to ``Data.fs``, and removes the blobs listed in ``.removed`` of their folder.
Killed between both renames it leaves no ``Data.fs``, and a server would begin an empty one in its
place; killed later, blobs that nothing refers to stay for good.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

REMOVED = ".removed"
"""In the folder of the blobs: which ones the pack under way drops."""


def undo_unfinished_pack(data_file: Path, blob_dir: Path) -> bool:
    """Bring back the file as it was before a pack that was cut short, and drop its drafts.

    To be called before the storage is opened, with its lock.

    Returns
    -------
    bool
        Whether the pack was over but for the blobs: call `finish_pack` with the open storage.
    """
    old, draft = _beside(data_file, "old"), _beside(data_file, "pack")
    removed = blob_dir / REMOVED
    if not data_file.exists() and old.exists():
        logger.warning("a pack was cut short: %s is as it was before", data_file)
        old.rename(data_file)
        draft.unlink(missing_ok=True)
        removed.unlink(missing_ok=True)
        return False
    if draft.exists():
        logger.warning("a pack was cut short: removed its %s", draft)
        draft.unlink()
        removed.unlink(missing_ok=True)
        return False
    if not (old.exists() and removed.exists()):
        return False
    _beside(data_file, "index").unlink(missing_ok=True)  # that of the old file
    return True


def finish_pack(storage: Any, data_file: Path) -> None:
    """Remove the blobs, and the old file, that a pack which was cut short had still to remove.

    Parameters
    ----------
    storage
        The open FileStorage for which `undo_unfinished_pack` said so.
    data_file
        Its file.
    """
    logger.warning("a pack was cut short: the blobs that it has dropped are removed now")
    storage._remove_blob_files_tagged_for_removal_during_pack()
    _beside(data_file, "old").unlink(missing_ok=True)


def _beside(data_file: Path, suffix: str) -> Path:
    return data_file.with_name(f"{data_file.name}.{suffix}")
