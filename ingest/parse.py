"""From the bytes of a results file to a `RunContent`: every value in its place and explained."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dqm_db.content import (
    N_MODULES,
    N_PIXELS,
    EventCounts,
    Kind,
    Provenance,
    Quantity,
    RunContent,
    RunHeader,
    RunTimes,
)
from dqm_db.quantities import QuantityInfo, describe, known_quantities
from ingest import PARSER_VERSION
from ingest.derived import bad_pixels, derive
from ingest.errors import ResultsFileError
from ingest.events import pedestal_events, read_counts, read_times
from ingest.pixel_order import FILL, CannotPlace, PixelLayout, find_layout, is_fill
from ingest.results import RawHDU, read_hdus
from ingest.statistics import compute_statistics
from ingest.summaries import summarize

MOST_NOTES = 40
LARGEST_EXACT = 2**53
"""float64 holds all integers up to here."""
OF_CLASS = "of_class"
EMPTY = "no data: this part of the results file is empty"
MISSING = "no data: the results file does not hold it"


def parse_results(data: bytes, *, camera: str, run: int, provenance: Provenance) -> RunContent:
    """Parse a results file.

    Parameters
    ----------
    data : bytes
        The FITS file.
    camera, run
        Whose it is; the file does not say.
    provenance : Provenance
        Its ``parser_version`` is replaced by the present one.

    Raises
    ------
    ResultsFileError
        The bytes are not a sound DQM results file.
    """
    return parse_hdus(read_hdus(data), camera=camera, run=run, provenance=provenance)


def parse_hdus(
    hdus: Mapping[str, RawHDU], *, camera: str, run: int, provenance: Provenance
) -> RunContent:
    """Parse the HDUs of a results file, wherever they were kept.

    Parameters
    ----------
    hdus : mapping of str to RawHDU
        As `ingest.results.read_hdus` returns them; the quantities keep this order.
    camera, run, provenance
        As for `parse_results`.

    Raises
    ------
    ResultsFileError
        There is nothing in them.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # means of nothing: they are NaN here
        if all(not hdu.columns for hdu in hdus.values()):
            if dropped := [text for hdu in hdus.values() for text in hdu.dropped]:
                raise ResultsFileError(f"holds nothing that can be stored: {dropped[0]}")
            raise ResultsFileError("all of its HDUs are empty")
        return _Parser(hdus, run).parse(camera, provenance)


