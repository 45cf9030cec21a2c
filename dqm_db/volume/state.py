"""What promotion, demotion, restoring and resynchronising leave for a server's next start.

``volume.json`` in the volume, a JSON object with the fields of :class:`VolumeState`. A command
writes it, then the server is started again and does what stands there: so whatever breaks off in
between, the next start finishes it.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from typing import Any, Self

from dqm_db.volume.errors import DamagedVolumeState, DataUnwritable
from dqm_db.volume.layout import Volume
from dqm_db.volume.syncing import sync_folder

PRIMARY = "primary"
REPLICA = "replica"
PROMOTED = "promoted"
RESTORED = "restored"

_LONGEST = 65_536
_LAST_EPOCH = 2**31 - 1  # the last one that `dqm_db.volume.fence` reads
_LATEST = 2**36  # unix s; so that it is a date, and one of four digits
_TYPES: dict[str, tuple[type, ...]] = {
    "role": (str, type(None)),
    "source": (str, type(None)),
    "feeds_at": (str, type(None)),
    "begin_epoch": (str, type(None)),
    "after_epoch": (int,),
    "demote": (bool,),
    "set_aside": (bool,),
    "at": (float, int),
    "why": (str,),
}
_WORDS: dict[str, tuple[str | None, ...]] = {
    "role": (None, PRIMARY, REPLICA),
    "begin_epoch": (None, PROMOTED, RESTORED),
}


@dataclass(frozen=True, slots=True)
class VolumeState:
    """What the server of a volume is, and what it has to do at its next start.

    Attributes
    ----------
    role : str or None
        :data:`PRIMARY` or :data:`REPLICA`, whatever the server is started as; None: as it is
        started.
    source : str or None
        HOST:PORT that it follows as a replica by *role*.
    feeds_at : str or None
        HOST:PORT where replicas connect to it by *role*, unless it was started with that role and
        another address.
    begin_epoch : str or None
        Why a new epoch begins, :data:`PROMOTED` or :data:`RESTORED`: the server writes it into
        the database before it serves as primary, then forgets it here.
    after_epoch : int
        The epoch that begins is later than this one, which no other server may be there to tell.
    demote : bool
        The server ends its epoch in the database before it serves as replica, then forgets it
        here.
    set_aside : bool
        The server moves its old files aside before it opens the storage, then forgets it here.
    at : float
        When this was decided, Unix seconds; also tells decisions apart.
    why : str
        What was decided, in words.
    """

    role: str | None = None
    source: str | None = None
    feeds_at: str | None = None
    begin_epoch: str | None = None
    after_epoch: int = 0
    demote: bool = False
    set_aside: bool = False
    at: float = 0.0
    why: str = ""

    @classmethod
    def read(cls, volume: Volume) -> Self:
        """The state of *volume*; that of an ordinary one when it has no ``volume.json``.

        Raises
        ------
        DamagedVolumeState
            The file is not what :meth:`write` writes.
        DataUnwritable
            It may not be read.
        """
        path = volume.state
        try:
            with path.open("rb") as file:
                data = file.read(_LONGEST + 1)
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise DataUnwritable(f"cannot read {path} ({error.strerror})") from error
        try:
            if len(data) > _LONGEST:
                raise ValueError("it is too long")
            return cls(**_checked(json.loads(data)))
        except (ValueError, RecursionError) as error:
            raise DamagedVolumeState(
                f"{path} cannot be understood ({error}): it is written by `dqm promote`, "
                "`dqm demote`, `dqm resync` and restoring; remove it to start as the command line "
                "says, or use the release that wrote it"
            ) from error

    def write(self, volume: Volume) -> None:
        """Replace the ``volume.json`` of *volume*, all or nothing, and on the disk at return.

        Raises
        ------
        DataUnwritable
            It cannot be written.
        """
        path = volume.state
        draft = path.with_suffix(".json.new")
        try:
            with draft.open("w", encoding="utf-8") as file:
                json.dump(dataclasses.asdict(self), file, indent=1)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
            sync_folder(path.parent)
        except OSError as error:
            raise DataUnwritable(
                f"cannot write {path} ({error.strerror}): make room, or the volume writable for "
                "this user"
            ) from error


def _checked(document: Any) -> dict[str, Any]:
    """The fields in *document*; raises `ValueError` when they are not those of a state."""
    if not isinstance(document, dict):
        raise ValueError("it is no JSON object")
    if unknown := sorted(set(document) - set(_TYPES)):
        raise ValueError(
            f"it has {', '.join(map(repr, unknown))}, which this release does not know"
        )
    for name, value in document.items():
        if type(value) not in _TYPES[name] or value not in _WORDS.get(name, (value,)):
            raise ValueError(f"{name} is {value!r}")
    if not 0 <= document.get("at", 0) < _LATEST:  # false for NaN, too
        raise ValueError(f"at is {document['at']!r}")
    if not 0 <= document.get("after_epoch", 0) < _LAST_EPOCH:
        raise ValueError(f"after_epoch is {document['after_epoch']!r}")
    if document.get("role") == REPLICA and not document.get("source"):
        raise ValueError("a replica without source")
    return document
