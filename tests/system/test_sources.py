"""Results files from real servers: what is listed and fetched, and what happens when they fail."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import grid_servers
import pytest
from grid_servers import (
    PASSWORD,
    TOKEN,
    USER,
    BrokenServer,
    Certificates,
    Nginx,
    Sftp,
    WebDav,
    XRootD,
    open_folder,
)
from processes import LOOPBACK, ServerProcess, free_port

from ingest.sources import open_url, remote
from ingest.sources.base import Listing, RemoteFile, Source
from ingest.sources.errors import (
    AccessDenied,
    AuthExpired,
    Corrupt,
    NotFound,
    SourceError,
    Unavailable,
)
from ingest.sources.transport import CHUNK

pytestmark = pytest.mark.system

CAMERA = "NectarCAMQM"
NAMES = {
    f"{CAMERA}_DQM_Run6001.tar.gz": 300_000,
    f"{CAMERA}_DQM_Run6002.tar.gz": CHUNK,
    f"{CAMERA}_DQM_Run6003.tar.gz": 2 * CHUNK + 1,
    "empty.tar.gz": 0,
    "Läufe & more + α.tar.gz": 10,
}
FOLDER = "older – äö &"
MODIFIED = 1_700_000_000
LARGE = 64 * 2**20
PROTOCOLS = ("html", "json", "webdav", "root", "s3", "sftp")
WITHOUT_TIMES = ("html",)
WITH_OWN_TIMES = ("s3",)


Connect = Callable[[str], Source]


@dataclass
class Site:
    """A server and the files that it has."""

    protocol: str
    server: ServerProcess
    url: str
    data: Path
    connect: Connect = open_url

    def open(self) -> Source:
        """The folder of the camera."""
        return self.connect(f"{self.url}/{CAMERA}")

    def file(self, name: str) -> RemoteFile:
        """The file of that name as it is listed."""
        source = self.open()
        return next(file for file in source.list(source.root).files if file.name == name)


def write_files(data: Path) -> None:
    """The files that all servers have."""
    folder = data / CAMERA
    (folder / FOLDER).mkdir(parents=True)
    for name, size in NAMES.items():
        content = random.Random(name).randbytes(size)
        (folder / name).write_bytes(content)
        os.utime(folder / name, (MODIFIED, MODIFIED))
    (folder / FOLDER / "inner.tar.gz").write_bytes(b"inner")
    (data / "nothing").mkdir()
    (data / "closed").mkdir()
    (data / "closed").chmod(0)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with open_folder() as path:
        write_files(path / "data")
        yield path
        (path / "data" / "closed").chmod(0o755)


@pytest.fixture(scope="module")
def site_of(folder: Path) -> Iterator[Callable[[str], Site]]:
    """The server of a protocol, started when it is first asked for."""
    sites: dict[str, Site] = {}
    with ExitStack() as running:

        def site(protocol: str) -> Site:
            if protocol not in sites:
                if protocol == "s3":
                    sites[protocol] = start_s3(folder, running)
                else:
                    sites[protocol] = start(protocol, folder, running)
            return sites[protocol]

        yield site


def start(protocol: str, folder: Path, running: ExitStack) -> Site:
    """A server of the files of *folder*."""
    data = folder / "data"
    server: Nginx | WebDav | XRootD | Sftp
    if protocol in ("html", "json", "slow"):
        server = Nginx(folder, data)
        url = f"{server.url}/{protocol}"
    else:
        server = {"webdav": WebDav, "root": XRootD, "sftp": Sftp}[protocol](folder, data)
        url = server.url
    running.enter_context(server)
    return Site(protocol, server, url, data)


def start_s3(folder: Path, running: ExitStack) -> Site:
    """moto with a copy of the files of *folder*."""
    import boto3

    server = running.enter_context(grid_servers.S3(folder))
    variables = server.environment_of_clients
    bucket = boto3.resource(
        "s3",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        region_name=variables["AWS_DEFAULT_REGION"],
        aws_access_key_id=USER,
        aws_secret_access_key=PASSWORD,
    ).create_bucket(Bucket="results")
    data = folder / "data"
    for path in (data / CAMERA).rglob("*"):
        if path.is_file():
            bucket.upload_file(str(path), str(path.relative_to(data)))
    bucket.meta.client.close()
    return Site("s3", server, server.url, data)


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the user's own accounts is used."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("NETRC", "BEARER_TOKEN", "BEARER_TOKEN_FILE", "X509_USER_PROXY", "X509_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Opens sources, which are closed at the end."""
    with ExitStack() as opened:

        def source(url: str) -> Source:
            return opened.enter_context(closing(open_url(url)))

        yield source


