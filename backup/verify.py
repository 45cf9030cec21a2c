"""Checks backups: puts their ``Data.fs`` together, reads every record and blob."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backup.assemble import assemble
from backup.check import MOST_FAULTS, RecordCheck
from backup.errors import DamagedBackup
from backup.files import Advance, copy, require_room, writing
from backup.manifest import StoredBlob
from backup.place import VERIFYING, Backup, BackupPlace, Backups, Verification
from backup.pool import BlobPool
from backup.progress import Progress
from backup.reading import DataFile


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found in a backup: faults, which are those of all it needs, too; none: it is sound.

    Attributes
    ----------
    name : str
    faults : tuple of str
    transactions, bytes : int
        How many transactions it holds, and bytes of ``Data.fs`` and blobs.
    """

    name: str
    faults: tuple[str, ...]
    transactions: int = 0
    bytes: int = 0


class Verifier:
    """Verifies backups of one place; blobs that several of them need only once.

    Parameters
    ----------
    place
        The folder of backups.
    backups
        What is in it.
    work
        Folder with room for a whole ``Data.fs``; that of the backups when None.
    progress
        Is told how far it is.
    """

    def __init__(
        self,
        place: BackupPlace,
        backups: Backups,
        work: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.place = place
        self.backups = backups
        self.work = work or place.root
        self.progress = progress or Progress()
        self.not_kept: str | None = None
        """Why what was found could not be kept beside the backups; they are a copy to be read."""
        self._pool = BlobPool(place.blobs, {})
        self._seen: dict[StoredBlob, str | None] = {}

    def verify_all(self) -> list[Verified]:
        """Verify all backups, each piece of them once; oldest first."""
        followed = {one.manifest.follows for one in self.backups.found}
        done = {name: Verified(name, (text,)) for name, text in self.backups.damaged.items()}
        for backup in self.backups.found:
            if backup.name not in followed:
                done |= {one.name: one for one in self.verify(backup)}
        return [done[name] for name in sorted(done)]

    def verify(self, backup: Backup) -> list[Verified]:
        """Verify *backup*, the last one of the result, and those that it needs.

        What was found is kept beside each of them.

        Raises
        ------
        BackupUnwritable, BackupFailed
            There is no room to put it together.
        """
        try:
            chain = self.backups.chain(backup)
        except DamagedBackup as error:
            return [self._kept(backup, Verified(backup.name, (str(error),)))]
        with self._folder(backup.manifest.end) as folder:
            found = list(self._verify(chain, folder / "Data.fs"))
        lost = [
            Verified(link.name, found[-1].faults) for link in chain[len(found) :]
        ]  # what follows a piece that is damaged
        return [self._kept(link, one) for link, one in zip(chain, [*found, *lost], strict=True)]

    def _verify(self, chain: Sequence[Backup], data_file: Path) -> Iterator[Verified]:
        check = RecordCheck()
        faults: list[str] = []
        size = 0
        for link, error in assemble(chain, data_file, self.progress):
            if error is not None:
                yield Verified(link.name, (*faults, str(error)))
                return
            manifest = link.manifest
            keys = [(blob.oid, blob.tid) for blob in manifest.blobs]
            if manifest.data is not None:
                with DataFile(data_file) as file:
                    faults += check.advance(file, manifest.end, keys)
            if check.tid.hex() != manifest.tid:
                faults.append(f"its last transaction is {check.tid.hex()}, not {manifest.tid}")
            advance = self.progress.begin("blobs", sum(blob.size for blob in manifest.blobs))
            faults += filter(None, (self._fault_of(blob, advance) for blob in manifest.blobs))
            size += manifest.bytes
            if len(faults) > MOST_FAULTS:
                faults[MOST_FAULTS:] = ["there is more"]
            yield Verified(link.name, tuple(faults), check.transactions, size)

    def _fault_of(self, blob: StoredBlob, advance: Advance) -> str | None:
        if blob not in self._seen:
            self._seen[blob] = self._read(blob, advance)
        return self._seen[blob]

    def _read(self, blob: StoredBlob, advance: Advance) -> str | None:
        path = self._pool.path((blob.oid, blob.tid))
        try:
            with path.open("rb", buffering=0) as file:
                found = copy(file, None, advance)
        except OSError as error:
            return f"{path} cannot be read ({error.strerror})"
        return None if found == (blob.size, blob.digest) else f"{path} is damaged"

    @contextmanager
    def _folder(self, size: int) -> Iterator[Path]:
        with writing("verifying", self.work):
            require_room(self.work, size, "putting the backup together")
            folder = Path(tempfile.mkdtemp(prefix=VERIFYING, dir=self.work))
            try:
                yield folder
            finally:
                shutil.rmtree(folder)

    def _kept(self, backup: Backup, found: Verified) -> Verified:
        text = "; ".join(found.faults)
        try:
            Verification(time.time(), not found.faults, text).write(backup.folder)
        except OSError as error:
            self.not_kept = f"{backup.folder}: {error.strerror}"
        return found
