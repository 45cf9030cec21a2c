"""What a server tells of itself to whoever asks, without a login: part of the answer to ``ruok``.

It is asked every few seconds, by every dashboard and monitor, in the thread that serves all
clients. So nothing here reads more than a few attributes; what takes longer is measured in a
thread of its own, now and then.
"""

from __future__ import annotations

import functools
import logging
import os
import platform
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from zc.zrs.primary import Primary
from zc.zrs.secondary import Secondary
from ZODB.FileStorage import FileStorage

from dqm_db.certificates import certificate_expiry
from dqm_db.replication.addresses import Address
from dqm_db.replication.identity import identity_of
from dqm_db.settings import SystemSettings, load
from dqm_db.tls import TLSFiles
from dqm_db.volume.aside import aside_directories
from dqm_db.volume.layout import Volume, bytes_below

logger = logging.getLogger(__name__)

MEASURED_EVERY = 120.0
"""Seconds between two measurements; more when they take long, see `Measurements.refresh`."""

PATIENCE_FACTOR = 20
"""Measuring may take this part of the time, lest a slow disk does nothing else."""

DISTRIBUTIONS = ("nectarcam-dqm", "ZODB", "ZEO", "zc.zrs")

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found by looking through the volume; None is what could not be found."""

    blob_bytes: int | None = None
    aside_bytes: int | None = None


class Once:
    """Computes parts of an answer; what fails is None, and logged the first time."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def part(self, name: str, compute: Callable[[], Part]) -> Part | None:
        """What *compute* gives, or None: an answer without one part still says the others."""
        try:
            value = compute()
        except Exception as error:
            if name not in self._logged:
                self._logged.add(name)
                logger.warning(
                    "cannot tell %r of this server: %s: %s", name, type(error).__name__, error
                )
            return None
        self._logged.discard(name)
        return value


class Measurements:
    """Measures a volume in the background.

    Parameters
    ----------
    volume
        The one that is served.
    """

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._once = Once()
        self._busy = threading.Lock()
        self._next = 0.0  # by the monotonic clock
        self.last = Measured()

    def refresh(self) -> None:
        """Begin to measure anew, unless that is under way or was done a moment ago."""
        if time.monotonic() < self._next or not self._busy.acquire(blocking=False):
            return
        try:
            threading.Thread(target=self._measure, name="measuring the volume", daemon=True).start()
        except RuntimeError as error:  # no more threads: the next question tries again
            logger.warning("cannot measure the volume: %s", error)
            self._busy.release()

    def _measure(self) -> None:
        began = time.monotonic()
        try:
            once = self._once
            self.last = Measured(
                blob_bytes=once.part("blob_bytes", lambda: bytes_below(self._volume.blob_dir)),
                aside_bytes=once.part("aside_bytes", self._aside_bytes),
            )
        finally:
            now = time.monotonic()
            self._next = now + max(MEASURED_EVERY, PATIENCE_FACTOR * (now - began))
            self._busy.release()

    def _aside_bytes(self) -> int:
        return sum(map(bytes_below, aside_directories(self._volume)))