def prepare(site: Site, monkeypatch: pytest.MonkeyPatch, home: Path) -> Site:
    """Set what a user of this server has set."""
    if isinstance(site.server, grid_servers.S3):
        for name, value in site.server.environment_of_clients.items():
            monkeypatch.setenv(name, value)
    if isinstance(site.server, Sftp):
        (home / ".ssh").mkdir(exist_ok=True)
        (home / ".ssh" / "known_hosts").write_text(site.server.known_hosts)
    return site


@pytest.fixture(params=PROTOCOLS)
def site(
    request: pytest.FixtureRequest,
    site_of: Callable[[str], Site],
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Site:
    """Each server in turn; it is not to be stopped."""
    return replace(prepare(site_of(request.param), monkeypatch, tmp_path), connect=connect)


# What is right


def test_a_folder_is_listed(site: Site) -> None:
    source = site.open()
    listing = source.list(source.root)
    assert not listing.unread
    assert {file.name: file.size for file in listing.files} == (
        dict.fromkeys(NAMES) if site.protocol == "html" else NAMES
    )
    assert [file.name for file in listing.files] == sorted(file.name for file in listing.files)
    for file in listing.files:
        assert file.adler32 is None
        if site.protocol in WITHOUT_TIMES:
            assert file.modified is None
        elif site.protocol in WITH_OWN_TIMES:
            assert file.modified is not None
            assert file.modified > MODIFIED
        else:
            assert file.modified == MODIFIED
    (inside,) = listing.folders
    (inner,) = source.list(inside).files
    assert inner.name == "inner.tar.gz"
    source.close()


def test_the_parent_of_all_cameras_is_listed(site: Site) -> None:
    source = site.connect(site.url + "/")
    folders = source.list(source.root).folders
    assert f"{source.root.rstrip('/')}/{CAMERA}" in folders
    camera = next(folder for folder in folders if folder.endswith(CAMERA))
    assert {file.name for file in source.list(camera).files} == set(NAMES)


@pytest.mark.parametrize("site", [name for name in PROTOCOLS if name != "s3"], indirect=True)
def test_an_empty_folder(site: Site) -> None:
    source = site.connect(f"{site.url}/nothing")
    assert source.list(source.root) == Listing()


def test_all_bytes_are_fetched(site: Site, tmp_path: Path) -> None:
    source = site.open()
    for number, file in enumerate(source.list(source.root).files):
        target = tmp_path / f"{number}.part"
        assert source.fetch(file, target) == target
        assert target.read_bytes() == (site.data / CAMERA / file.name).read_bytes()
    (inner,) = source.list(source.list(source.root).folders[0]).files
    assert source.fetch(inner, tmp_path / "inner").read_bytes() == b"inner"


@pytest.mark.parametrize("site", [name for name in PROTOCOLS if name != "s3"], indirect=True)
def test_a_file_that_is_replaced_is_seen_anew(site: Site, tmp_path: Path) -> None:
    folder = site.data / f"changing-{site.protocol}"
    folder.mkdir()
    source = site.connect(f"{site.url}/{folder.name}")
    for number, content in enumerate([b"old", b"new and longer"]):
        (tmp_path / "next").write_bytes(content)
        (tmp_path / "next").chmod(0o644)
        shutil.move(tmp_path / "next", folder / "a.tar.gz")
        (file,) = source.list(source.root).files
        assert source.fetch(file, tmp_path / str(number)).read_bytes() == content


def test_several_threads_fetch_at_once(site: Site, tmp_path: Path) -> None:
    source = site.open()
    files = source.list(source.root).files * 4

    def fetch(number: int) -> bool:
        target = source.fetch(files[number], tmp_path / f"{number}.part")
        right = target.read_bytes() == (site.data / CAMERA / files[number].name).read_bytes()
        return right and len(source.list(source.root).files) == len(NAMES)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(fetch, range(len(files))))


