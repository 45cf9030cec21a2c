"""How each protocol that fsspec speaks is set up, and what it does in a way of its own."""

# ruff: noqa: D102 (what overrides another method is documented there)

from __future__ import annotations

import html
import io
import json
import threading
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, unquote

from ingest.sources import web_access
from ingest.sources.address import Address
from ingest.sources.transport import CHUNK, Entry, Output, Transport

INDEX_BYTES = 2**26
"""Longest index page that is read."""


class XRootD(Transport):
    """``root://`` and, encrypted, ``roots://``."""

    extra = "xrootd"
    module = "fsspec_xrootd"

    def __init__(self, address: Address, timeout: int) -> None:
        super().__init__(address, timeout)
        self._asking = threading.Lock()

    def connect(self) -> Any:
        from XRootD.client.env import EnvPutInt

        # Its own defaults wait for minutes, even at a port that refuses. XRD_* variables of the
        # environment win over these.
        for name in ("ConnectionWindow", "RequestTimeout", "StreamTimeout"):
            EnvPutInt(name, self.timeout)
        EnvPutInt("ConnectionRetry", 1)
        EnvPutInt("StreamErrorWindow", 0)  # a server that is back is used at once
        EnvPutInt("TimeoutResolution", 1)
        user = f"{self.address.user}@" if self.address.user else ""
        return self._kind()(
            user + self.address.host,
            timeout=self.timeout,
            locate_all_sources=False,
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    def _kind(self) -> Any:
        """The class of the file system; that of fsspec-xrootd knows ``root://`` only."""
        plain = self.library.XRootDFileSystem
        if self.address.scheme == "root":
            return plain
        from XRootD.client.filesystem import FileSystem

        class Encrypted(plain):  # type: ignore[misc, valid-type]
            protocol = "roots"

            def __init__(self, hostid: str, **options: Any) -> None:
                super().__init__(hostid, **options)
                self._myclient = FileSystem(f"roots://{hostid}")

        return Encrypted

    def path(self, url: str) -> str:
        return "/" + super().path(url).strip("/")  # root://HOST//PATH, but also root://HOST/PATH

    def url(self, path: str) -> str:
        return f"{self.address.server}/{path}"

    def explain_itself(self, entry: Entry) -> None:
        super().explain_itself(entry)
        raise PermissionError("the directory cannot be opened")

    def copy(self, path: str, output: Output) -> int | None:
        filesystem, length = self.filesystem, 0
        try:
            while True:  # a short read is the end, whatever the size was when it was listed
                chunk = filesystem.cat_file(path, start=length, end=length + CHUNK)
                output.write(chunk)
                length += len(chunk)
                if len(chunk) < CHUNK:
                    return length
        finally:
            # It keeps files open, and would read on in the old one after the file was replaced.
            # What cannot be closed any more went with its connection.
            with suppress(OSError):
                filesystem.invalidate_cache(path)

    def adler32(self, path: str) -> int | None:
        try:
            # Servers compute a few at a time (xrootd.chksum) and send others away, for longer than
            # the time-out.
            with self._asking:
                algorithm, value = self.filesystem.checksum(f"{path}?cks.type=adler32")
        except OSError as error:
            if "[3013]" in str(error):  # kXR_Unsupported: the server has no checksums
                return None
            raise
        return int(value, 16) if algorithm == "adler32" else None


class Web(Transport):
    """What web and WebDAV servers have in common."""

    def __init__(self, address: Address, timeout: int) -> None:
        super().__init__(address, timeout)
        self.headers = web_access.headers(address)
        self.trust = web_access.trust() if address.secure else None


class Http(Web):
    """Index pages of a web server; paths are URLs, as web servers write them."""

    extra = "http"
    module = "aiohttp"

    def connect(self) -> Any:
        from fsspec.implementations.http import HTTPFileSystem

        # Neither the whole nor the time in a queue is limited: a large file may take its time.
        limits = self.library.ClientTimeout(
            total=None, sock_connect=self.timeout, sock_read=self.timeout
        )
        options: dict[str, Any] = {
            "timeout": limits,
            "headers": self.headers,
            "auto_decompress": False,
            "proxy": web_access.proxy(self.address),
        }
        return HTTPFileSystem(
            client_kwargs=options,
            ssl=self.trust or True,
            simple_links=False,  # of links only, not of every URL in the text
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    def path(self, url: str) -> str:
        path = quote(super().path(url), safe="/%:@!$&'()*+,;=~").rstrip("/")
        return f"{self.address.scheme}://{self.address.host}{path}"

    def url(self, path: str) -> str:
        return super().url(path.removeprefix(f"{self.address.scheme}://{self.address.host}"))

    def name(self, path: str) -> str:
        return unquote(super().name(path))

    def entries(self, path: str) -> list[Entry]:
        folder = path.rstrip("/") + "/"
        found = []
        try:
            listed = super().entries(folder)
        except FileNotFoundError:
            # When there are no links, the library asks again without the last slash, where nothing
            # need be. Whether the folder itself is there is seen below.
            listed = []
        for entry in listed:
            link = html.unescape(entry["name"])
            name = link.removeprefix(folder).removeprefix("./")
            # Other folders, and links that sort the page.
            if name.strip("/") and "/" not in name[:-1] and not {"?", "#"} & set(name):
                found.append({**entry, "name": folder + name})
        return found or self._json_index(folder)

    def _json_index(self, folder: str) -> list[Entry]:
        """Entries of nginx's ``autoindex_format json``, which has sizes and times; else none."""
        page = _Page()
        self.filesystem.get_file(folder, page)
        try:
            index = json.loads(page.getvalue())
            return [
                {
                    "name": folder + quote(item["name"]),
                    "type": item["type"],
                    "size": item.get("size"),
                    "mtime": parsedate_to_datetime(item["mtime"]),
                }
                for item in index
            ]
        except (ValueError, TypeError, KeyError):  # another page, on which there are no links
            return []

    def copy(self, path: str, output: Output) -> int | None:
        from fsspec.callbacks import Callback

        announced = Callback()
        self.filesystem.get_file(path, output, callback=announced)
        length: int | None = announced.size
        return length


class WebDav(Web):
    """``webdav://`` and ``webdavs://``, which are http and https for the library."""

    extra = "webdav"
    module = "webdav4.fsspec"

    def connect(self) -> Any:
        scheme = "https" if self.address.secure else "http"
        return self.library.WebdavFileSystem(
            f"{scheme}://{self.address.host}",
            headers=self.headers,
            verify=self.trust or True,
            timeout=self.timeout,
            retry=False,
            skip_instance_cache=True,
        )

    def path(self, url: str) -> str:
        return unquote(super().path(url)).strip("/")

    def url(self, path: str) -> str:
        return super().url("/" + quote(path.strip("/")))

    def copy(self, path: str, output: Output) -> int | None:
        # Its file objects ask for the properties first, and start again without end after a
        # time-out; this is one request.
        client = self.filesystem.client
        with client.http.stream("GET", client.join_url(path), follow_redirects=True) as answer:
            answer.raise_for_status()
            for chunk in answer.iter_raw():
                output.write(chunk)
        length = answer.headers.get("Content-Length", "")
        return int(length) if length.isdecimal() else None

    def disconnect(self, filesystem: Any) -> None:
        filesystem.client.http.close()


class S3(Transport):
    """``s3://BUCKET/PREFIX``."""

    extra = "s3"
    module = "s3fs"

    def connect(self) -> Any:
        filesystem = self.library.S3FileSystem(
            config_kwargs={
                "connect_timeout": self.timeout,
                "read_timeout": self.timeout,
                "retries": {"total_max_attempts": 1},
            },
            default_cache_type="none",
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        filesystem.retries = 1  # `dqm ingest` has its own, at longer intervals
        return filesystem

    def path(self, url: str) -> str:
        return url.removeprefix("s3://").rstrip("/")

    def url(self, path: str) -> str:
        return f"s3://{path}"


class Sftp(Transport):
    """``sftp://``, with the keys, configuration and known hosts of the user's ssh."""

    extra = "sftp"
    module = "sshfs"

    def connect(self) -> Any:
        options: dict[str, Any] = {"port": self.address.port} if self.address.port else {}
        if self.address.user is not None:
            options["username"] = self.address.user
        if self.address.password is not None:
            options["password"] = self.address.password
        return self.library.SSHFileSystem(
            self.address.name,
            known_hosts=(),  # of ~/.ssh/known_hosts; its default is to trust everybody
            connect_timeout=self.timeout,
            login_timeout=self.timeout,
            keepalive_interval=self.timeout / 2,
            keepalive_count_max=1,
            skip_instance_cache=True,
            **options,
        )

    def path(self, url: str) -> str:
        return super().path(url).rstrip("/") or "/"

    def lost(self) -> None:
        self.close()  # it does not connect again by itself


BY_SCHEME: dict[str, type[Transport]] = {
    "http": Http,
    "https": Http,
    "webdav": WebDav,
    "webdavs": WebDav,
    "root": XRootD,
    "roots": XRootD,
    "s3": S3,
    "sftp": Sftp,
}


class _Page(io.BytesIO):
    def write(self, data: Any, /) -> int:
        if self.tell() + len(data) > INDEX_BYTES:
            raise ValueError(f"the index page has more than {INDEX_BYTES} bytes")
        return super().write(data)
