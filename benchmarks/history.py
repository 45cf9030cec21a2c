"""What the history of single pixels costs: bytes and memory when it is written, time when read.

Pages that show it are measured in `benchmarks.trends`; here it is what they ask the database for.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ZODB.FileStorage import FileStorage
from ZODB.utils import get_pickle_metadata

from benchmarks.bars import Result
from benchmarks.plan import SAMPLE_RUN, Plan
from benchmarks.processes import peak_rss
from benchmarks.servers import filled_stack
from benchmarks.synthetic import CAMERAS, make_camera_history, read_sample
from dqm.simulation import simulate_results
from dqm_db.content import N_MODULES, PIXELS_PER_MODULE, Kind, Provenance, RunContent
from dqm_db.model import PixelBlock, PixelBlockModule, PixelHistory
from dqm_db.pixel_history import FOLD
from dqm_db.reader import Snapshot
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import open_database
from dqm_db.writer import open_writer
from ingest.parse import parse_results

CAMERA = CAMERAS[0]
QUANTITY = "CHARGE-INTEGRATION-IMAGE-ALL-AVERAGE-HIGH-GAIN"
FLAGS = "CAMERA-BADPIX-PHY-OVEREVENTS-HIGH-GAIN-FRACTION"
STATISTICS = ("median", "sigma", "std")
OWN_CLASSES = frozenset(
    {
        *(f"{cls.__module__}.{cls.__qualname__}" for cls in (PixelHistory, PixelBlock)),
        f"{PixelBlockModule.__module__}.{PixelBlockModule.__qualname__}",
        "BTrees.IIBTree.IITreeSet",  # the tail is the only set in the database
        "BTrees.IIBTree.IISet",
    }
)
FOLDING = f"fold pixels of {CAMERA}"
"""How the writer describes the transactions of a fold."""
_START = 1_700_000_000
_RECORD_HEADER, _TRANSACTION_HEADER = 42, 31
"""Bytes that a FileStorage adds, see ZODB.FileStorage.format."""
_FORGET_PEAK = "5"
"""What ``/proc/self/clear_refs`` takes for it, see proc(5)."""


def measure(plan: Plan) -> list[Result]:
    """Measure the group ``history``."""
    return [*measure_writing(plan), *measure_reading(plan)]


@dataclass(frozen=True, slots=True)
class Stores:
    """Bytes of memory that `Writer.store_run` needed on top, of runs that folded and others."""

    folding: list[int]
    others: list[int]


def measure_writing(plan: Plan) -> list[Result]:
    """Growth of Data.fs by the history of runs with complete maps, and memory of its folds."""
    folder = plan.folder / "growth"
    folder.mkdir()
    data = folder / "Data.fs"
    settings = load(DatabaseSettings, db_url=f"file://{data}", lock_dir=folder / "locks")
    stores = Stores([], [])
    with open_writer(settings) as writer:
        for number, content in enumerate(simulated_maps(plan.history_runs), 1):
            plan.say(f"storing run {number} of {plan.history_runs}")
            before = _forget_peak()
            writer.store_run(content, None)
            added = peak_rss(os.getpid()) - before
            (stores.others if number % FOLD else stores.folding).append(added)
    sizes, transactions = bytes_of_history(data)
    total = sum(sizes.values())
    return [
        Result(
            "history_growth",
            total / plan.history_runs / 1e3,
            {
                "runs": plan.history_runs,
                "bytes_per_run": {name: n / plan.history_runs for name, n in sizes.items()},
                "data_bytes": data.stat().st_size,
            },
        ),
        Result("history_transaction", max(transactions) / 1e6, {"bytes": transactions}),
        Result(
            "history_fold_rss",
            (max(stores.folding) - statistics.median(stores.others)) / 1e6,
            {"folding": stores.folding, "others": stores.others},
        ),
    ]


def simulated_maps(runs: int) -> Iterator[RunContent]:
    """Simulated runs with everything that they say of single pixels, and nothing else."""
    provenance = read_sample().content.header.provenance
    context = multiprocessing.get_context("spawn")  # this process has threads
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), context) as pool:
        numbers = range(SAMPLE_RUN, SAMPLE_RUN + runs)
        yield from pool.map(_simulate_maps, numbers, itertools.repeat(provenance), chunksize=8)


def _simulate_maps(run: int, provenance: Provenance) -> RunContent:
    data = simulate_results(CAMERA, run, start=_START + 900 * (run - SAMPLE_RUN))
    content = parse_results(data, camera=CAMERA, run=run, provenance=provenance)
    maps = tuple(each for each in content.quantities if each.kind is Kind.PIXEL_MAP)
    return RunContent(content.header, maps, content.statistics)


def bytes_of_history(data: Path) -> tuple[dict[str, int], list[int]]:
    """What the history takes in a file, by class of record, and the sizes of a fold's transactions.

    Counted are all records that folds have written, and of other transactions those that belong to
    the history, e.g. its tail when a run is stored.
    """
    sizes: dict[str, int] = defaultdict(int)
    folding = []
    storage = FileStorage(str(data), read_only=True)
    try:
        for transaction in storage.iterator():
            is_fold = transaction.description == FOLDING.encode()
            size = _TRANSACTION_HEADER + len(transaction.description) + len(transaction.user)
            for record in transaction:
                name = ".".join(get_pickle_metadata(record.data))
                length = _RECORD_HEADER + len(record.data)
                size += length
                if is_fold or name in OWN_CLASSES:
                    sizes[name] += length
            if is_fold:
                sizes["headers of transactions"] += _TRANSACTION_HEADER + len(FOLDING)
                folding.append(size)
    finally:
        storage.close()
    return dict(sizes), folding


def measure_reading(plan: Plan) -> list[Result]:
    """Reads from a replica, each as the first one of a client: with the longest tail there is."""
    runs = range(SAMPLE_RUN, SAMPLE_RUN + plan.trend_runs // FOLD * FOLD + FOLD - 1)
    plan.say(f"writing {len(runs)} runs")

    def complete(settings: DatabaseSettings) -> None:
        with open_writer(settings) as writer:
            make_camera_history(writer, CAMERA, runs)

    content = read_sample().content
    with filled_stack(plan.folder / "stack", {CAMERA: runs}, content, complete=complete) as stack:
        settings = load(DatabaseSettings, db_url=stack.replica_url, lock_dir=plan.folder / "locks")
        return [
            _reading(plan, settings, "history_read", len(runs), read_one),
            _reading(plan, settings, "history_read_all", len(runs), read_all),
            _reading(plan, settings, "history_trends", len(runs), read_trends),
        ]


def read_one(snapshot: Snapshot, pixels: Sequence[int]) -> int:
    """What the page of a module needs first; the number of runs."""
    snapshot.pixel_history_names(CAMERA)
    runs, _ = snapshot.pixel_histories(CAMERA, [QUANTITY, FLAGS], pixels)
    snapshot.trends(CAMERA, [(QUANTITY, name) for name in STATISTICS])
    return len(runs)


def read_all(snapshot: Snapshot, pixels: Sequence[int]) -> int:
    """All quantities of a module beside the camera's statistics of them; the number of runs."""
    names = snapshot.pixel_history_names(CAMERA)
    runs, _ = snapshot.pixel_histories(CAMERA, names, pixels)
    read_trends(snapshot, pixels)
    return len(runs)


