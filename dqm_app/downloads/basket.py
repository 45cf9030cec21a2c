"""A basket: what was chosen, and how far its archive is.

One folder each, named by the id of the basket::

    basket.json     what was chosen, by whom; never changed
    progress.json   how far it is; replaced as a whole
    basket.tar      the archive, once it is done; basket.tar.part before

So a page can be told how far a basket is by any process, and a worker that is killed leaves
nothing that looks finished.
"""

from __future__ import annotations

import enum
import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

ID = re.compile(r"[0-9a-f]{32}")
DESCRIPTION = "basket.json"
PROGRESS = "progress.json"
ARCHIVE = "basket.tar"
PART = "basket.tar.part"


@enum.unique
class State(enum.StrEnum):
    """How far a basket is."""

    WAITING = "waiting"
    BUILDING = "building"
    DONE = "done"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self in (State.DONE, State.FAILED)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a basket is.

    Attributes
    ----------
    state : State
    runs, of_runs : int
        That are in the archive, and that will be.
    bytes, of_bytes : int
        Likewise; `of_bytes` is what the originals have together.
    text : str
        Why it failed, or what the archive lacks.
    at : float
        When this was so, Unix seconds.
    """

    state: State
    runs: int
    of_runs: int
    bytes: int
    of_bytes: int
    text: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Basket:
    """What was chosen.

    Attributes
    ----------
    folder : Path
    owner : str
        Name of the user; empty where there are no accounts.
    camera : str
    runs : tuple of int
    size : int
        Of the originals together, bytes, as the catalogue knew it.
    created, ends : float
        Unix seconds; until when it can be fetched.
    """

    folder: Path
    owner: str
    camera: str
    runs: tuple[int, ...]
    size: int
    created: float
    ends: float

    @property
    def id(self) -> str:
        """Of the basket; nobody can guess it."""
        return self.folder.name

    @property
    def archive(self) -> Path:
        """The archive, once it is done."""
        return self.folder / ARCHIVE

    @property
    def part(self) -> Path:
        """The archive while it is built."""
        return self.folder / PART

    @property
    def file_name(self) -> str:
        """Of the archive, for people."""
        span = f"{min(self.runs)}-{max(self.runs)}" if len(self.runs) > 1 else f"{self.runs[0]}"
        return f"{self.camera}-{span}-{self.id[:8]}.tar"

    @classmethod
    def read(cls, folder: Path) -> Basket:
        """That of a folder; raises `FileNotFoundError`, or `ValueError` when it is none of ours."""
        try:
            document = json.loads((folder / DESCRIPTION).read_text("utf-8"))
            basket = cls(
                folder=folder,
                owner=str(document["owner"]),
                camera=str(document["camera"]),
                runs=tuple(int(run) for run in document["runs"]),
                size=int(document["size"]),
                created=float(document["created"]),
                ends=float(document["ends"]),
            )
        except (KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError(f"{folder} describes no basket: {error}") from error
        if not basket.runs or not math.isfinite(basket.created + basket.ends):
            raise ValueError(f"{folder} describes no basket")
        return basket

    def write(self) -> None:
        """Describe it in its folder, which is made."""
        self.folder.mkdir(mode=0o700)
        document = {key: value for key, value in asdict(self).items() if key != "folder"}
        _write(self.folder / DESCRIPTION, document)

    def progress(self) -> Progress:
        """How far it is; failed when that cannot be read, waiting when nobody has begun."""
        try:
            document = json.loads((self.folder / PROGRESS).read_text("utf-8"))
            return Progress(
                State(document["state"]),
                runs=int(document["runs"]),
                of_runs=int(document["of_runs"]),
                bytes=int(document["bytes"]),
                of_bytes=int(document["of_bytes"]),
                text=str(document["text"]),
                at=float(document["at"]),
            )
        except FileNotFoundError:
            return Progress(State.WAITING, 0, len(self.runs), 0, self.size, at=self.created)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            text = "how far it was cannot be read: remove it, and choose the runs again"
            return Progress(State.FAILED, 0, len(self.runs), 0, self.size, text, self.created)

    def note(self, progress: Progress) -> None:
        """Say how far it is."""
        _write(self.folder / PROGRESS, asdict(replace(progress, at=time.time())))


def _write(path: Path, document: Mapping[str, Any]) -> None:
    draft = path.with_suffix(".new")
    try:
        draft.write_text(json.dumps(document), "utf-8")
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
