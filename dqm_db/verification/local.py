"""A volume on this host as a side, read without a server."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence

from ZODB.FileStorage import FileStorage
from ZODB.POSException import POSKeyError

from dqm_db.verification.sides import before
from dqm_db.volume.digests import DigestReader, TransactionDigest, read_digests
from dqm_db.volume.errors import DamagedData
from dqm_db.volume.layout import Volume
from dqm_db.volume.reachable import reachable_among
from dqm_db.volume.transactions import NO_TRANSACTION

UNKNOWN = b"\xff" * 8
"""Later than any transaction: nobody knows which one is the last."""


class VolumeSide:
    """A volume; a server may be running on it.

    Parameters
    ----------
    volume

    Raises
    ------
    DamagedData
        It has no ``Data.fs`` that can be opened.
    """

    def __init__(self, volume: Volume) -> None:
        self.name = str(volume.root)
        self._volume = volume
        self.last = UNKNOWN
        try:
            reader = DigestReader(volume.data_file, volume.blob_dir)
        except OSError as error:
            raise DamagedData(f"cannot read {volume.data_file} ({error.strerror})") from error
        with reader, contextlib.suppress(DamagedData):  # which will be found in reading
            self.last = reader.last()

    def transactions(
        self, after: bytes, detailed_until: bytes = NO_TRANSACTION
    ) -> Iterator[TransactionDigest]:
        """See `Side`."""
        return read_digests(self._volume, after, detailed_until)

    def packed_until(self, after: bytes) -> bytes:
        """See `Side`."""
        with DigestReader(self._volume.data_file, self._volume.blob_dir) as reader:
            return reader.packed_until(after)

    def one(self, tid: bytes) -> TransactionDigest | None:
        """See `Side`."""
        found = next(read_digests(self._volume, before(tid), tid), None)
        return found if found is not None and found.tid == tid else None

    def current(self, oids: Sequence[bytes]) -> Sequence[bytes]:
        """See `Side`."""
        with contextlib.closing(self._opened()) as storage:
            return [self._current(storage, oid) for oid in oids]

    def reachable(self, oids: Sequence[bytes]) -> Collection[bytes]:
        """See `Side`."""
        with contextlib.closing(self._opened()) as storage:
            return reachable_among(storage, oids)

    def _opened(self) -> FileStorage:
        return FileStorage(str(self._volume.data_file), read_only=True)

    @staticmethod
    def _current(storage: FileStorage, oid: bytes) -> bytes:
        try:
            return storage.getTid(oid)
        except POSKeyError:
            return b""
