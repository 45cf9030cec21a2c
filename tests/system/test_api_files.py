"""Originals and baskets for a notebook, whose dashboard is killed in the middle."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import signal
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from baskets import CAMERA, COPIES, STORED, Site, being_built, family, fill, original

from dqm_app.accounts.audit import Event
from dqm_client import ApiError, connection
from dqm_client.baskets import wrong_in

pytestmark = pytest.mark.system
RUNS = [*STORED, *COPIES]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("files")
    fill(folder)
    with Site(folder) as site:
        site.wait_for_runs()
        yield site


@pytest.fixture
def owner(site: Site) -> str:
    return site.expert()


def details(site: Site, owner: str, event: Event) -> list[str]:
    """What the log says of each such event, the oldest first."""
    return [entry.detail for entry in site.log_of(owner) if entry.event == event][::-1]


class Interruption(Exception):
    """The notebook is closed."""


def at(step: str, do: Callable[[], None]) -> Callable[[str, int, int], None]:
    """Called back with how far a basket is: does something once, at that step, midway."""
    left = [do]

    def told(now: str, done: int, of: int) -> None:
        if now == step and left and (step == "building" or 0 < done < of):
            left.pop()()

    return told


def kill(site: Site) -> None:
    """All of its processes at once: the one that sends a file would send it to its end."""
    for pid in [*family(site.pid), site.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    site.kill()


def whole(file: Path, runs: list[int] = RUNS) -> bool:
    with tarfile.open(file) as tar:
        names = tar.getnames()
    assert not wrong_in(file)
    return len(names) == len(runs) + 2


def test_a_dashboard_that_is_killed_and_started_again_costs_nothing(site, owner, tmp_path):
    """While the basket is built, and while it is fetched: one call gives the whole archive."""

    def restart() -> None:
        kill(site)
        site.start()

    seen: list[tuple[str, int, int]] = []
    building, fetching = at("building", restart), at("fetching", restart)

    def told(*now) -> None:
        seen.append(now)
        building(*now)
        fetching(*now)

    file = site.client(owner).basket(CAMERA, RUNS, tmp_path / "runs.tar", told)
    assert whole(file)
    assert len(details(site, owner, Event.BASKET)) == 1
    first, second = details(site, owner, Event.DOWNLOAD)
    assert "in parts" not in first and "in parts" in second  # the rest, not all again
    fetched = [done for step, done, _ in seen if step == "fetching"]
    assert fetched == sorted(fetched) and fetched[-1] == file.stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["runs.tar"]
    assert site.client(owner).baskets() == []


def test_called_again_it_goes_on_with_the_same_basket(site, owner, tmp_path, monkeypatch):
    """After the dashboard was gone for too long, and the notebook was closed twice."""
    monkeypatch.setattr(connection, "TRIES", 1)
    client = site.client(owner)
    file = tmp_path / "runs.tar"

    def close() -> None:
        raise Interruption

    with pytest.raises(Interruption):
        client.basket(CAMERA, RUNS, file, at("building", close))
    with pytest.raises(ApiError, match=r"lost|does not answer"):
        client.basket(CAMERA, RUNS, file, at("fetching", lambda: kill(site)))
    had = (tmp_path / "runs.tar.part").stat().st_size
    assert had > 0
    site.start()
    with pytest.raises(Interruption):
        client.basket(CAMERA, RUNS, file, at("fetching", close))
    seen: list[int] = []
    # in another order, and some of them twice: the same runs
    client.basket(CAMERA, [*reversed(RUNS), RUNS[0]], file, lambda *now: seen.append(now[1]))
    assert min(seen) > had
    assert whole(file)
    assert len(details(site, owner, Event.BASKET)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["runs.tar"]


def test_other_runs_are_another_basket(site, owner, tmp_path):
    client = site.client(owner)
    file = tmp_path / "runs.tar"

    def close() -> None:
        raise Interruption

    with pytest.raises(Interruption):
        client.basket(CAMERA, RUNS[:12], file, at("fetching", close))
    assert whole(client.basket(CAMERA, RUNS[:2], file), RUNS[:2])
    assert len(details(site, owner, Event.BASKET)) == 2
    [left] = client.baskets()
    assert left["runs"] == 12
    # one that is not there any more is ordered again
    note = tmp_path / "again.tar.part.basket"
    wanted = {"camera": CAMERA, "runs": RUNS[:12]}
    note.write_text(json.dumps({"id": left["id"], "url": client.url, "wanted": wanted}))
    client.remove_basket(left["id"])
    assert whole(client.basket(CAMERA, RUNS[:12], tmp_path / "again.tar"), RUNS[:12])
    assert len(details(site, owner, Event.BASKET)) == 3


def test_what_is_in_the_way_is_said(site, owner, tmp_path):
    client = site.client(owner)
    with being_built(site, owner) as other, pytest.raises(ApiError) as refused:
        client.basket(CAMERA, RUNS[:2], tmp_path / "runs.tar")
    assert refused.value.status == 409
    assert "of yours is being built" in refused.value.detail
    assert other.id in refused.value.detail and "3 runs, 6001 to 8003" in refused.value.detail
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there").touch()
    for fetch in (
        lambda: client.basket(CAMERA, RUNS[:2], tmp_path / "there"),
        lambda: client.original(CAMERA, 6001, tmp_path / "there"),
    ):
        with pytest.raises(FileExistsError):
            fetch()
    with pytest.raises(ValueError, match="no runs"):
        client.basket(CAMERA, [], tmp_path / "none.tar")


def test_an_original_is_continued_and_checked(site, owner, tmp_path):
    client = site.client(owner)
    content = original(6001)
    path = f"/originals/{CAMERA}/6001"
    with client._connection.open("HEAD", path) as answer:
        tag, told = answer.headers["ETag"], answer.headers["Repr-Digest"]
    part, note = tmp_path / "run.part", tmp_path / "run.part.json"
    part.write_bytes(content[:1000])
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    assert told == f"sha-256=:{digest}:"
    known = {"path": path, "etag": tag, "size": len(content), "sha256": digest}
    note.write_text(json.dumps(known))
    assert client.original(CAMERA, 6001, tmp_path / "run").read_bytes() == content
    assert f"{CAMERA} run 6001 in parts" in details(site, owner, Event.DOWNLOAD)[-1]
    # of another file: from the beginning
    part, note = tmp_path / "again.part", tmp_path / "again.part.json"
    part.write_bytes(b"\0" * 1000)
    note.write_text(json.dumps({"path": path, "etag": '"x"', "size": 5000, "sha256": None}))
    assert client.original(CAMERA, 6001, tmp_path / "again").read_bytes() == content
