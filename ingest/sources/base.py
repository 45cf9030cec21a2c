"""What every source of results files is: it lists directories and fetches files.

To add one: a module in this folder with a subclass of `Source`, and a line in
`ingest.sources.SCHEMES`. Sources know nothing of runs and databases.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file at a source, as its listing describes it.

    Attributes
    ----------
    path : str
        Full path or URL by which its source fetches it.
    name : str
        Last part of the path.
    size : int or None
        Bytes, where the source says.
    modified : float or None
        Unix seconds, UTC, where the source says.
    adler32 : int or None
        Checksum of the whole file, where the listing has it.
    """

    path: str
    name: str
    size: int | None = None
    modified: float | None = None
    adler32: int | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """What a directory holds.

    Attributes
    ----------
    files : tuple of RemoteFile
    folders : tuple of str
        Full paths or URLs of the directories in it, to be listed in turn.
    unread : tuple of (str, str)
        What cannot be looked into, and why, in words.
    lacking : tuple of str
        Runs, as camera and number, of which the source knows but has no file.
    """

    files: tuple[RemoteFile, ...] = ()
    folders: tuple[str, ...] = ()
    unread: tuple[tuple[str, str], ...] = ()
    lacking: tuple[str, ...] = ()


class Source(ABC):
    """Where results files come from. Methods are called from several threads at once.

    All methods raise the errors of `ingest.sources.errors` and nothing else, and give up by
    themselves when the other side stays silent.

    Attributes
    ----------
    root : str
        The directory that the user named: full path or URL.
    streams : int
        How many files are best fetched at once.
    watches_itself : bool
        A target may stay as it is for long although all is well, and the source gives up by itself
        when nothing goes on; otherwise its caller does.
    """

    root: str
    streams: int = 4
    watches_itself: bool = False

    @abstractmethod
    def list(self, folder: str) -> Listing:
        """What *folder* (the root, or one of ``Listing.folders``) holds.

        Raises
        ------
        NotFound, AccessDenied, AuthExpired, Unavailable
        """

    @abstractmethod
    def fetch(self, file: RemoteFile, target: Path) -> Path:
        """Get all bytes of *file* and return the path at which they can be read.

        That is *target*, which does not exist yet and is written to; or, for files that are on
        this machine anyway, where they are. Size and checksum are checked by the caller
        (`ingest.transfer`).

        Raises
        ------
        NotFound, AccessDenied, AuthExpired, Unavailable, Corrupt
        OSError
            *target* cannot be written, e.g. because the disk is full.
        """

    def adler32(self, file: RemoteFile) -> int | None:
        """Checksum of *file* where the source can tell it at a price, asked once per fetch.

        Raises
        ------
        NotFound, AccessDenied, AuthExpired, Unavailable
        """
        return file.adler32

    def close(self) -> None:  # noqa: B027 (most have nothing to close)
        """End connections and helper processes."""
