"""Where backups are, and which are kept."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class BackupSettings(BaseSettings):
    """Settings of ``dqm backup``."""

    model_config = SettingsConfigDict(env_prefix="DQM_", extra="ignore")

    backup_dir: Path | None = Field(
        None, description="Folder of backups, on another disk than the volume."
    )
    backup_keep: str | None = Field(
        None,
        description="Backups to keep, such as 7d,4w,12m: the newest of each of so many days, "
        "weeks, months or years that have one. When not set: all.",
    )
