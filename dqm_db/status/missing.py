"""How many bytes a replica lacks, which only the primary can say once a file was packed."""

from __future__ import annotations

import contextlib
import logging
import ssl
from collections.abc import Iterable

from ZEO.ClientStorage import ClientStorage
from ZEO.Exceptions import ClientDisconnected, ServerException

from dqm_db.replication.addresses import Address

log = logging.getLogger(__name__)

CACHE_BYTES = 1 << 20
"""Of ZEO's cache, which is not used here."""


def bytes_after(
    primary: Address, tids: Iterable[bytes], patience: float, tls: ssl.SSLContext | None
) -> dict[bytes, int]:
    """What follows each of some transactions in the file of a server; waits for its answer.

    Parameters
    ----------
    primary
        Where its clients connect; a server of this release.
    tids
        Last transactions (8 bytes) of replicas.
    patience
        Seconds to wait for it.
    tls
        How to connect; None: without TLS.

    Returns
    -------
    dict
        tid -> bytes; empty when it does not say.
    """
    try:
        storage = ClientStorage(
            tuple(primary),
            read_only=True,
            wait_timeout=patience,
            cache_size=CACHE_BYTES,
            ssl=tls,
        )
        with contextlib.closing(storage):
            return {tid: int(storage._call("dqm_bytes_after", tid)) for tid in tids}
    except (ClientDisconnected, ServerException, OSError, TypeError, ValueError) as error:
        # the sizes of the files tell it as well, unless one was packed
        log.info("%s does not say how much follows a transaction: %s", primary, error)
        return {}
