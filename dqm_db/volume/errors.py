"""What is wrong with a volume, beside the errors in :mod:`dqm_db.errors`."""

from __future__ import annotations

from dqm_db.errors import DQMError


class DataInUse(DQMError):
    """Another server has the same ``Data.fs`` open."""

    exit_code = 75

    @classmethod
    def of(cls, error: Exception) -> DataInUse:
        """In words, from the error of whoever tried to lock it."""
        return cls(
            f"another server uses the same data ({error}): stop it or choose another --data-dir"
        )


class DataUnwritable(DQMError):
    """The data directory cannot be created, or the server may not write there."""

    exit_code = 73


class DamagedData(DQMError):
    """``Data.fs`` is not a FileStorage, or its structure is broken."""

    exit_code = 65


class DamagedVolumeState(DQMError):
    """``volume.json``, which says what a server is, cannot be understood."""

    exit_code = 65


class DamagedFence(DQMError):
    """What the database holds as its epoch, or where that should be, cannot be understood."""

    exit_code = 65


class MaintenanceUnderWay(DQMError):
    """A pack and a backup, or two packs, of one volume exclude each other."""

    exit_code = 75
