"""Settings of all sources, from ``DQM_*`` environment variables."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class SourceSettings(BaseSettings):
    """How sources are talked to."""

    model_config = SettingsConfigDict(env_prefix="DQM_", extra="ignore")

    source_timeout: int = Field(
        30,
        ge=1,
        le=3600,
        description="Seconds without an answer after which a source counts as down.",
    )