class ServerState:
    """What is told of one served storage.

    Parameters
    ----------
    storage
        The outermost one: a `Secondary`, a `Primary` or a bare FileStorage.
    """

    def __init__(self, storage: Any) -> None:
        self._outermost = storage
        self._once = Once()
        identity = self._once.part("identity", lambda: identity_of(storage))
        self._started = time.time() if identity is None else identity.started
        self.secondary = _layer(storage, Secondary)
        self.primary = _layer(storage, Primary)
        self.files = _layer(storage, FileStorage)
        self.packed: float | None = None  # by this process; set by whoever packs
        # That which was loaded: a renewed file is not used before the next start.
        self._certificate_expires = self._once.part("certificate_expires", certificate_expires)
        self._authority_expires = self._once.part("authority_expires", authority_expires)
        self._host = socket.gethostname()
        self._versions = {
            name: self._once.part(f"version of {name}", functools.partial(metadata.version, name))
            for name in DISTRIBUTIONS
        } | {"python": platform.python_version()}
        self._measurements: Measurements | None = None
        if self.files is not None:
            data_file = Path(self.files.getName()).absolute()
            self._measurements = Measurements(Volume(data_file.parent.parent))
            self._measurements.refresh()

    def answer(self, clients: int) -> dict[str, Any]:
        """Everything, as plain data for JSON; never raises.

        Parameters
        ----------
        clients
            How many are logged in.
        """
        part = self._once.part
        factory = None if self.secondary is None else self.secondary._factory
        measured = Measured()
        if self._measurements is not None:
            self._measurements.refresh()
            measured = self._measurements.last
        disk = part("disk", self._disk)
        identity = part("identity", lambda: identity_of(self._outermost))
        return {
            "role": self._role() if identity is None else identity.role,
            "epoch": None if identity is None else identity.epoch,
            "fence_state": None if identity is None else identity.fence_state,
            "fence_at": None if identity is None else identity.fence_at,
            "asks": None if identity is None else identity.asks,
            "source": part("source", self._source),
            "following": part("following", lambda: getattr(factory, "following", None)),
            "reason": part("reason", lambda: getattr(factory, "reason", None)),
            "heard": part("heard", lambda: getattr(factory, "heard", None)),
            "replicas": part("replicas", self._replicas),
            "clients": clients,
            "file_bytes": part("file_bytes", self._file_bytes),
            "blob_bytes": measured.blob_bytes,
            "disk_free": disk[0] if disk else None,
            "disk_total": disk[1] if disk else None,
            "aside_bytes": measured.aside_bytes,
            "packed": part("packed", self._packed),
            "started": self._started,
            "host": self._host,
            "versions": self._versions,
            "certificate_expires": self._certificate_expires,
            "authority_expires": self._authority_expires,
            "now": time.time(),
        }

    def _role(self) -> str:
        return "primary" if self.secondary is None else "replica"

    def _source(self) -> str | None:
        return None if self.secondary is None else str(Address(*self.secondary._addr))

    def _replicas(self) -> list[dict[str, Any]]:
        if self.primary is None:
            return []
        return [_replica(connection) for connection in list(self.primary._factory.instances)]

    def _file_bytes(self) -> int | None:
        return None if self.files is None else self.files._pos

    def _disk(self) -> tuple[int, int] | None:
        if self.files is None:
            return None
        disk = os.statvfs(self.files.getName())
        return disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize

    def _packed(self) -> float | None:
        """When this file was packed, by this process or an earlier one."""
        if self.packed is not None or self.files is None:
            return self.packed
        data_file = Path(self.files.getName()).absolute()
        try:
            return Volume(data_file.parent.parent).packed.stat().st_mtime
        except FileNotFoundError:
            return None  # never


def certificate_expires() -> float | None:
    """When the certificate of this host ends, in Unix seconds; None without TLS."""
    path = load(SystemSettings).tls_cert
    return None if path is None else certificate_expiry(path)


def authority_expires() -> float | None:
    """When the CA of that certificate ends, as this host has it; None without TLS."""
    files = TLSFiles.of(load(SystemSettings))
    return None if files is None else files.expires()[files.ca]


def _layer(storage: Any, kind: type) -> Any:
    """The storage of class *kind* around or inside *storage*, None when there is none."""
    while storage is not None and not isinstance(storage, kind):
        storage = getattr(storage, "_storage", None)
    return storage


def _replica(connection: Any) -> dict[str, Any]:
    """One replica that follows us: *connection* is zc.zrs's `PrimaryProtocol`."""
    peer = connection.transport.getPeer()
    producer = connection._PrimaryProtocol__producer
    iterator = getattr(producer, "iterator", None)  # none before its history was checked
    sent = getattr(iterator, "_ltid", None)
    return {
        "peer": str(Address(peer.host, peer.port)),
        "sent": None if sent is None else sent.hex(),
        "connected_since": getattr(producer, "since", None),
    }
