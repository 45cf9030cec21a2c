"""Large databases, written quickly: the sample run under many numbers.

Records are written through `dqm_db`, without originals. The newest runs of each camera hold arrays
of their own, in a few variants, so that looking at one after the other reads as much as it does in
production; the older ones share one set, since a page that does not show them never opens it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import transaction
from ZODB.Connection import Connection

from benchmarks.plan import SAMPLE
from dqm_db import catalogue, trends
from dqm_db.content import Kind, Original, Quantity, RunContent
from dqm_db.model import Camera, Run
from dqm_db.packing import PackedRun, pack_run
from dqm_db.records import pack_header
from dqm_db.settings import DatabaseSettings
from dqm_db.storage import checked_root
from dqm_db.writer import open_writer
from ingest.archive import open_source
from ingest.parse import parse_results

CAMERAS = ("NectarCAMQM", "NectarCAM2", "NectarCAM3")
VARIANTS = 5
OWN_ARRAYS = 50
_BATCH = 50
_SECONDS_BETWEEN_RUNS = 900.0


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
