"""Large databases, written quickly: the sample run under many numbers.

Records are written through `dqm_db`, without originals. The newest runs of each camera hold arrays
of their own, in a few variants, so that looking at one after the other reads as much as it does in
production; the older ones share one set, since a page that does not show them never opens it.
`make_camera_history` adds what is known of single pixels over all runs, and verdicts.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import transaction
from ZODB.Connection import Connection

from benchmarks.plan import SAMPLE, SAMPLE_CAMERA
from dqm_db import catalogue, trends
from dqm_db.content import Kind, Original, Quantity, RunContent
from dqm_db.model import Camera, OriginalRecord, PixelMapsRecord, Run
from dqm_db.packing import PackedRun, pack_run
from dqm_db.pixel_history import FOLD, put_run
from dqm_db.reader import Snapshot
from dqm_db.rechecking import recheck
from dqm_db.records import pack_header
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import checked_root
from dqm_db.writer import Writer, open_writer
from ingest.archive import open_source
from ingest.parse import parse_results

CAMERAS = ("NectarCAMQM", "NectarCAM2", "NectarCAM3")
VARIANTS = 5
OWN_ARRAYS = 50
_BATCH = 50
_SECONDS_BETWEEN_RUNS = 900.0
_FLAGS = 100
"""Maps with fewer different values are flags and counts."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The sample run 6001 as ingestion makes it."""

    content: RunContent
    original: Original


def read_sample() -> Sample:
    """Parse the sample tarball."""
    source = open_source(SAMPLE.read_bytes(), SAMPLE)
    provenance = replace(source.provenance, ingested_at=1.8e9)
    content = parse_results(
        source.fits, camera=source.camera, run=source.run, provenance=provenance
    )
    return Sample(content, source.original)


def renamed(content: RunContent, camera: str, run: int) -> RunContent:
    """*content* as another run; what differs between real runs differs, lest it pack too well."""
    header = content.header
    rng = np.random.default_rng([run, *camera.encode()])
    later = _SECONDS_BETWEEN_RUNS * (run - header.run)
    times = replace(
        header.times,
        **{
            name: value + later
            for name in ("run_start", "first_event", "last_event")
            if (value := getattr(header.times, name)) is not None
        },
    )
    provenance = replace(
        header.provenance,
        source=f"/grid/{camera}_DQM_Run{run}.tar.gz",
        source_size=int(header.provenance.source_size * rng.uniform(0.95, 1.05)),
        source_adler32=int(rng.integers(2**32)),
        results_sha256=rng.bytes(32).hex(),
        ingested_at=header.provenance.ingested_at + later,
    )
    statistics = {
        quantity: {name: value * rng.uniform(0.95, 1.05) for name, value in by_name.items()}
        for quantity, by_name in content.statistics.items()
    }
    header = replace(header, camera=camera, run=run, times=times, provenance=provenance)
    return RunContent(header, content.quantities, statistics)


def varied(content: RunContent, variant: int) -> RunContent:
    """*content* with other values in its pixel maps and waveforms."""
    rng = np.random.default_rng(variant)

    def vary(quantity: Quantity) -> Quantity:
        if quantity.kind not in (Kind.PIXEL_MAP, Kind.PIXEL_WAVEFORMS):
            return quantity
        factor = rng.uniform(0.9, 1.1)
        columns = {name: values * factor for name, values in quantity.columns.items()}
        return replace(quantity, columns=columns)

    return replace(content, quantities=tuple(map(vary, content.quantities)))


def write_runs(settings: DatabaseSettings, runs: Mapping[str, range], content: RunContent) -> None:
    """Store *content* under all numbers of *runs* (camera: numbers)."""
    packed = [pack_run(varied(content, variant), None) for variant in range(VARIANTS)]
    with open_writer(settings) as writer:
        manager = transaction.TransactionManager(explicit=True)
        with writer.database.connection(manager) as connection:
            for camera, numbers in runs.items():
                for start in range(0, len(numbers), _BATCH):
                    batch = numbers[start : start + _BATCH]
                    own = len(numbers) - start <= OWN_ARRAYS
                    _put(connection, settings, camera, batch, content, packed, own)
                    manager.commit()
                    manager.begin()


