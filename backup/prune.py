"""Removes backups that are not to be kept, then the blobs that no backup needs any more."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from backup.files import sync, writing
from backup.place import UNFINISHED, VERIFYING, BackupPlace, Backups
from backup.pool import BlobPool, known_blobs
from backup.retention import Candidate, Keep, kept


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed, or would be: names, oldest first, and bytes.

    ``blobs_left`` says why no blobs were removed: some backup cannot be read, so nobody knows
    which ones it needs.
    """

    names: tuple[str, ...]
    freed: int
    blobs_left: str | None = None


def prune(place: BackupPlace, keep: Keep, *, dry_run: bool = False) -> Pruned:
    """Remove what *keep* does not name, see `backup.retention.kept`.

    Folders that cannot be read stay. With *dry_run* nothing is changed.

    Raises
    ------
    BackupNotFound, BackupsLocked, BackupUnwritable, BackupFailed
    """
    with place.reading() if dry_run else place.removing(), writing("removing backups", place.root):
        backups = place.read()
        stay = kept(candidates(backups), keep)
        gone = [one for one in backups.found if one.name not in stay]
        freed = sum(one.manifest.stored for one in gone)
        names = tuple(one.name for one in gone)
        if dry_run:
            return Pruned(names, freed + _unneeded(backups, stay))
        place.clear(UNFINISHED, VERIFYING)
        # The newest first: what is left when this is killed still has all that it needs.
        for one in reversed(gone):
            # From its name on it is a backup no more, however far the removal comes.
            doomed = one.folder.rename(place.root / f"{UNFINISHED}{one.name}")
            sync(place.root)
            shutil.rmtree(doomed)
        if backups.damaged:
            return Pruned(names, freed, blobs_left="; ".join(backups.damaged.values()))
        left = known_blobs(one.manifest for one in backups.found if one.name in stay)
        return Pruned(names, freed + BlobPool(place.blobs, {}).drop_all_but(left))


def candidates(backups: Backups) -> list[Candidate]:
    """What `backup.retention` has to know of *backups*."""
    return [
        Candidate(
            one.name,
            one.manifest.time,
            one.age,
            one.manifest.follows,
            backups.is_usable(one),
            one.verification is not None and one.verification.ok,
        )
        for one in backups.found
    ]


def _unneeded(backups: Backups, stay: set[str]) -> int:
    """Bytes of the blobs that only backups beside those in *stay* need."""
    if backups.damaged:
        return 0
    needed = known_blobs(one.manifest for one in backups.found if one.name in stay)
    known = known_blobs(one.manifest for one in backups.found)
    return sum(blob.size for key, blob in known.items() if key not in needed)
