"""What a database URL says: its servers or its files, its identity, and how to show it."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from dqm_db.errors import ConfigurationError
from dqm_db.replication.addresses import Address


def zeo_addresses(url: str) -> list[Address]:
    """The servers of ``zeo://HOST:PORT[,HOST:PORT…]``, or the UNIX socket of ``zeo:///PATH``.

    Raises
    ------
    ConfigurationError
        A server is not HOST:PORT, a socket is not alone, or the URL has options; there are none.
    """
    servers, question, options = url.removeprefix("zeo://").partition("?")
    if question:
        raise ConfigurationError(
            f"{url!r}: zeo:// takes no options here ({options!r}); use the DQM_DB_… settings"
        )
    if servers.startswith("/"):
        if "," in servers or not servers.strip("/"):
            raise ConfigurationError(
                f"{url!r}: a UNIX socket is named alone, such as zeo:///run/dqm/zeo.sock"
            )
        return [Address.of_socket(servers)]
    addresses = []
    for server in servers.rstrip("/").split(","):
        host, colon, port = server.strip().rpartition(":")
        if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ConfigurationError(
                f"{url!r}: {server!r} is not HOST:PORT; write zeo://HOST:PORT[,HOST:PORT…]"
            )
        addresses.append(Address(host.strip("[]"), int(port)))
    return addresses


def file_path(url: str) -> Path:
    """The Data.fs of a ``file://`` URL."""
    return Path(url.removeprefix("file://").partition("?")[0])


def file_url(url: str, *, read_only: bool) -> str:
    """A ``file://`` URL completed for zodburi: where its blobs are, and whether it is read-only.

    The blobs of a server's volume are in ``blobstorage`` beside ``filestorage``; those of any other
    file in a folder with its name and ``.blobs``.
    """
    path = file_path(url)
    options = dict(parse_qsl(url.partition("?")[2]))
    volume = path.parent.parent / "blobstorage"
    beside = volume if path.parent.name == "filestorage" else path.with_name(f"{path.name}.blobs")
    if not read_only or beside.is_dir():  # reading must not make a folder
        options.setdefault("blobstorage_dir", str(beside))
    if read_only:
        options["read_only"] = "1"
    query = f"?{urlencode(options)}" if options else ""
    return f"file://{path}{query}"


def shown(text: str) -> str:
    """A URL, or a text with URLs in it, as it may be shown and logged: without passwords."""
    text = re.sub(r"://([^/@:\s]*):[^/@\s]*@", r"://\1:…@", text)
    return re.sub(r"(?i)([?&](?:password|passwd|pwd|secret|token)=)[^&\s'\"]*", r"\1…", text)


def identities(url: str) -> list[str]:
    """What databases the URL leads to, each under one name however it is written, sorted.

    Servers are named by their numeric address, files and UNIX sockets by their real path.
    """
    if url.startswith("zeo://"):
        return sorted(
            {
                f"{_numeric(address.host)}:{address.port}"
                if address.path is None
                else str(Path(address.path).resolve())
                for address in zeo_addresses(url)
            }
        )
    if url.startswith("file://"):
        return [str(file_path(url).resolve())]
    return [url.partition("?")[0].rstrip("/")]


def _numeric(host: str) -> str:
    try:
        return str(min(info[4][0] for info in socket.getaddrinfo(host, None)))
    except OSError:
        return host.lower()
