"""Files that are fetched from a server which loses connections, and archives that are damaged."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from answering import answering
from hypothesis import given
from hypothesis import strategies as st

from dqm_client import ApiError, connection
from dqm_client.baskets import wrong_in
from dqm_client.connection import Connection
from dqm_client.files import PartialFile

WHOLE = bytes(range(256)) * 40


class Server(ThreadingHTTPServer):
    """Serves `data`, and cuts each of the next answers after as many bytes as `cuts` says."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.data, self.tag = WHOLE, '"1"'
        self.cuts: list[int] = []
        self.asked: list[str] = []
        self.digest: str | None = None


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, data = self.server, self.server.data
        span, start = self.headers.get("Range", ""), 0
        server.asked.append(span)
        if span and self.headers["If-Range"] == server.tag:
            start = int(span[6:-1])
            if start >= len(data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("ETag", server.tag)
        self.send_header("Content-Length", str(len(data) - start))
        digest = server.digest or base64.b64encode(hashlib.sha256(data).digest()).decode()
        self.send_header("Repr-Digest", f"sha-256=:{digest}:")
        self.end_headers()
        cut = server.cuts.pop(0) if server.cuts else len(data)
        self.wfile.write(data[start : start + cut])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with answering(Server()) as server:
        yield server


@pytest.fixture
def server(running: Server) -> Server:
    running.data, running.tag, running.digest = WHOLE, '"1"', None
    running.cuts, running.asked = [], []
    return running


def partial(server: Server, file: Path) -> PartialFile:
    host, port = server.server_address[:2]
    return PartialFile(Connection(f"http://{host}:{port}", None, 20, None), "/file", file)


def test_it_goes_on_as_often_as_something_comes(server, tmp_path):
    file = tmp_path / "file"
    server.cuts = [1, 1000, 3000, 10, 10, 10, 10, 10, 10]
    told = []
    fetched = partial(server, file)
    assert fetched.fetch(lambda *now: told.append(now)).read_bytes() == WHOLE
    assert len(server.asked) == 10 and server.asked[2] == "bytes=1001-"
    assert told[0] == (1, len(WHOLE)) and told[-1] == (len(WHOLE), len(WHOLE))
    fetched.keep_as(file)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@given(st.lists(st.integers(1, len(WHOLE)), max_size=5), st.lists(st.booleans(), max_size=5))
def test_wherever_it_was_cut_the_file_is_whole(running, tmp_path_factory, cuts, changes):
    """Called again each time, while the file may have changed."""
    file = tmp_path_factory.mktemp("cut") / "file"
    running.data, running.tag, running.digest = WHOLE, '"0"', None
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(connection, "TRIES", 1)
        for at, cut in enumerate(cuts):
            running.cuts = [cut] + [0] * 20
            try:
                partial(running, file).fetch()
            except ApiError as error:
                assert error.may_pass
            if at < len(changes) and changes[at]:
                running.data, running.tag = WHOLE[at:] + b"!", f'"{at + 1}"'
        running.cuts = []
        fetched = partial(running, file).fetch()
        # what was complete before it changed is what it was then
        assert fetched.read_bytes() in (
            running.data,
            *(WHOLE[at:] + b"!" for at in range(5)),
            WHOLE,
        )
        assert not running.cuts


def test_what_was_complete_is_not_fetched_again(server, tmp_path):
    partial(server, tmp_path / "file").fetch()
    server.asked.clear()
    assert partial(server, tmp_path / "file").fetch().read_bytes() == WHOLE
    assert server.asked == []


def test_what_is_longer_than_the_file_is_no_part_of_it(server, tmp_path):
    part = partial(server, tmp_path / "file").fetch()
    part.write_bytes(WHOLE + b"and more")
    assert partial(server, tmp_path / "file").fetch().read_bytes() == WHOLE


@pytest.mark.parametrize("note", ["", "[]", '{"path": "/other", "etag": "x", "size": 5}', "{"])
def test_a_note_that_says_nothing_is_not_believed(server, tmp_path, note):
    (tmp_path / "file.part").write_bytes(b"what?")
    (tmp_path / "file.part.json").write_text(note)
    assert partial(server, tmp_path / "file").fetch().read_bytes() == WHOLE
    assert server.asked == [""]


def test_damage_is_found_and_fetched_again(server, tmp_path):
    server.cuts = [1000]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(connection, "TRIES", 1)
        server.cuts = [1000, 0]
        with pytest.raises(ApiError, match="lost"):
            partial(server, tmp_path / "file").fetch()
    part = tmp_path / "file.part"
    part.write_bytes(b"\0" * part.stat().st_size)
    with pytest.raises(ApiError, match="damaged"):
        partial(server, tmp_path / "file").fetch()
    assert list(tmp_path.iterdir()) == []
    assert partial(server, tmp_path / "file").fetch().read_bytes() == WHOLE


# ---- archives ------------------------------------------------------------------------------------


def archive(folder: Path, sums: bool = True) -> Path:
    files = {"1/one": b"one" * 1000, "2/two": b"two", "runs.csv": b"run\r\n"}
    listed = "".join(
        f"{hashlib.sha256(data).hexdigest()}  {name}\n"
        for name, data in files.items()
        if name != "runs.csv"
    )
    if sums:
        files["SHA256SUMS"] = listed.encode()
    path = folder / "archive.tar"
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def test_an_archive_is_checked_file_by_file(tmp_path):
    path = archive(tmp_path)
    assert wrong_in(path) == ""
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"oneone", b"onetwo", 1))
    assert wrong_in(path) == "1/one is not what it was"
    path.write_bytes(whole[:2000])
    assert wrong_in(path)
    path.write_bytes(b"")
    assert wrong_in(path)
    assert wrong_in(archive(tmp_path, sums=False)) == "SHA256SUMS is missing"


def test_an_answer_that_was_cut_is_said(server):
    host, port = server.server_address[:2]
    asked = Connection(f"http://{host}:{port}", None, 20, None)
    server.data, server.cuts = json.dumps({"a": 1}).encode(), [3]
    with pytest.raises(ApiError, match="lost") as lost:
        asked.get("/file")
    assert lost.value.may_pass
    assert asked.get("/file") == {"a": 1}
