"""Remote folders without a server: addresses, errors, credentials, and what is refused."""

from __future__ import annotations

import base64
import errno
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import httpx
import pytest
from fsspec.exceptions import FSTimeoutError
from fsspec.implementations.memory import MemoryFileSystem
from webdav4.client import HTTPError, ResourceNotFound

from dqm_db.errors import ConfigurationError
from ingest.sources import open_url, protocols, remote, web_access
from ingest.sources.address import Address, parse
from ingest.sources.base import RemoteFile
from ingest.sources.errors import (
    AccessDenied,
    AuthExpired,
    Corrupt,
    NotFound,
    SourceError,
    Unavailable,
)
from ingest.sources.explained import explain
from ingest.sources.remote import RemoteFolder
from ingest.sources.transport import Entry, Output, Transport

# Addresses


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://a", Address("http", "a", "/")),
        ("root://a.b:1094//eos/dqm", Address("root", "a.b", "//eos/dqm", port=1094)),
        ("https://me@[::1]:8443/x y", Address("https", "::1", "/x y", port=8443, user="me")),
        ("sftp://me:a%40b%3a@h/#?", Address("sftp", "h", "/#?", user="me", password="a@b:")),
        ("webdav://me:@h/", Address("webdav", "h", "/", user="me", password="")),
    ],
)
def test_addresses(url: str, address: Address) -> None:
    assert parse(url) == address


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http:///x", "not a folder's URL"),
        ("http://a:port/x", "not a folder's URL"),
        ("http://a:70000/x", "not a folder's URL"),
        ("https://a/x?token=GEHEIM", "has no '\\?'"),
        ("root://a//x?authz=GEHEIM", "has no '\\?'"),
        ("webdav://me:GEHEIM@a/x#y", "has no '\\?'"),
        ("root://me:GEHEIM@a//x", "takes no password"),
        ("s3://key:GEHEIM@bucket/x", "takes no password"),
        ("https://me:GEHEIM@a:port/x", "not a folder's URL"),
    ],
)
def test_no_address_of_a_folder(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as refused:
        RemoteFolder(url)
    assert "GEHEIM" not in str(refused.value)


def test_a_password_is_in_no_text() -> None:
    address = parse("webdav://me:GEHEIM@h/x")
    assert "GEHEIM" not in repr(address) + address.server
    assert RemoteFolder("webdav://me:GEHEIM@h/x").root == "webdav://me@h/x"


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("root://h//eos/dqm/", "root://h//eos/dqm"),
        ("root://h/eos/dqm", "root://h//eos/dqm"),
        ("root://h", "root://h//"),
        ("roots://me@h:1094//eos", "roots://me@h:1094//eos"),
        ("http://h/a b/", "http://h/a%20b"),
        ("https://me:x@h/a%20b", "https://me@h/a%20b"),
        ("webdav://h/a b/%C3%A4", "webdav://h/a%20b/%C3%A4"),
        ("s3://bucket/prefix/", "s3://bucket/prefix"),
        ("sftp://h/", "sftp://h/"),
        ("sftp://me@h:22/a b", "sftp://me@h:22/a b"),
    ],
)
def test_roots_are_urls_that_lead_to_themselves(url: str, root: str) -> None:
    assert open_url(url).root == root
    assert open_url(root).root == root


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [
        ("http://h/", "aiohttp", "http"),
        ("webdavs://h/", "webdav4.fsspec", "webdav"),
        ("root://h//", "fsspec_xrootd", "xrootd"),
        ("s3://b/", "s3fs", "s3"),
        ("sftp://h/", "sshfs", "sftp"),
    ],
)
def test_a_missing_library_is_named(
    url: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # importing it fails
    with pytest.raises(ConfigurationError, match=rf"pip install 'nectarcam-dqm\[{extra}\]'"):
        open_url(url)


# Errors


def from_(error: BaseException, cause: BaseException) -> BaseException:
    """*error* as it is raised from *cause*."""
    error.__cause__ = cause
    return error


def of_aiohttp(status: int) -> BaseException:
    return aiohttp.ClientResponseError(None, (), status=status, message="why")  # type: ignore[arg-type]


def of_httpx(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "http://h/")
    return httpx.HTTPStatusError("why", request=request, response=httpx.Response(status))


def of_webdav(status: int) -> BaseException:
    return HTTPError(httpx.Response(status, request=httpx.Request("PROPFIND", "http://h/")))


@pytest.mark.parametrize("library", [of_aiohttp, of_httpx, of_webdav])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, AuthExpired),
        (403, AccessDenied),
        (404, NotFound),
        (405, Unavailable),
        (410, NotFound),
        (429, Unavailable),
        (500, Unavailable),
        (503, Unavailable),
        (599, Unavailable),
    ],
)
def test_statuses(
    library: Callable[[int], BaseException], status: int, kind: type[SourceError]
) -> None:
    found, text = explain(library(status), 30)
    assert found is kind
    assert f"HTTP {status}" in text


