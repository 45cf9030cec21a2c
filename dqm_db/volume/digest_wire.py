"""Digests of transactions as plain lists, to be sent from a server to whoever compares."""

from __future__ import annotations

from typing import Any

from dqm_db.volume.digests import Detail, TransactionDigest
from dqm_db.volume.record_digests import RecordDigest


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
                bytes(metadata),
                bytes(description),
                tuple(RecordDigest(bytes(oid), bytes(own)) for oid, own in listed),
            )
        return TransactionDigest(
            bytes(tid),
            bytes(digest),
            int(records),
            int(size),
            bool(packed),
            tuple(map(str, faults)),
            detail,
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"no digest of a transaction ({error})") from error
