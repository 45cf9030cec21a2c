"""Settings of the dashboard, from ``DQM_*`` environment variables; see ``docs/settings.md``."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from dqm_db.settings import CommaSeparated, DatabaseSettings, WatchSettings, load

DATABASE_PATIENCE = 3.0
"""Seconds without an answer after which the dashboard takes a database server for gone, unless
``DQM_DB_PATIENCE`` says otherwise: people wait for it, writers can wait longer."""
SHORTEST_KEY = 20
"""Characters of ``BOKEH_SECRET_KEY``: whoever has something that it signed can try keys on that as
fast as a processor can."""


class DashboardSettings(WatchSettings):
    """How the dashboard is served and what one of its processes may use."""

    serve_address: str = Field("127.0.0.1", description="Address on which `dqm serve` listens.")
    serve_port: int = Field(5006, ge=0, le=65535, description="Port of `dqm serve`; 0 picks one.")
    serve_prefix: str = Field("", description="URL prefix, when a proxy serves it below a path.")
    num_procs: int = Field(
        0, ge=0, description="Processes of `dqm serve`; 0 starts one for each processor."
    )
    allowed_origins: CommaSeparated = Field(
        (),
        description="HOST:PORT from which browsers may connect, separated by commas; this "
        "machine's loopback names are always allowed.",
    )
    cache_bytes: int = Field(
        24_000_000, ge=1_000_000, description="Decoded runs that one process keeps, in bytes."
    )
    read_threads: int = Field(
        4, ge=1, le=32, description="Threads of one process that read the database."
    )
    read_patience: float = Field(
        10.0, gt=0, description="Seconds after which a page says that a read takes too long."
    )
    watch_interval: float = Field(
        0.5, gt=0, le=10, description="Seconds between two looks for new data."
    )

    run_list: Path | None = Field(
        None, description="File with the runs that were taken; what is not stored of them is shown."
    )

    metrics_token: SecretStr | None = Field(
        None,
        min_length=20,
        description="Secret of 20 characters or more with which a monitor may read /metrics, and "
        "nothing else, whatever becomes of the accounts; best a file in the folder of secrets.",
    )

    @field_validator("run_list", "metrics_token", mode="before")
    @classmethod
    def _none_if_empty(cls, value: object) -> object:
        return None if value == "" else value

    @staticmethod
    def database() -> DatabaseSettings:
        """How the dashboard opens the database; raises `ConfigurationError`."""
        given = any(name.upper() == "DQM_DB_PATIENCE" for name in os.environ)
        return load(DatabaseSettings, db_patience=None if given else DATABASE_PATIENCE)

    @property
    def processes(self) -> int:
        """Number of processes to start, at least 1."""
        return self.num_procs or len(os.sched_getaffinity(0))
