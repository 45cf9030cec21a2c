"""Transactions by which one server is told from another: small, and found again by a number."""

from __future__ import annotations

from dqm_db.ingestion import Failure
from dqm_db.settings import DatabaseSettings
from dqm_db.storage import open_database
from dqm_db.writer import open_writer


def write(settings: DatabaseSettings, run: int) -> None:
    """Commit one, by which *run* can be found again."""
    with open_writer(settings) as writer:
        writer.note_failure(
            Failure(
                camera="NectarCAMQM",
                run=run,
                source="/results/of/it",
                kind="Corrupt",
                error="cut short",
                attempts=1,
                first_at=1.0,
                last_at=1.0,
                next_at=None,
                size=None,
                adler32=None,
                modified=None,
                parser_version=1,
            )
        )


def runs_in(settings: DatabaseSettings) -> set[int]:
    """Those that were committed, as the server of *settings* has them."""
    with open_database(settings) as database, database.snapshot() as snapshot:
        return {failure.run for failure in snapshot.failures()}