def read_trends(snapshot: Snapshot, pixels: Sequence[int]) -> int:  # noqa: ARG001
    """Three statistics of each quantity; the number of runs."""
    names = snapshot.pixel_history_names(CAMERA)
    runs, _ = snapshot.trends(CAMERA, [(name, each) for name in names for each in STATISTICS])
    return len(runs)


def _reading(
    plan: Plan,
    settings: DatabaseSettings,
    key: str,
    runs: int,
    read: Callable[[Snapshot, Sequence[int]], int],
) -> Result:
    seconds, processor = [], []
    for index in range(plan.trend_changes):
        plan.say(f"{read.__name__}, {index + 1} of {plan.trend_changes}")
        first = (31 * index + 7) % N_MODULES * PIXELS_PER_MODULE
        with open_database(settings) as database, database.snapshot() as snapshot:
            snapshot.cameras()  # a dashboard is connected
            start, used = time.perf_counter(), time.process_time()
            found = read(snapshot, range(first, first + PIXELS_PER_MODULE))
            seconds.append(time.perf_counter() - start)
            processor.append(time.process_time() - used)
        if found != runs:
            raise AssertionError(f"{found} runs were read of {runs}")
    return Result(
        key, statistics.median(seconds), {"seconds": seconds, "cpu": processor, "runs": runs}
    )


def _forget_peak() -> int:
    """Let `peak_rss` of this process start anew; what it is then, bytes."""
    Path("/proc/self/clear_refs").write_text(_FORGET_PEAK)
    return peak_rss(os.getpid())
