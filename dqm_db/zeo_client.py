"""ZEO's client, with what has to be changed in it.

It uses attributes of ZEO 6.2's client that are not part of its interface; ``tests/system`` kills
servers under load to see that they still do what is expected.
"""

from __future__ import annotations

import errno

from ZEO.ClientStorage import ClientStorage
from ZEO.Exceptions import ServerException

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Numbers of errors of a disk, or of a limit, that is full."""


class Client(ClientStorage):  # type: ignore[misc, unused-ignore]
    """A client that asks for ids of new objects again after it was disconnected.

    It gets them a hundred at a time. A server that is started again, or another one that was
    promoted, knows only those which were stored, and gives the others a second time: ZEO's client
    would then have two objects of one id in a transaction, or clash with another writer.
    """

    _generation_of_ids = 0

    def new_oid(self) -> bytes:
        """The id (8 bytes) of a new object.

        Raises
        ------
        ZODB.POSException.ReadOnlyError, ZEO.Exceptions.ClientDisconnected
        """
        # Read before the server is asked: ids that come from a connection which ends meanwhile
        # are then thrown away at the next call, and the transaction fails by itself.
        generation = self._connection_generation
        if generation != self._generation_of_ids:
            self._generation_of_ids = generation
            self._oids: list[bytes] = []
        oid: bytes = super().new_oid()
        return oid


def why(error: Exception) -> str:
    """What went wrong, for people; an error that a server sent comes as a name and arguments."""
    if not isinstance(error, ServerException):
        return str(error)
    name, arguments = (*error.args, "", ())[:2]
    text = " ".join(map(str, arguments)) or str(name)
    if str(name).endswith("OSError") and arguments and arguments[0] in FULL:
        return f"the disk of the server is full ({' '.join(map(str, arguments[1:]))})"
    return text