def test_only_xrootd_tells_checksums(site: Site) -> None:
    source = site.open()
    for file in source.list(source.root).files:
        content = (site.data / CAMERA / file.name).read_bytes()
        expected = zlib.adler32(content) if site.protocol == "root" else None
        assert source.adler32(file) == expected


def test_checksums_are_asked_for_by_more_threads_than_the_server_has(
    site_of: Callable[[str], Site],
) -> None:
    source = site_of("root").open()
    files = source.list(source.root).files
    with ThreadPoolExecutor(8) as threads:
        checksums = list(threads.map(source.adler32, files * 100))
    assert checksums == [source.adler32(file) for file in files] * 100


# What is not there, or not allowed


def test_a_missing_folder(site: Site) -> None:
    source = site.connect(f"{site.url}/{CAMERA}/none")
    with pytest.raises(NotFound, match="none: "):
        source.list(source.root)


def test_a_missing_file(site: Site, tmp_path: Path) -> None:
    source = site.open()
    missing = RemoteFile(f"{source.root}/none.tar.gz", "none.tar.gz", size=10)
    with pytest.raises(NotFound, match=r"none\.tar\.gz: "):
        source.fetch(missing, tmp_path / "target")
    assert not (tmp_path / "target").exists()
    if site.protocol == "root":
        with pytest.raises(NotFound, match=r"none\.tar\.gz: "):
            source.adler32(missing)


def test_a_file_that_is_listed_as_a_folder(site: Site) -> None:
    file = site.file(f"{CAMERA}_DQM_Run6001.tar.gz")
    with pytest.raises(NotFound):
        site.open().list(file.path)


def test_no_shown_path_has_the_password(site: Site) -> None:
    source = site.open()
    listing = source.list(source.root)
    texts = [source.root, *listing.folders, *(file.path for file in listing.files)]
    with pytest.raises(SourceError) as failed:
        source.list(f"{source.root}/none")
    for text in (*texts, str(failed.value)):
        assert PASSWORD not in text
        assert quote(PASSWORD, safe="") not in text


