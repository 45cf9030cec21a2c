"""The pool of blobs, in which each is once, whichever and however many backups need it."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from backup.files import Advance, copy, sync
from backup.manifest import Manifest, StoredBlob
from dqm_db.volume.errors import DamagedData

Key = tuple[str, str]
"""Object and transaction, hexadecimal."""

_COPY_INSTEAD = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP})
"""Why a hard link cannot be made: another file system, a file of another user, too many links."""


class BlobPool:
    """The blobs in *folder*.

    Parameters
    ----------
    folder
        It exists.
    known
        What manifests say of blobs that are in it.
    suspect
        Those that are read before they are trusted: a verification has found fault with a backup
        that needs them.
    """

    def __init__(
        self, folder: Path, known: Mapping[Key, StoredBlob], suspect: Collection[Key] = ()
    ) -> None:
        self.folder = folder
        self._known = dict(known)
        self._suspect = suspect
        self._changed: set[Path] = set()

    def path(self, key: Key) -> Path:
        """Where a blob is."""
        oid, tid = key
        return self.folder / oid[-2:] / f"0x{oid}-0x{tid}.blob"

    def add(self, key: Key, source: Path, advance: Advance) -> StoredBlob:
        """Take the file *source* in, as a hard link where possible; it is read only once, ever.

        A damaged copy is replaced, but never by other bytes than those that were backed up: blobs
        do not change, so then *source* is damaged, and the copy may be all there is.

        Raises
        ------
        DamagedData
            *source* is not what it was.
        OSError
            *source* is missing, or a disk is full or broken.
        """
        size = source.stat().st_size
        known = self._known.get(key)
        if known is not None and known.size != size:
            raise _other(source, known)
        if known is not None and self._has(key, known):
            advance(size)
            return known
        target = self.path(key)
        if target.parent not in self._changed:
            target.parent.mkdir(mode=0o750, exist_ok=True)
            self._changed.add(target.parent)
        draft = target.with_suffix(".part")
        draft.unlink(missing_ok=True)  # left by a backup that was killed
        try:
            os.link(source, draft)
        except OSError as error:
            if error.errno not in _COPY_INSTEAD:
                raise
            size, digest = self._copied(source, draft, advance)
        else:
            with draft.open("rb", buffering=0) as file:
                size, digest = copy(file, None, advance)
                os.fsync(file.fileno())
        blob = StoredBlob(*key, size, digest)
        if known is not None and blob != known:
            draft.unlink()
            raise _other(source, known)
        draft.replace(target)
        draft.unlink(missing_ok=True)  # two links to one file are left as they are
        self._known[key] = blob
        return blob

    def sync(self) -> None:
        """Have on the disk what was added."""
        for folder in sorted(self._changed):
            sync(folder)
        if self._changed:
            sync(self.folder)
        self._changed.clear()

    def drop_all_but(self, needed: Collection[Key]) -> int:
        """Remove every other blob; the bytes that they took."""
        keep = {self.path(key) for key in needed}
        freed = 0
        for path in self.folder.glob("*/*"):
            if path not in keep:
                freed += path.stat().st_size
                path.unlink()
        return freed

    def _has(self, key: Key, known: StoredBlob) -> bool:
        """Whether the blob is in it as it should be; by its size, unless it is suspect."""
        try:
            if self.path(key).stat().st_size != known.size:
                return False
            if key not in self._suspect:
                return True
            with self.path(key).open("rb", buffering=0) as file:
                return copy(file, None, lambda _: None) == (known.size, known.digest)
        except OSError:  # missing, or cannot be read: it is made anew
            return False

    @staticmethod
    def _copied(source: Path, draft: Path, advance: Advance) -> tuple[int, str]:
        with source.open("rb", buffering=0) as blob, draft.open("xb") as file:
            done = copy(blob, file, advance)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o440)
        return done


def _other(source: Path, known: StoredBlob) -> DamagedData:
    return DamagedData(
        f"{source} is damaged: it is not what was backed up before, {known.size} bytes with the "
        f"digest {known.digest}. Put the file of a replica in its place (`dqm verify` finds all "
        "such), or make the backup of a replica"
    )


def known_blobs(manifests: Iterable[Manifest]) -> dict[Key, StoredBlob]:
    """What *manifests* say of blobs."""
    return {(blob.oid, blob.tid): blob for one in manifests for blob in one.blobs}
