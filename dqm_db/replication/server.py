"""Runs ZEO on a ``zeo.conf`` in this process, with errors that a user can act on."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

import zc.lockfile
from ZEO.runzeo import ZEOOptions, ZEOServer
from ZODB.FileStorage.FileStorage import FileStorageError
from ZODB.FileStorage.format import CorruptedError

from dqm_db.volume.errors import DamagedData, DataInUse, DataUnwritable

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    """End with code 0, closing what is open; a second signal does not interrupt the closing."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    sys.exit(0)


class Server(ZEOServer):
    """``runzeo``, with our signals and errors."""

    def open_storages(self) -> None:
        """Open the storages.

        Raises
        ------
        DataInUse, DataUnwritable, DamagedData
            ``Data.fs`` is locked, not ours to write, or no FileStorage.
        AddressInUse, ConfigurationError
            Replicas cannot be served at the address given.
        """
        try:
            super().open_storages()
        except zc.lockfile.LockError as error:
            raise DataInUse.of(error) from error
        except (FileStorageError, CorruptedError) as error:
            raise DamagedData(
                f"Data.fs is damaged ({type(error).__name__}: {error}): restore it from a backup, "
                "or wipe the data directory when it is a replica's"
            ) from error
        except OSError as error:
            raise DataUnwritable(f"cannot open {error.filename} ({error.strerror})") from error

    def setup_signals(self) -> None:
        """Stop at SIGTERM and SIGINT; the other signals as in ZEO (SIGUSR2 reopens the log)."""
        super().setup_signals()
        catch_signals()


def catch_signals() -> None:
    """Let SIGTERM and SIGINT end this process with code 0."""
    for number in STOP_SIGNALS:
        signal.signal(number, stop)


def serve(path: Path) -> NoReturn:
    """Serve what the ``zeo.conf`` at *path* describes until a signal ends this process.

    Raises
    ------
    SystemExit
        With code 0 after SIGTERM or SIGINT.
    DQMError
        The server could not start.
    """
    options = ZEOOptions()
    options.realize(["-C", str(path)], progname="dqm")
    Server(options).main()
    sys.exit(0)
