"""Decodes pickles that come from outside without ever importing or calling what they name.

Two kinds arrive at a server: the control messages of the replication stream, and the extension
that a client attaches to a transaction. Both hold plain data only: None, booleans, numbers, text,
bytes, tuples, lists, dicts and sets of such. A pickle runs code through globals (``GLOBAL``,
``INST``, ``STACK_GLOBAL``, ``EXT*``), all of which go through ``find_class``, so forbidding that
one method is enough, and is what the documentation of :mod:`pickle` recommends.
"""

from __future__ import annotations

import io
import logging
import pickle
from typing import Any, NoReturn

from dqm_db.replication.errors import UnknownTransaction

logger = logging.getLogger(__name__)

REFUSAL = "R"
"""Type of the message by which a primary tells a replica why it is not served.

zc.zrs has none: it hangs up, and the replica's log is silent about the reason. A stock secondary
logs it as an invalid message and reconnects later, as it would anyway.
"""

PROTOCOL = 4
"""Pickle protocol of the stream; below 3, bytes would be written as a call of a global."""


class PlainUnpickler(pickle.Unpickler):
    """Loads plain data; raises ``UnpicklingError`` at the first global."""

    def find_class(self, module: str, name: str, /) -> NoReturn:
        """Refuse; the pickle would import and use *name* otherwise."""
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed here, only plain data")


def load_plain(data: bytes) -> Any:
    """The plain data pickled in *data*.

    Raises
    ------
    pickle.UnpicklingError
        *data* names a class or function. Damaged data raise whatever :mod:`pickle` raises.
    """
    return PlainUnpickler(io.BytesIO(data)).load()


def load_extension(data: bytes) -> dict[str, Any]:
    """The extension of a transaction for undo, history and iteration; empty when it is not plain.

    One hostile transaction must not make the list of all transactions unreadable, so this logs
    instead of raising. What is stored and replicated are the bytes, which stay as they are.
    """
    try:
        extension = load_plain(data)
    except Exception as error:
        logger.warning("ignored the extension of a transaction: %s", error)
        return {}
    return extension if isinstance(extension, dict) else {}


def load_control(data: bytes) -> tuple[str, Any]:
    """A control message of the replication stream: its type letter and its payload.

    Raises
    ------
    UnknownTransaction
        The primary refuses us, for the reason given.
    pickle.UnpicklingError
        The message holds more than plain data.
    """
    kind, payload = load_plain(data)
    if kind == REFUSAL:
        raise UnknownTransaction(str(payload[0]))
    return kind, payload


def refusal(reason: str) -> bytes:
    """The control message that tells a replica *reason*."""
    return pickle.dumps((REFUSAL, (reason,)), PROTOCOL)
