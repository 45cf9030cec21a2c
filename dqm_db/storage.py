"""Opening the database: any ZODB storage URI, read-only unless a writer asks.

``zeo://HOST:PORT[,HOST:PORT…]`` and ``zeo:///PATH`` of a UNIX socket are resolved here (several
servers, bounded waiting, a bounded blob cache); every other scheme by zodburi, e.g.
``file:///data/filestorage/Data.fs``. A file that is read directly shows the state at its opening;
only clients of a server see what others commit.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import transaction
import ZODB
import zodburi
from transaction.interfaces import NoTransaction
from zc.lockfile import LockError
from ZConfig import ConfigurationError as ConfigurationSyntaxError
from ZEO.ClientStorage import ClientStorage
from ZEO.Exceptions import ClientDisconnected, ServerException
from ZODB.Connection import Connection
from ZODB.FileStorage.FileStorage import FileStorageError
from ZODB.interfaces import IStorage
from ZODB.POSException import POSKeyError
from ZODB.utils import load_current, z64

from dqm_db.codec import DamagedRecord
from dqm_db.errors import (
    ConfigurationError,
    DamagedDatabase,
    DatabaseUnavailable,
    ForeignDatabase,
    NewerDatabase,
    NoDataYet,
    OlderDatabase,
    PackFailed,
    WriterLocked,
)
from dqm_db.model import ROOT_KEY, SCHEMA, Root
from dqm_db.reader import Snapshot
from dqm_db.settings import DatabaseSettings, SystemSettings, load
from dqm_db.tls import TLSFiles, client_context, warn_about
from dqm_db.tls_fault import fault_of_server
from dqm_db.urls import file_path, file_url, shown, zeo_addresses
from dqm_db.volume.errors import MaintenanceUnderWay
from dqm_db.volume.fence import FENCE_KEY
from dqm_db.watchdog import Watchdog
from dqm_db.zeo_client import Client

LOOK_AT_TLS_EVERY = 30.0
"""Seconds between two looks at why a server does not answer."""
LOOK_AT_TLS_FOR = 2.0
"""Seconds that such a look may take, at least."""


def open_database(
    settings: DatabaseSettings, *, read_only: bool = True, must_answer: bool = True
) -> Database:
    """Open ``settings.db_url``.

    Replicas accept nothing but *read_only*. Whether a server that is down is an error says
    *must_answer*: a dashboard says False, starts anyway, and the client connects by itself as soon
    as there is a server.

    Raises
    ------
    ConfigurationError
        The URL cannot be understood.
    DatabaseUnavailable
        No server answers within ``settings.db_wait`` seconds, or there is no such file.
    WriterLocked, DamagedDatabase
        Files only: another process has it open; it is no ZODB file.
    """
    return Database(settings, read_only=read_only, must_answer=must_answer)


class Database:
    """One process's access to the database: thread-safe, to be opened after a fork.

    Connections are short-lived and pooled: at most ``settings.db_pool`` exist, each with an object
    cache of ``settings.db_cache_bytes``.
    """

    def __init__(self, settings: DatabaseSettings, *, read_only: bool, must_answer: bool) -> None:
        self.settings = settings
        self.read_only = read_only
        self._places = threading.BoundedSemaphore(settings.db_pool)
        self._opening = threading.Lock()
        self._db: ZODB.DB | None = None
        self._tls: ssl.SSLContext | None = None
        self._tls_fault = ""
        self._looked_at_tls = -math.inf
        self._watchdog: Watchdog | None = None
        self._resources = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            undo.push(self._resources)
            with self._translated():
                try:
                    self._storage = self._open_storage(must_answer)
                except OSError as error:
                    raise DatabaseUnavailable(
                        f"{shown(settings.db_url)} cannot be opened: {error}"
                    ) from error
            self._resources.callback(self._close_storage)
            undo.pop_all()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; the database cannot be used any more."""
        self._resources.close()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """A consistent view of the newest state.

        Raises
        ------
        NoDataYet
            Nothing was written, or nothing replicated yet.
        DatabaseUnavailable
            The server does not answer; also when it stops answering while the snapshot is used.
        ForeignDatabase, NewerDatabase, OlderDatabase
            What is stored is not ours, of a later release, or not migrated yet.
        DamagedDatabase
            A record is missing or cannot be read; also while the snapshot is used.
        """
        with self.connection() as connection:
            yield Snapshot(checked_root(connection, shown(self.settings.db_url)))

    @contextlib.contextmanager
    def connection(
        self, manager: transaction.TransactionManager | None = None
    ) -> Iterator[Connection]:
        """A pooled ZODB connection; what was not committed is forgotten at the end."""
        manager = manager or transaction.TransactionManager(explicit=True)
        with self._places, self._translated():
            connection = self._opened().open(manager)
            try:
                manager.begin()
                yield connection
            finally:
                with contextlib.suppress(NoTransaction):  # committed by the caller
                    manager.abort()
                connection.close()

    def last_transaction(self) -> bytes:
        """Id (8 bytes) of the newest transaction known here; no round trip."""
        return self._storage.lastTransaction()

    def pack(self, until: float) -> Mapping[str, float]:
        """Let the server drop what was replaced or deleted before *until* (Unix seconds).

        Nothing limits how long it takes. Returns what `dqm_db.replication.serving_pack` tells of
        the sizes; nothing from stock ZEO.

        Raises
        ------
        ConfigurationError
            The database is not one server's.
        MaintenanceUnderWay
            A backup, or another pack, is under way there.
        DatabaseUnavailable
            The server ended, or hangs.
        PackFailed
            The server could not do it; its file is as it was before.
        """
        url = shown(self.settings.db_url)
        if not isinstance(self._storage, ClientStorage):
            raise ConfigurationError(f"{url} is not a server's: only servers are packed")
        with self._translated():
            try:
                told = self._storage.pack(until, wait=True)
            except ServerException as error:
                name, arguments = (*error.args, "", ())[:2]
                text = f"{url}: {' '.join(map(str, arguments)) or name}"
                if str(name).endswith(f".{MaintenanceUnderWay.__name__}"):
                    raise MaintenanceUnderWay(text) from error
                raise PackFailed(f"{text}; look at the server's log and its disk") from error
        return told if isinstance(told, dict) else {}

    def is_connected(self) -> bool:
        """Whether a server is there now; always true for local files."""
        connected = getattr(self._storage, "is_connected", None)
        return True if connected is None else connected()

    def _opened(self) -> ZODB.DB:
        # ZODB.DB writes a root object into an empty storage, which a read-only one refuses: an
        # empty replica. So it is made only when there is a root, or when writing is allowed.
        with self._opening:
            if self._db is None:
                if self.read_only:
                    self._require_root()
                self._db = ZODB.DB(
                    self._storage,
                    pool_size=self.settings.db_pool,
                    cache_size=100_000,
                    cache_size_bytes=self.settings.db_cache_bytes,
                )
            return self._db

    def _require_root(self) -> None:
        try:
            load_current(self._storage, z64)
        except POSKeyError:
            raise NoDataYet(
                f"{shown(self.settings.db_url)} holds no data yet: nothing was ingested, "
                "or the replica has not received anything from its primary"
            ) from None

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """What goes wrong in ZODB, in the words and with the exit codes of this system."""
        url = shown(self.settings.db_url)
        try:
            yield
        except ClientDisconnected as error:
            fault = self._fault_of_tls() or "is its server running, and DQM_DB_URL right?"
            raise DatabaseUnavailable(f"the database at {url} does not answer: {fault}") from error
        except LockError as error:
            raise WriterLocked(f"{url} is open in another process: try again later") from error
        except FileStorageError as error:
            raise DamagedDatabase(
                f"{url} is not a ZODB file, or is damaged ({error}): restore it from a backup"
            ) from error
        except POSKeyError as error:
            raise DamagedDatabase(
                f"{url} lacks the object {error}: restore it, or read from the other server"
            ) from error
        except DamagedRecord as error:
            raise DamagedDatabase(
                f"{url} holds a record that cannot be read ({error}): restore it, or read from "
                "the other server"
            ) from error

    def _open_storage(self, must_answer: bool) -> IStorage:
        url = self.settings.db_url
        if url.startswith("zeo://"):
            return self._open_zeo(must_answer)
        if url.startswith("file://"):
            path = file_path(url)
            if not self.read_only:
                path.parent.mkdir(parents=True, exist_ok=True)
            elif not path.exists():
                raise DatabaseUnavailable(f"{url}: there is no such file; ingest a run first")
            url = file_url(url, read_only=self.read_only)
        try:
            factory, _ = zodburi.resolve_uri(url)
        except (KeyError, ValueError, ImportError, ConfigurationSyntaxError) as error:
            # what others raise repeats the URL, password included
            raise ConfigurationError(
                f"DQM_DB_URL {shown(url)} is not a storage URI that is installed here "
                f"({shown(str(error))}); zeo:// and file:// always are, postgresql:// comes with "
                "the package RelStorage[postgresql]"
            ) from error
        return factory()

    def _open_zeo(self, must_answer: bool) -> ClientStorage:
        settings = self.settings
        addresses = zeo_addresses(settings.db_url)
        system = load(SystemSettings)
        if all(address.path is None for address in addresses):  # who may use a socket says its mode
            self._tls = client_context(system)
            if (files := TLSFiles.of(system)) is not None:
                warn_about(files)
        blobs = settings.blob_cache_dir
        if blobs is None:
            blobs = Path(tempfile.mkdtemp(prefix="dqm-blobs-"))
            self._resources.callback(shutil.rmtree, blobs, ignore_errors=True)
        storage = Client(
            [address.path or tuple(address) for address in addresses],
            read_only=self.read_only,
            wait=must_answer,
            wait_timeout=settings.db_wait,
            blob_dir=str(blobs),
            blob_cache_size=settings.blob_cache_bytes,
            # No ssl_server_hostname, which would be one for all addresses: asyncio then compares
            # the certificate with the host of each.
            ssl=self._tls,
        )
        self._watchdog = Watchdog(storage, settings.db_patience)
        return storage

    def _fault_of_tls(self) -> str:
        """What is wrong with TLS at a server that does not answer; empty: nothing that shows.

        ZEO's client says nothing of it. Looking takes time, so that is done now and then only.
        """
        url = self.settings.db_url
        now = time.monotonic()
        if url.startswith("zeo://") and now - self._looked_at_tls > LOOK_AT_TLS_EVERY:
            self._looked_at_tls = now
            patience = max(self.settings.db_wait, LOOK_AT_TLS_FOR)
            faults = (
                (address, fault_of_server(*address, self._tls, patience))
                for address in zeo_addresses(url)
                if address.path is None
            )
            self._tls_fault = "; ".join(
                f"TLS with {address} fails: {fault}"
                for address, fault in faults
                if fault is not None
            )
        return self._tls_fault

    def _close_storage(self) -> None:
        if self._watchdog is not None:
            self._watchdog.stop()
        if self._db is not None:
            self._db.close()
        else:
            self._storage.close()


