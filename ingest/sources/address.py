"""The URL of a remote folder, taken apart; its password is in no text that is shown or stored."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from dqm_db.errors import ConfigurationError
from dqm_db.urls import shown

_URL = re.compile(
    r"(?P<scheme>[a-z0-9]+)://(?:(?P<user>[^/@]*)@)?"
    r"(?P<name>\[[^\]/]+\]|[^\[:/@]+)(?::(?P<port>\d{1,5}))?(?P<path>/.*)?"
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a remote folder is.

    Attributes
    ----------
    scheme, name, path : str
        *name* of the server, without brackets; *path* as it stands in the URL.
    port : int or None
    user, password : str or None
    """

    scheme: str
    name: str
    path: str
    port: int | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        """Name and port, as in a URL."""
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port is None else f"{name}:{self.port}"

    @property
    def server(self) -> str:
        """The URL up to the path, without the password."""
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        return f"{self.scheme}://{user}{self.host}"

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme in ("https", "webdavs", "roots", "s3", "sftp")


def parse(url: str) -> Address:
    """*url* taken apart.

    Raises
    ------
    ConfigurationError
        It is no SCHEME://HOST/PATH, or it has what no folder has.
    """
    match = _URL.fullmatch(url)
    if match is None or int(match["port"] or 0) > 65535:
        raise ConfigurationError(f"{shown(url)}: not a folder's URL: SCHEME://HOST[:PORT]/PATH")
    scheme, path = match["scheme"], match["path"] or "/"
    if scheme not in ("s3", "sftp") and re.search("[?#]", path):
        # What follows could be a token, which would end up in the database and in logs.
        raise ConfigurationError(
            f"{shown(url).partition('?')[0]}: a folder's URL has no '?' and no '#'; write %3F or "
            "%23 if its name has one, and give credentials as docs/grid.md says"
        )
    user, colon, password = (match["user"] or "").partition(":")
    if colon and scheme in ("root", "roots", "s3"):
        raise ConfigurationError(
            f"{shown(url)}: {scheme}:// takes no password; give credentials as docs/grid.md says"
        )
    return Address(
        scheme,
        match["name"].strip("[]"),
        path,
        port=int(match["port"]) if match["port"] else None,
        user=unquote(user) or None,
        password=unquote(password) if colon else None,
    )
