"""Digests of the transactions of a volume, to compare it with another one or to find damage.

The digest of a transaction covers all that it means: its id, user, description, extension, and of
each record the object's id, the data and the blob. It does not cover what a pack or the place in
the file changes; those bytes (lengths, positions, status) are checked instead. So each byte of a
``Data.fs`` either goes into a digest or can be found to be wrong.

The format is described in ``ZODB.FileStorage.format`` and :mod:`dqm_db.volume.transactions`.
Nothing stored is ever loaded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from ZODB._compat import FILESTORAGE_MAGIC
from ZODB.blob import FilesystemHelper
from ZODB.FileStorage.format import TRANS_HDR_LEN
from ZODB.utils import p64, u64

from dqm_db.volume.errors import DamagedData
from dqm_db.volume.headers import LENGTH, TransactionHeader
from dqm_db.volume.layout import Volume
from dqm_db.volume.record_digests import DIGEST_BYTES, FileReplaced, RecordDigest, RecordReader
from dqm_db.volume.transaction_file import TransactionFile
from dqm_db.volume.transactions import NO_TRANSACTION, START
from dqm_db.volume.windows import FileEnds

LISTED = 20
"""Faults of one transaction that are told."""


@dataclass(frozen=True, slots=True)
class Detail:
    """What else is known of a transaction.

    Attributes
    ----------
    metadata : bytes
        Digest of its id, user, description and extension.
    description : bytes
        As it was stored, most often UTF-8.
    records : tuple of RecordDigest
        In the order of the file.
    """

    metadata: bytes
    description: bytes
    records: tuple[RecordDigest, ...]


@dataclass(frozen=True, slots=True)
class TransactionDigest:
    """One transaction of a volume.

    Attributes
    ----------
    tid : bytes
        Its id; of a damaged one perhaps only one that fits in between its neighbours.
    digest : bytes
        Of `DIGEST_BYTES`.
    records, bytes : int
        How many records it has, and what they and their blobs take on the disk.
    packed : bool
        Whether a pack looked at it, so that records may have been removed.
    faults : tuple of str
        What is wrong with it on this disk, for people; empty when it is sound.
    detail : Detail or None
        Only when it was asked for.
    """

    tid: bytes
    digest: bytes
    records: int
    bytes: int
    packed: bool
    faults: tuple[str, ...] = ()
    detail: Detail | None = None


class DigestReader(TransactionFile):
    """Reads the transactions of a ``Data.fs`` in order, and the blobs that belong to them.

    Parameters
    ----------
    data_file, end
        See `TransactionFile`.
    blob_dir
        Where its blobs are.

    Raises
    ------
    OSError
        The file cannot be opened.
    """

    def __init__(self, data_file: Path, blob_dir: Path, end: int | None = None) -> None:
        super().__init__(data_file, end)
        blobs = FilesystemHelper(str(blob_dir))
        self._records = RecordReader(self.descriptor, self.window, data_file, blobs)
        self._records.end = self.end
        self._position, self._last = START, NO_TRANSACTION
        self._rewind()

    def move_end(self, end: int) -> None:
        """Read up to *end*, after more transactions were finished."""
        self.end = self._records.end = end

    def seek(self, after: bytes) -> None:
        """Let `read` go on with the first transaction later than *after*; cheap where it stands.

        Raises
        ------
        DamagedData
            The file is too damaged to find the place.
        """
        if after == self._last:
            return
        if after == NO_TRANSACTION:
            self._rewind()
        else:
            self._position = self.position_after(after)
            self._records.restart(whole=False)
        self._last = after

    def _rewind(self) -> None:
        self._position, self._last = START, NO_TRANSACTION
        self._records.restart(whole=True)

    def read(self, *, detailed_until: bytes = NO_TRANSACTION) -> TransactionDigest | None:
        """The next transaction, with details if it is not later than *detailed_until*.

        None after the last one.

        Raises
        ------
        DamagedData
            Nothing can be read from here on.
        FileReplaced
            By a pack, which removed the blobs of what it dropped.
        """
        begin = self._position
        try:
            if begin == START and self.get(0, START) != FILESTORAGE_MAGIC:
                raise FileEnds(f"it does not begin with {FILESTORAGE_MAGIC.decode()}")
            if begin >= self.end or self._is_unfinished(begin):
                return None
            header = self.header(begin)
            faults: list[str] = []
            end = self._end_of(begin, header, faults)
        except OSError as error:
            raise DamagedData(
                f"{self.path}: what follows byte {begin} cannot be read ({error}): restore it "
                "from a backup, or `dqm resync` when it is a replica's"
            ) from error
        found = self._transaction(begin, end, header, faults, header.tid <= detailed_until)
        self._position = end
        self._last = found.tid
        return found

    def _is_unfinished(self, begin: int) -> bool:
        """Whether a transaction at the end was never finished, as after a crash."""
        if self.is_live:
            return False
        if begin + TRANS_HDR_LEN > self.end:
            return self.get(begin, self.end - begin)[16:17] in (b"", b"c")
        header = self.header(begin)
        return header.status == b"c" and begin + header.length + LENGTH >= self.end

    def _end_of(self, begin: int, header: TransactionHeader, faults: list[str]) -> int:
        """Where the next transaction begins; says in *faults* what had to be guessed."""
        if self.is_framed(begin):
            return begin + header.length + LENGTH
        faults.append(f"byte {begin}: the length of the transaction is damaged")
        for candidate in (self._walk(begin, header), begin + header.length + LENGTH):
            if begin + TRANS_HDR_LEN < candidate < self.end and self.is_framed(candidate):
                return candidate
            if candidate == self.end:
                return candidate
        raise FileEnds(faults[-1])

    def _walk(self, begin: int, header: TransactionHeader) -> int:
        """The end of a transaction by the records that say that they belong to it."""
        position = begin + header.size
        with contextlib.suppress(FileEnds):
            while True:
                record = self._records.peek(position)
                if record.transaction != begin:
                    break
                position += record.size
        return position + LENGTH

    def _transaction(
        self, begin: int, end: int, header: TransactionHeader, faults: list[str], detailed: bool
    ) -> TransactionDigest:
        if header.status not in (b" ", b"p"):
            faults.append(f"byte {begin + 16}: {header.status!r} is no status of a transaction")
        reader = self._records
        records: list[RecordDigest] = []
        texts = b""
        first, last = begin + header.size, end - LENGTH
        packed = header.status == b"p"
        try:
            texts = self.get(begin + TRANS_HDR_LEN, header.size - TRANS_HDR_LEN)
            records.extend(reader.read(begin, first, last, header.tid, packed, faults))
        except OSError as error:
            faults.append(f"the transaction at byte {begin} cannot be read ({error})")
            reader.forget()
        told = header.told() + texts
        metadata = blake2b(told, digest_size=DIGEST_BYTES).digest()
        contents = b"".join(record.digest for record in records)
        description = texts[header.user : header.user + header.description]
        return TransactionDigest(
            self._placed(header.tid, reader.tid, end, faults),
            blake2b(metadata + contents, digest_size=DIGEST_BYTES).digest(),
            len(records),
            end - begin + reader.blob_bytes,
            packed,
            _listed(faults),
            Detail(metadata, description, tuple(records)) if detailed else None,
        )

    def _placed(self, tid: bytes, other: bytes, end: int, faults: list[str]) -> bytes:
        """*tid*, or when it is damaged one that keeps transactions in order."""
        if tid <= self._last:
            faults.append(f"the id {tid.hex()} is not later than {self._last.hex()}")
        if not faults:
            return tid
        following = b"\xff" * 8
        with contextlib.suppress(OSError):  # then anything later will do
            following = self.get(end, LENGTH)
        for candidate in (tid, other):
            if self._last < candidate < following:
                return candidate
        return p64(u64(self._last) + 1)


def _listed(faults: list[str]) -> tuple[str, ...]:
    more = len(faults) - LISTED
    return (*faults[:LISTED], f"and {more} more") if more > 0 else tuple(faults)


def read_digests(
    volume: Volume, after: bytes = NO_TRANSACTION, detailed_until: bytes = NO_TRANSACTION
) -> Iterator[TransactionDigest]:
    """The transactions of *volume* later than *after*, in order; a server may be running on it.

    Those up to *detailed_until* come with details.

    Raises
    ------
    DamagedData
        There is no ``Data.fs`` that can be read, or nothing can be read from some place on.
    """
    while True:
        try:
            reader = DigestReader(volume.data_file, volume.blob_dir)
        except OSError as error:
            raise DamagedData(f"cannot read {volume.data_file} ({error.strerror})") from error
        with reader, contextlib.suppress(FileReplaced):  # the new file has what comes next
            reader.seek(after)
            while (found := reader.read(detailed_until=detailed_until)) is not None:
                yield found
                after = found.tid
            return
