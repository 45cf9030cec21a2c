"""Settings of ingestion, from ``DQM_*`` environment variables."""

from __future__ import annotations

import os

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def default_workers() -> int:
    """One for each core, at most four: the process that writes is busy for a third of the time."""
    return min(4, len(os.sched_getaffinity(0)))


class IngestSettings(BaseSettings):
    """How results files are read."""

    model_config = SettingsConfigDict(env_prefix="DQM_", extra="ignore")

    ingest_workers: int = Field(
        default_factory=default_workers,
        ge=0,
        description="Processes that parse results files; 0 parses in the command itself.",
    )
    ingest_source_bytes: int = Field(
        512 * 2**20, ge=1, description="Largest file that is read, in bytes."
    )
    ingest_unpacked_bytes: int = Field(
        1024 * 2**20,
        ge=1,
        description="Largest size that a compressed file may unpack to, in bytes.",
    )
