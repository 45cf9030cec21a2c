"""Settings of ingestion, from ``DQM_*`` environment variables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


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
    ingest_sources: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Folders and URLs that `dqm ingest` pulls from when it is given none, "
        "separated by spaces.",
    )
    ingest_tmp: Path | None = Field(
        None, description="Folder for downloads; that of the system when not set."
    )
    ingest_disk_bytes: int = Field(
        2 * 2**30, ge=1, description="Disk that downloads may take at a time, in bytes."
    )
    ingest_stall: float = Field(
        60.0, gt=0, description="Seconds without progress after which a download is given up."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="How `dqm ingest` reports: text for people, or a JSON object per line."
    )
    ingest_source_bytes: int = Field(
        512 * 2**20, ge=1, description="Largest file that is read, in bytes."
    )
    ingest_unpacked_bytes: int = Field(
        1024 * 2**20,
        ge=1,
        description="Largest size that a compressed file may unpack to, in bytes.",
    )

    @field_validator("ingest_sources", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return value.split() if isinstance(value, str) else value
