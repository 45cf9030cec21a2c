"""The status as JSON: what ``dqm status --json`` prints, described in ``docs/monitoring.md``.

Names and units stay what they are within a `SCHEMA`; others may be added. Times are Unix seconds
(UTC), durations seconds, sizes bytes; what is not known is null.
"""

from __future__ import annotations

from typing import Any

from dqm_db.ingestion import Pull
from dqm_db.operations import Operation
from dqm_db.server_answers import NO_TRANSACTION, ServerAnswer
from dqm_db.status.model import DatabaseFacts, Item, ServerStatus, SystemStatus

SCHEMA = 1


def document(status: SystemStatus) -> dict[str, Any]:
    """*status* as plain values."""
    return {
        "schema": SCHEMA,
        "at": status.at,
        "level": str(status.level),
        "servers": [
            {"level": str(status.level_of(server.address)), **_server(server)}
            for server in status.servers
        ],
        "database": _database(status.database, status.database_error),
        "items": [_item(item) for item in status.items],
    }


def _server(server: ServerStatus) -> dict[str, Any]:
    answer = server.answer or ServerAnswer(NO_TRANSACTION)
    return {
        "address": server.address,
        "answers": server.answer is not None,
        "error": server.error,
        "role": server.role,
        "last_transaction": None if server.answer is None else answer.last_transaction.hex(),
        "last_transaction_time": server.transaction_time,
        "lag_seconds": server.lag_seconds,
        "lag_bytes": server.lag_bytes,
        "epoch": answer.epoch,
        "fence_state": answer.fence_state,
        "fence_at": answer.fence_at,
        "asks": answer.asks,
        "clients": answer.clients,
        "source": answer.source,
        "following": answer.following,
        "reason": answer.reason,
        "heard": answer.heard,
        "replicas": [
            {
                "peer": replica.peer,
                "sent": None if replica.sent is None else replica.sent.hex(),
                "connected_since": replica.connected_since,
            }
            for replica in answer.replicas
        ],
        "file_bytes": answer.file_bytes,
        "blob_bytes": answer.blob_bytes,
        "disk_free_bytes": answer.disk_free,
        "disk_total_bytes": answer.disk_total,
        "aside_bytes": answer.aside_bytes,
        "packed": answer.packed,
        "started": answer.started,
        "host": answer.host,
        "versions": dict(answer.versions),
        "certificate_expires": answer.certificate_expires,
        "authority_expires": answer.authority_expires,
        "clock": answer.now,
    }


def _database(facts: DatabaseFacts | None, error: str) -> dict[str, Any]:
    facts_or_none = facts or DatabaseFacts()
    return {
        "readable": facts is not None,
        "error": error,
        "last_pull": None if facts_or_none.pull is None else _pull(facts_or_none.pull),
        "failures": None if facts is None else facts.failures,
        "quarantined": None if facts is None else facts.quarantined,
        "operations": {
            str(name): _operation(operation) for name, operation in facts_or_none.operations.items()
        },
    }


def _pull(pull: Pull) -> dict[str, Any]:
    return {
        "started": pull.started,
        "finished": pull.finished,
        "host": pull.host,
        "exit_code": pull.exit_code,
        "error": pull.error,
        "counts": dict(pull.counts),
    }


def _operation(operation: Operation) -> dict[str, Any]:
    return {
        "started": operation.started,
        "finished": operation.finished,
        "ok": operation.ok,
        "text": operation.text,
        "host": operation.host,
        "facts": dict(operation.facts),
    }


def _item(item: Item) -> dict[str, Any]:
    return {
        "level": str(item.level),
        "key": item.key,
        "subject": item.subject,
        "title": item.title,
        "text": item.text,
        "value": item.value,
        "unit": item.unit,
    }
