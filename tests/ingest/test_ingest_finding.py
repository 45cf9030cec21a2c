"""Which files of a source are looked at."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from results_files import write_run

from ingest.archive import Claim
from ingest.finding import DEEPEST, Found, RunRanges, Wanted, find
from ingest.outcomes import Status
from ingest.sources import open_url
from ingest.sources.base import Listing, RemoteFile, Source
from ingest.sources.errors import AuthExpired, NotFound, SourceError, Unavailable

NAMES = [
    "NectarCAM2_DQM_Run5.tgz",
    "NectarCAM2_DQM_Run6.tar",
    "NectarCAM_Run7_Results.fits",
    "NectarCAM_Run8_Results.fits.gz",
    "NectarCAMQM_DQM_Run999.tar.gz",
    "NectarCAMQM_DQM_Run1000.tar.gz",
]
"""In the order of their runs."""


def names(found: Found) -> list[str]:
    return [file.name for file in found.files]


def test_files_that_are_named_like_results_files(tmp_path: Path) -> None:
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    others = ["NectarCAMQM_DQM_Run1.tar.gz.part", "readme.txt", "x.tar.gz", ".hidden"]
    for name in reversed(NAMES + others):
        (inside / name).write_bytes(b"12")
    os.utime(inside / NAMES[0], (1.7e9, 1.7e9))
    found = find(open_url(str(tmp_path)), Wanted())
    assert names(found) == NAMES
    assert (found.unread, found.others) == ([], len(others))
    path = str(inside / NAMES[0])
    assert found.files[0] == RemoteFile(path, NAMES[0], 2, 1.7e9, None)
    assert names(find(open_url(f"file://{tmp_path}"), Wanted())) == NAMES


def test_only_what_is_wanted(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1.7e9, 1.7e9))
    os.utime(tmp_path / NAMES[-1], (1.8e9, 1.8e9))
    source = open_url(str(tmp_path))
    # a name that tells no camera may be of any
    assert names(find(source, Wanted(camera="NectarCAM2"))) == NAMES[:4]
    assert names(find(source, Wanted(runs=RunRanges.parse("6-7,999")))) == [*NAMES[1:3], NAMES[4]]
    assert names(find(source, Wanted(since=1.75e9))) == NAMES[-1:]
    unknown = RemoteFile("x", "x")
    assert Wanted(since=1.75e9).admits(unknown, Claim("", "NectarCAM2", 1))
    assert not Wanted(runs=RunRanges.parse("1")).admits(unknown, Claim("", "NectarCAM2"))


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("5", [5], [4, 6, 50]),
        ("6000-6100,6200", [6000, 6050, 6100, 6200], [5999, 6101, 6199]),
        (" 7 - 9 , 20-", [7, 9, 20, 2**31], [6, 10, 19]),
    ],
)
def test_ranges_of_runs(text: str, inside: list[int], outside: list[int]) -> None:
    ranges = RunRanges.parse(text)
    assert all(run in ranges for run in inside)
    assert not any(run in ranges for run in outside)


@pytest.mark.parametrize("text", ["", "a", "5,", "9-7", "-5", "1-2-3", "1.5"])
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(ValueError, match=r"range|ends before"):
        RunRanges.parse(text)


def test_folders_that_are_not_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("closed", "elsewhere", "open"):
        (tmp_path / name).mkdir()
        write_run(tmp_path / name, 1)
    inside = tmp_path / "open"
    (inside / "link").symlink_to(tmp_path / "elsewhere")
    (inside / "closed").mkdir()
    scan = os.scandir

    def scandir(path: str) -> object:
        if Path(path).name == "closed":  # root could read any folder
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = find(open_url(str(inside)), Wanted())
    assert names(found) == ["NectarCAMQM_DQM_Run1.tar.gz"]
    assert {(Path(o.source).name, o.status) for o in found.unread} == {
        ("closed", Status.FAILED),
        ("link", Status.FAILED),
    }
    messages = {Path(o.source).name: o.message for o in found.unread}
    assert messages["closed"].endswith("closed: Permission denied")
    assert messages["link"].endswith("not looked into: it is a link: give it by its name")
    by_name = find(open_url(str(inside / "link")), Wanted())
    assert names(by_name) == ["NectarCAMQM_DQM_Run1.tar.gz"]
    assert by_name.unread == []


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere: No such file"):
        find(open_url(str(tmp_path / "nowhere")), Wanted())


class Tree(Source):
    """Folders and files from a dictionary; an error instead of a listing is raised."""

    root = "/dqm"

    def __init__(self, folders: dict[str, list[str] | SourceError]) -> None:
        self.folders = folders
        self.listed: list[str] = []

    def list(self, folder: str) -> Listing:
        self.listed.append(folder)
        entries = self.folders.get(folder, [])
        if isinstance(entries, SourceError):
            raise entries
        files = tuple(RemoteFile(f"{folder}/{name}", name) for name in entries if "." in name)
        folders = tuple(f"{folder}/{name}" for name in entries if "." not in name)
        return Listing(files, folders)

    def fetch(self, file: RemoteFile, target: Path) -> Path:
        raise AssertionError(f"{file} need not be fetched")


def test_cameras_below_a_parent() -> None:
    tree = Tree(
        {
            "/dqm": ["NectarCAMQM", "NectarCAM2", "readme.txt"],
            "/dqm/NectarCAMQM/new": [NAMES[4], NAMES[5]],
            "/dqm/NectarCAM2/new": [NAMES[0]],
            "/dqm/NectarCAM2": [NAMES[1], "new"],
        }
    )
    assert names(find(tree, Wanted(), "/new")) == [NAMES[0], *NAMES[4:]]
    assert tree.listed == ["/dqm", "/dqm/NectarCAM2/new", "/dqm/NectarCAMQM/new"]
    tree.listed.clear()
    assert names(find(tree, Wanted(camera="NectarCAM2"), "/new")) == [NAMES[0]]
    assert tree.listed == ["/dqm", "/dqm/NectarCAM2/new"]
    assert names(find(tree, Wanted(camera="NectarCAM2"), "/")) == [NAMES[1], NAMES[0]]


def test_what_fails_below_the_root() -> None:
    tree = Tree({"/dqm": ["a", "b"], "/dqm/a": Unavailable("no answer"), "/dqm/b": [NAMES[0]]})
    found = find(tree, Wanted())
    assert names(found) == [NAMES[0]]
    (unread,) = found.unread
    assert (unread.source, unread.kind) == ("/dqm/a", "Unavailable")
    tree.folders["/dqm/a"] = AuthExpired("renew it")
    with pytest.raises(AuthExpired):
        find(tree, Wanted())
    tree.folders["/dqm"] = Unavailable("no answer")
    with pytest.raises(Unavailable):
        find(tree, Wanted())


def test_folders_without_the_one_below_are_none_of_a_camera() -> None:
    tree = Tree({"/dqm": ["NectarCAMQM", "logs"], "/dqm/NectarCAMQM/new": [NAMES[4]]})
    tree.folders["/dqm/logs/new"] = NotFound("nothing there")
    found = find(tree, Wanted(), "/new")
    assert names(found) == [NAMES[4]] and found.unread == []


def test_a_source_that_goes_silent_while_it_is_searched() -> None:
    tree = Tree({"/dqm": ["a", "b", "c", "d", "e"], "/dqm/b": [NAMES[0]]})
    for folder in "ac":
        tree.folders[f"/dqm/{folder}"] = Unavailable("no answer")
    assert len(find(tree, Wanted()).unread) == 2
    tree.folders |= {f"/dqm/{folder}": Unavailable("no answer") for folder in "bcde"}
    tree.listed.clear()
    with pytest.raises(Unavailable):
        find(tree, Wanted())
    assert len(tree.listed) == 4, "the others were not asked"


def test_a_search_is_stopped() -> None:
    tree = Tree({"/dqm": ["a", "b", "c"]})
    find(tree, Wanted(), stop=lambda: len(tree.listed) >= 2)
    assert tree.listed == ["/dqm", "/dqm/a"]


def test_a_loop_of_folders_ends() -> None:
    class Loop(Tree):
        def list(self, folder: str) -> Listing:
            super().list(folder)
            return Listing(folders=(f"{folder}/again",))

    loop = Loop({})
    found = find(loop, Wanted())
    assert len(loop.listed) == DEEPEST + 1
    assert "too deep" in found.unread[0].message
