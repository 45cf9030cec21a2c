"""Runs ZEO on a ``zeo.conf`` in this process, with errors that a user can act on.

SIGTERM and SIGINT end it; SIGHUP closes it as they do and begins it anew, in the same process, so
that whoever started it need not know: that is how a running server changes its role.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

import zc.lockfile
from ZEO.runzeo import ZEOOptions, ZEOServer
from ZODB.FileStorage.FileStorage import FileStorageError
from ZODB.FileStorage.format import CorruptedError

from dqm_db.inherited_sockets import InheritedSockets
from dqm_db.replication.fencing import FenceWatch
from dqm_db.replication.section import Replicated
from dqm_db.service_manager import READY, RELOADING, STOPPING, notify
from dqm_db.volume.errors import DamagedData, DataInUse, DataUnwritable

logger = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
RESTART_SIGNAL = signal.SIGHUP


def stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    """End with code 0, closing what is open; a second signal does not interrupt the closing."""
    for number in (*STOP_SIGNALS, RESTART_SIGNAL):
        signal.signal(number, signal.SIG_IGN)
    notify(STOPPING)
    sys.exit(0)


class Restart(SystemExit):
    """The process is to close what is open and to begin anew, with the same command line.

    Attributes
    ----------
    stopped : list of int
        Signals that came since, by which it ends instead.
    """

    def __init__(self, stopped: list[int]) -> None:
        super().__init__(0)
        self.stopped = stopped


def restart(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Begin anew; a signal that wants to stop is kept until everything is closed."""
    signal.signal(RESTART_SIGNAL, signal.SIG_IGN)  # also in the new program, until it is ready
    stopped: list[int] = []
    for number in STOP_SIGNALS:
        signal.signal(number, lambda number, _frame: stopped.append(number))
    raise Restart(stopped)


@contextlib.contextmanager
def restarting(inherited: InheritedSockets) -> Iterator[None]:
    """Catch the signals from now on; what is left by SIGHUP begins the whole program anew.

    It inherits the sockets that this one has *inherited*.
    """
    catch_signals()
    try:
        yield
    except Restart as found:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        if found.stopped:
            sys.exit(0)
        logger.warning("beginning anew: %s", " ".join(sys.orig_argv))
        notify(RELOADING)
        inherited.hand_on()
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        # All other files and sockets of Python are closed by this, and threads are gone.
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606


class Server(ZEOServer):
    """``runzeo``, with our signals and errors.

    Parameters
    ----------
    options
    clients, replicas
        Where they connect, in the place of the addresses in ``zeo.conf``: sockets that listen
        already.
    """

    def __init__(
        self,
        options: ZEOOptions,
        clients: Sequence[socket.socket] = (),
        replicas: Sequence[socket.socket] = (),
    ) -> None:
        super().__init__(options)
        self._clients = clients
        self._replicas = replicas

    def main(self) -> None:
        """Serve until a signal comes.

        Raises
        ------
        Fenced
            Another server of the database was promoted.
        """
        try:
            super().main()
        except SystemExit:
            for watch in self._watches():
                if watch.fenced is not None:
                    raise watch.fenced from None
            raise

    def close_server(self) -> None:
        """Close everything, in order."""
        for watch in self._watches():
            watch.stop()
        super().close_server()

    def _watches(self) -> list[FenceWatch]:
        storages = getattr(self, "storages", {}).values()  # none when it could not be opened
        found = (getattr(storage, "dqm_fence_watch", None) for storage in storages)
        return [watch for watch in found if watch is not None]

    def open_storages(self) -> None:
        """Open the storages.

        Raises
        ------
        DataInUse, DataUnwritable, DamagedData
            ``Data.fs`` is locked, not ours to write, or no FileStorage.
        AddressInUse, ConfigurationError
            Replicas cannot be served at the address given.
        RoleContradiction, DamagedVolumeState, Fenced, DamagedFence
            This server may not be what its ``zeo.conf`` says.
        """
        for opener in self.options.storages:
            if isinstance(opener, Replicated):
                opener.listeners = self._replicas
        try:
            super().open_storages()
        except zc.lockfile.LockError as error:
            raise DataInUse.of(error) from error
        except (FileStorageError, CorruptedError) as error:
            raise DamagedData(
                f"Data.fs is damaged ({type(error).__name__}: {error}): restore it from a backup, "
                "or `dqm resync` when it is a replica's"
            ) from error
        except OSError as error:
            raise DataUnwritable(f"cannot open {error.filename} ({error.strerror})") from error

    def check_socket(self) -> None:
        """Somebody listens at our address already if the sockets are inherited: we do."""
        if not self._clients:
            super().check_socket()

    def clear_socket(self) -> None:
        """The file of an inherited UNIX socket stays: others will connect when we are gone."""
        if not self._clients:
            super().clear_socket()

    def create_server(self) -> None:
        """Let clients in."""
        # Only now: the internals that these modules change may not exist in other releases.
        from dqm_db.replication.methods import StorageServer
        from dqm_db.replication.tls_acceptor import Acceptor

        options = self.options
        self.server = StorageServer(
            options.address,
            self.storages,
            read_only=options.read_only,
            client_conflict_resolution=options.client_conflict_resolution,
            msgpack=options.msgpack,
            invalidation_queue_size=options.invalidation_queue_size,
            invalidation_age=options.invalidation_age,
            transaction_timeout=options.transaction_timeout,
            ssl=options.ssl,
            Acceptor=functools.partial(Acceptor, listeners=self._clients),
        )
        notify(READY)

    def setup_signals(self) -> None:
        """Ours; the other signals as in ZEO (SIGUSR2 reopens the log)."""
        super().setup_signals()
        catch_signals()


def catch_signals() -> None:
    """Let SIGTERM and SIGINT end this process with code 0, and SIGHUP begin it anew.

    SIGHUP also comes when the terminal is closed in which a server runs; then it ends.
    """
    terminals = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]

    def hang_up(number: int, frame: FrameType | None) -> NoReturn:
        if all(map(os.isatty, terminals)):
            restart(number, frame)
        stop(number, frame)

    for number in STOP_SIGNALS:
        signal.signal(number, stop)
    signal.signal(RESTART_SIGNAL, hang_up)


def serve(
    path: Path,
    clients: Sequence[socket.socket] = (),
    replicas: Sequence[socket.socket] = (),
) -> NoReturn:
    """Serve what the ``zeo.conf`` at *path* describes until a signal ends this process.

    Parameters
    ----------
    path
        Of the file.
    clients, replicas
        As of `Server`.

    Raises
    ------
    SystemExit
        With code 0 after SIGTERM or SIGINT; `Restart` after SIGHUP.
    DQMError
        The server could not start.
    """
    options = ZEOOptions()
    options.realize(["-C", str(path)], progname="dqm")
    Server(options, clients, replicas).main()
    sys.exit(0)
