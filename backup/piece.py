"""The part of ``Data.fs`` that a backup adds, cut by ZODB's own ``repozo``.

repozo decides whether only the end has to be copied, finds the last finished transaction of a file
that a server is writing to, and copies up to there with the index that belongs to it. It does so in
a folder of its own, below the unfinished backup, for these reasons:

* It compresses with gzip at its slowest, so it copies plainly here and the copy is compressed then.
* It writes the copy first and its ``.dat`` afterwards; a backup that was killed in between counts.
* It names files by the second, and splits the lines of its ``.dat`` at blanks, also at those of the
  path.
* It takes a copy of nothing for unchanged, whatever the file holds by now.

With ``-Q``, which is how it is called, it compares only the newest copied piece with the file, and
here only the last `COMPARED` bytes of that. It is enough to notice a pack and a restored volume:
both move or replace the bytes there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from ZODB.FileStorage.FileStorage import FileStorageError
from ZODB.FileStorage.format import CorruptedError
from ZODB.scripts import repozo

from backup.manifest import Manifest
from dqm_db.volume.errors import DamagedData

COMPARED = 16_000_000
"""Bytes before its end that have to be the same for an incremental backup."""

_FULL = "1970-01-01-00-00-00"
"""The name that repozo finds for the full backup at the beginning of the chain."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of ``Data.fs`` from *begin* to *end*.

    Attributes
    ----------
    is_full : bool
        Whether it is the whole file.
    data, index : Path or None
        The copy, and the index up to *end*; None when nothing has changed.
    compare_from : int
    md5 : str
        MD5 of the bytes from there on, of which there are at most `COMPARED`.
    """

    is_full: bool
    begin: int
    end: int
    data: Path | None
    index: Path | None
    compare_from: int
    md5: str


def cut_piece(data_file: Path, chain: Sequence[Manifest], folder: Path) -> Piece:
    """Copy what *chain*, a full backup and those that follow it, lacks of *data_file*.

    All of it when *chain* is empty, or when the file does not continue it.

    Parameters
    ----------
    data_file
        Of a server that may be running.
    chain
        Oldest first.
    folder
        For the copy; it does not exist.

    Raises
    ------
    DamagedData
        It is no FileStorage, or is damaged.
    OSError
        It cannot be read, or the copy cannot be written.
    """
    folder.mkdir()
    # A piece of no bytes is the same in every file, so it proves nothing.
    proven = [link for link in chain if link.data is not None]
    if proven:
        (folder / f"{_FULL}.fs").touch()
        lines = [f"{link.name} {link.compare_from} {link.end} {link.md5}\n" for link in proven]
        (folder / f"{_FULL}.dat").write_text("".join(lines), "ascii")
    before = set(folder.iterdir())
    options = SimpleNamespace(
        mode=repozo.BACKUP,
        file=str(data_file),
        repository=str(folder),
        full=not proven,
        quick=True,
        gzip=False,
        killold=False,
        date=None,
    )
    try:
        repozo.do_backup(options)
    except (FileStorageError, CorruptedError) as error:
        raise DamagedData(
            f"{data_file} is damaged ({error}): restore it, or make the backup of a replica"
        ) from error
    except AssertionError as error:  # repozo's word for fewer bytes than there were
        raise DamagedData(
            f"{data_file} became shorter while it was copied, as by a pack that does not take our "
            "lock: make the backup again"
        ) from error
    made = {path.suffix: path for path in set(folder.iterdir()) - before}
    if ".fs" not in made and ".deltafs" not in made:
        end = chain[-1].end
        return Piece(False, end, end, None, None, end, "")
    is_full = ".fs" in made
    dat = made[".dat"] if is_full else folder / f"{_FULL}.dat"
    *_, first, last, md5 = dat.read_bytes().splitlines()[-1].rsplit(None, 3)
    piece = made[".fs" if is_full else ".deltafs"]
    begin, end = int(first), int(last)
    if begin == end:  # the file is longer, but by a transaction that is not finished
        return Piece(False, end, end, None, None, end, "")
    compare_from = max(begin, end - COMPARED)
    if compare_from > begin:
        with piece.open("rb") as file:
            file.seek(compare_from - begin)
            md5 = repozo.checksum(file, end - compare_from).encode()
    return Piece(is_full, begin, end, piece, made[".index"], compare_from, md5.decode())
