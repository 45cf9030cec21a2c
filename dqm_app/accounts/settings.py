"""Settings of login and accounts, from ``DQM_*`` variables; see ``docs/settings.md``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from dqm_db.settings import VerificationSettings, load

SQLITE_NAME = "accounts.sqlite"
STARTED_BY = "DQM_SERVED_WITH_LOGIN"
"""Set by ``dqm serve`` for its own processes: it gives Bokeh's server our login."""


class AccountSettings(BaseSettings):
    """Who may use the dashboard."""

    model_config = SettingsConfigDict(env_prefix="DQM_", extra="ignore")

    auth: Literal["accounts", "none"] = Field(
        "accounts",
        description="accounts: users log in (`dqm user`); none: everybody who can connect may use "
        "the dashboard, as suits a private network.",
    )
    accounts_url: str = Field(
        "",
        description="Database of the accounts, as SQLAlchemy writes it; `accounts.sqlite` in "
        "DQM_STATE_DIR when not set. The same for all hosts of a dashboard.",
    )
    session_hours: float = Field(
        168.0, gt=0, le=8760, description="Hours after which a user must log in again."
    )
    session_idle_hours: float = Field(
        24.0,
        gt=0,
        le=8760,
        description="Hours without a request or an open page after which it is so, too.",
    )
    audit_days: float = Field(
        400.0, gt=0, description="Days for which it is remembered who did what."
    )

    @property
    def url(self) -> str:
        """Where the accounts are, also when nothing was set."""
        return self.accounts_url or f"sqlite:///{self.default_file}"

    @property
    def default_file(self) -> Path:
        """The file that they are in when nothing was set."""
        return load(VerificationSettings).state_dir / SQLITE_NAME
