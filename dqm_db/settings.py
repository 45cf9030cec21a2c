"""Settings of the database and its servers, from ``DQM_*`` environment variables.

``docs/settings.md`` lists them all. Every default is safe on a shared machine: loopback only.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from dqm_db.errors import ConfigurationError
from dqm_db.replication.addresses import Address

_ENVIRONMENT = SettingsConfigDict(env_prefix="DQM_", extra="ignore")


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""A list in one variable, its parts separated by commas."""


class DatabaseSettings(BaseSettings):
    """How a client opens the database."""

    model_config = _ENVIRONMENT

    db_url: str = Field(
        "zeo://127.0.0.1:8100",
        description="Database to open: zeo://HOST:PORT[,HOST:PORT…], zeo:///PATH of a UNIX socket, "
        "or any URI that zodburi knows.",
    )
    db_wait: float = Field(
        1.0, gt=0, description="Seconds to wait for a server before saying that it is down."
    )
    db_patience: float = Field(
        10.0, gt=0, description="Seconds without an answer after which a server counts as gone."
    )
    db_pool: int = Field(7, ge=1, description="Connections that one process keeps open.")
    db_cache_bytes: int = Field(
        2_000_000, ge=100_000, description="Object cache of each connection, in bytes."
    )
    blob_cache_dir: Path | None = Field(
        None, description="Folder for fetched originals; a temporary one when not set."
    )
    blob_cache_bytes: int = Field(
        500_000_000,
        ge=10_000_000,
        description="Limit of the folder of fetched originals, in bytes.",
    )
    lock_dir: Path = Field(
        default_factory=lambda: Path(f"/tmp/dqm-{os.getuid()}"),  # noqa: S108
        description="Folder of the writer lock; the same for all commands that write.",
    )
    lock_wait: float = Field(
        0.0, ge=0, description="Seconds to wait for another writer before giving up (exit 75)."
    )


class CheckSettings(BaseSettings):
    """How runs are judged."""

    model_config = _ENVIRONMENT

    thresholds_dir: Path | None = Field(
        None,
        description="Folder of the site's own limits of the checks, default.toml and CAMERA.toml.",
    )


class SystemSettings(BaseSettings):
    """What belongs together: the servers of one database, and how they know each other."""

    model_config = _ENVIRONMENT

    servers: CommaSeparated = Field(
        (),
        description="HOST:PORT where clients connect to each server of the database, primary and "
        "replicas, separated by commas; the same on all hosts. When not set, commands take those "
        "of DQM_DB_URL; a server then asks nobody.",
    )
    tls_ca: Path | None = Field(
        None, description="Certificate of the private CA (PEM); with it, all connections use TLS."
    )
    tls_cert: Path | None = Field(None, description="Certificate of this host (PEM).")
    tls_key: Path | None = Field(None, description="Private key of this host's certificate (PEM).")


def _state_directory() -> Path:
    """Where programs of this user keep what they remember (XDG base directories)."""
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    home = Path("~").expanduser() if "HOME" in os.environ else Path()
    if given.is_absolute():
        base = given
    elif home.is_absolute():
        base = home / ".local" / "state"
    else:  # a service without a home
        base = Path("/var/lib")
    return base / "nectarcam-dqm"


class VerificationSettings(BaseSettings):
    """What ``dqm verify`` needs beside the servers."""

    model_config = _ENVIRONMENT

    state_dir: Path = Field(
        default_factory=_state_directory,
        description="Folder where `dqm verify` remembers what it has verified, for --new.",
    )


class WatchSettings(BaseSettings):
    """From when on somebody should look: of the dashboard and of ``dqm status``."""

    model_config = _ENVIRONMENT

    pull_stale: float = Field(
        7200.0, gt=0, description="Seconds after which a page warns that the last pull is old."
    )
    primary_zeo: str | None = Field(
        None,
        description="HOST:PORT where clients connect to the primary; when set, pages say how far "
        "the database that they read is behind it.",
    )
    lag_warn: float = Field(
        30.0, gt=0, description="Seconds behind the primary after which the top bar is amber."
    )
    lag_alert: float = Field(
        300.0, gt=0, description="Seconds behind the primary after which the top bar is red."
    )

    @field_validator("primary_zeo")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value:
            try:
                Address.parse(value, "it")
            except ConfigurationError as error:
                raise ValueError(str(error)) from error
        return value or None

    @property
    def primary(self) -> Address | None:
        """Where the primary's clients connect, if it is to be asked for its last transaction."""
        return Address.parse(self.primary_zeo, "DQM_PRIMARY_ZEO") if self.primary_zeo else None


