"""Of which database a volume is, and in which epoch, at one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ZODB.FileStorage.FileStorage import FileStorage, FileStorageError
from ZODB.FileStorage.format import CorruptedError
from ZODB.POSException import POSKeyError
from ZODB.utils import p64, u64, z64

from dqm_db.volume.database_identity import created
from dqm_db.volume.errors import DamagedData
from dqm_db.volume.fence import Fence


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a backup says of its database.

    Attributes
    ----------
    database : float or None
        When it was created, Unix seconds; None: nothing was stored in it yet.
    epoch : int
    """

    database: float | None
    epoch: int

    @classmethod
    def read(cls, data_file: Path, tid: bytes | None = None) -> Self:
        """That of a ``Data.fs``, whose server may be running, up to *tid*; by default to its end.

        Raises
        ------
        DamagedData, DamagedFence
            It cannot be read.
        """
        try:
            storage = FileStorage(str(data_file), read_only=True)
        except (FileStorageError, CorruptedError) as error:
            raise DamagedData(
                f"{data_file} is damaged ({error}): restore it, or make the backup of a replica"
            ) from error
        before = p64(u64(storage.lastTransaction() if tid is None else tid) + 1)

        def record_of(oid: bytes) -> bytes | None:
            try:
                found = storage.loadBefore(oid, before)
            except POSKeyError:  # nothing was ever written
                return None
            return None if found is None else found[0]

        try:
            top = record_of(z64)
            epoch = Fence().epoch if top is None else Fence.of_record(top).epoch
            return cls(created(record_of), epoch)
        finally:
            storage.close()
