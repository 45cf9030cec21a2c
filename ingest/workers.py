"""Run a function on many inputs in worker processes: streamed, bounded, and crash-proof.

At most ``workers + 1`` results exist or are being made at a time, so that memory does not grow with
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
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, forkserver, resource_tracker
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

Outcome = tuple[Job, Result | Exception]

PRELOAD = ("ingest.reading",)
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
    stop
        Once it returns true no further job is started and none is yielded.
    """
    if workers == 0:
        for job in jobs:
            if stop():
                return
            yield job, _call(function, job)
        return
    yield from _run_in_pool(function, iter(jobs), workers, stop)


def _call(function: Callable[[Job], Result], job: Job) -> Result | Exception:
    try:
        return function(job)
    except Exception as error:  # handed to the caller, whatever it is
        return error


def _run_in_pool(
    function: Callable[[Job], Result],
    jobs: Iterator[Job],
    workers: int,
    stop: Callable[[], bool],
) -> Iterator[Outcome[Job, Result]]:
    pool = _new_pool(workers)
    pending: dict[Future[Result], Job] = {}
    try:
        exhausted = False
        while not stop():
            broken: list[Job] = []
            while not exhausted and not broken and len(pending) <= workers:
                try:
                    job = next(jobs)
                except StopIteration:
                    exhausted = True
                    with contextlib.suppress(BrokenProcessPool):
                        pool.submit(_nothing)  # see there
                    break
                try:
                    pending[pool.submit(function, job)] = job
                except BrokenProcessPool:
                    broken.append(job)
            if not pending and not broken:
                return
            done, _ = wait(pending, timeout=POLL, return_when=FIRST_COMPLETED)
            for future in done:
                if stop():
                    return
                job = pending.pop(future)
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    broken.append(job)
                else:
                    yield job, future.result() if error is None else _plain(error)
            if broken and not stop():
                # Which of the jobs killed its worker is not known: each gets a pool of its own.
                broken += pending.values()
                pending.clear()
                pool.shutdown(wait=True)
                for job in broken:
                    if stop():
                        return
                    yield job, _run_alone(function, job)
                pool = _new_pool(workers)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


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