def write_volume(volume: Path, runs: int, originals: int, sample: Sample) -> None:
    """Make the volume of a primary: runs of one camera, the newest with originals of their own."""
    data = volume / "filestorage" / "Data.fs"
    data.parent.mkdir(parents=True)
    first = sample.content.header.run
    numbers = range(first, first + runs)
    settings = load(DatabaseSettings, db_url=f"file://{data}", lock_dir=volume.parent / "locks")
    write_runs(settings, {sample.content.header.camera: numbers}, sample.content)
    rng = np.random.default_rng(0)
    with open_writer(settings) as writer:
        for number in numbers[-originals:]:
            # no two compress to less than two, as those of different runs
            put_original(writer, number, Original("tar", rng.bytes(len(sample.original.data))))


def put_original(writer: Writer, number: int, original: Original) -> None:
    """Give a stored run of the sample's camera an original, in a transaction."""

    def put(connection: Connection) -> None:
        cameras = checked_root(connection, writer.database.settings.db_url).cameras
        record = OriginalRecord(original.media, original.data)
        cameras[SAMPLE_CAMERA].runs[number].original = record

    writer.commit(f"original of {number}", put)


def _put(
    connection: Connection,
    settings: DatabaseSettings,
    camera: str,
    numbers: range,
    content: RunContent,
    packed: list[PackedRun],
    own: bool,
) -> None:
    cameras = checked_root(connection, settings.db_url).cameras
    stored = cameras.get(camera)
    if stored is None:
        stored = cameras[camera] = Camera(camera)
    shared = next(iter(stored.runs.values()), None)
    for number in numbers:
        named = renamed(content, camera, number)
        header = named.header
        if own or shared is None:
            variant = copy.copy(packed[number % len(packed)])
            variant.header = pack_header(header)
            run = variant.make_run()
            shared = shared or run
        else:
            run = Run(pack_header(header), shared.contents)
            run.maps, run.small = shared.maps, shared.small
            run.arrays, run.summaries = dict(shared.arrays), dict(shared.summaries)
        stored.runs[number] = run
        catalogue.put_row(stored.catalogue, header, None)
        trends.put_row(stored.trends, number, named.statistics)
    while trends.needs_folding(stored.trends):
        trends.fold(stored.trends)


def make_camera_history(writer: Writer, camera: str, runs: Sequence[int]) -> None:
    """Give stored runs (see `write_runs`) maps of their own, verdicts and a history of pixels.

    The runs take as many different matrices in turn as a block of the history has runs. So all
    blocks are as large as those of real runs, and the maps take little room.
    """
    manager = transaction.TransactionManager(explicit=True)
    with writer.database.connection(manager) as connection:
        root = checked_root(connection, writer.database.settings.db_url)
        stored = root.cameras[camera]
        contents = _maps_of(Snapshot(root), camera, runs[0])
        records = [_noisy_maps(contents, seed) for seed in range(min(FOLD, len(runs)))]
        for start in range(0, len(runs), _BATCH):
            for index in range(start, min(start + _BATCH, len(runs))):
                stored.runs[runs[index]].maps = records[index % len(records)]
                put_run(stored, runs[index])
            manager.commit()
            manager.begin()
    writer.fold(camera)
    for _ in recheck(writer, camera):
        pass


def _maps_of(snapshot: Snapshot, camera: str, run: int) -> RunContent:
    """A run with nothing but its maps."""
    maps = snapshot.pixel_maps(camera, run)
    quantities = (Quantity(name, Kind.PIXEL_MAP, {"": maps.of(name)}) for name in maps.names)
    return RunContent(snapshot.header(camera, run), tuple(quantities), {})


def _noisy_maps(content: RunContent, seed: int) -> PixelMapsRecord:
    """Its maps with values that scatter by a percent, with the seven digits of a results file."""
    rng = np.random.default_rng(seed)

    def vary(quantity: Quantity) -> Quantity:
        ((name, values),) = quantity.columns.items()
        if len(np.unique(values)) < _FLAGS:
            return quantity
        noisy = values * rng.normal(1, 0.01, values.shape)
        return replace(quantity, columns={name: noisy.astype(np.float32).astype(np.float64)})

    packed = pack_run(replace(content, quantities=tuple(map(vary, content.quantities))), None)
    maps = packed.make_run().maps
    if maps is None:
        raise ValueError(f"{content.header.camera} run {content.header.run} has no maps")
    return maps
