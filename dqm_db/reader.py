"""Reading: a snapshot of the database that returns plain values only.

What is returned may be kept and shared between threads; its arrays are read-only.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from ZODB.POSException import POSKeyError

from dqm_db import ingestion, pixel_history, trends, verdicts
from dqm_db.catalogue import Catalogue, read_catalogue
from dqm_db.checks import ThresholdSeries, Verdict
from dqm_db.codec import PackedArray, unpack, unpack_bytes, unpack_record
from dqm_db.content import N_PIXELS, Kind, Original, RunHeader, Statistics
from dqm_db.errors import RunNotFound
from dqm_db.model import Camera, Root, Run
from dqm_db.operations import Operation, OperationName, read_operations
from dqm_db.records import QuantityEntry, unpack_contents, unpack_header

HISTOGRAM_BINS = 64


@dataclass(frozen=True, slots=True)
class PixelMaps:
    """All per-pixel maps of a run.

    Attributes
    ----------
    names : tuple of str
        Quantities, in the order of the rows.
    values : ndarray of float64, shape (maps, 1855)
        In pixel-id order, NaN where a pixel is absent.
    counts : ndarray of int64, shape (maps, 64)
        Histogram of the finite values of each row.
    limits : ndarray of float64, shape (maps, 2)
        Outer edges of each histogram.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    counts: NDArray[np.int64]
    limits: NDArray[np.float64]

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def of(self, name: str) -> NDArray[np.float64]:
        """The map *name*, shape (1855,); raises `KeyError` when the run has none."""
        return self.values[self._row(name)]

    def histogram(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Counts (64,) and bin edges (65,) of the finite values of *name*."""
        row = self._row(name)
        return self.counts[row], np.linspace(
            self.limits[row, 0], self.limits[row, 1], HISTOGRAM_BINS + 1
        )

    def _row(self, name: str) -> int:
        try:
            return self.names.index(name)
        except ValueError:
            raise KeyError(name) from None


class Snapshot:
    """The database as it is at one transaction; see `dqm_db.storage.Database.snapshot`.

    Every method that takes a camera and a run raises `RunNotFound` when there is no such run.
    """

    def __init__(self, root: Root) -> None:
        self._root = root

    def cameras(self) -> tuple[str, ...]:
        """Names of all cameras, sorted."""
        return tuple(self._root.cameras.keys())

    def catalogue(self, camera: str) -> Catalogue:
        """One row per run of *camera*; raises `RunNotFound` for an unknown camera."""
        return read_catalogue(self._camera(camera).catalogue)

    def has_run(self, camera: str, run: int) -> bool:
        """Whether the run is stored."""
        stored = self._root.cameras.get(camera)
        return stored is not None and run in stored.runs

    def runs(self, camera: str) -> list[int]:
        """All run numbers of *camera*, ascending."""
        return list(self._camera(camera).runs.keys())

    def header(self, camera: str, run: int) -> RunHeader:
        """Identity, times, counts and provenance of a run."""
        return unpack_header(self._run(camera, run).header)

    def quantities(self, camera: str, run: int) -> tuple[QuantityEntry, ...]:
        """What the run holds, in the order of its file; derived quantities last."""
        return unpack_contents(self._run(camera, run).contents)

    def pixel_maps(self, camera: str, run: int) -> PixelMaps:
        """All per-pixel maps of a run; no rows when it has none."""
        record = self._run(camera, run).maps
        if record is None:
            return _no_maps()
        return PixelMaps(
            names=record.names,
            values=unpack_bytes(record.values),
            counts=unpack_bytes(record.counts),
            limits=unpack_bytes(record.limits),
        )

    def columns(self, camera: str, run: int, quantity: str) -> dict[str, NDArray]:
        """The values of a quantity, column by column, exactly as stored; empty when unavailable."""
        stored = self._run(camera, run)
        record = stored.arrays.get(quantity)
        if record is not None:
            return {
                name: unpack(PackedArray(dtype, shape, data))
                for name, dtype, shape, data in record.columns
            }
        small = self._small(stored, "columns")
        if quantity in small:
            return small[quantity]
        entry = self._entry(stored, camera, run, quantity)
        if entry.kind is Kind.PIXEL_MAP and entry.unavailable is None and entry.columns:
            (column,) = entry.columns
            return {column: self.pixel_maps(camera, run).of(quantity)}
        return {}

    def summary(self, camera: str, run: int, quantity: str) -> dict[str, NDArray]:
        """What plots need of a quantity, computed at ingestion; keys by kind in docs/schema.md."""
        stored = self._run(camera, run)
        record = stored.summaries.get(quantity)
        if record is not None:
            return unpack_record(record.data)  # type: ignore[return-value]
        small = self._small(stored, "summaries")
        if quantity in small:
            return small[quantity]
        self._entry(stored, camera, run, quantity)
        return {}

    def statistics(
        self, camera: str, run: int, quantities: Collection[str] | None = None
    ) -> Statistics:
        """Quantity -> statistic -> value of a run; of *quantities* only, which reads less."""
        self._run(camera, run)
        return trends.read_row(self._camera(camera).trends, run, quantities) or {}

    def verdict(self, camera: str, run: int) -> Verdict | None:
        """What the checks say of a run; None: it was never judged."""
        self._run(camera, run)
        return verdicts.read_verdict(self._camera(camera), run)

    def thresholds(self, camera: str) -> ThresholdSeries | None:
        """What the newest verdicts on runs of *camera* were made with; None: there were none."""
        return verdicts.applied_thresholds(self._camera(camera))

    def trend(
        self, camera: str, quantity: str, statistic: str
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """One statistic over all runs: run numbers ascending, and values (NaN: none)."""
        runs, values = self.trends(camera, [(quantity, statistic)])
        return runs, values[0]

    def trends(
        self, camera: str, columns: Sequence[tuple[str, str]]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Several (quantity, statistic) over all runs, as `dqm_db.trends.read_trends`."""
        return trends.read_trends(self._camera(camera).trends, columns)

    def trend_names(self, camera: str) -> dict[str, tuple[str, ...]]:
        """Which statistics there are: quantity -> names."""
        return trends.read_names(self._camera(camera).trends)

    def pixel_history(
        self, camera: str, quantity: str, pixels: Sequence[int]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """One quantity of some pixels over all runs; see `pixel_histories`."""
        runs, values = self.pixel_histories(camera, [quantity], pixels)
        return runs, values[quantity]

    def pixel_histories(
        self, camera: str, quantities: Sequence[str], pixels: Sequence[int]
    ) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float32]]]:
        """Some quantities of some pixels over all runs, as `dqm_db.pixel_history.read_history`."""
        return pixel_history.read_history(self._camera(camera), quantities, pixels)

    def pixel_history_names(self, camera: str) -> tuple[str, ...]:
        """Quantities of which `pixel_history` has values."""
        return pixel_history.read_names(self._camera(camera))

    def original(self, camera: str, run: int) -> Original:
        """The file that the run was read from.

        Raises
        ------
        RunNotFound
            Also when the run was stored without its file.
        """
        record = self._run(camera, run).original
        if record is None:
            raise RunNotFound(f"{camera} run {run} was stored without its original file")
        try:
            with record.blob.open("r") as stream:
                return Original(record.media, stream.read())
        except POSKeyError as error:
            raise RunNotFound(
                f"the original of {camera} run {run} is missing on this server: its blob storage "
                "is incomplete; restore it or ask the primary"
            ) from error

    def failures(self) -> tuple[ingestion.Failure, ...]:
        """Files that could not be stored, by camera and run; those in quarantine among them."""
        return tuple(ingestion.read_failures(self._root))

    def last_pull(self) -> ingestion.Pull | None:
        """When files were last looked for at their source, and what came of it."""
        return ingestion.read_pull(self._root)

    def operations(self) -> Mapping[OperationName, Operation]:
        """The last backup, verification, pack: what was done to keep the database safe."""
        return read_operations(self._root)

    def _camera(self, name: str) -> Camera:
        camera = self._root.cameras.get(name)
        if camera is None:
            known = ", ".join(self.cameras()) or "none"
            raise RunNotFound(f"there is no camera {name!r}; known: {known}")
        return camera

    def _run(self, camera: str, run: int) -> Run:
        found = self._camera(camera).runs.get(run)
        if found is None:
            raise RunNotFound(f"{camera} has no run {run}; the list of runs has what is stored")
        return found

    @staticmethod
    def _small(stored: Run, part: str) -> dict[str, dict[str, NDArray]]:
        if stored.small is None:
            return {}
        return unpack_record(stored.small.data)[part]  # type: ignore[return-value]

    @staticmethod
    def _entry(stored: Run, camera: str, run: int, quantity: str) -> QuantityEntry:
        for entry in unpack_contents(stored.contents):
            if entry.name == quantity:
                return entry
        raise RunNotFound(f"{camera} run {run} has no quantity {quantity!r}")


@functools.cache
def _no_maps() -> PixelMaps:
    return PixelMaps(
        names=(),
        values=np.empty((0, N_PIXELS)),
        counts=np.empty((0, HISTOGRAM_BINS), np.int64),
        limits=np.empty((0, 2)),
    )
