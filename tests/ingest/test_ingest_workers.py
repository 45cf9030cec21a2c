"""Jobs in worker processes: all are answered, few at a time, whatever happens to a worker."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path

import pytest
from worker_jobs import (
    blocked_signals,
    die_on_three,
    die_or_hang,
    double,
    fail_on_odd,
    note_start,
    process_id,
)

from ingest.workers import WorkerDied, run_jobs


@pytest.mark.parametrize("workers", [0, 2])
def test_every_job_is_answered(workers: int) -> None:
    assert dict(run_jobs(double, range(12), workers=workers)) == {n: 2 * n for n in range(12)}
    assert list(run_jobs(double, [], workers=workers)) == []


@pytest.mark.parametrize("workers", [0, 1])
def test_exceptions_are_results(workers: int) -> None:
    results = dict(run_jobs(fail_on_odd, range(4), workers=workers))
    assert results[0] == 0 and results[2] == 2
    assert isinstance(results[1], ValueError) and str(results[3]) == "3 is odd"


def test_a_dead_worker_costs_its_own_job_only() -> None:
    results = dict(run_jobs(die_on_three, range(8), workers=2))
    assert isinstance(results.pop(3), WorkerDied)
    assert results == {n: n for n in range(8) if n != 3}


def test_a_dead_worker_does_not_leave_the_pool_waiting_for_another(tmp_path: Path) -> None:
    die, hang = tmp_path / "die", tmp_path / "hang"
    results = dict(run_jobs(die_or_hang, [(die, hang), (hang, die)], workers=2))
    assert results == {(die, hang): "die again", (hang, die): "hang again"}


def test_workers_are_born_with_signals_blocked() -> None:
    expected = sum(1 << (number - 1) for number in (signal.SIGINT, signal.SIGTERM))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    for _, masks in run_jobs(blocked_signals, range(2), workers=1):
        assert not isinstance(masks, Exception)
        assert [mask & expected for mask in masks] == [expected, expected]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_workers_are_other_processes_and_jobs_are_taken_as_there_is_room() -> None:
    started: list[int] = []

    def jobs() -> Iterator[int]:
        for number in range(20):
            started.append(number)
            yield number

    answered = 0
    for _, result in run_jobs(process_id, jobs(), workers=2):
        answered += 1
        assert not isinstance(result, Exception) and result[1] != os.getpid()
        # in flight: at most workers + 1, and this one
        assert len(started) <= answered + 3
    assert answered == 20


def test_stopping_with_several_results_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.workers.wait", lambda pending, **_: wait(pending))
    done = []
    for number, _ in run_jobs(double, range(12), workers=2, stop=lambda: bool(done)):
        done.append(number)
    assert len(done) == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_stopping(tmp_path: Path, workers: int) -> None:
    done = []
    paths = [tmp_path / str(number) for number in range(50)]
    for path, _ in run_jobs(note_start, paths, workers=workers, stop=lambda: len(done) >= 3):
        done.append(path)
    assert len(done) == 3
    assert len(list(tmp_path.iterdir())) <= 3 + 3