class SFTPPermissionDenied(Exception):
    """Stands for a library that need not be installed."""


SERVER_SAYS = "Server failed: [ERROR] Server responded with an error: "


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (OSError(f"{SERVER_SAYS}[3011] No such file\n"), NotFound, "No such file"),
        (OSError(f"{SERVER_SAYS}[3010] Not for you"), AccessDenied, "Not for you"),
        (OSError(f"{SERVER_SAYS}[3030] Who?"), AuthExpired, "Who?"),
        (OSError(f"{SERVER_SAYS}[3005] FS error"), Unavailable, "FS error"),
        (OSError("x: [FATAL] Auth failed: No protocols left to try"), AuthExpired, "Auth failed"),
        (OSError("x <object at 0x7f>: [FATAL] Connection error"), Unavailable, "Connection error"),
        (OSError("x: [ERROR] Operation expired"), Unavailable, "no answer within 30 s"),
        (OSError("x: [FATAL] Socket timeout"), Unavailable, "no answer within 30 s"),
        (FileNotFoundError("x"), NotFound, "not there"),
        (ResourceNotFound("x"), Unavailable, "x"),
        (from_(FileNotFoundError("x"), ResourceNotFound("x")), NotFound, "not there"),
        (NotADirectoryError("x"), NotFound, "not a directory"),
        (IsADirectoryError("x"), NotFound, "a directory"),
        (PermissionError("x"), AccessDenied, "x"),
        (from_(PermissionError("Expired."), Exception("(ExpiredToken)")), AuthExpired, "Expired"),
        (SFTPPermissionDenied("x"), AccessDenied, "x"),
        (FSTimeoutError(), Unavailable, "no answer within 30 s"),
        (httpx.ReadTimeout("timed out"), Unavailable, "no answer within 30 s"),
        (aiohttp.ServerTimeoutError(), Unavailable, "no answer within 30 s"),
        (ConnectionRefusedError(111, "Connection refused"), Unavailable, "refused"),
        (ValueError("a\nb"), Unavailable, "a b"),
        (RuntimeError(), Unavailable, "RuntimeError"),
    ],
    ids=str,
)
def test_errors(error: BaseException, kind: type[SourceError], text: str) -> None:
    found, said = explain(error, 30)
    assert found is kind
    assert text in said
    assert "\n" not in said


