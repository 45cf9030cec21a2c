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
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from answering import answering
from baskets import (
    CAMERA,
    COPIES,
    STORED,
    Site,
    being_built,
    family,
    fill,
    original,
    stopped_worker,
)
from processes import LOOPBACK, eventually

from dqm_app.accounts.audit import Event
from dqm_app.accounts.tokens import Scope
from dqm_client import ApiError, Client, connection
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


class Way(ThreadingHTTPServer):
    """To *site*, on which answers of ``/downloads`` are lost, one to each of the methods `lost`.

    With `hands_on` false, so is what was asked.
    """

    def __init__(self, site: Site) -> None:
        super().__init__((LOOPBACK, 0), WayHandler)
        self.site = site
        self.lost: list[str] = []
        self.hands_on = True
        self.sent_of_lost = 0

    def client(self, name: str) -> Client:
        """What goes this way."""
        token = self.site.token(name, (Scope.READ, Scope.DOWNLOAD))
        return Client(f"http://{LOOPBACK}:{self.server_address[1]}", token)


class WayHandler(BaseHTTPRequestHandler):
    server: Way

    def do_GET(self) -> None:
        way = self.server
        is_lost = self.path == "/downloads" and way.lost[:1] == [self.command]
        if is_lost:
            way.lost.pop(0)
            if not way.hands_on:
                return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: value for name, value in self.headers.items() if name != "Host"}
        with contextlib.closing(HTTPConnection(LOOPBACK, way.site.port, timeout=60)) as asked:
            asked.request(self.command, self.path, body, headers)
            answer = asked.getresponse()
            content = answer.read()
        if is_lost and way.sent_of_lost == 0:
            return
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[: way.sent_of_lost] if is_lost else content)

    def do_POST(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


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


def test_others_of_as_many_runs_are_in_the_way(site, owner, tmp_path):
    with (
        being_built(site, owner, [RUNS[0], RUNS[5], RUNS[9]]) as other,
        pytest.raises(ApiError, match=other.id) as refused,
    ):
        site.client(owner).basket(CAMERA, [RUNS[0], RUNS[6], RUNS[9]], tmp_path / "runs.tar")
    assert refused.value.status == 409
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sent", [0, 40], ids=["nothing came", "half of it came"])
def test_an_answer_that_was_lost_costs_nothing(site, owner, tmp_path, sent):
    """One of the same runs from before is not mistaken for what was ordered."""
    client = site.client(owner)
    before = client._connection.post("/downloads", {"camera": CAMERA, "runs": RUNS[:4]})
    eventually(lambda: client.baskets()[0]["state"] == "done", "it is built")
    with answering(Way(site)) as way:
        way.lost, way.sent_of_lost = ["POST"], sent
        assert whole(way.client(owner).basket(CAMERA, RUNS[:4], tmp_path / "runs.tar"), RUNS[:4])
        assert way.lost == []
    assert len(details(site, owner, Event.BASKET)) == 2
    assert [left["id"] for left in client.baskets()] == [before["id"]]
    assert [path.name for path in tmp_path.iterdir()] == ["runs.tar"]


def test_an_order_that_was_lost_is_no_basket(site, owner, tmp_path):
    with answering(Way(site)) as way:
        client = way.client(owner)
        way.lost, way.hands_on = ["POST"], False
        with pytest.raises(ApiError, match=r"the connection to .* was lost"):
            client.basket(CAMERA, RUNS[:4], tmp_path / "runs.tar")
        assert list(tmp_path.iterdir()) == [] and client.baskets() == []
        assert whole(client.basket(CAMERA, RUNS[:4], tmp_path / "runs.tar"), RUNS[:4])


def test_called_again_it_takes_up_what_nobody_answered_for(site, owner, tmp_path, monkeypatch):
    """Which is left to whoever may have begun it, after any number of calls."""
    monkeypatch.setattr(connection, "TRIES", 1)
    file = tmp_path / "runs.tar"

    def close() -> None:
        raise Interruption

    with answering(Way(site)) as way:
        client = way.client(owner)
        way.lost = ["POST", "GET"]

        def lose() -> None:
            with pytest.raises(ApiError, match=r"the connection to .* was lost"):
                client.basket(CAMERA, RUNS, file)

        with stopped_worker(site, lose):
            [basket] = client.baskets()
            assert way.lost == [] and basket["state"] != "done", "it was too fast"
            assert list(tmp_path.iterdir()) == []
            with pytest.raises(Interruption):
                client.basket(CAMERA, RUNS, file, at("building", close))
        assert whole(client.basket(CAMERA, RUNS, file))
        assert len(details(site, owner, Event.BASKET)) == 1
        [left] = client.baskets()
        assert left["id"] == basket["id"]
        client.remove_basket(left["id"])


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
