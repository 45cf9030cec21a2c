"""How much a run takes in the database: the sample run 6001, and a thousand runs without arrays."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from ZODB.FileStorage import FileStorage
from ZODB.utils import get_pickle_metadata

from benchmarks.bars import Result
from benchmarks.plan import SAMPLE, Plan
from benchmarks.synthetic import Sample, read_sample, renamed
from dqm_db.settings import DatabaseSettings, load
from dqm_db.writer import open_writer


def measure(plan: Plan) -> list[Result]:
    """Measure the group ``storage``."""
    sample = read_sample()
    plan.say("run 6001")
    results = measure_sample(plan, sample)
    plan.say(f"{plan.growth_runs} runs")
    return [*results, measure_growth(plan, sample)]


def measure_sample(plan: Plan, sample: Sample) -> list[Result]:
    """Growth of Data.fs and of the blobs by run 6001, and that its values come back bit for bit."""
    folder = plan.folder / "sample"
    settings = _settings(folder)
    data, blobs = folder / "Data.fs", folder / "Data.fs.blobs"
    with open_writer(settings) as writer:
        before = data.stat().st_size
        writer.store_run(sample.content, sample.original)
        after = data.stat().st_size
        header = sample.content.header
        with writer.database.snapshot() as snapshot:
            for quantity in sample.content.quantities:
                stored = snapshot.columns(header.camera, header.run, quantity.name)
                for name, values in quantity.columns.items():
                    if stored[name].tobytes() != values.tobytes():
                        raise AssertionError(f"{quantity.name} does not come back as it was stored")
            if snapshot.original(header.camera, header.run).data != SAMPLE.read_bytes():
                raise AssertionError("the original does not come back as it was stored")
    blob = sum(path.stat().st_size for path in blobs.rglob("*.blob"))
    tarball = SAMPLE.stat().st_size
    return [
        Result("stored_data", (after - before) / 1e6, {"bytes": after - before}),
        Result("stored_blob", blob / tarball, {"blob_bytes": blob, "tarball_bytes": tarball}),
    ]


def measure_growth(plan: Plan, sample: Sample) -> Result:
    """Growth of Data.fs per run that holds no arrays, one transaction per run as in ingestion.

    What remains is the run's own record with its header and list of contents, the catalogue, the
    statistics, the trends with their folding, and the nodes of the B-trees. Nothing is packed.
    """
    folder = plan.folder / "growth"
    settings = _settings(folder)
    data = folder / "Data.fs"
    bare = replace(
        sample.content,
        quantities=tuple(
            replace(quantity, columns={}, summary={}) for quantity in sample.content.quantities
        ),
    )
    first = sample.content.header.run
    with open_writer(settings) as writer:
        before = data.stat().st_size
        for run in range(first, first + plan.growth_runs):
            writer.store_run(renamed(bare, sample.content.header.camera, run), None)
        after = data.stat().st_size
    per_class = _bytes_per_class(data)
    statistics = sum(len(by_name) for by_name in bare.statistics.values())
    return Result(
        "growth_per_run",
        (after - before) / plan.growth_runs / 1e3,
        {
            "runs": plan.growth_runs,
            "statistics_per_run": statistics,
            "bytes_per_run_by_class": {
                name: size / plan.growth_runs for name, size in per_class.most_common()
            },
        },
    )


def _settings(folder: Path) -> DatabaseSettings:
    folder.mkdir()
    return load(DatabaseSettings, db_url=f"file://{folder}/Data.fs", lock_dir=folder / "locks")


def _bytes_per_class(data: Path) -> Counter[str]:
    """Bytes of all records ever written, by class name."""
    sizes: Counter[str] = Counter()
    storage = FileStorage(str(data), read_only=True)
    try:
        for transaction in storage.iterator():
            for record in transaction:
                _, name = get_pickle_metadata(record.data)
                sizes[name] += len(record.data)
    finally:
        storage.close()
    return sizes
