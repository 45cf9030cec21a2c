"""Makes a backup of a volume, at one point in time, while its server runs.

First ``Data.fs`` up to its last finished transaction, then the blobs that its records name: they
were on the disk before the transaction was finished. Nothing is packed meanwhile, which would take
blobs away. All is written below a name that nobody takes for a backup, and renamed at the end.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ZODB.blob import FilesystemHelper

from backup.errors import BackupUnwritable, IncrementalImpossible, OtherDatabase
from backup.files import compress, require_room, sync, writing
from backup.manifest import Manifest, StoredBlob, StoredFile, moment, name_of
from backup.piece import Piece, cut_piece
from backup.place import UNFINISHED, Backup, BackupPlace, Backups
from backup.pool import BlobPool, Key, known_blobs
from backup.progress import Progress
from backup.reading import DataFile
from backup.stamp import Stamp
from dqm_db.volume.errors import DamagedData
from dqm_db.volume.layout import Volume
from dqm_db.volume.maintenance import maintaining
from dqm_db.volume.transactions import START, last_transaction

Wanted = Literal["full", "incremental"]

LONGEST_CHAIN = 31
"""Backups that may depend on each other: those of a month, one each day."""

_ROOM = 16_000_000
"""Bytes that are left free on the disk of the backups."""

_RELEASES = ("nectarcam-dqm", "ZODB")


def create_backup(
    volume: Volume,
    place: BackupPlace,
    wanted: Wanted | None = None,
    progress: Progress | None = None,
) -> Backup:
    """Make a backup of *volume* in *place*.

    Parameters
    ----------
    volume
        Its server may be running.
    place
        Made when it does not exist.
    wanted
        A kind. When None: incremental where that is possible, unless the last `LONGEST_CHAIN`
        backups are, or have grown larger than the full one.
    progress
        Is told how far it is.

    Raises
    ------
    DamagedData
        There is nothing to back up, it is damaged, or a blob is missing.
    IncrementalImpossible
        One is wanted, but there is no full one before, or the volume was packed or restored since.
    MaintenanceUnderWay, BackupsLocked
        A pack is under way; another command uses the backups.
    OtherDatabase
        The backups in *place* are of another database.
    BackupUnwritable, BackupFailed
        *place* cannot be used, or has no room; a disk is full. No backup was made.
    """
    if not volume.data_file.exists():
        raise DamagedData(
            f"there is no {volume.data_file}: give the --data-dir (DQM_DATA_DIR) of a server"
        )
    place.create()
    with maintaining(volume, "a backup"), place.making(), writing("the backup", place.root):
        place.clear(UNFINISHED)
        return _Making(volume, place, progress or Progress()).make(wanted)


class _Making:
    """A backup while it is made."""

    def __init__(self, volume: Volume, place: BackupPlace, progress: Progress) -> None:
        self.volume = volume
        self.place = place
        self.progress = progress
        self.backups: Backups = place.read()

    def make(self, wanted: Wanted | None) -> Backup:
        chain = () if wanted == "full" else self._chain(wanted)
        self._require_same_database()
        self._require_room(chain)
        started, clock = time.time(), time.monotonic()
        name = self._free_name(started)
        draft = self.place.root / f"{UNFINISHED}{name}"
        draft.mkdir(mode=0o750)
        with self._removed_unless_done(draft):
            piece = cut_piece(self.volume.data_file, chain, draft / "repozo")
            if wanted == "incremental" and piece.is_full:
                raise IncrementalImpossible(
                    f"{self.volume.root} does not continue the last backup, {chain[-1].name}: it "
                    "was packed or restored since; make a full one"
                )
            with DataFile(self.volume.data_file) as file:
                tid = self._last_tid(file, piece, chain)
                blobs = self._keep_blobs(file, piece)
            stamp = Stamp.read(self.volume.data_file, tid)
            manifest = Manifest(
                name=name,
                kind="full" if piece.is_full else "incremental",
                time=started,
                tid=tid.hex(),
                follows=None if piece.is_full else chain[-1].name,
                begin=piece.begin,
                end=piece.end,
                data=self._stored("Data.fs", piece.data, draft),
                compare_from=piece.compare_from,
                md5=piece.md5,
                index=self._stored("Data.fs.index", piece.index, draft),
                blobs=blobs,
                database=stamp.database,
                epoch=stamp.epoch,
                host=socket.gethostname(),
                volume=str(self.volume.root),
                versions={name: importlib.metadata.version(name) for name in _RELEASES},
            )
            shutil.rmtree(draft / "repozo")
            manifest = replace(manifest, seconds=round(time.monotonic() - clock, 3))
            manifest.write(draft)
            done = draft.rename(self.place.root / name)
            sync(self.place.root)
        return Backup(done, manifest, None)

    def _chain(self, wanted: Wanted | None) -> tuple[Manifest, ...]:
        """What an incremental backup would follow; empty when a full one is due."""
        usable = [one for one in self.backups.found if self.backups.is_usable(one)]
        chain = self.backups.chain(usable[-1]) if usable else ()
        links = tuple(one.manifest for one in chain)
        if wanted == "incremental":
            if not links:
                raise IncrementalImpossible(
                    f"there is no sound backup in {self.place.root} to build on: make a full one"
                )
            return links
        added = sum(link.end - link.begin for link in links[1:])
        if len(links) >= LONGEST_CHAIN or (links and added > links[0].end):
            return ()
        return links

    def _require_same_database(self) -> None:
        """Keep databases apart: of what is in one folder, the newest is taken for the newest."""
        known = [one for one in self.backups.found if one.manifest.database is not None]
        if not known:
            return
        here = Stamp.read(self.volume.data_file).database
        others = [one for one in known if one.manifest.database != here]
        if others:
            what = "nothing yet" if here is None else f"the database created {moment(here)}"
            last = others[-1].manifest
            raise OtherDatabase(
                f"{self.volume.root} holds {what}, but {self.place.root} has backups of "
                f"{last.database_text} (the last one made on {last.host}, of {last.volume}): give "
                "each database a folder of its own (--to, DQM_BACKUP_DIR)"
            )

    def _require_room(self, chain: tuple[Manifest, ...]) -> None:
        """Check that the copy, its compressed copy, and blobs that cannot be linked find room."""
        size = self.volume.data_file.stat().st_size
        begin = chain[-1].end if chain and chain[-1].end <= size else 0
        need = 2 * (size - begin)
        blob_dir = self.volume.blob_dir
        if blob_dir.exists() and blob_dir.stat().st_dev != self.place.blobs.stat().st_dev:
            known = known_blobs(one.manifest for one in self.backups.found)
            held = sum(blob.size for blob in known.values())
            there = sum(path.stat().st_size for path in blob_dir.glob("0x*/**/*.blob"))
            need += max(0, there - held)
        require_room(self.place.root, need + _ROOM, "the backup")

    def _free_name(self, started: float) -> str:
        name = name_of(started)
        while (self.place.root / name).exists():  # a clock that was set back
            started += 0.001
            name = name_of(started)
        return name

    def _last_tid(self, file: DataFile, piece: Piece, chain: tuple[Manifest, ...]) -> bytes:
        if piece.end == piece.begin:
            return bytes.fromhex(chain[-1].tid)
        with self.volume.data_file.open("rb") as raw:
            tid = last_transaction(raw, piece.end)
        self._require_same(file)
        return tid

    def _keep_blobs(self, file: DataFile, piece: Piece) -> tuple[StoredBlob, ...]:
        """Put the blobs of all transactions of *piece* into the pool."""
        helper = FilesystemHelper(str(self.volume.blob_dir))
        wanted: dict[Key, tuple[Path, str]] = {}
        read = self.progress.begin("looking for blobs", piece.end - piece.begin)
        for transaction in file.transactions(piece.begin or START, piece.end):
            for record in transaction.records:
                if file.is_blob(record):
                    path = Path(helper.getBlobFilename(record.oid, transaction.tid))
                    key = (record.oid.hex(), transaction.tid.hex())
                    wanted[key] = (path, transaction.description)
            read(transaction.end - transaction.begin)
        found = self.backups.found
        doubted = (one for one in found if one.verification is not None and not one.verification.ok)
        pool = BlobPool(
            self.place.blobs,
            known_blobs(one.manifest for one in found),
            known_blobs(one.manifest for one in doubted).keys(),
        )
        sizes = self._sizes(wanted, file)
        advance = self.progress.begin("blobs", sum(sizes.values()))
        kept = [pool.add(key, path, advance) for key, (path, _) in wanted.items()]
        pool.sync()
        self._require_same(file)
        return tuple(kept)

    def _sizes(self, wanted: dict[Key, tuple[Path, str]], file: DataFile) -> dict[Key, int]:
        sizes = {}
        for key, (path, description) in wanted.items():
            try:
                sizes[key] = path.stat().st_size
            except FileNotFoundError:
                self._require_same(file)
                raise DamagedData(
                    f"{path} is missing, the blob of the transaction {description!r}: restore it "
                    "from an earlier backup, or make the backup of a replica that has it"
                ) from None
        return sizes

    def _require_same(self, file: DataFile) -> None:
        if file.is_replaced():
            raise BackupUnwritable(
                f"{file.path} was replaced meanwhile, as by a pack that does not take our lock: "
                "make the backup again"
            )

    def _stored(self, name: str, plain: Path | None, draft: Path) -> StoredFile | None:
        if plain is None:
            return None
        target = draft / f"{name}.zst"
        advance = self.progress.begin(name, plain.stat().st_size)
        size, digest = compress(plain, target, advance)
        return StoredFile(target.name, target.stat().st_size, size, digest)

    @contextlib.contextmanager
    def _removed_unless_done(self, draft: Path) -> Iterator[None]:
        try:
            yield
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)  # the next backup removes what is left
            raise
