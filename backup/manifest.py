"""What a backup is: ``manifest.json`` in its folder, with a digest of itself."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self, get_args

from backup.errors import DamagedBackup
from backup.files import DIGEST_BYTES, new_digest, write_whole

FILE = "manifest.json"
FORMAT = 1
Kind = Literal["full", "incremental"]

_DIGEST = re.compile(rf"[0-9a-f]{{{2 * DIGEST_BYTES}}}")
_ID = re.compile(r"[0-9a-f]{16}")
_NAME = re.compile(r"[0-9TZ.\-]{1,40}")
_LARGEST = 2**63
_AFTER_EPOCHS = 2**31 - 1
"""No epoch can follow this one; see `dqm_db.volume.fence`."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a backup, compressed.

    Attributes
    ----------
    name : str
        In the backup's folder.
    stored : int
        Its bytes on the disk.
    size : int
    digest : str
        What it holds: bytes, and their BLAKE2b.
    """

    name: str
    stored: int
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A blob in the pool: hexadecimal ids of object and transaction, bytes, and their BLAKE2b."""

    oid: str
    tid: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """One backup.

    Attributes
    ----------
    name : str
        Its folder.
    kind : str
        ``full``, or ``incremental``: only what came after the backup *follows*.
    time : float
        Unix seconds, UTC: everything that was committed until then is in it.
    tid : str
        The last transaction in it.
    follows : str or None
        The backup that an incremental one needs.
    begin, end : int
        The bytes of ``Data.fs`` that it adds.
    data : StoredFile or None
        Those bytes; None when nothing had changed.
    compare_from : int
    md5 : str
        The MD5 of the last of them, from that position on, by which repozo decides whether the next
        one can be incremental.
    index : StoredFile or None
        ``Data.fs.index`` up to *end*.
    blobs : tuple of StoredBlob
        Those of the transactions that it adds.
    database : float or None
        When the database was created, Unix seconds, which tells it from others; None: nothing was
        stored in it yet.
    epoch : int
        That of the database.
    host, volume : str
        Where it was made, and of what.
    versions : mapping of str to str
        Releases that made it.
    seconds : float
        How long it took.
    """

    name: str
    kind: Kind
    time: float
    tid: str
    follows: str | None
    begin: int
    end: int
    data: StoredFile | None
    compare_from: int
    md5: str
    index: StoredFile | None
    blobs: tuple[StoredBlob, ...]
    database: float | None
    epoch: int
    host: str
    volume: str
    versions: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def bytes(self) -> int:
        """What was read for it."""
        return self.end - self.begin + sum(blob.size for blob in self.blobs)

    @property
    def stored(self) -> int:
        """What its own files take, without blobs."""
        return sum(file.stored for file in (self.data, self.index) if file is not None)

    @property
    def database_text(self) -> str:
        """Which database it is of, in words."""
        if self.database is None:
            return "a database without any run"
        return f"the database created {moment(self.database)}"

    def write(self, folder: Path) -> None:
        """Write it into the backup's *folder*; raises OSError."""
        document = _plain(self)
        whole = {"format": FORMAT, "digest": _digest_of(document), "backup": document}
        write_whole(folder / FILE, f"{json.dumps(whole, indent=1)}\n".encode())

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The manifest of the backup in *folder*.

        Raises
        ------
        DamagedBackup
            There is none, or its bytes are not those that were written.
        """
        path = folder / FILE
        try:
            whole = json.loads(path.read_bytes())
            if whole["format"] != FORMAT:
                raise ValueError(f"format {whole['format']!r}, this release reads {FORMAT}")
            document = whole["backup"]
            if whole["digest"] != _digest_of(document):
                raise ValueError("its digest is another one")
            found = cls(**{**document, **_files(document)})
            if problem := found._problem():
                raise ValueError(problem)
        except OSError as error:
            raise DamagedBackup(f"{path} cannot be read ({error.strerror})") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DamagedBackup(f"{path} cannot be understood ({error})") from error
        if found.name != folder.name:
            raise DamagedBackup(f"{path} is that of the backup {found.name}")
        return found

    def _problem(self) -> str | None:
        """What is impossible in it; its text comes from a disk."""
        files = [file for file in (self.data, self.index) if file is not None]
        named: list[StoredFile | StoredBlob] = [*files, *self.blobs]
        sizes = [self.begin, self.end, self.epoch, *(one.size for one in named)]
        sound = {
            "name": _NAME.fullmatch(self.name) is not None,
            "kind": self.kind in get_args(Kind),
            "time": _is_time(self.time),
            "database": self.database is None or _is_time(self.database),
            "tid": _ID.fullmatch(self.tid) is not None,
            "follows": (self.follows is None) == (self.kind == "full")
            and (self.follows is None or _NAME.fullmatch(self.follows) is not None),
            "epoch": self.epoch < _AFTER_EPOCHS,
            "sizes": all(type(size) is int and 0 <= size < _LARGEST for size in sizes),
            "begin": self.begin <= self.end and (self.kind == "incremental" or self.begin == 0),
            "compare_from": type(self.compare_from) is int
            and self.begin <= self.compare_from <= self.end
            and re.fullmatch("([0-9a-f]{32})?", self.md5) is not None,
            "data": self.end - self.begin == (self.data.size if self.data else 0),
            "files": all(Path(file.name).name == file.name != "" for file in files),
            "ids": all(_ID.fullmatch(one.oid) and _ID.fullmatch(one.tid) for one in self.blobs),
            "digests": all(_DIGEST.fullmatch(one.digest) is not None for one in named),
        }
        return next((f"wrong {name}" for name, good in sound.items() if not good), None)


def moment(time: float) -> str:
    """*time*, Unix seconds, for people."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def name_of(time: float) -> str:
    """The name of a backup made at *time*, Unix seconds."""
    text = datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H-%M-%S.%f")
    return f"{text[:-3]}Z"


def _is_time(value: object) -> bool:
    return type(value) is float and 0 <= value < 2**36  # false for NaN, too


def _plain(manifest: Manifest) -> dict[str, Any]:
    document = asdict(manifest)
    document["blobs"] = [[b.oid, b.tid, b.size, b.digest] for b in manifest.blobs]
    return document


def _files(document: dict[str, Any]) -> dict[str, Any]:
    def stored(value: Any) -> StoredFile | None:
        return None if value is None else StoredFile(**value)

    return {
        "data": stored(document["data"]),
        "index": stored(document["index"]),
        "blobs": tuple(StoredBlob(*blob) for blob in document["blobs"]),
    }


def _digest_of(document: object) -> str:
    digest = new_digest()
    digest.update(json.dumps(document, sort_keys=True).encode())
    return digest.hexdigest()
