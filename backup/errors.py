"""What can go wrong with backups."""

from __future__ import annotations

from dqm_db.errors import DQMError


class BackupNotFound(DQMError):
    """There is no such backup, or none at all."""

    exit_code = 66


class IncrementalImpossible(DQMError):
    """There is no backup that an incremental one could build on."""

    exit_code = 66


class DamagedBackup(DQMError):
    """A backup lacks something, or its bytes are not those that were written."""

    exit_code = 65


class TooMuchToCut(DQMError):
    """A repair would cut more than a copy can lack: something else is wrong with the volume."""

    exit_code = 65


class BackupUnwritable(DQMError):
    """The folder of backups, or the one to restore to, cannot be used or has no room."""

    exit_code = 73


class OtherDatabase(DQMError):
    """The backups of a folder are of another database, or of several."""

    exit_code = 73


class RestoreTargetNotEmpty(DQMError):
    """There is something in the folder to restore to."""

    exit_code = 73


class BackupFailed(DQMError):
    """A disk could not take what was to be written, or gave other bytes than expected."""

    exit_code = 74


class BackupsLocked(DQMError):
    """Another command makes, reads or removes backups in the same folder."""

    exit_code = 75
