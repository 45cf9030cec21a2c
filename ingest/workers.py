"""Run a function on many inputs in worker processes: streamed, bounded, and crash-proof.

At most ``workers + 1`` results exist or are being made at a time, and as many inputs more are
fetched beforehand as there are workers and streams, so that neither memory nor disk fills up with
the number of inputs when their consumer is slower. Workers come from a fork server, which imports
what they need once; the parent, which holds connections and threads, is never forked. A worker
whose parent died, however that happened, ends by itself.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, forkserver, resource_tracker
from typing import Any, Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

Outcome = tuple[Job, Result | Exception]

PRELOAD = ("ingest.reading", "ingest.parse")
"""What the fork server imports; reading a results file needs nothing more."""

SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM})
"""What the parent alone answers to: a terminal and systemd send them to the whole group."""

POLL = 0.2
"""Seconds after which a waiting parent looks whether it should stop."""


class WorkerDied(Exception):
    """The process that worked on an input died, e.g. for want of memory."""


def run_jobs(
    function: Callable[[Job], Result],
    jobs: Iterable[Job],
    *,
    workers: int,
    fetch: Callable[[Job], Future[Job]] | None = None,
    streams: int = 1,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Outcome[Job, Result]]:
    """Yield each job with its result, or with the exception that it raised, as they finish.

    Parameters
    ----------
    function
        Importable by name; takes a job and returns a result, both of which can be pickled.
    jobs
        Consumed one by one, when there is room for one more.
    workers : int
        Processes; 0 calls *function* here.
    fetch
        What is done first for each job, outside of the workers, e.g. a download: begins it and
        returns a future of the job that *function* gets. What is yielded is that job, or the
        original one when it could not be fetched.
    streams : int
        How many jobs are fetched at the same time.
    stop
        Once it returns true no further job is started and none is yielded. What is being fetched
        then is left to itself.
    """
    line = _Line(function, iter(jobs), workers, fetch, streams, stop)
    yield from line.run_here() if workers == 0 else line.run_in_pool()


def _call(function: Callable[[Job], Result], job: Job) -> Result | Exception:
    try:
        return function(job)
    except Exception as error:  # handed to the caller, whatever it is
        return error


class _Line(Generic[Job, Result]):
    """Jobs on their way: being fetched, fetched, being worked on."""

    def __init__(
        self,
        function: Callable[[Job], Result],
        jobs: Iterator[Job],
        workers: int,
        fetch: Callable[[Job], Future[Job]] | None,
        streams: int,
        stop: Callable[[], bool],
    ) -> None:
        self._function = function
        self._jobs = jobs
        self._workers = workers
        self._fetch = fetch
        self._streams = streams
        self._stop = stop
        self._exhausted = False
        self._fetching: dict[Future[Job], Job] = {}
        self._fetched: deque[Job] = deque()
        self._working: dict[Future[Result], Job] = {}
        self._broken: list[Job] = []

    def run_here(self) -> Iterator[Outcome[Job, Result]]:
        """Without processes, one job after the other."""
        for job in self._jobs:
            if self._stop():
                return
            if self._fetch is None:
                yield job, _call(self._function, job)
                continue
            fetching = self._fetch(job)
            while not wait([fetching], timeout=POLL).done:
                if self._stop():
                    return
            error = fetching.exception()
            if error is not None:
                yield job, _plain(error)
            else:
                fetched = fetching.result()
                yield fetched, _call(self._function, fetched)

    def run_in_pool(self) -> Iterator[Outcome[Job, Result]]:
        """In processes, as many jobs at once as there is room for."""
        pool = _new_pool(self._workers)
        try:
            while not self._stop():
                self._fill(pool)
                if not (self._fetching or self._fetched or self._working or self._broken):
                    return
                ready: list[Future[Any]] = [*self._fetching, *self._working]
                done, _ = wait(ready, timeout=POLL, return_when=FIRST_COMPLETED)
                for future in done:
                    if self._stop():
                        return
                    yield from self._ended(future)
                if self._broken and not self._stop():
                    pool.shutdown(wait=True)
                    yield from self._run_broken()
                    pool = _new_pool(self._workers)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _fill(self, pool: ProcessPoolExecutor) -> None:
        """Start what there is room for."""
        while self._fetched and self._has_room():
            self._submit(pool, self._fetched.popleft())
        while not self._exhausted and not self._broken and self._may_take():
            try:
                job = next(self._jobs)
            except StopIteration:
                self._exhausted = True
                with contextlib.suppress(BrokenProcessPool):
                    pool.submit(_nothing)  # see there
                return
            if self._fetch is None:
                self._submit(pool, job)
            else:
                self._fetching[self._fetch(job)] = job

    def _has_room(self) -> bool:
        return not self._broken and len(self._working) <= self._workers

    def _may_take(self) -> bool:
        if self._fetch is None:
            return self._has_room()
        return (
            len(self._fetching) < self._streams
            and len(self._fetching) + len(self._fetched) < self._streams + self._workers
        )

    def _submit(self, pool: ProcessPoolExecutor, job: Job) -> None:
        try:
            self._working[pool.submit(self._function, job)] = job
        except BrokenProcessPool:
            self._broken.append(job)

    def _ended(self, future: Future[Any]) -> Iterator[Outcome[Job, Result]]:
        """What became of a future, where that is the end of its job."""
        error = future.exception()
        if future in self._fetching:
            job = self._fetching.pop(future)
            if error is None:
                self._fetched.append(future.result())
            else:
                yield job, _plain(error)
            return
        job = self._working.pop(future)
        if isinstance(error, BrokenProcessPool):
            self._broken.append(job)
        else:
            yield job, future.result() if error is None else _plain(error)

    def _run_broken(self) -> Iterator[Outcome[Job, Result]]:
        # Which of the jobs killed its worker is not known: each gets a pool of its own.
        jobs = [*self._broken, *self._working.values()]
        self._broken.clear()
        self._working.clear()
        for job in jobs:
            if self._stop():
                return
            yield job, _run_alone(self._function, job)


def _nothing() -> None:
    """A job that makes the pool look at its workers again.

    The pool of Python 3.11 wakes its manager before it starts another worker, so that it may not
    watch the newest one; when that died while no other job came, nobody would ever know.
    """


def _run_alone(function: Callable[[Job], Result], job: Job) -> Result | Exception:
    with _new_pool(1) as pool:
        try:
            return pool.submit(function, job).result()
        except BrokenProcessPool:
            return WorkerDied("the process that read it died (out of memory?)")
        except Exception as error:  # handed to the caller, whatever it is
            return error


def _plain(error: BaseException) -> Exception:
    if isinstance(error, Exception):
        return error
    raise error


def _new_pool(workers: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOAD))
    _start_fork_server()
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)


def _start_fork_server() -> None:
    """Start it with `SIGNALS` blocked, which workers inherit: they are safe from their birth on."""
    resource_tracker.ensure_running()  # it unblocks signals when it is started
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _start_worker() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    for task in (_end_with_parent, _end_when_parent_says):
        threading.Thread(target=task, name=task.__name__, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _end_when_parent_says() -> None:
    # When a worker has died the pool sends the others SIGTERM and waits for them; they may be
    # waiting themselves, for the pool to read their result.
    parent = multiprocessing.parent_process()
    while parent is not None:
        received = signal.sigwaitinfo(SIGNALS)
        if received.si_pid == parent.pid:
            os._exit(1)
