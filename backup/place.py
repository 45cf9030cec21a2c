"""The folder of backups: which there are, what they need, and who may change them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from backup.errors import (
    BackupNotFound,
    BackupsLocked,
    BackupUnwritable,
    DamagedBackup,
    OtherDatabase,
)
from backup.files import write_whole, writing
from backup.manifest import FILE, Manifest, moment, name_of

logger = logging.getLogger(__name__)

VERIFIED = "verified.json"
UNFINISHED = ".new-"
"""Begins the name of what is not a backup yet, or no more."""

VERIFYING = ".verify-"
"""Begins the name of a folder in which backups are put together to be verified."""


@dataclass(frozen=True, slots=True)
class Verification:
    """The last verification of a backup: when (Unix seconds), whether it was sound, and why not."""

    at: float
    ok: bool
    text: str

    @classmethod
    def read(cls, folder: Path) -> Verification | None:
        """That of the backup in *folder*; None when there was none, or its file cannot be read."""
        try:
            document = json.loads((folder / VERIFIED).read_bytes())
            found = cls(**document)
            valid = type(found.at) is float and type(found.ok) is bool and type(found.text) is str
            return found if valid else None
        except (OSError, ValueError, TypeError):
            return None  # as if it had not been verified: it says nothing about the backup itself

    def write(self, folder: Path) -> None:
        """Keep it in the backup's *folder*; raises OSError."""
        write_whole(folder / VERIFIED, json.dumps(asdict(self)).encode())


@dataclass(frozen=True, slots=True)
class Backup:
    """One folder with a manifest that can be read."""

    folder: Path
    manifest: Manifest
    verification: Verification | None

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.manifest.name

    @property
    def age(self) -> tuple[int, str]:
        """What later backups have more of, whatever their clocks said.

        In an epoch, transactions only go on. What was written by a primary whose epoch was over,
        or is lost since an earlier state was restored, can have later ones and is older still.
        """
        return self.manifest.epoch, self.manifest.tid

    @property
    def utc(self) -> str:
        """When it was made, for people."""
        return moment(self.manifest.time)


