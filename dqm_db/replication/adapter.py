"""Every change made inside zc.zrs 3.1.0, and why it exists.

zc.zrs is the only replication for FileStorage. Its last release is of 2017; with ZODB since 5.6
its secondary cannot even begin a transaction. Subclasses (``primary``, ``secondary``) hold what can
be done from outside; the names below are looked up inside zc.zrs's modules and have to be replaced
there. :func:`install` is called by the section ``<replicated>``, thus in servers only.
"""

from __future__ import annotations

import os
import pickle
import threading
from types import SimpleNamespace
from typing import Any, BinaryIO

import zc.zrs.primary
import zc.zrs.secondary
import ZODB.blob
from ZODB.Connection import TransactionMetaData

from dqm_db.replication import primary, wire
from dqm_db.replication.receiving import write_all


class Condition(threading.Condition):
    """``notifyAll`` is deprecated since Python 3.10, but zc.zrs calls it at each transaction."""

    notifyAll = threading.Condition.notify_all  # noqa: N815


class Thread(threading.Thread):
    """``setDaemon`` is deprecated since Python 3.10, but zc.zrs calls it for each replica."""

    def setDaemon(self, daemonic: bool) -> None:  # noqa: N802
        """Set ``daemon``."""
        self.daemon = daemonic


def control_pickler(file: BinaryIO, _protocol: int) -> pickle.Pickler:
    """The pickler of control messages, with a protocol that knows bytes.

    zc.zrs asks for protocol 1, in which Python 3 writes bytes as a call of ``_codecs.encode``. The
    other side would then have to allow a global; so it can forbid all of them.
    """
    return pickle.Pickler(file, wire.PROTOCOL)


def extension_bytes(data: bytes) -> bytes:
    """The extension of a transaction as it stands in the file, in place of ``pickle.loads``.

    zc.zrs unpickles it on the primary, which runs what a client put there, and pickles it again,
    which changes its bytes and so the file of the replica. Sent as it is, it does neither.
    """
    return data


def transaction_metadata(
    tid: bytes, status: str, user: bytes, description: bytes, extension: bytes | dict[str, Any]
) -> TransactionMetaData:
    """The transaction that a secondary hands to its storage.

    zc.zrs has a class for it, without the ``extension_bytes`` that FileStorage needs since
    ZODB 5.6. ``TransactionMetaData`` keeps bytes as they are, so both files stay identical.
    An absent extension is an empty dict.
    """
    metadata = TransactionMetaData(user, description, extension)
    metadata.id = tid
    metadata.status = status
    return metadata


def install() -> None:
    """Replace the names inside zc.zrs; calling it again changes nothing."""
    # Deprecated names of Python's threading (the classes above).
    zc.zrs.primary.threading = SimpleNamespace(
        Condition=Condition, Thread=Thread, Event=threading.Event
    )
    # Pickler: bytes without globals. loads: only applied to the extension of a transaction.
    zc.zrs.primary.cPickle = SimpleNamespace(Pickler=control_pickler, loads=extension_bytes)
    # zc.zrs unpickles each record in full to see whether it is a blob, which runs what a client
    # stored. ZODB's own function looks at the class only, and imports nothing.
    zc.zrs.primary.is_blob_record = ZODB.blob.is_blob_record
    # Replicas that have diverged are refused, and told so.
    zc.zrs.primary.PrimaryProducer = primary.Producer
    zc.zrs.primary.FileStorageIterator = primary.opened_iterator
    # Only applied to control messages: a fake primary must not run code in a replica.
    zc.zrs.secondary.cPickle = SimpleNamespace(loads=wire.load_control)
    zc.zrs.secondary.Transaction = transaction_metadata
    # The blocks of a blob are written whole, or the disk is said to be full.
    zc.zrs.secondary.os = SimpleNamespace(write=write_all, close=os.close)
