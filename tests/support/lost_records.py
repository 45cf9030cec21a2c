"""Records that are referred to and not there, as in a copy that was made while it was written."""

from __future__ import annotations

from ZODB.Connection import TransactionMetaData

from dqm_db.storage import checked_root
from dqm_db.writer import Writer


def lose_run(writer: Writer, camera: str, run: int) -> None:
    """Take the record of *run* out of the file."""
    with writer.database.connection() as connection:
        record = checked_root(connection, "").cameras[camera].runs[run]
        record._p_activate()
        oid, serial = record._p_oid, record._p_serial
        storage = connection.db().storage
        transaction = TransactionMetaData()
        storage.tpc_begin(transaction)
        storage.deleteObject(oid, serial, transaction)
        storage.tpc_vote(transaction)
        storage.tpc_finish(transaction)
        connection.db().cacheMinimize()