@dataclass(frozen=True, slots=True)
class Backups:
    """All backups of a folder, oldest first, and why folders that should be some are none."""

    found: tuple[Backup, ...]
    damaged: Mapping[str, str]

    def named(self, name: str) -> Backup:
        """The backup *name*.

        Raises
        ------
        BackupNotFound, DamagedBackup
        """
        if name in self.damaged:
            raise DamagedBackup(self.damaged[name])
        for one in self.found:
            if one.name == name:
                return one
        raise BackupNotFound(f"there is no backup {name}; `dqm backup list` shows all")

    def newest(self, until: float | None = None) -> Backup:
        """The newest one that was made not after *until* (Unix seconds).

        Raises
        ------
        BackupNotFound
        DamagedBackup
            One that is newer cannot be understood: whether an older one will do is not ours to say.
        OtherDatabase
            They are of several databases, as when somebody put folders together.
        """
        found = [one for one in self.found if until is None or one.manifest.time <= until]
        last = found[-1].name if found else ""
        latest = name_of(until) if until is not None else None
        for name, text in sorted(self.damaged.items(), reverse=True):
            if name > last and (latest is None or name <= latest):
                older = f"; the newest sound one is {last}" if last else ""
                raise DamagedBackup(f"{text}{older}")
        databases = {
            one.manifest.database: one for one in found if one.manifest.database is not None
        }
        if len(databases) > 1:
            words = " and ".join(
                f"{one.manifest.database_text} ({one.name})" for one in databases.values()
            )
            raise OtherDatabase(
                f"the backups are of several databases, of {words}: name one, as `dqm backup list` "
                "shows them, and give each database a folder of its own"
            )
        if found:
            return found[-1]
        if until is None or not self.found:
            raise BackupNotFound("there is no backup yet: `dqm backup create` makes one")
        raise BackupNotFound(
            f"there is no backup of that time: the first one is of {self.found[0].utc}"
        )

    def chain(self, backup: Backup) -> tuple[Backup, ...]:
        """What is needed for *backup*: a full one, then those that follow it, up to itself.

        Raises
        ------
        DamagedBackup
            One of them is missing or does not fit.
        """
        links = [backup]
        while (follows := links[-1].manifest.follows) is not None:
            try:
                earlier = self.named(follows)
            except BackupNotFound:
                raise DamagedBackup(
                    f"backup {backup.name} cannot be used: it needs {follows}, which is missing"
                ) from None
            later = links[-1].manifest
            if earlier.manifest.end != later.begin or earlier in links:
                raise DamagedBackup(f"backup {later.name} does not continue {follows}")
            links.append(earlier)
        return tuple(reversed(links))

    def is_usable(self, backup: Backup) -> bool:
        """Whether its files are there, and no verification has found it damaged; quick."""
        try:
            for one in self.chain(backup):
                if one.verification is not None and not one.verification.ok:
                    return False
                for file in (one.manifest.data, one.manifest.index):
                    if file and (one.folder / file.name).stat().st_size != file.stored:
                        return False
        except (DamagedBackup, OSError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class BackupPlace:
    """A folder of backups."""

    root: Path

    @property
    def blobs(self) -> Path:
        """The pool of blobs."""
        return self.root / "blobs"

    def create(self) -> None:
        """Make the folder.

        Raises
        ------
        BackupUnwritable, BackupFailed
        """
        with writing("a backup", self.root):
            self.root.mkdir(mode=0o750, parents=True, exist_ok=True)
            self.blobs.mkdir(mode=0o750, exist_ok=True)

    @contextlib.contextmanager
    def making(self) -> Iterator[None]:
        """Keep others from adding and removing backups meanwhile; they may read them.

        Raises
        ------
        BackupNotFound
            There is no such folder.
        BackupsLocked, BackupUnwritable
        """
        with self._locked("backups.lock", fcntl.LOCK_EX):
            yield

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Keep others from removing backups meanwhile; raises as `making`."""
        with self._locked("reading.lock", fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def removing(self) -> Iterator[None]:
        """Keep all others out meanwhile; raises as `making`."""
        with self.making(), self._locked("reading.lock", fcntl.LOCK_EX):
            yield

    @contextlib.contextmanager
    def _locked(self, name: str, how: int) -> Iterator[None]:
        if not self.root.is_dir():
            raise BackupNotFound(f"{self.root} is no folder of backups: there is none")
        path = self.root / name
        try:
            lock = _opened_to_lock(path)
        except OSError as error:
            if how == fcntl.LOCK_SH:
                yield  # a copy of backups that only can be read: nobody removes any there
                return
            raise BackupUnwritable(
                f"cannot use {path} ({error.strerror}): make {self.root} writable for this user"
            ) from error
        try:
            try:
                fcntl.flock(lock, how | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BackupsLocked(
                    f"another command makes, reads or removes backups in {self.root}: try again "
                    "when it has ended"
                ) from None
            except OSError as error:
                raise BackupUnwritable(
                    f"cannot lock {path} ({error.strerror}): make it writable for this user, and "
                    "use a file system that has locks"
                ) from error
            yield
        finally:
            os.close(lock)

    def read(self) -> Backups:
        """All backups.

        Raises
        ------
        BackupNotFound
            There is no such folder.
        BackupUnwritable
            It may not be read.
        """
        if not self.root.is_dir():
            raise BackupNotFound(f"{self.root} is no folder of backups: there is none")
        found, damaged = [], {}
        with writing("reading backups", self.root):
            folders = sorted(path for path in self.root.iterdir() if path.is_dir())
        for folder in folders:
            if folder.name.startswith(".") or folder == self.blobs:
                continue
            if not (folder / FILE).exists() and not folder.name[:4].isdecimal():
                continue  # somebody else's
            try:
                backup = Backup(folder, Manifest.read(folder), Verification.read(folder))
            except DamagedBackup as error:
                damaged[folder.name] = str(error)
            else:
                found.append(backup)
        found.sort(key=lambda one: (*one.age, one.manifest.time, one.name))
        return Backups(tuple(found), damaged)

    def clear(self, *prefixes: str) -> None:
        """Remove what killed commands have left below *prefixes*; to be called with the lock."""
        for prefix in prefixes:
            for path in self.root.glob(f"{prefix}*"):
                shutil.rmtree(path)

    def clear_unread(self, *prefixes: str) -> None:
        """Remove what killed commands have left below *prefixes*, unless somebody else reads.

        To be called without a lock. What cannot be removed stays: it takes room and does no harm.
        """
        if not any(path for prefix in prefixes for path in self.root.glob(f"{prefix}*")):
            return  # so nobody who wants to read now is turned away
        try:
            with self._locked("reading.lock", fcntl.LOCK_EX):
                self.clear(*prefixes)
        except BackupsLocked:
            logger.debug("%s: somebody reads, so nothing is cleared", self.root)
        except (BackupUnwritable, OSError) as error:
            logger.warning("%s: what was left there cannot be removed (%s)", self.root, error)


def _opened_to_lock(path: Path) -> int:
    """A descriptor of the file *path*, to write if that is allowed.

    On NFS a lock that keeps all others out needs one; elsewhere one to read will do.
    """
    flags = os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, os.O_RDWR | flags, 0o644)
    except OSError:  # the file is another user's, or the disk can only be read
        return os.open(path, os.O_RDONLY | flags, 0o644)
