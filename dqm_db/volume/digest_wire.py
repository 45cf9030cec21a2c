"""Digests of transactions as plain lists, to be sent from a server to whoever compares."""

from __future__ import annotations

from typing import Any

from dqm_db.volume.digests import Detail, TransactionDigest
from dqm_db.volume.record_digests import DIGEST_BYTES, RecordDigest

MOST_OIDS = 100_000
"""Ids of objects in one question to a server, about 1 MB."""


def to_plain(found: TransactionDigest) -> list[Any]:
    """*found* as lists of bytes, numbers and text."""
    detail = found.detail
    return [
        found.tid,
        found.digest,
        found.records,
        found.bytes,
        found.packed,
        list(found.faults),
        None
        if detail is None
        else [detail.metadata, detail.description, [list(record) for record in detail.records]],
    ]


def from_plain(plain: Any) -> TransactionDigest:
    """What `to_plain` was given.

    Raises
    ------
    ValueError
        *plain* is something else, such as the answer of another release.
    """
    try:
        tid, digest, records, size, packed, faults, told = plain
        detail = None
        if told is not None:
            metadata, description, listed = told
            detail = Detail(
                of_bytes(metadata, DIGEST_BYTES),
                of_bytes(description),
                tuple(RecordDigest(of_bytes(oid, 8), of_bytes(own)) for oid, own in listed),
            )
        return TransactionDigest(
            of_bytes(tid, 8),
            of_bytes(digest, DIGEST_BYTES),
            _count(records),
            _count(size),
            bool(packed),
            tuple(map(str, faults)),
            detail,
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"no digest of a transaction ({error})") from error


def of_bytes(value: object, length: int | None = None) -> bytes:
    """*value* if it is bytes, as many as *length* says; else ValueError."""
    if not isinstance(value, bytes) or length not in (None, len(value)):
        raise ValueError(f"{value!r:.40} where bytes should be")
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r:.40} where a number should be")
    return value
