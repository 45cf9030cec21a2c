"""DIRAC's side of the source `dirac:`, with a DIRAC that behaves as it is told."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from processes import eventually

from ingest.sources.base import Listing, RemoteFile
from ingest.sources.dirac import Dirac
from ingest.sources.errors import AccessDenied, Corrupt, SourceError, Unavailable

FAKE = Path(__file__).parents[1] / "support" / "fake_dirac"
Opener = Callable[..., Dirac]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opener]:
    """Opens the source with settings, given by the ends of their names."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={FAKE} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("FAKE_DIRAC_LOG", str(tmp_path / "lists"))
    monkeypatch.setenv("FAKE_DIRAC_BROKEN", str(tmp_path / "broken"))
    monkeypatch.setenv("DQM_DIRAC_PYTHON", str(python))
    sources: list[Dirac] = []

    def open_source(**settings: object) -> Dirac:
        for name, value in settings.items():
            monkeypatch.setenv(f"DQM_DIRAC_{name.upper()}", str(value))
        sources.append(Dirac("dirac:/g"))
        return sources[-1]

    yield open_source
    for source in sources:
        source.close()


def lists(folder: Path) -> list[list[str]]:
    """What DIRAC was asked for, call by call."""
    return [json.loads(line) for line in (folder / "lists").read_text().splitlines()]


def remote(path: str) -> RemoteFile:
    return RemoteFile(path, path.rpartition("/")[2])


def results(source: Dirac, paths: list[str], folder: Path) -> list[Path | Exception]:
    """Fetch all at once, each into a folder of its own."""

    def one(path: str) -> Path | Exception:
        place = folder / path.strip("/").replace("/", "-")
        place.mkdir(parents=True)
        try:
            return source.fetch(remote(path), place / "part")
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(paths)) as threads:
        return list(threads.map(one, paths))


def test_listing_whatever_dirac_prints(opened: Opener) -> None:
    source = opened()
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp()
    assert source.list("/g") == Listing(
        (RemoteFile("/g/a", "a", 5, noon, 10), RemoteFile("/g/b", "b", 6, None, None)),
        ("/g/c",),
        (("/g/l", "it is a link: give it by its name"),),
    )


@pytest.mark.parametrize("name", ["fail", "raise"])
def test_listing_that_fails(name: str, opened: Opener) -> None:
    source = opened()
    with pytest.raises(Unavailable, match=f"^/g/{name}: .*(any catalog|no such attribute)"):
        source.list(f"/g/{name}")
    assert source.list("/g").files


def test_fetches_that_wait_are_handed_over_in_lists(opened: Opener, tmp_path: Path) -> None:
    source = opened(streams=2, batch=5)
    paths = [f"/g/{number}" for number in range(40)]
    got = results(source, paths, tmp_path / "got")
    assert [path.read_text() for path in got if isinstance(path, Path)] == paths
    asked = lists(tmp_path)
    assert sorted(path for one in asked for path in one) == sorted(paths)
    assert max(map(len, asked)) == 5
    assert len(asked) <= 20  # eight when the machine has nothing else to do


def test_all_streams_get_their_share(opened: Opener, tmp_path: Path) -> None:
    source = opened(streams=4, batch=100)
    source.list("/g")
    results(source, [f"/g/{number}" for number in range(8)], tmp_path / "got")
    assert len(lists(tmp_path)) >= 2


def test_files_of_one_name_do_not_meet(opened: Opener, tmp_path: Path) -> None:
    paths = [f"/g/{folder}/same" for folder in "abc"]
    got = results(opened(streams=1), paths, tmp_path / "got")
    assert [path.read_text() for path in got if isinstance(path, Path)] == paths


def test_bad_ones_do_not_keep_the_others(opened: Opener, tmp_path: Path) -> None:
    paths = ["/g/a", "/g/size", "/g/denied", "/g/forgotten", "/g/raise", "/g/b"]
    got = results(opened(streams=1), paths, tmp_path / "got")
    kinds: list[type] = [Path, Corrupt, AccessDenied, Unavailable, Unavailable, Path]
    for path, result, kind in zip(paths, got, kinds, strict=True):
        assert isinstance(result, kind), (path, result)
        if isinstance(result, SourceError):
            assert str(result).startswith(f"{path}: ")
    files = [path for path in (tmp_path / "got").rglob("*") if path.is_file()]
    assert sorted(files) == sorted(path for path in got if isinstance(path, Path))
    assert not list((tmp_path / "got").rglob(".dirac-*"))


def test_what_hangs_is_given_up_and_its_stream_goes_on(opened: Opener, tmp_path: Path) -> None:
    source = opened(streams=1, timeout=1)
    (hanging,) = results(source, ["/g/hang"], tmp_path / "one")
    assert isinstance(hanging, Unavailable)
    assert "nothing has come from DIRAC for 1 s" in str(hanging)
    with pytest.raises(Unavailable, match="nothing has come"):
        source.list("/g/hang")
    pid = source.pid
    (good,) = results(source, ["/g/a"], tmp_path / "two")
    assert isinstance(good, Path)
    assert source.pid == pid


def test_a_process_in_which_all_hangs_ends(opened: Opener, tmp_path: Path) -> None:
    source = opened(streams=1, timeout=0.5)
    for number in range(3):
        results(source, ["/g/hang"], tmp_path / str(number))
    pid = source.pid
    numbers = itertools.count()

    def fetched() -> bool:
        (result,) = results(source, ["/g/a"], tmp_path / f"good-{next(numbers)}")
        return isinstance(result, Path)  # not while it is just ending

    eventually(fetched, "a process that works")
    assert source.pid != pid


def test_a_target_that_is_gone(opened: Opener, tmp_path: Path) -> None:
    source = opened()
    with pytest.raises(FileNotFoundError):
        source.fetch(remote("/g/a"), tmp_path / "gone" / "part")


def test_dirac_that_does_not_start_can_be_repaired(opened: Opener, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    source = opened()
    with pytest.raises(Unavailable, match=r"^/g: DIRAC does not start: AttributeError"):
        source.list("/g")
    (tmp_path / "broken").unlink()
    assert source.list("/g").files


def test_without_dirac(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unavailable, match="cannot import DIRAC"):
        opened(python=sys.executable).list("/g")


def test_with_the_certificate_of_a_host_there_is_no_proxy(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_DIRAC_HOST", "yes")
    source = opened(proxy_command=f"touch {tmp_path}/renewed", proxy_hours=1000)
    assert source.list("/g").files
    assert not (tmp_path / "renewed").exists()
    monkeypatch.delenv("FAKE_DIRAC_HOST")
    assert opened().list("/g").files  # with a proxy that is too short
    assert eventually((tmp_path / "renewed").exists, "a renewal")
