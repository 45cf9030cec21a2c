"""Files in DIRAC's catalogue: ``dirac:/ctao/user/…/dqm/NectarCAMQM``.

DIRAC runs in a process of its own (`ingest.sources.dirac_process`), with the Python of its own
environment, which is given by ``DQM_DIRAC_PYTHON``. ``docs/grid.md`` says how to set it up.
"""

from __future__ import annotations

import logging
import os
import secrets
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from dqm_db.errors import ConfigurationError
from dqm_db.settings import load
from ingest.errors import one_line
from ingest.sources.base import Listing, RemoteFile, Source
from ingest.sources.dirac_process import Answer, DiracProcess
from ingest.sources.errors import (
    AccessDenied,
    AuthExpired,
    Corrupt,
    NotFound,
    SourceError,
    Unavailable,
)

log = logging.getLogger(__name__)

ERRORS: dict[str, type[SourceError]] = {
    kind.__name__: kind for kind in (AccessDenied, AuthExpired, Corrupt, NotFound, Unavailable)
}

MAX_DEATHS = 3
"""Processes that may die one after the other without an answer before no more are started."""

GRACE = 10.0
"""Seconds beyond the time-out, which its process looks after, until that is taken for hanging."""

RENEWAL_SECONDS = 120.0
"""How long the command that renews the proxy may take."""

RENEWAL_PAUSE = 60.0
"""Seconds after a renewal, failed or not, within which it is not tried again."""

NOT_FOR_DIRAC = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")
"""Variables that belong to our Python."""


class DiracSettings(BaseSettings):
    """How files are fetched with DIRAC."""

    model_config = SettingsConfigDict(env_prefix="DQM_", extra="ignore")

    dirac_python: Path | None = Field(
        None,
        description="Python of DIRAC's environment, or a script that sets that up and runs it.",
    )
    dirac_streams: int = Field(4, ge=1, le=64, description="Downloads that DIRAC does at once.")
    dirac_batch: int = Field(
        8, ge=1, le=1000, description="Files that each of these downloads is given in a list."
    )
    dirac_timeout: float = Field(
        45.0, gt=0, description="Seconds without progress after which DIRAC counts as hanging."
    )
    dirac_proxy_command: str = Field(
        "", description="Command that renews the proxy when it has expired, or is about to."
    )
    dirac_proxy_hours: float = Field(
        1.0, ge=0, description="Hours for which a proxy must be valid not to be renewed."
    )


class Dirac(Source):
    """A directory of the catalogue and what is below, read with the user's proxy.

    Raises
    ------
    ConfigurationError
        ``DQM_DIRAC_PYTHON`` is not set or is no program, or the URL has no path.
    """

    watches_itself = True  # a target appears when the whole list is there
    worker = Path(__file__).with_name("dirac_worker.py")

    def __init__(self, url: str) -> None:
        self.root = "/" + url.partition(":")[2].strip("/")
        if self.root == "/":
            raise ConfigurationError(f"{url}: name a directory, as in dirac:/ctao/user/…")
        self._settings = load(DiracSettings)
        self._python = _program(self._settings.dirac_python)
        self._environment = {
            name: value for name, value in os.environ.items() if name not in NOT_FOR_DIRAC
        }
        self._renewal = Renewal(self._settings.dirac_proxy_command, self._environment)
        # One list more than there are downloads, so that none waits for its next list.
        self.streams = (self._settings.dirac_streams + 1) * self._settings.dirac_batch
        self._lock = threading.Lock()
        self._process: DiracProcess | None = None
        self._deaths = 0
        self._last: str | None = None
        self._closed = False

    def list(self, folder: str) -> Listing:
        """Files with size, time and checksum, and directories, as the catalogue has them."""
        value = self._ask(folder, do="list")
        files = (
            RemoteFile(path, path.rpartition("/")[2], size, modified, adler32)
            for path, size, modified, adler32 in value["files"]
        )
        unread = ((path, "it is a link: give it by its name") for path in value["links"])
        return Listing(tuple(files), tuple(value["folders"]), tuple(unread))

    def fetch(self, file: RemoteFile, target: Path) -> Path:
        """Download it: to *target* when DIRAC has checked its size and checksum, not before."""
        self._ask(file.path, do="fetch", target=str(target.absolute()))
        return target

    @property
    def pid(self) -> int | None:
        """Number of the process that DIRAC runs in, None before the first request."""
        return self._process.pid if self._process is not None else None

    def close(self) -> None:
        """End DIRAC's process."""
        with self._lock:
            self._closed = True
            process, self._process = self._process, None
        if process is not None:
            process.close()

    def _ask(self, path: str, **request: str) -> dict[str, Any]:
        """Value of the answer; the proxy is renewed where that is needed and possible."""
        known = self._renewal.count
        try:
            value, left = self._ask_once(path, request)
        except AuthExpired as error:
            self._renewal.run(known, error)
            return self._ask_once(path, request)[0]
        if left is not None and left < self._settings.dirac_proxy_hours * 3600:
            self._renewal.run_early(known)
        return value

    def _ask_once(self, path: str, request: dict[str, str]) -> tuple[dict[str, Any], float | None]:
        answer = self._answer(path, request)
        if "error" not in answer:
            value: dict[str, Any] = answer["value"]
            return value, answer.get("proxy")
        text = f"{path}: {one_line(answer['text'])}"
        if answer["error"] == "OSError" and request["do"] == "fetch":
            raise OSError(answer["errno"], answer["text"], request["target"])
        raise ERRORS.get(answer["error"], Unavailable)(text)

    def _answer(self, path: str, request: dict[str, str]) -> Answer:
        try:
            process = self._running()
            answer = process.ask(**request, path=path)
        except Unavailable as error:
            raise Unavailable(f"{path}: {error}") from error
        self._deaths = 0
        return answer

    def _running(self) -> DiracProcess:
        """The process, started when there is none (any more)."""
        with self._lock:
            if self._closed:
                raise Unavailable("this source has been closed")
            if self._process is not None and not self._process.has_ended():
                return self._process
            if self._process is not None:
                self._process.close()
                self._last = self._process.end
                self._process = None
                self._deaths += 1
            if self._deaths >= MAX_DEATHS:
                raise Unavailable(f"not started again after {self._deaths} times: {self._last}")
            self._process = self._started()
            return self._process

    def _started(self) -> DiracProcess:
        settings = self._settings
        options = {
            "streams": settings.dirac_streams,
            "batch": settings.dirac_batch,
            "timeout": settings.dirac_timeout,
            "private": f".dirac-{secrets.token_hex(4)}",
        }
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        command = [str(self._python), str(self.worker), *words]
        return DiracProcess(command, self._environment, settings.dirac_timeout + GRACE)


