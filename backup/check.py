"""Reads every record of a ``Data.fs``, and finds what its current records lack.

Records are loaded as a client loads them, but with no classes other than this system's own and
those of containers, so that nothing that is stored can do anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from io import BytesIO
from typing import Any

from ZODB._compat import PersistentUnpickler
from ZODB.fsIndex import fsIndex

from backup.pool import Key
from backup.reading import DataFile, Transaction
from dqm_db.stored_classes import stored_class
from dqm_db.volume.errors import DamagedData
from dqm_db.volume.transactions import NO_TRANSACTION, START

MOST_FAULTS = 20
"""Faults that are listed; what is worse than that needs no more words."""


class RecordCheck:
    """Checks a file piece by piece: `advance` after each that was added to it.

    Records never go away between the pieces of one file, so what was found whole stays so. Takes
    some 20 bytes per object.
    """

    def __init__(self) -> None:
        self.position = START
        self.tid = NO_TRANSACTION
        self.transactions = 0
        self._index = fsIndex()

    def advance(
        self,
        file: DataFile,
        end: int,
        blobs: Collection[Key] | None,
        has_blob: Callable[[bytes, bytes], bool] = lambda _oid, _tid: True,
    ) -> list[str]:
        """What is wrong with the transactions of *file* that end at *end* and were not read before.

        Parameters
        ----------
        file
            The same as before, grown.
        end
            Where it ends now.
        blobs
            The blobs that these transactions should have; None: whichever.
        has_blob
            Tells whether the blob of an object and a transaction is there.
        """
        faults: list[str] = []
        begin = self.position
        found: set[Key] = set()
        try:
            for transaction in file.transactions(self.position, end, self.tid):
                for record in transaction.records:
                    if file.is_blob(record):
                        found.add((record.oid.hex(), transaction.tid.hex()))
                        if not has_blob(record.oid, transaction.tid):
                            faults.append(
                                f"the blob {record.oid.hex()} of {_named(transaction)} is missing"
                            )
                    self._index[record.oid] = record.position
                self.position, self.tid = transaction.end, transaction.tid
                self.transactions += 1
            if self.position != end:
                faults.append(f"the transactions end at byte {self.position}, not at byte {end}")
            for key in sorted(found ^ set(blobs)) if blobs is not None else ():
                faults.append(f"the backup does not agree with its records on the blob {key[0]}")
            for transaction in file.transactions(begin, end):
                for record in transaction.records:
                    if self._index[record.oid] == record.position:
                        faults += self._faults_of(file.data_of(record), record.oid, transaction)
                if len(faults) > MOST_FAULTS:
                    break
        except DamagedData as error:
            faults.append(str(error))
        return faults

    def _faults_of(self, data: bytes | None, oid: bytes, transaction: Transaction) -> list[str]:
        """What is wrong with the current record of an object, and with what it refers to."""
        if data is None:
            return []
        name = f"the object {oid.hex()} of {_named(transaction)}"
        try:
            references = load(data)
        except Exception as error:  # pickle raises whatever it stumbles upon
            return [f"{name} cannot be loaded ({type(error).__name__}: {error})"]
        missing = [one for one in references if one not in self._index]
        return [f"{name} refers to the object {one.hex()}, which is missing" for one in missing]


def load(data: bytes) -> list[bytes]:
    """The ids of the objects that a record refers to, once it has been loaded.

    Raises
    ------
    ValueError
        It is of a class that is not this system's.
    Exception
        It cannot be loaded.
    """
    found: list[bytes] = []

    def refer(reference: Any) -> None:
        if isinstance(reference, list):  # weak, or to another database: such are never stored
            raise ValueError(f"it has a reference of an unknown kind: {reference!r}")
        oid = reference[0] if isinstance(reference, tuple) else reference
        found.append(oid if isinstance(oid, bytes) else oid.encode("ascii"))

    unpickler = PersistentUnpickler(_class, refer, BytesIO(data))
    unpickler.load()
    unpickler.load()
    return found


def _class(module: str, name: str) -> type:
    found = stored_class(module, name)
    if found is None:
        raise ValueError(f"it holds a {module}.{name}, which is none of this system")
    return found


def _named(transaction: Transaction) -> str:
    what = f" ({transaction.description})" if transaction.description else ""
    return f"transaction {transaction.tid.hex()}{what}"
