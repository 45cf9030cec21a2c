"""What the errors of all the libraries behind fsspec mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus

from ingest.errors import one_line
from ingest.sources.errors import AccessDenied, AuthExpired, NotFound, SourceError, Unavailable

_OF_STATUS: dict[int, tuple[type[SourceError], str]] = {
    HTTPStatus.UNAUTHORIZED: (AuthExpired, "credentials are missing, expired or not accepted"),
    HTTPStatus.FORBIDDEN: (AccessDenied, "access is refused"),
    HTTPStatus.NOT_FOUND: (NotFound, "it is not there"),
    HTTPStatus.GONE: (NotFound, "it is not there any more"),
    HTTPStatus.METHOD_NOT_ALLOWED: (Unavailable, "the server does not speak this protocol here"),
    HTTPStatus.NOT_IMPLEMENTED: (Unavailable, "the server does not speak this protocol here"),
}

# XProtocol.hh: errors that a server answers with. All others may heal.
_OF_XROOTD: dict[int, type[SourceError]] = {
    3010: AccessDenied,  # kXR_NotAuthorized
    3011: NotFound,
    3030: AuthExpired,  # kXR_AuthFailed
}
# "[ERROR] Server responded with an error: [3011] No such file", "[FATAL] Connection error"
_XROOTD = re.compile(
    r"\[(?:ERROR|FATAL)\] (?:Server responded with an error: (?:\[(?P<code>\d{4})\] )?)?"
    r"(?P<text>.*)",
    re.DOTALL,
)

_SILENT = re.compile(r"time(d )? ?out|operation expired", re.IGNORECASE)
_UNAUTHENTICATED = re.compile(
    r"auth failed|authentication failed|InvalidAccessKeyId|SignatureDoesNotMatch|"
    r"ExpiredToken|InvalidToken|TokenRefreshRequired",
    re.IGNORECASE,
)
# Errors of libraries that are not installed everywhere, by the name of their class.
_OF_CLASS: dict[str, type[SourceError]] = {
    "SFTPPermissionDenied": AccessDenied,
    "SFTPNoSuchPath": NotFound,
    "SFTPNotADirectory": NotFound,
    "PermissionDenied": AuthExpired,  # of asyncssh: no key or password was accepted
    "HostKeyNotVerifiable": AuthExpired,
    "NoCredentialsError": AuthExpired,  # of botocore
}


def explain(error: BaseException, timeout: float) -> tuple[type[SourceError], str]:
    """The error of ours that *error* comes to, and in words what happened.

    Parameters
    ----------
    error
        Whatever a file system of fsspec has raised.
    timeout
        Seconds after which a silent server is given up.
    """
    chain = list(_chain(error))
    for link in chain:
        status = _status(link)
        if status is not None and status >= 400:
            kind, text = _OF_STATUS.get(status, (Unavailable, "the server cannot do it now"))
            return kind, f"{text} (HTTP {status}{_phrase(status)})"
    text = one_line(error)
    xrootd = _XROOTD.search(str(error))
    if xrootd is not None:
        text = one_line(xrootd["text"]) or text
        kind = _OF_XROOTD.get(int(xrootd["code"] or 0), Unavailable)
        if kind is not Unavailable:
            return kind, text
    for link in chain:
        if type(link).__name__ in _OF_CLASS:
            return _OF_CLASS[type(link).__name__], one_line(link)
        if _UNAUTHENTICATED.search(str(link)):
            return AuthExpired, text
    if any(isinstance(link, TimeoutError) for link in chain) or _SILENT.search(
        f"{type(error).__name__} {text}"
    ):
        return Unavailable, f"no answer within {timeout:g} s"
    for link in chain:
        if isinstance(link, FileNotFoundError):
            return NotFound, "it is not there"
        if isinstance(link, NotADirectoryError):
            return NotFound, "it is not a directory"
        if isinstance(link, IsADirectoryError):
            return NotFound, "it is a directory, not a file"
        if isinstance(link, PermissionError):
            return AccessDenied, f"access is refused ({text})"
    return Unavailable, text


def _chain(error: BaseException) -> Iterator[BaseException]:
    """*error* and what it was raised from."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__


def _status(error: BaseException) -> int | None:
    """HTTP status of an error of aiohttp, webdav4 or httpx."""
    response = getattr(error, "response", None)
    for holder, name in ((error, "status"), (error, "status_code"), (response, "status_code")):
        status = getattr(holder, name, None)
        if isinstance(status, int):
            return status
    return None


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:  # a number of this server's own
        return ""
