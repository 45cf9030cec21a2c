"""Where results files come from: one module per kind of source, chosen by the scheme of a URL."""

from __future__ import annotations

import importlib
import re

from dqm_db.errors import ConfigurationError
from dqm_db.urls import shown
from ingest.sources.base import Source

SCHEMES: dict[str, str] = {
    # scheme: module:class, made with the URL; imported when it is used
    "file": "ingest.sources.local:LocalFolder",
    "volume": "ingest.sources.volume:ServerVolume",
    "dirac": "ingest.sources.dirac:Dirac",
    "http": "ingest.sources.remote:RemoteFolder",
    "https": "ingest.sources.remote:RemoteFolder",
    "webdav": "ingest.sources.remote:RemoteFolder",
    "webdavs": "ingest.sources.remote:RemoteFolder",
    "root": "ingest.sources.remote:RemoteFolder",
    "roots": "ingest.sources.remote:RemoteFolder",
    "s3": "ingest.sources.remote:RemoteFolder",
    "sftp": "ingest.sources.remote:RemoteFolder",
}

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):(//|/)", re.IGNORECASE)


def is_url(text: str) -> bool:
    """Whether *text* names a source by a URL, and not by a path of this machine."""
    return _SCHEME.match(text) is not None


def open_url(url: str) -> Source:
    """The source at *url*; a path of this machine is one as well.

    Raises
    ------
    ConfigurationError
        No source has this scheme.
    SourceError
        It cannot be used as it is.
    """
    match = _SCHEME.match(url)
    scheme = match[1].lower() if match else "file"
    if scheme not in SCHEMES:
        raise ConfigurationError(
            f"{shown(url)}: no source has the scheme {scheme}:; there are {', '.join(SCHEMES)}"
        )
    module, _, name = SCHEMES[scheme].partition(":")
    source: Source = getattr(importlib.import_module(module), name)(url)
    return source