class Renewal:
    """The command that renews the proxy, run once however many ask for it.

    Attributes
    ----------
    count : int
        How often it was run.
    """

    def __init__(self, command: str, environment: Mapping[str, str]) -> None:
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise ConfigurationError(f"DQM_DIRAC_PROXY_COMMAND: {error}: {command}") from error
        self._environment = environment
        self._lock = threading.Lock()
        self.count = 0
        self._failure: str | None = None
        self._ran = -RENEWAL_PAUSE

    def run(self, known: int, error: AuthExpired) -> None:
        """Renew the proxy, unless somebody did since it was run *known* times.

        Raises
        ------
        AuthExpired
            It cannot be renewed; says why.
        """
        if not self._words:
            raise AuthExpired(
                f"{error}: renew it (dirac-proxy-init), or have it renewed by "
                "DQM_DIRAC_PROXY_COMMAND"
            ) from error
        with self._lock:
            if self.count == known:
                self._run()
            if self._failure is not None:
                raise AuthExpired(f"{error}; renewing it failed: {self._failure}") from error

    def run_early(self, known: int) -> None:
        """Renew a proxy that is still valid; only once, since new ones may be as short."""
        with self._lock:
            if self._words and self.count == known == 0:
                self._run()
                if self._failure is not None:
                    log.warning("renewing the DIRAC proxy failed: %s", self._failure)

    def _run(self) -> None:
        if time.monotonic() - self._ran < RENEWAL_PAUSE:
            return
        self._failure = _failure_of(self._words, self._environment)
        self._ran = time.monotonic()
        self.count += 1


def _program(path: Path | None) -> Path:
    if path is None:
        raise ConfigurationError(
            "DQM_DIRAC_PYTHON is not set: it is the Python of the environment that DIRAC is in, "
            "e.g. /opt/dirac/bin/python"
        )
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise ConfigurationError(f"DQM_DIRAC_PYTHON: there is no program {path}")
    return path.absolute()


def _failure_of(words: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """Run a command: None when it succeeds, else why it did not, which it says in its last line."""
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
            text=True,
            errors="backslashreplace",
        )
    except OSError as error:
        return f"{words[0]} cannot be started: {one_line(error)}"
    with process:
        try:
            output = process.communicate(timeout=RENEWAL_SECONDS)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return f"{words[0]} did not end within {RENEWAL_SECONDS:g} s"
    if process.returncode == 0:
        return None
    lines = [line for line in output.splitlines() if line.strip()]
    return one_line(lines[-1]) if lines else f"{words[0]} ended with {process.returncode}"
