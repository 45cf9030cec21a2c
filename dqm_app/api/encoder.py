"""Encodes large tables in a process of its own.

Half a million values take seconds as VOTable, and Python does one thing at a time: in a thread they
would hold up all pages of the process. The other process comes after everything else that wants the
processor. It is started for the first such table, and ends when there were none for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import logging
import multiprocessing
import signal
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from multiprocessing.connection import Connection
from typing import Any

from dqm_app.api.encoding import Format, encode
from dqm_app.api.problems import ProblemError
from dqm_app.api.tables import Table
from dqm_app.processes import come_last

FEW_VALUES = 5_000
"""So many are quickly JSON or CSV here. FITS and VOTable never are: importing astropy alone takes
half a second."""
MOST_VALUES = 1_000_000
"""In one answer; ten seconds as VOTable."""
WAITING = 8
"""Large tables that wait for their turn; then programs are told to ask later."""
RETRY_SECONDS = 5
LONGEST_SECONDS = 300.0
"""A table that is not made by then never will be: the process hangs, and is killed."""
IDLE_SECONDS = 60.0
"""After so long without a table the process gives its memory back."""
COMPRESS_FROM = 1_000
"""Bytes; less is not worth it."""
COMPRESSION = 5
COMMAND = (sys.executable, "-c", "from dqm_app.api.encoder import main; main()")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A table as bytes.

    Attributes
    ----------
    data : bytes
    is_compressed : bool
        By gzip.
    digest : str
        That of the data, for an ``ETag``.
    """

    data: bytes
    is_compressed: bool
    digest: str

    @classmethod
    def of(cls, table: Table, form: Format, compress: bool) -> Encoded:
        """*table* in the given form; the same table always gives the same bytes."""
        data = encode(table, form)
        compress = compress and len(data) >= COMPRESS_FROM
        if compress:
            data = gzip.compress(data, COMPRESSION, mtime=0)
        return cls(data, compress, hashlib.sha256(data).hexdigest()[:40])


class Encoder:
    """Encodes the tables of one dashboard process; made on its event loop.

    Parameters
    ----------
    idle_seconds : float
        After which the other process ends.
    """

    def __init__(self, idle_seconds: float = IDLE_SECONDS) -> None:
        self._here = ThreadPoolExecutor(1, thread_name_prefix="dqm-encode")
        self._there = ThreadPoolExecutor(1, thread_name_prefix="dqm-encoder")
        self._other: _OtherProcess | None = None
        self._large = 0
        self._idle_seconds = idle_seconds
        self._idle: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def encode(self, table: Table, form: Format, compress: bool) -> Encoded:
        """*table* as bytes, compressed if so wanted and worth it.

        Raises
        ------
        ProblemError
            400: it is too large; 503: too many others wait, or the other process was killed or
            hung.
        """
        values = _values(table)
        if values > MOST_VALUES:
            detail = (
                f"the answer would have {values} values, and {MOST_VALUES} is the most: ask for "
                "fewer columns or pixels, or for some of the runs (first, last)"
            )
            raise ProblemError(HTTPStatus.BAD_REQUEST, detail)
        loop = asyncio.get_running_loop()
        if is_small(table, form):
            return await loop.run_in_executor(self._here, Encoded.of, table, form, compress)
        if self._large > WAITING:
            detail = "too many large tables wait: ask again in a moment, or for a smaller one"
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, RETRY_SECONDS)
        self._large += 1
        if self._idle is not None:
            self._idle.cancel()
        try:
            return await loop.run_in_executor(self._there, self._ask, table, form, compress)
        except (EOFError, OSError) as error:
            if not self._is_closed:
                log.warning("the process that encodes tables was lost: %r", error)
            detail = "the table could not be made just now: ask again"
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, RETRY_SECONDS) from error
        finally:
            self._large -= 1
            if not self._large and not self._is_closed:
                self._idle = loop.call_later(self._idle_seconds, self._idle_for_long)

    def close(self) -> None:
        """End the other process, whatever it does."""
        self._is_closed = True
        if self._idle is not None:
            self._idle.cancel()
        for threads in (self._here, self._there):
            threads.shutdown(wait=False, cancel_futures=True)
        if self._other is not None:
            self._other.end()

    def _idle_for_long(self) -> None:
        self._there.submit(self._end)

    def _end(self) -> None:
        other, self._other = self._other, None
        if other is not None:
            other.end()

    def _ask(self, table: Table, form: Format, compress: bool) -> Encoded:
        # in the thread that alone talks to the other process
        if self._other is None:
            self._other = _OtherProcess()
            if self._is_closed:
                self._other.end()
        try:
            found = self._other.ask((table, form, compress))
        except BaseException:
            self._end()
            raise
        if not isinstance(found, Encoded):
            raise RuntimeError(f"a table could not be encoded:\n{found}")
        return found


def is_small(table: Table, form: Format) -> bool:
    """Whether *table* is quickly written in that form, in this process."""
    return form in (Format.JSON, Format.CSV) and _values(table) <= FEW_VALUES


def _values(table: Table) -> int:
    return sum(column.values.size for column in table.columns)


class _OtherProcess:
    def __init__(self) -> None:
        self._ours, theirs = multiprocessing.Pipe()
        with theirs:
            number = theirs.fileno()
            self._process = subprocess.Popen(
                [*COMMAND, str(number)], stdin=subprocess.DEVNULL, pass_fds=[number]
            )

    def ask(self, question: tuple[Table, Format, bool]) -> Any:
        """The answer; raises `EOFError` or `OSError` when the process is gone, or hangs."""
        too_long = threading.Timer(LONGEST_SECONDS, self._process.kill)
        too_long.daemon = True
        too_long.start()
        try:
            self._ours.send(question)
            return self._ours.recv()
        finally:
            too_long.cancel()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def main() -> None:
    """Encode what comes, until whoever started this is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started this
    come_last()
    with Connection(int(sys.argv[1])) as asked, contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            table, form, compress = asked.recv()
            try:
                answer: Encoded | str = Encoded.of(table, form, compress)
            except Exception:
                answer = traceback.format_exc()
            asked.send(answer)
