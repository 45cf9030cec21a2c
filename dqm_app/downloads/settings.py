"""Settings of downloads, from ``DQM_*`` variables; see ``docs/settings.md``."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from dqm_db.settings import VerificationSettings, load


class DownloadSettings(BaseSettings):
    """How baskets of runs are built and kept."""

    model_config = SettingsConfigDict(env_prefix="DQM_", extra="ignore")

    downloads_dir: Path | None = Field(
        None,
        description="Folder in which baskets of runs are built; `downloads` in DQM_STATE_DIR when "
        "not set. Dashboards and workers on several hosts need a shared one.",
    )
    downloads_queue: str = Field(
        "",
        description="redis://… of the queue of baskets for workers elsewhere (`dqm worker`); a "
        "file in DQM_DOWNLOADS_DIR when not set, and the dashboard starts a worker when needed.",
    )
    downloads_bytes: int = Field(
        20_000_000_000, ge=1_000_000, description="Disk that all baskets may take, in bytes."
    )
    downloads_user_bytes: int = Field(
        10_000_000_000,
        ge=1_000_000,
        description="Disk that the baskets of one user may take of it, in bytes.",
    )
    downloads_hours: float = Field(
        24.0, gt=0, description="Hours for which a basket can be fetched."
    )
    downloads_wait_minutes: float = Field(
        60.0,
        gt=0,
        description="Minutes after which a basket fails that no worker takes, while none is built: "
        "its owner may then begin another one.",
    )
    basket_runs: int = Field(1000, ge=1, description="Runs that a basket may have.")

    @property
    def folder(self) -> Path:
        """Where baskets are, also when nothing was set."""
        return self.downloads_dir or load(VerificationSettings).state_dir / "downloads"