def checked_root(connection: Connection, url: str, *, migrating: bool = False) -> Root:
    """Our root object, in today's schema unless the caller is *migrating* it.

    Raises
    ------
    NoDataYet, ForeignDatabase, NewerDatabase, OlderDatabase
    """
    top = connection.root()
    root = top.get(ROOT_KEY)
    if root is None:
        if not (foreign := set(top) - {FENCE_KEY}):
            raise NoDataYet(f"{url} holds no data yet: nothing was ingested")
        keys = ", ".join(sorted(map(str, foreign))[:3])
        raise ForeignDatabase(
            f"{url} is not a database of this system (its root holds {keys}): "
            "point DQM_DB_URL to another one"
        )
    if not isinstance(root, Root):
        raise ForeignDatabase(
            f"{url} holds a {type(root).__name__} where this system keeps its root: "
            "point DQM_DB_URL to another database"
        )
    if root.schema > SCHEMA:
        raise NewerDatabase(
            f"{url} has schema {root.schema}, this release reads up to {SCHEMA}: "
            "upgrade this installation"
        )
    if root.schema < SCHEMA and not migrating:
        raise OlderDatabase(
            f"{url} has schema {root.schema}, this release reads {SCHEMA}: run any command of this "
            "release that writes on the primary, which migrates it"
        )
    return root