class _Parser:
    """The steps of `parse_results` and what they share."""

    def __init__(self, hdus: Mapping[str, RawHDU], run: int) -> None:
        self.hdus = hdus
        self.run = run
        self.counts: EventCounts = read_counts(hdus)
        self.times: RunTimes = read_times(hdus)
        self.layout: PixelLayout = find_layout(hdus)
        self.pedestals: dict[int, NDArray[np.bool_]] = {}
        self.notes: list[str] = list(self.layout.notes)

    def parse(self, camera: str, provenance: Provenance) -> RunContent:
        quantities = {name: self._read(hdu) for name, hdu in self.hdus.items()}
        derived = derive(quantities, self.counts)
        held = [*quantities.values(), *derived]
        names = {quantity.name for quantity in held}
        missing = [
            Quantity(info.name, info.kind, unavailable=self._reason(info, in_file=False))
            for info in known_quantities().values()
            if info.name not in names
        ]
        complete = tuple(self._with_summary(quantity) for quantity in (*held, *missing))
        header = RunHeader(
            camera=camera,
            run=self.run,
            times=self.times,
            events=self.counts,
            absent_pixels=self.layout.absent_pixels,
            bad_pixels=bad_pixels(derived),
            provenance=replace(provenance, parser_version=PARSER_VERSION),
            notes=_shortened(self.notes),
        )
        return RunContent(header, complete, compute_statistics(complete))

    def _read(self, hdu: RawHDU) -> Quantity:
        """One HDU, put right."""
        info = describe(hdu.name)
        where = f"the file, which `dqm get {self.run}` gives, has it"
        self.notes += [f"{hdu.name}: {text}; {where}" for text in hdu.dropped]
        if hdu.is_repeated:
            self.notes.append(f"{hdu.name}: a second HDU of this name; shown as it is")
        if hdu.dropped and not hdu.columns:
            text = "; ".join(hdu.dropped[:3])
            reason = f"no data: {text}; {where}"
            return Quantity(hdu.name, info.kind, unavailable=reason)
        if info.kind is Kind.EVENT_TIMES and not hdu.columns:
            # a list of times without entries is written without columns: there were none
            return Quantity(hdu.name, info.kind, {hdu.name: np.empty(0)})
        if not _has_values(hdu, info.kind):
            return Quantity(hdu.name, info.kind, unavailable=self._reason(info, in_file=True))
        if not _has_shape(hdu, info):
            shapes = ", ".join(f"{key} {values.shape}" for key, values in hdu.columns.items())
            self.notes.append(f"{hdu.name}: not the shape expected ({shapes}); shown as it is")
            return Quantity(hdu.name, Kind.GENERIC, hdu.columns)
        try:
            return self._put_right(hdu, info)
        except CannotPlace as error:
            self.notes.append(f"{hdu.name} cannot be shown: {error}")
            return Quantity(hdu.name, info.kind, unavailable=f"no data: {error}")

    def _put_right(self, hdu: RawHDU, info: QuantityInfo) -> Quantity:
        columns: Mapping[str, NDArray] = hdu.columns
        if info.kind is Kind.PIXEL_MAP:
            columns = {key: self._map(values, info) for key, values in columns.items()}
        elif info.kind is Kind.PIXEL_WAVEFORMS:
            if self._was_never_filled(hdu, info):
                return Quantity(hdu.name, info.kind, unavailable=info.unavailable)
            columns = {key: self._waveforms(values) for key, values in columns.items()}
        elif info.kind is Kind.MEAN_WAVEFORM:
            columns = {key: self._mean_waveform(values, info) for key, values in columns.items()}
        elif info.kind is Kind.EVENT_TIMELINE:
            columns = {**columns, OF_CLASS: self._of_class(info, columns)}
        return Quantity(hdu.name, info.kind, columns)

    def _map(self, values: NDArray, info: QuantityInfo) -> NDArray:
        placed = self.layout.place(values, info)
        if placed.dtype != values.dtype and _exceeds_floats(values):
            self.notes.append(
                f"{info.name}: pixels are absent, so values are kept as float64, which rounds "
                "integers above 2^53"
            )
        return placed

    def _waveforms(self, values: NDArray) -> NDArray[np.float64]:
        waveforms = values.astype(np.float64)
        waveforms[~self.layout.present | is_fill(waveforms)] = np.nan
        return waveforms

    def _mean_waveform(self, values: NDArray, info: QuantityInfo) -> NDArray[np.float64]:
        """As in the file, unless absent pixels entered it: then once more, over the others."""
        spoiled = not np.isfinite(values).all() or (values >= FILL).all()
        if not (spoiled or self.layout.unknown or len(self.layout.absent_pixels)):
            return values.astype(np.float64)
        of_pixels = self.hdus.get(f"WF-{info.event_class}-{info.gain}-GAIN")
        waveforms = None if of_pixels is None else of_pixels.only()
        if waveforms is None or waveforms.shape != (N_PIXELS, len(values)):
            raise CannotPlace(
                "absent pixels entered the mean, and there are no waveforms to compute it from"
            )
        return np.nanmean(self._waveforms(waveforms), axis=0)

    def _was_never_filled(self, hdu: RawHDU, info: QuantityInfo) -> bool:
        """WF-PHY-… is written, all zeros, even when the run has no such event."""
        values = hdu.only()
        if values is None or values.any():
            return False
        mean = self.hdus.get(f"WF-{info.event_class}-AVERAGE-PIX-{info.gain}-GAIN")
        return mean is None or not mean.columns or not self._events_of(info)

    def _of_class(self, info: QuantityInfo, columns: Mapping[str, NDArray]) -> NDArray[np.bool_]:
        (values,) = columns.values()
        events = len(values)
        if events not in self.pedestals:
            self.pedestals[events] = pedestal_events(self.hdus, events)
        pedestals = self.pedestals[events]
        return pedestals if info.event_class == "PED" else ~pedestals

    def _with_summary(self, quantity: Quantity) -> Quantity:
        if not quantity.columns:
            return quantity
        summary = summarize(quantity.kind, quantity.columns, self.times.tai_minus_utc)
        return replace(quantity, summary=summary) if summary else quantity

    def _reason(self, info: QuantityInfo, *, in_file: bool) -> str:
        """Why there are no values, in words."""
        if info.kind is Kind.GENERIC:
            return EMPTY
        if info.event_class is not None and self._events_of(info) != 0:
            return EMPTY if in_file else MISSING
        return info.unavailable

    def _events_of(self, info: QuantityInfo) -> int | None:
        return self.counts.of_class(info.event_class or "")


def _exceeds_floats(values: NDArray) -> bool:
    """Whether some integers have no float64 of their own."""
    if values.dtype.kind not in "iu" or not values.size:
        return False
    return int(values.max()) > LARGEST_EXACT or int(values.min()) < -LARGEST_EXACT


def _has_values(hdu: RawHDU, kind: Kind) -> bool:
    if kind is Kind.EVENT_TIMES:
        return bool(hdu.columns)
    return any(values.size for values in hdu.columns.values())


def _has_shape(hdu: RawHDU, info: QuantityInfo) -> bool:
    """Whether the columns are what quantities of this kind have."""
    kind, columns = info.kind, hdu.columns
    if kind in (Kind.GENERIC, Kind.COUNTERS):
        return True
    if kind is Kind.TRIGGER_EVENTS:
        times, ids = columns.get("Timestamps"), columns.get("IDs")
        return (
            len(columns) == 2
            and times is not None
            and ids is not None
            and times.ndim == 1
            and times.dtype.kind == "f"
            and ids.dtype.kind in "iu"
            and times.shape == ids.shape
        )
    values = hdu.only()
    if values is None or values.dtype.kind not in "iuf" or OF_CLASS in columns:
        return False
    if kind is Kind.PIXEL_WAVEFORMS:
        return values.ndim == 2 and len(values) == N_PIXELS
    if kind is Kind.DRAWER_TREND:
        return values.ndim == 2 and len(values) == N_MODULES and values.dtype.kind == "f"
    if kind is Kind.PIXEL_MAP:
        return values.ndim == 1 and len(values) <= N_PIXELS
    if kind is Kind.EVENT_TIMES:
        return values.ndim == 1 and values.dtype.kind == "f"
    return values.ndim == 1


def _shortened(notes: list[str]) -> tuple[str, ...]:
    unique = list(dict.fromkeys(notes))
    if len(unique) <= MOST_NOTES:
        return tuple(unique)
    return (*unique[:MOST_NOTES], f"… and {len(unique) - MOST_NOTES} more")
