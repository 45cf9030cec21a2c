"""The pool of blobs, in which each is once, whichever and however many backups need it."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from backup.files import Advance, copy, sync
from backup.manifest import Manifest, StoredBlob

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
    """

    def __init__(self, folder: Path, known: Mapping[Key, StoredBlob]) -> None:
        self.folder = folder
        self._known = dict(known)
        self._changed: set[Path] = set()

    def path(self, key: Key) -> Path:
        """Where a blob is."""
        oid, tid = key
        return self.folder / oid[-2:] / f"0x{oid}-0x{tid}.blob"

    def holds(self, key: Key, size: int) -> bool:
        """Whether the blob is in it with a known digest."""
        known = self._known.get(key)
        return known is not None and known.size == size == self._size(key)

    def add(self, key: Key, source: Path, advance: Advance) -> StoredBlob:
        """Take the file *source* in, as a hard link where possible; reads it only once, ever.

        Raises
        ------
        OSError
            *source* is missing, or a disk is full or broken.
        """
        size = source.stat().st_size
        if self.holds(key, size):
            advance(size)
            return self._known[key]
        target = self.path(key)
        if target.parent not in self._changed:
            target.parent.mkdir(mode=0o750, exist_ok=True)
            self._changed.add(target.parent)
        target.unlink(missing_ok=True)  # left by a backup that was killed
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in _COPY_INSTEAD:
                raise
            size, digest = self._copied(source, target, advance)
        else:
            with target.open("rb", buffering=0) as file:
                size, digest = copy(file, None, advance)
                os.fsync(file.fileno())
        blob = StoredBlob(*key, size, digest)
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

    def _size(self, key: Key) -> int | None:
        try:
            return self.path(key).stat().st_size
        except FileNotFoundError:
            return None

    @staticmethod
    def _copied(source: Path, target: Path, advance: Advance) -> tuple[int, str]:
        draft = target.with_suffix(".part")
        with source.open("rb", buffering=0) as blob, draft.open("wb") as file:
            done = copy(blob, file, advance)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o440)
        draft.replace(target)
        return done


def known_blobs(manifests: Iterable[Manifest]) -> dict[Key, StoredBlob]:
    """What *manifests* say of blobs."""
    return {(blob.oid, blob.tid): blob for one in manifests for blob in one.blobs}
