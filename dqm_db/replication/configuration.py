"""The ``zeo.conf`` of a primary or replica, made from the settings."""

from __future__ import annotations

import math
from pathlib import Path

from dqm_db.errors import ConfigurationError
from dqm_db.replication.addresses import Address
from dqm_db.settings import ServerSettings
from dqm_db.tls import TLSFiles
from dqm_db.volume.errors import DataUnwritable
from dqm_db.volume.layout import LOOKED_AT_FOR, Volume

REPLICATION_ADDRESS = "127.0.0.1:5000"
"""Where replicas connect to a primary that is not told otherwise."""

INVALIDATION_QUEUE = 1000
"""Transactions whose invalidations the server keeps for clients that come back.

A client that missed more has to verify its whole cache. This is some hours of ingestion.
"""

TEMPLATE = """\
# Written by `dqm {role}` at each start from its options and DQM_* variables: change those instead.
# The same file serves with stock ZEO: runzeo -C {path}
%import dqm_db.replication

<zeo>
  address {zeo}
  msgpack true
  client-conflict-resolution true
  invalidation-queue-size {queue}
{timeout}{ssl}</zeo>

<replicated>
{replication}
  <filestorage>
    path {data}
    blob-dir {blobs}
    pack-keep-old false
  </filestorage>
</replicated>

<eventlog>
  level info
  <logfile>
    path STDERR
    format %(asctime)s %(levelname)s %(name)s %(message)s
  </logfile>
</eventlog>
"""


def replication_address(settings: ServerSettings, source: str | None) -> Address | None:
    """Where replicas connect to a server that follows *source*; None for one that feeds none.

    Raises
    ------
    ConfigurationError
        ``settings.zrs_address`` is no address.
    """
    text = settings.zrs_address
    if text is None and source is None:
        text = REPLICATION_ADDRESS
    return None if text is None else Address.parse(text, "replication address")


TLS_TEMPLATE = """\
  <ssl>
    certificate {certificate}
    key {key}
    authenticate {ca}
  </ssl>
"""


def configuration(
    settings: ServerSettings,
    *,
    source: str | None = None,
    tls: TLSFiles | None = None,
    clients: Address | None = None,
    replicas: Address | None = None,
) -> str:
    """The text of ``zeo.conf``.

    Parameters
    ----------
    settings
        Data directory, addresses of clients and replicas, delays.
    source
        HOST:PORT of the server to follow; a primary when None, whatever ``settings.primary`` says.
    tls
        The certificates with which all connections are encrypted; none are when None.
    clients, replicas
        Where they connect when the sockets are inherited; None: as *settings* say.

    Raises
    ------
    ConfigurationError
        An address or path that cannot be written there, or addresses that clash.
    """
    addresses = {"clients": clients or Address.parse(settings.zeo_address, "address")}
    replicas_at = replicas or replication_address(settings, source)
    if replicas_at is not None:
        addresses["replicas"] = replicas_at
    if source is not None:
        addresses["primary"] = Address.parse(source, "address of the primary")
    if len(set(addresses.values())) < len(addresses):
        listed = ", ".join(f"{name} {address}" for name, address in addresses.items())
        raise ConfigurationError(f"each address must be another one: {listed}")
    lines = []
    if "replicas" in addresses:
        lines.append(f"  replicate-to {addresses['replicas']}")
    if "primary" in addresses:
        lines.append(f"  replicate-from {addresses['primary']}")
        lines.append(f"  reconnect-delay {settings.reconnect_delay:g}")
    lines.append(f"  keep-alive-delay {settings.keep_alive:g}")
    ssl = ""
    if tls is not None:
        files = {
            "ca": _written(tls.ca, "DQM_TLS_CA"),
            "certificate": _written(tls.certificate, "DQM_TLS_CERT"),
            "key": _written(tls.key, "DQM_TLS_KEY"),
        }
        lines += [f"  tls-{name} {path}" for name, path in files.items()]
        ssl = TLS_TEMPLATE.format(**files)
    timeout = math.ceil(settings.transaction_timeout)  # ZEO takes whole seconds
    volume = Volume(settings.data_dir)
    return TEMPLATE.format(
        role="primary" if source is None else "replica",
        path=_written(volume.configuration),
        zeo=_written(Path(str(addresses["clients"])), "socket"),
        queue=INVALIDATION_QUEUE,
        timeout=f"  transaction-timeout {timeout}\n" if timeout else "",
        ssl=ssl,
        replication="\n".join(lines),
        data=_written(volume.data_file),
        blobs=_written(volume.blob_dir),
    )


def write_configuration(settings: ServerSettings, text: str) -> Path:
    """Create the volume and put *text* into its ``zeo.conf``, whose path is returned.

    Raises
    ------
    DataInUse
        A server runs on the volume; its ``zeo.conf`` stays as it is.
    DataUnwritable
        A folder cannot be created, or is not ours to write.
    """
    volume = Volume(settings.data_dir)
    volume.create()
    with volume.locked(wait=LOOKED_AT_FOR):  # ours will take the lock again
        draft = volume.configuration.with_suffix(".conf.new")
        try:
            draft.write_text(text, encoding="utf-8")
            draft.replace(volume.configuration)
        except OSError as error:
            raise DataUnwritable(
                f"cannot write {volume.configuration} ({error.strerror})"
            ) from error
    return volume.configuration


def _written(path: Path, what: str = "data directory") -> str:
    """*path* as a value of ZConfig, where ``$`` begins a substitution and a line is a value."""
    text = str(path)
    if not text.isprintable() or text != text.strip():
        raise ConfigurationError(f"{what}: {text!r} cannot be written in a zeo.conf")
    return text.replace("$", "$$")