@pytest.mark.parametrize("scheme", ["http", "webdav"])
@pytest.mark.parametrize(
    ("place", "error"),
    [("forbidden", AccessDenied), ("login", AuthExpired), ("down", Unavailable)],
)
def test_what_web_servers_refuse(
    site_of: Callable[[str], Site],
    tmp_path: Path,
    scheme: str,
    place: str,
    error: type[SourceError],
    connect: Connect,
) -> None:
    server = site_of("html").server
    source = connect(f"{scheme}://{LOOPBACK}:{server.port}/{place}/runs")
    with pytest.raises(error, match=f"{place}/runs: "):
        source.list(source.root)
    with pytest.raises(error):
        source.fetch(RemoteFile(f"{source.root}/a", "a", size=1), tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_a_folder_that_xrootd_may_not_open(
    site_of: Callable[[str], Site], connect: Connect
) -> None:
    source = connect(f"{site_of('root').url}/closed")
    with pytest.raises(AccessDenied, match="closed: "):
        source.list(source.root)
    outside = connect(f"root://{LOOPBACK}:{site_of('root').server.port}//etc")
    with pytest.raises(AccessDenied, match="etc: "):
        outside.list(outside.root)


def test_a_web_server_is_asked_for_webdav(site_of: Callable[[str], Site], connect: Connect) -> None:
    source = connect(f"webdav://{LOOPBACK}:{site_of('html').server.port}/html")
    with pytest.raises(Unavailable, match="does not speak this protocol"):
        source.list(source.root)


def test_a_user_and_password_of_the_url(
    site_of: Callable[[str], Site], tmp_path: Path, connect: Connect
) -> None:
    server = site_of("html").server
    secret = quote(PASSWORD, safe="")
    source = connect(f"http://{USER}:{secret}@{LOOPBACK}:{server.port}/login/{CAMERA}")
    files = source.list(source.root).files
    assert {file.name: file.size for file in files} == NAMES
    assert source.fetch(files[0], tmp_path / "target").stat().st_size == files[0].size
    wrong = connect(f"http://{USER}:wrong@{LOOPBACK}:{server.port}/login")
    with pytest.raises(AuthExpired):
        wrong.list(wrong.root)


def test_a_user_and_password_of_netrc(
    site_of: Callable[[str], Site], tmp_path: Path, connect: Connect
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text(f'machine {LOOPBACK} login {USER} password "{PASSWORD}"\n')
    netrc.chmod(0o600)
    port = site_of("html").server.port
    source = connect(f"http://{LOOPBACK}:{port}/login/{CAMERA}")
    assert len(source.list(source.root).files) == len(NAMES)
    wrong = connect(f"http://{USER}:wrong@{LOOPBACK}:{port}/login")  # the URL's come first
    with pytest.raises(AuthExpired):
        wrong.list(wrong.root)


def test_sftp_refuses_strange_hosts_and_passwords(
    site_of: Callable[[str], Site],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    connect: Connect,
) -> None:
    site = site_of("sftp")
    stranger = site.open()
    with pytest.raises(AuthExpired, match=r"(?i)host key"):
        stranger.list(stranger.root)
    prepare(site, monkeypatch, tmp_path)
    wrong = connect(f"sftp://{USER}:wrong@{LOOPBACK}:{site.server.port}/{CAMERA}")
    with pytest.raises(AuthExpired, match=r"(?i)permission denied"):
        wrong.list(wrong.root)
    assert stranger.list(stranger.root).files  # now it is known


# Encryption


@pytest.fixture(scope="module")
def certificates(folder: Path) -> Certificates:
    return Certificates(folder)


def test_a_token_and_a_certificate_over_https(
    folder: Path,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    connect: Connect,
) -> None:
    with Nginx(folder, folder / "data", certificates) as server:
        url = f"{server.secure_url}/token/{CAMERA}"
        with pytest.raises(Unavailable, match=r"(?i)certificate"):
            connect(url).list(url)
        monkeypatch.setenv("X509_CERT_DIR", str(certificates.folder))
        with pytest.raises(AuthExpired):
            connect(url).list(url)
        (tmp_path / "token").write_text(f"{TOKEN}\n")
        monkeypatch.setenv("BEARER_TOKEN_FILE", str(tmp_path / "token"))
        assert len(connect(url).list(url).files) == len(NAMES)
        url = f"{server.secure_url}/proxy/{CAMERA}"
        with pytest.raises(AccessDenied):
            connect(url).list(url)
        monkeypatch.setenv("X509_USER_PROXY", str(certificates.user))
        for scheme in ("https", "webdavs"):
            source = connect(url.replace("https", scheme))
            file = RemoteFile(f"{source.root}/empty.tar.gz", "empty.tar.gz", size=0)
            source.fetch(file, tmp_path / scheme)
        assert len(connect(url).list(url).files) == len(NAMES)


READ_ALL = """
import sys, zlib
from pathlib import Path
from ingest.sources import open_url
source = open_url(sys.argv[1])
for number, file in enumerate(source.list(source.root).files):
    target = source.fetch(file, Path(str(number)))
    print(file.name, source.adler32(file), zlib.adler32(target.read_bytes()), sep="/")
"""


def test_encrypted_xrootd(folder: Path, certificates: Certificates, tmp_path: Path) -> None:
    expected = []
    for name in sorted(NAMES):
        checksum = zlib.adler32((folder / "data" / CAMERA / name).read_bytes())
        expected.append(f"{name}/{checksum}/{checksum}")
    with XRootD(folder, folder / "data", certificates) as server:
        # Whom the library trusts it decides once in a process.
        read = subprocess.run(
            [sys.executable, "-c", READ_ALL, f"{server.url}/{CAMERA}"],
            env={**os.environ, "X509_CERT_DIR": str(certificates.folder)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert server.url.startswith("roots://")
    assert read.stdout.splitlines() == expected


# What breaks


@pytest.fixture(params=["slow", "webdav", "root", "sftp"])
def large_site(
    request: pytest.FixtureRequest,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Site]:
    """Each server in turn with one large file, to be stopped in the middle of it."""
    with open_folder() as folder, ExitStack() as running:
        data = folder / "data" / CAMERA
        data.mkdir(parents=True)
        (data / "large.tar.gz").write_bytes(random.Random(1).randbytes(LARGE))
        site = prepare(start(request.param, folder, running), monkeypatch, tmp_path)
        yield replace(site, connect=connect)


def at_first_byte(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Call *act* once, when the first bytes of the next fetch are written."""

    class Target(remote._Target):
        def write(self, data: bytes, /) -> int:
            if not self.written and len(data):
                act()
            return super().write(data)

    monkeypatch.setattr(remote, "_Target", Target)


def test_a_server_that_is_killed_and_comes_back(
    large_site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = large_site.open()
    (file,) = source.list(source.root).files
    with monkeypatch.context() as patched:
        at_first_byte(patched, large_site.server.kill)
        with pytest.raises(Unavailable, match=r"large\.tar\.gz: "):
            source.fetch(file, tmp_path / "target")
    assert not (tmp_path / "target").exists()
    with pytest.raises(Unavailable):
        source.list(source.root)
    large_site.server.start()
    if large_site.protocol == "slow":  # all of it would take a minute
        source = large_site.connect(f"{large_site.url.replace('slow', 'html')}/{CAMERA}")
        (file,) = source.list(source.root).files
    assert source.list(source.root).files == (file,)
    content = (large_site.data / CAMERA / file.name).read_bytes()
    assert source.fetch(file, tmp_path / "target").read_bytes() == content


def test_a_server_that_falls_silent(
    large_site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DQM_SOURCE_TIMEOUT", "5")  # a busy machine answers later than at once
    source = large_site.open()
    (file,) = source.list(source.root).files
    with monkeypatch.context() as patched:
        at_first_byte(patched, lambda: large_site.server.send(signal.SIGSTOP))
        with pytest.raises(Unavailable, match=r"large\.tar\.gz: "):
            source.fetch(file, tmp_path / "target")
    assert not (tmp_path / "target").exists()
    large_site.server.send(signal.SIGCONT)
    assert source.list(source.root).files == (file,)


SCHEMES = ("http", "webdav", "root", "sftp", "s3")


def broken(connect: Connect, scheme: str, port: int, monkeypatch: pytest.MonkeyPatch) -> Source:
    """A source at a port where no such server is."""
    if scheme != "s3":
        return connect(f"{scheme}://{LOOPBACK}:{port}/{CAMERA}")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{LOOPBACK}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", USER)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PASSWORD)
    return connect(f"s3://results/{CAMERA}")


def both_fail(source: Source, target: Path, error: type[SourceError]) -> None:
    """Listing and fetching end with the error and leave nothing."""
    with pytest.raises(error, match=f"{CAMERA}: "):
        source.list(source.root)
    with pytest.raises(error, match=r"a\.tar\.gz: "):
        source.fetch(RemoteFile(f"{source.root}/a.tar.gz", "a.tar.gz", size=10), target)
    assert not target.exists()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_port_that_refuses(
    scheme: str, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The limit of the suite is below what the clients would wait by themselves.
    monkeypatch.setenv("DQM_SOURCE_TIMEOUT", "3600")
    source = broken(connect, scheme, free_port(), monkeypatch)
    both_fail(source, tmp_path / "target", Unavailable)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_server_that_hangs(
    scheme: str, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DQM_SOURCE_TIMEOUT", "1")
    with BrokenServer(None) as server:
        source = broken(connect, scheme, server.port, monkeypatch)
        both_fail(source, tmp_path / "target", Unavailable)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_server_that_hangs_up(
    scheme: str, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with BrokenServer(b"") as server:
        source = broken(connect, scheme, server.port, monkeypatch)
        both_fail(source, tmp_path / "target", Unavailable)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_server_of_something_else(
    scheme: str, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with BrokenServer(b"220 mail.example.org ESMTP\r\n" * 10) as server:
        source = broken(connect, scheme, server.port, monkeypatch)
        both_fail(source, tmp_path / "target", Unavailable)


HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
BODY = b"x" * 300_000


@pytest.mark.parametrize("scheme", ["http", "webdav"])
@pytest.mark.parametrize(
    ("answer", "listed", "error"),
    [
        (HEAD + b"Content-Length: 1000000\r\n\r\n" + BODY, None, Unavailable),
        (HEAD + b"Content-Length: 1000000\r\n\r\n" + BODY, 1_000_000, Unavailable),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n493e0\r\n" + BODY, 1_000_000, Unavailable),
        (HEAD + b"\r\n" + BODY, 1_000_000, Unavailable),
        (HEAD + b"\r\n" + BODY, None, Corrupt),
        (HEAD + b"Content-Length: 300000\r\n\r\n" + BODY, 299_999, Corrupt),
    ],
    ids=["short", "short, listed", "chunk cut", "no length, cut", "no length at all", "changed"],
)
def test_a_body_that_is_cut(
    scheme: str,
    answer: bytes,
    listed: int | None,
    error: type[SourceError],
    tmp_path: Path,
    connect: Connect,
) -> None:
    with BrokenServer(answer) as server:
        source = connect(f"{scheme}://{LOOPBACK}:{server.port}/")
        file = RemoteFile(f"{source.root}/a.tar.gz", "a.tar.gz", size=listed)
        with pytest.raises(error, match=r"a\.tar\.gz: "):
            source.fetch(file, tmp_path / "target")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("scheme", ["http", "webdav"])
def test_a_body_of_listed_length_needs_no_other(
    scheme: str, tmp_path: Path, connect: Connect
) -> None:
    with BrokenServer(HEAD + b"Content-Encoding: gzip\r\n\r\n" + BODY) as server:
        source = connect(f"{scheme}://{LOOPBACK}:{server.port}/")
        file = RemoteFile(f"{source.root}/a.tar.gz", "a.tar.gz", size=len(BODY))
        # It arrives as it is stored, though the server calls it an encoding.
        assert source.fetch(file, tmp_path / "target").read_bytes() == BODY


@pytest.mark.parametrize("site", [name for name in PROTOCOLS if name != "html"], indirect=True)
def test_a_file_that_grew_after_it_was_listed(site: Site, tmp_path: Path) -> None:
    file = site.file(f"{CAMERA}_DQM_Run6001.tar.gz")
    assert file.size is not None
    with pytest.raises(Corrupt, match="were listed"):
        site.open().fetch(replace(file, size=file.size - 1), tmp_path / "target")
    assert not (tmp_path / "target").exists()


# What fails on this side


def test_a_full_disk_is_not_the_fault_of_the_source(site: Site, tmp_path: Path) -> None:
    file = site.file(f"{CAMERA}_DQM_Run6003.tar.gz")
    source = site.open()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            source.fetch(file, tmp_path / "target")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (tmp_path / "target").exists()
    assert source.fetch(file, tmp_path / "target").stat().st_size == NAMES[file.name]


def test_what_is_there_is_not_overwritten(site: Site, tmp_path: Path) -> None:
    file = site.file(f"{CAMERA}_DQM_Run6001.tar.gz")
    (tmp_path / "target").write_text("mine")
    with pytest.raises(FileExistsError):
        site.open().fetch(file, tmp_path / "target")
    assert (tmp_path / "target").read_text() == "mine"
