"""What ``dqm backup list`` says of a backup."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

from backup.place import Backup


def row(one: Backup, *, is_usable: bool) -> dict[str, object]:
    """A backup as ``dqm backup list --json`` has it."""
    manifest = one.manifest
    return {
        "name": one.name,
        "kind": manifest.kind,
        "time": _iso(manifest.time),
        "tid": manifest.tid,
        "follows": manifest.follows,
        "bytes": manifest.bytes,
        "stored": manifest.stored,
        "blobs": len(manifest.blobs),
        "seconds": manifest.seconds,
        "database": None if manifest.database is None else _iso(manifest.database),
        "epoch": manifest.epoch,
        "host": manifest.host,
        "volume": manifest.volume,
        "versions": dict(manifest.versions),
        "usable": is_usable,
        "verified": None if one.verification is None else asdict(one.verification),
    }


def verified(one: Backup, *, is_usable: bool) -> str:
    """What is known of a backup's state, for people."""
    checked = one.verification
    if checked is not None:
        at = datetime.fromtimestamp(checked.at, UTC).strftime("%Y-%m-%d %H:%M")
        return f"{at}: {'sound' if checked.ok else checked.text}"
    return "–" if is_usable else "not usable: files are missing"


def _iso(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat()
