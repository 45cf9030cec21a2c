"""What can be compared: anything that gives digests of its transactions in order."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from dqm_db.volume.digests import TransactionDigest
from dqm_db.volume.transactions import NO_TRANSACTION


class Side(Protocol):
    """One copy of the database.

    Attributes
    ----------
    name : str
        What it is called in reports, such as HOST:PORT.
    last : bytes
        Id (8 bytes) of its last transaction when the comparison began.
    """

    name: str
    last: bytes

    def transactions(
        self, after: bytes, detailed_until: bytes = NO_TRANSACTION
    ) -> Iterator[TransactionDigest]:
        """Those later than *after*, in order; up to *detailed_until* with details.

        Raises
        ------
        DamagedData
            Nothing can be read from here on.
        DatabaseUnavailable
            It does not answer any more.
        """

    def packed_until(self, after: bytes) -> bytes:
        """Id up to which a pack may have removed transactions, or records of them.

        `NO_TRANSACTION` when it is not later than *after*.
        """

    def one(self, tid: bytes) -> TransactionDigest | None:
        """The transaction *tid* with details, None when it is not there; raises the same."""

    def current(self, oids: Sequence[bytes]) -> Sequence[bytes]:
        """The last transaction that wrote each object; empty for those that are not there."""

    def reachable(self, oids: Sequence[bytes]) -> Collection[bytes]:
        """Those of *oids* that can be reached from the root now; takes as long as a pack."""


def before(tid: bytes) -> bytes:
    """The id after which *tid* comes next."""
    return (int.from_bytes(tid, "big") - 1).to_bytes(8, "big")