class ServerSettings(BaseSettings):
    """How ``dqm primary`` and ``dqm replica`` store, serve and replicate."""

    model_config = _ENVIRONMENT

    data_dir: Path = Field(
        Path("dqm-data"), description="Volume with filestorage/Data.fs and blobstorage/."
    )
    zeo_address: str = Field("127.0.0.1:8100", description="HOST:PORT where clients connect.")
    zrs_address: str | None = Field(
        None,
        description="HOST:PORT where replicas connect. When not set: 127.0.0.1:5000 of a primary, "
        "none of a replica, which then feeds no others.",
    )
    primary: str | None = Field(
        None,
        description="HOST:PORT that a replica follows: where the primary, or another replica, "
        "waits for replicas. `dqm replica` needs it, or --from.",
    )
    keep_alive: float = Field(
        60.0,
        gt=0,
        description="Seconds between signs of life of primary and replica. Whoever is silent for "
        "twice as long is hung up on, and tried again.",
    )
    reconnect_delay: float = Field(
        2.0, gt=0, description="Seconds before a replica tries its primary again."
    )
    transaction_timeout: float = Field(
        120.0, ge=0, description="Seconds after which a client that hangs in a commit is dropped."
    )
    network_is_private: bool = Field(
        False,
        description="Listen beyond loopback without TLS: whoever reaches the network can read "
        "everything, and write on a primary.",
    )
    unverified_versions: bool = Field(
        False, description="Serve with releases of ZODB, ZEO or zc.zrs that were not verified."
    )


class SecretSettings(BaseSettings):
    """Where settings are that are nobody else's business."""

    model_config = _ENVIRONMENT

    secrets_dir: Path | None = Field(
        None,
        description="Folder of secrets: files named as variables, whose values they hold. When not "
        "set: that of systemd's credentials, or /run/secrets, if there is one.",
    )

    def folder(self) -> Path | None:
        """The folder with secrets, if there is one.

        Raises
        ------
        ConfigurationError
            The one that is set is no folder.
        """
        if self.secrets_dir is not None:
            if not self.secrets_dir.is_dir():
                raise ConfigurationError(f"DQM_SECRETS_DIR: {self.secrets_dir} is no folder")
            return self.secrets_dir
        given = os.environ.get("CREDENTIALS_DIRECTORY")  # systemd.exec(5), LoadCredential=
        usual = Path(given or "/run/secrets")
        return usual if usual.is_dir() else None


def secret(variable: str) -> str | None:
    """Value of the environment's *variable*, or of the secret of that name; None: neither is there.

    For variables of libraries; those of settings are found by `load`.

    Raises
    ------
    ConfigurationError
        The secret cannot be read.
    """
    if os.environ.get(variable):
        return os.environ[variable]
    folder = SecretSettings().folder()  # type: ignore[call-arg]
    try:
        return None if folder is None else (folder / variable).read_text("utf-8").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read the secret {variable} ({error})") from error


AnySettings = TypeVar("AnySettings", bound=BaseSettings)


def load(settings: type[AnySettings], **overrides: object) -> AnySettings:
    """*settings* from the environment, else from the folder of secrets.

    *overrides* that are not None win (command-line options).

    Raises
    ------
    ConfigurationError
        Names each variable with an unusable value, or the secret that cannot be read.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    folder = SecretSettings().folder()  # type: ignore[call-arg]
    try:
        return settings(_secrets_dir=folder, **given)  # type: ignore[arg-type]
    except OSError as error:
        raise ConfigurationError(f"cannot read secrets in {folder} ({error})") from error
    except ValidationError as error:
        faults = "; ".join(
            f"DQM_{'_'.join(map(str, fault['loc'])).upper()}: {fault['msg']}"
            for fault in error.errors()
        )
        raise ConfigurationError(f"unusable setting: {faults}") from error
