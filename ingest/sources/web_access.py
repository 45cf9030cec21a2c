"""Who we are for web and WebDAV servers: user and password, token, or certificate.

The variables are those of the grid's own tools, so that one environment serves all of them.
"""

from __future__ import annotations

import base64
import netrc
import os
import ssl
from pathlib import Path
from urllib.request import getproxies, proxy_bypass

from dqm_db.errors import ConfigurationError
from ingest.errors import one_line
from ingest.sources.address import Address


def headers(address: Address) -> dict[str, str]:
    """Headers of every request.

    User and password are those of the URL, or of ``~/.netrc`` (or the file that NETRC names). A
    token of the grid comes before the file; it goes over encrypted connections only.

    Raises
    ------
    ConfigurationError
        A file with credentials cannot be read.
    """
    # A .tar.gz must arrive as it is stored, not unpacked by the way.
    result = {"Accept-Encoding": "identity"}
    token = _token() if address.secure and address.user is None else None
    login = None if token else _login(address)
    if token:
        result["Authorization"] = f"Bearer {token}"
    elif login:
        encoded = base64.b64encode(":".join(login).encode()).decode()
        result["Authorization"] = f"Basic {encoded}"
    return result


def _login(address: Address) -> tuple[str, str] | None:
    if address.user is not None:
        return address.user, address.password or ""
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        known = netrc.netrc(path).authenticators(address.name)
    except FileNotFoundError:
        return None
    except (OSError, netrc.NetrcParseError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {one_line(error)}") from error
    return (known[0], known[2]) if known else None


def _token() -> str | None:
    token, path = os.environ.get("BEARER_TOKEN"), os.environ.get("BEARER_TOKEN_FILE")
    if not token and path:
        try:
            token = Path(path).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"BEARER_TOKEN_FILE: {path} cannot be read: {one_line(error)}"
            ) from error
    return token.strip() if token else None


def proxy(address: Address) -> str | None:
    """The proxy of ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY`` for a server."""
    if proxy_bypass(address.name):
        return None
    return getproxies().get("https" if address.secure else "http")


def trust() -> ssl.SSLContext:
    """Whom encrypted connections trust, and the proxy certificate that they show when asked.

    Raises
    ------
    ConfigurationError
        A file or folder that a variable names cannot be used.
    """
    context = ssl.create_default_context()
    folder, proxy = os.environ.get("X509_CERT_DIR"), os.environ.get("X509_USER_PROXY")
    try:
        if folder:
            context.load_verify_locations(capath=folder)
        if proxy:
            context.load_cert_chain(proxy)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"X509_CERT_DIR, X509_USER_PROXY: {folder}, {proxy} cannot be used: {one_line(error)}"
        ) from error
    return context
