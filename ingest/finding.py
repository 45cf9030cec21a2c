"""What a source has that could be results files of the runs that are wanted."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dqm_db.content import LARGEST_RUN
from ingest.archive import ARCHIVE_NAME, RESULTS_NAME, Claim, claim_of_name
from ingest.errors import one_line, printable
from ingest.outcomes import FileOutcome, Status
from ingest.sources.base import Listing, RemoteFile, Source
from ingest.sources.errors import AccessDenied, NotFound, Unavailable

CAMERA_IN_URL = "{camera}"
DEEPEST = 16
"""Folders in folders; more are a loop."""
SHOWN_RUNS = 20
"""Runs that a remark names one by one."""
SILENT_FOLDERS = 3
"""After so many folders in a row without an answer the source is down."""

_RESULTS_FILE = re.compile(
    f"(?:{ARCHIVE_NAME.pattern})"
    + r"\.(tar|tar\.gz|tgz|fits|fits\.gz)|"
    + RESULTS_NAME.pattern.replace("?P<run>", "?:")
    + r"(\.gz)?"
)


@dataclass(frozen=True, slots=True)
class RunRanges:
    """Run numbers as users write them: ``6000-6100,6200``."""

    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, text: str) -> RunRanges:
        """Read ``6000-6100,6200,7000-``.

        Raises
        ------
        ValueError
        """
        ranges = []
        for part in text.split(","):
            match = re.fullmatch(r"\s*(\d+)\s*(-\s*(\d*)\s*)?", part)
            if match is None:
                raise ValueError(f"{part!r} is neither a run nor a range like 6000-6100")
            first = int(match[1])
            last = first if match[2] is None else int(match[3] or 2**63)
            if last < first:
                raise ValueError(f"{part!r} ends before it begins")
            ranges.append((first, last))
        return cls(tuple(ranges))

    def __contains__(self, run: int) -> bool:
        return any(first <= run <= last for first, last in self.ranges)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of the files that are found to look at.

    Attributes
    ----------
    camera : str or None
        Only this one. It is also the camera of files whose name tells none.
    runs : RunRanges or None
    since : float or None
        Last changed at this time or later, unix seconds; files of which it is not known count.
    """

    camera: str | None = None
    runs: RunRanges | None = None
    since: float | None = None

    def admits(self, file: RemoteFile, claim: Claim) -> bool:
        """Whether a file is wanted, by its name and what its source says."""
        if self.camera is not None and claim.camera not in (None, self.camera):
            return False
        if self.runs is not None and (claim.run is None or claim.run not in self.runs):
            return False
        return self.since is None or file.modified is None or file.modified >= self.since


@dataclass(slots=True)
class Found:
    """What there is.

    Attributes
    ----------
    files : list of RemoteFile
        Named like results files and wanted; those of a folder in the order of their runs.
    unread : list of FileOutcome
        Folders that could not be looked into.
    others : int
        Files that are not named like results files.
    lacking : list of str
        Runs of which the source knows but has no file.
    """

    files: list[RemoteFile] = field(default_factory=list)
    unread: list[FileOutcome] = field(default_factory=list)
    others: int = 0
    lacking: list[str] = field(default_factory=list)


def find(
    source: Source, wanted: Wanted, below: str = "", *, stop: Callable[[], bool] = lambda: False
) -> Found:
    """Look through the root of *source* and the folders in it.

    With *below* the folders of the root are cameras, and only this folder in each is looked
    through: what follows ``{camera}`` in a URL, ``"/"`` when nothing does; a folder without it is
    none of a camera. Once *stop* returns true no further folder is listed.

    Raises
    ------
    SourceError
        The root cannot be listed, credentials ran out, or nothing answers any more.
    """
    found = Found()
    search = _Search(source, wanted, found, stop)
    top = source.list(source.root)
    if below:
        found.unread += [_unread(folder, reason) for folder, reason in top.unread]
        for folder in sorted(top.folders):
            camera = folder.rstrip("/").rpartition("/")[2]
            if wanted.camera in (None, camera):
                place = folder.rstrip("/") + below.rstrip("/")
                search.look_into(place, 1, may_be_missing=bool(below.strip("/")))
    else:
        search.take(top, 0)
    return found


def remark(searches: Sequence[Found]) -> str:
    """What else was seen, in words; empty when there is nothing."""
    others = sum(found.others for found in searches)
    lacking = [run for found in searches for run in found.lacking]
    remarks = [f"files not named like results files: {others}"] if others else []
    if lacking:
        more = ", …" if len(lacking) > SHOWN_RUNS else ""
        remarks.append(
            f"runs without original, which cannot come back this way: {len(lacking)} "
            f"({', '.join(lacking[:SHOWN_RUNS])}{more})"
        )
    return "; ".join(remarks)


@dataclass(slots=True)
class _Search:
    """One walk through a source; ``silent`` counts the last folders in a row without an answer."""

    source: Source
    wanted: Wanted
    found: Found
    stop: Callable[[], bool]
    silent: int = 0

    def look_into(self, folder: str, depth: int, *, may_be_missing: bool = False) -> None:
        if self.stop():
            return
        try:
            listing = self.source.list(folder)
        except (NotFound, AccessDenied, Unavailable) as error:
            self.silent = self.silent + 1 if isinstance(error, Unavailable) else 0
            if self.silent >= SILENT_FOLDERS:
                raise
            if not (may_be_missing and isinstance(error, NotFound)):
                self.found.unread.append(_unread(folder, one_line(error), type(error).__name__))
            return
        self.silent = 0
        self.take(listing, depth)

    def take(self, listing: Listing, depth: int) -> None:
        _take_files(listing, self.wanted, self.found)
        for folder in sorted(listing.folders):
            if depth < DEEPEST:
                self.look_into(folder, depth + 1)
            else:
                self.found.unread.append(_unread(folder, "it is too deep"))


def _take_files(listing: Listing, wanted: Wanted, found: Found) -> None:
    found.unread += [_unread(folder, reason) for folder, reason in listing.unread]
    found.lacking += listing.lacking
    named = [file for file in listing.files if _is_named(file.name)]
    found.others += len(listing.files) - len(named)
    claims = {file.path: claim_of_name(file.name) for file in named}
    found.files += sorted(
        (file for file in named if wanted.admits(file, claims[file.path])),
        key=lambda file: (claims[file.path].run or 0, file.path),
    )


def _is_named(name: str) -> bool:
    """Whether *name* is that of a results file of a run that there can be."""
    run = claim_of_name(name).run
    return _RESULTS_FILE.fullmatch(name) is not None and 0 < (run or 0) <= LARGEST_RUN


def _unread(folder: str, reason: str, kind: str = "NotFound") -> FileOutcome:
    message = f"the folder was not looked into: {reason}"
    return FileOutcome(printable(folder), Status.FAILED, message=message, kind=kind)