# Credentials


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home without any; returns it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("NETRC", "BEARER_TOKEN", "BEARER_TOKEN_FILE", "X509_USER_PROXY", "X509_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode()


def test_no_credentials(no_credentials: Path) -> None:
    assert web_access.headers(parse("https://h/")) == {"Accept-Encoding": "identity"}


def test_a_token_goes_over_encrypted_connections_only(
    no_credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (no_credentials / "token").write_text("from.file\n")
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(no_credentials / "token"))
    assert web_access.headers(parse("https://h/"))["Authorization"] == "Bearer from.file"
    monkeypatch.setenv("BEARER_TOKEN", "by.itself")
    assert web_access.headers(parse("webdavs://h/"))["Authorization"] == "Bearer by.itself"
    assert "Authorization" not in web_access.headers(parse("http://h/"))
    assert web_access.headers(parse("https://me:pw@h/"))["Authorization"] == basic("me:pw")


def test_netrc(no_credentials: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = no_credentials / "mine"
    path.write_text("machine h login me password pw\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))
    assert web_access.headers(parse("http://h:8080/"))["Authorization"] == basic("me:pw")
    assert "Authorization" not in web_access.headers(parse("http://other/"))
    path.write_text("machine\n")
    with pytest.raises(ConfigurationError, match="mine"):
        web_access.headers(parse("http://h/"))


@pytest.mark.parametrize(
    ("variable", "use"),
    [
        ("BEARER_TOKEN_FILE", lambda: web_access.headers(parse("https://h/"))),
        ("X509_USER_PROXY", web_access.trust),
    ],
)
def test_credentials_that_are_not_there(
    variable: str, use: Callable[[], Any], no_credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(no_credentials / "none"))
    with pytest.raises(ConfigurationError, match=variable):
        use()
    with pytest.raises(ConfigurationError, match=variable):
        open_url("webdavs://h/")


def test_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "inside.org")
    assert web_access.proxy(parse("https://h/")) == "http://proxy:3128"
    assert web_access.proxy(parse("https://inside.org/")) is None
    assert web_access.proxy(parse("http://h/")) is None


# What any file system may do


class Memory(Transport):
    """fsspec's file system in memory, with faults."""

    extra = "none"
    module = "fsspec.implementations.memory"
    length: int | None = None
    extras: tuple[Entry, ...] = ()
    fault: Exception | None = None
    times_lost = 0

    def connect(self) -> Any:
        class Own(MemoryFileSystem):
            store: ClassVar[dict[str, Any]] = {}
            pseudo_dirs: ClassVar[list[str]] = [""]

        return Own(skip_instance_cache=True)

    def entries(self, path: str) -> list[Entry]:
        return [*super().entries(path), *self.extras]

    def copy(self, path: str, output: Output) -> int | None:
        length = super().copy(path, output)
        if self.fault is not None:
            raise self.fault
        return length if self.length is None else self.length

    def lost(self) -> None:
        self.times_lost += 1


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> tuple[RemoteFolder, Memory]:
    """A remote folder in memory with one file, and its transport."""
    monkeypatch.setitem(protocols.BY_SCHEME, "memory", Memory)
    source = RemoteFolder("memory://me:GEHEIM@h/runs")
    transport = source._transport
    assert isinstance(transport, Memory)
    transport.filesystem.pipe_file("/runs/a.tar.gz", b"0123456789")
    transport.filesystem.mkdir("/runs/sub")
    return source, transport


def test_files_and_folders(memory: tuple[RemoteFolder, Memory], tmp_path: Path) -> None:
    source, transport = memory
    transport.extras = (
        {"name": "/runs/link", "type": "link"},
        {"name": "/runs/..", "type": "file", "size": 3},
        {"name": "/runs/b\0c", "type": "file", "size": 3},
    )
    listing = source.list(source.root)
    root = "memory://me@h/runs"
    assert listing.files == (RemoteFile(f"{root}/a.tar.gz", "a.tar.gz", 10),)
    assert listing.folders == (f"{root}/sub",)
    assert dict(listing.unread) == {
        f"{root}/link": "neither a file nor a directory",
        f"{root}/..": "its name is none of a file",
        f"{root}/b\0c": "its name is none of a file",
    }
    assert source.fetch(listing.files[0], tmp_path / "a").read_bytes() == b"0123456789"
    assert source.adler32(listing.files[0]) is None
    with pytest.raises(NotFound):
        source.list(f"{root}/none")


@pytest.mark.parametrize(
    ("listed", "announced", "error"),
    [
        (10, 10, None),
        (None, 10, None),
        (None, 11, Unavailable),
        (10, 11, Unavailable),
        (11, 10, Corrupt),
        (9, 10, Corrupt),
    ],
)
def test_lengths(
    memory: tuple[RemoteFolder, Memory],
    tmp_path: Path,
    listed: int | None,
    announced: int,
    error: type[SourceError] | None,
) -> None:
    source, transport = memory
    transport.length = announced
    file = RemoteFile("memory://me@h/runs/a.tar.gz", "a.tar.gz", size=listed)
    if error is None:
        assert source.fetch(file, tmp_path / "a").stat().st_size == 10
        return
    with pytest.raises(error, match=r"a\.tar\.gz: "):
        source.fetch(file, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_what_breaks_off_leaves_nothing_and_tells_no_secret(
    memory: tuple[RemoteFolder, Memory], tmp_path: Path
) -> None:
    source, transport = memory
    (file,) = source.list(source.root).files
    transport.fault = ConnectionResetError("lost http://me:GEHEIM@h/runs")
    with pytest.raises(Unavailable, match="lost http://me:…@h") as failed:
        source.fetch(file, tmp_path / "a")
    assert "GEHEIM" not in str(failed.value)
    assert transport.times_lost == 1
    assert not (tmp_path / "a").exists()
    transport.fault = None
    assert source.fetch(file, tmp_path / "a").exists()


def test_a_full_disk_is_an_error_of_this_machine(
    memory: tuple[RemoteFolder, Memory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, transport = memory
    (file,) = source.list(source.root).files

    class Full(remote._Target):
        def flush(self) -> None:
            if not self.closed:
                raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(remote, "_Target", Full)
    with pytest.raises(OSError, match="No space left"):
        source.fetch(file, tmp_path / "a")
    assert not (tmp_path / "a").exists()
    assert transport.times_lost == 0


def test_a_folder_that_is_not_there_for_the_target(
    memory: tuple[RemoteFolder, Memory], tmp_path: Path
) -> None:
    source, _ = memory
    (file,) = source.list(source.root).files
    with pytest.raises(FileNotFoundError):
        source.fetch(file, tmp_path / "none" / "a")
