"""The section ``<replicated>`` of ``zeo.conf``: opens a FileStorage that is replicated."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import zc.lockfile
from ZODB.FileStorage import FileStorage

from dqm_db.errors import ConfigurationError
from dqm_db.peers import configured_servers
from dqm_db.replication.addresses import Address, listen
from dqm_db.replication.fencing import FenceWatch
from dqm_db.replication.identity import Identity
from dqm_db.replication.roles import require_agreement, settle_epoch
from dqm_db.replication.versions import require_verified
from dqm_db.settings import ServerSettings, load
from dqm_db.tls import TLSFiles
from dqm_db.volume.layout import LOOKED_AT_FOR, Volume, when_unlocked
from dqm_db.volume.state import PRIMARY, REPLICA, VolumeState
from dqm_db.volume.transactions import last_transaction
from dqm_db.volume.unfinished_pack import finish_pack, undo_unfinished_pack

logger = logging.getLogger(__name__)

NOBODY_ASKED = (
    "DQM_SERVERS is not set: this primary asks no other server, so that it would go on when "
    "another one was promoted. Set it to the client addresses of all servers, the same on all hosts"
)


class Replicated:
    """What ZConfig makes of a section; ZEO calls :meth:`open`.

    Attributes
    ----------
    listeners : sequence of socket.socket
        Where replicas connect, in the place of ``replicate-to``: sockets that listen already.

    Parameters
    ----------
    section
        The values of the keys, see ``component.xml``.

    Raises
    ------
    ValueError
        The releases were not verified, or the keys do not fit together; ZConfig shows it
        with the line of the file.
    """

    def __init__(self, section: Any) -> None:
        try:
            accepted = require_verified(unless=load(ServerSettings).unverified_versions)
        except ConfigurationError as error:
            raise ValueError(str(error)) from error
        for release in accepted:
            logger.warning("serving with a release that was not verified: %s", release)
        # Only now: the internals that these modules change may not exist in other releases.
        from dqm_db.replication import adapter, zeo_server

        adapter.install()
        zeo_server.install()
        self.listeners: Sequence[socket.socket] = ()
        self.name = section.getSectionName()
        self.file_storage = section.base
        self.replicate_to = _tcp(section.replicate_to, "replicate-to")
        self.replicate_from = _tcp(section.replicate_from, "replicate-from")
        self.reconnect_delay: float = section.reconnect_delay
        self.keep_alive: float = section.keep_alive_delay
        self.tls = _tls(section)
        if self.replicate_to is None and self.replicate_from is None:
            raise ValueError("<replicated> needs replicate-to, replicate-from or both")
        if self.replicate_to == self.replicate_from:
            raise ValueError(f"replicate-from {self.replicate_from} would follow itself")

    def open(self) -> Any:
        """The storage to serve: a primary, or a replica, which may feed further replicas.

        Raises
        ------
        ValueError
            The section in it is no ``<filestorage>`` with a ``blob-dir``.
        AddressInUse, ConfigurationError
            Replicas cannot be served at ``replicate-to``, or the certificates not be used.
        DamagedData
            No complete transaction ends where the index says so.
        RoleContradiction, DamagedVolumeState
            ``volume.json`` says otherwise, or cannot be understood.
        Fenced, DamagedFence
            Another server was promoted, or the epoch of the database cannot be told.
        """
        from dqm_db.replication.primary import Primary
        from dqm_db.replication.secondary import Secondary

        config = getattr(self.file_storage, "config", None)
        volume = Volume(Path(getattr(config, "path", "Data.fs")).absolute().parent.parent)
        state = VolumeState.read(volume)
        require_agreement(volume, state, self.replicate_from)
        encryption = self._encryption()
        is_primary = self.replicate_from is None
        servers = configured_servers()
        listeners: list[socket.socket] = []
        storage = files = self._open_files()
        try:
            self._prepare(files)
            if self.replicate_to is not None:
                listeners.extend(self.listeners or [listen(self.replicate_to, "replicate-to")])
            settle_epoch(files, volume, state, servers, primary=is_primary)
            if listeners:
                storage = Primary(
                    files, listeners, keep_alive=self.keep_alive, encryption=encryption
                )
        except BaseException:
            files.close()
            for listener in listeners:
                listener.close()
            raise
        if self.replicate_from is not None:
            storage = Secondary(
                storage,
                self.replicate_from,
                reconnect_delay=self.reconnect_delay,
                keep_alive=self.keep_alive,
                encryption=encryption,
            )
        source = None if self.replicate_from is None else str(self.replicate_from)
        role = PRIMARY if is_primary else REPLICA
        identity = storage.dqm_identity = Identity(files, role, source, asks=len(servers))
        if is_primary and servers:
            storage.dqm_fence_watch = FenceWatch(identity, servers)
        elif is_primary and (listeners or identity.now().epoch):
            logger.warning("%s", NOBODY_ASKED)
        return storage

    def _encryption(self) -> Any:
        if self.tls is None:
            return None
        from dqm_db.replication.encryption import Encryption

        encryption = Encryption(self.tls)
        encryption.watch_expiry()
        return encryption

    def _open_files(self) -> Any:
        """The FileStorage, as it was before or after a pack that was cut short."""
        config = getattr(self.file_storage, "config", None)
        path, blobs = getattr(config, "path", None), getattr(config, "blob_dir", None)
        if path is None or blobs is None or not Path(path).parent.is_dir():
            return when_unlocked(self.file_storage.open, wait=LOOKED_AT_FOR)
        lock = when_unlocked(lambda: zc.lockfile.LockFile(f"{path}.lock"), wait=LOOKED_AT_FOR)
        with contextlib.closing(lock):  # it takes it again
            is_left = undo_unfinished_pack(Path(path), Path(blobs))
        files = when_unlocked(self.file_storage.open, wait=LOOKED_AT_FOR)
        if is_left:
            try:
                finish_pack(files, Path(path))
            except BaseException:
                files.close()
                raise
        return files

    @staticmethod
    def _prepare(files: Any) -> None:
        if not isinstance(files, FileStorage) or not files.blob_dir:
            raise ValueError("<replicated> needs a <filestorage> with a blob-dir in it")
        from dqm_db.replication.durable_blobs import sync_blobs
        from dqm_db.replication.serving_pack import ServedPacks
        from dqm_db.replication.zeo_server import leave_conflicts_to_clients

        # After a crash between vote and finish, FileStorage cuts the unfinished transaction off but
        # reports its tid as the last one. A replica that asks its primary for what follows that
        # tid never gets the transaction itself: it would be lost for good, without a word.
        files._ltid = last_transaction(files._file, files._pos)
        leave_conflicts_to_clients(files)
        ServedPacks(files)
        sync_blobs(files)
        clear_temporary_files(Path(files.temporaryDirectory()))


def clear_temporary_files(directory: Path) -> None:
    """Delete what a killed server left in ``blobs/tmp``, which is ours once we have the lock."""
    for path in directory.iterdir():
        if path.is_file():
            logger.warning("removed %s, %d bytes left by an earlier run", path, path.stat().st_size)
            path.unlink()


def _tls(section: Any) -> TLSFiles | None:
    keys = (section.tls_ca, section.tls_certificate, section.tls_key)
    if not any(keys):
        return None
    if not all(keys):
        raise ValueError("<replicated> needs tls-ca, tls-certificate and tls-key, or none of them")
    return TLSFiles(*map(Path, keys))


def _tcp(value: Any, key: str) -> Address | None:
    if value is None:
        return None
    if not isinstance(value.address, tuple) or value.address[1] is None:
        raise ValueError(f"{key} needs HOST:PORT")
    return Address(value.address[0] or "0.0.0.0", value.address[1])  # noqa: S104 (ZConfig's meaning)
