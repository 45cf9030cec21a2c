"""Puts the ``Data.fs`` of a backup together again, piece by piece."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from backup.errors import DamagedBackup
from backup.files import decompress
from backup.place import Backup
from backup.progress import Progress


def assemble(
    chain: Sequence[Backup], data_file: Path, progress: Progress
) -> Iterator[tuple[Backup, DamagedBackup | None]]:
    """Write *data_file*, and give each backup of *chain* once all of its bytes are in it.

    Ends after the first one whose piece is damaged, which is given with the reason.

    Parameters
    ----------
    chain
        A full backup and those that follow it, oldest first.
    data_file
        Does not exist.
    progress
        Is told how far it is.

    Raises
    ------
    OSError
        It cannot be written.
    """
    total = sum(link.manifest.end - link.manifest.begin for link in chain)
    advance = progress.begin("Data.fs", total)
    with data_file.open("xb") as file:
        for link in chain:
            stored = link.manifest.data
            try:
                if stored is not None:
                    source = link.folder / stored.name
                    decompress(source, file, stored.size, stored.digest, advance)
            except DamagedBackup as error:
                yield link, error
                return
            file.flush()
            yield link, None
        os.fsync(file.fileno())


def write_index(chain: Sequence[Backup], data_file: Path) -> None:
    """Write the index beside *data_file*, with which a server starts without reading it all.

    Raises
    ------
    DamagedBackup
        The index is damaged.
    OSError
        It cannot be written.
    """
    for link in reversed(chain):
        stored = link.manifest.index
        if stored is not None:
            with Path(f"{data_file}.index").open("xb") as file:
                source = link.folder / stored.name
                decompress(source, file, stored.size, stored.digest, lambda _: None)
                file.flush()
                os.fsync(file.fileno())
            return
