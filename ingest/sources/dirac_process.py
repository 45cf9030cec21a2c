"""The process that DIRAC runs in: started when needed, asked by several threads at once.

DIRAC has an environment of its own, and has been seen to take its process down, so that it is kept
out of ours. `ingest.sources.dirac_worker`, which runs there, describes what is said on the pipes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any

from ingest.errors import one_line
from ingest.sources.errors import Unavailable

POLL = 1.0
"""Seconds after which a waiting request looks whether the process is still alive."""

LINES = 3
"""Of what the process said last, so many lines are part of the message when it dies."""

log = logging.getLogger(__name__)

Answer = dict[str, Any]


class DiracProcess:
    """One life of the worker.

    Parameters
    ----------
    command
        Program and arguments.
    environment
        All of its variables.
    patience : float
        Seconds without any sign of life after which it is killed.

    Raises
    ------
    Unavailable
        It cannot be started.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], patience: float
    ) -> None:
        self._patience = patience
        self._lock = threading.Lock()  # of what is pending; never held while a pipe may block
        self._writing = threading.Lock()
        self._pending: dict[int, Future[Answer]] = {}
        self._folders: set[Path] = set()
        self._number = 0
        self._said: deque[str] = deque(maxlen=LINES)
        self._heard = time.monotonic()
        self._killed: str | None = None
        self._end: str | None = None
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(environment),
                # Ctrl-C is for us: what is under way is finished or broken off by its caller.
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable(f"{command[0]} cannot be started: {one_line(error)}") from error
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._logger = threading.Thread(target=self._log, daemon=True)
        self._logger.start()  # first: the listener waits for it when the process has ended
        self._listener.start()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def has_ended(self) -> bool:
        """Whether no request will be answered any more."""
        return self._end is not None

    def ask(self, **request: Any) -> Answer:
        """The answer to *request*, once it has come; called from any thread.

        Raises
        ------
        Unavailable
            The process ended before, or was killed because nothing was heard of it any more.
        """
        future: Future[Answer] = Future()
        with self._lock:
            if self._end is not None:
                raise Unavailable(self._end)
            self._number += 1
            request["id"] = self._number
            self._pending[self._number] = future
        try:
            with self._writing:
                self._pipe.write(json.dumps(request).encode() + b"\n")
                self._pipe.flush()
        except (OSError, ValueError) as error:
            # It ended, or was closed: the listener says so to all who wait.
            log.debug("DIRAC's process takes no requests: %s", error)
        silent = False
        while True:
            with contextlib.suppress(TimeoutError):
                return future.result(POLL)
            # Twice: we may have been stopped ourselves, and it was heard of only then.
            before, silent = silent, time.monotonic() - self._heard > self._patience
            if before and silent:
                self._kill(f"it gave no sign of life for {self._patience:g} s")

    def close(self) -> None:
        """Let it end, which it does by itself when nobody asks any more; or kill it."""
        if self._writing.acquire(timeout=POLL):
            self._writing.release()
            self._close_pipe()
        try:
            self._process.wait(POLL)
        except subprocess.TimeoutExpired:
            self._kill("it did not end")
        self._listener.join()
        self._logger.join(POLL)  # a child of it may hold the pipe open

    @property
    def end(self) -> str | None:
        """How and why it ended, once it has."""
        return self._end

    @property
    def _pipe(self) -> IO[bytes]:
        return _opened(self._process.stdin)

    def _close_pipe(self) -> None:
        with self._writing, contextlib.suppress(OSError):  # what was not sent, nobody waits for
            self._pipe.close()

    def _kill(self, reason: str) -> None:
        self._killed = reason
        # All of its group, since a script around DIRAC's Python may have made a process of it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _listen(self) -> None:
        with _opened(self._process.stdout) as stream:
            try:
                for line in stream:
                    self._heard = time.monotonic()
                    self._take(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                self._kill(f"it sent what is no answer: {one_line(repr(error))}")
        code = self._process.wait()
        self._logger.join(POLL)
        self._finish(code)

    def _take(self, message: Answer) -> None:
        if "folder" in message:
            self._folders.add(Path(message["folder"]))
        elif "id" in message:
            with self._lock:
                future = self._pending.pop(message["id"])
            future.set_result(message)

    def _finish(self, code: int) -> None:
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)  # most are gone
        why = f"killed, because {self._killed}" if self._killed else _ending(code)
        said = one_line(" / ".join(self._said) or "nothing")
        with self._lock:
            self._end = f"DIRAC's process ended ({why}); it said last: {said}"
            pending, self._pending = self._pending, {}
        for future in pending.values():
            future.set_exception(Unavailable(self._end))
        self._close_pipe()

    def _log(self) -> None:
        with _opened(self._process.stderr) as stream:
            for line in stream:
                text = one_line(line.decode(errors="backslashreplace"), 1000)
                log.debug("DIRAC: %s", text)
                self._said.append(text)


def _opened(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:  # all three are asked for
        raise RuntimeError("a process without pipes")
    return pipe


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
