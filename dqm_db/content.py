"""What one run contains, as plain values: the exchange format of `ingest`, the database and the
dashboard. Nothing here knows ZODB, FITS or Bokeh.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

N_PIXELS = 1855
N_MODULES = 265
PIXELS_PER_MODULE = 7

LARGEST_RUN = 2**31 - 1
"""Run numbers are keys of 32-bit BTrees."""


class Kind(enum.StrEnum):
    """What a quantity is, which decides how it is checked, stored and shown."""

    PIXEL_MAP = "pixel_map"  # one value per pixel, (1855,)
    PIXEL_WAVEFORMS = "pixel_waveforms"  # mean waveform of each pixel, (1855, samples)
    MEAN_WAVEFORM = "mean_waveform"  # mean waveform of the camera, (samples,)
    CAMERA_SCALAR = "camera_scalar"  # one number for the camera, (1,)
    EVENT_TIMELINE = "event_timeline"  # one value per event, (events,)
    TRIGGER_EVENTS = "trigger_events"  # columns Timestamps and IDs, (events,)
    EVENT_TIMES = "event_times"  # times only, (occurrences,)
    DRAWER_TREND = "drawer_trend"  # (265 modules, readings)
    COUNTERS = "counters"  # few numbers of the run as a whole
    GENERIC = "generic"  # an HDU this release does not know, kept as it is


@dataclass(frozen=True, slots=True)
class Quantity:
    """One HDU of a results file, put right and ready to store.

    Attributes
    ----------
    name : str
        EXTNAME, upper case, e.g. ``"WF-PHY-HIGH-GAIN"``. Quantities that ingestion derives have
        the name of their source and a suffix (``dqm_db.quantities.DERIVED_SUFFIXES``).
    kind : Kind
    columns : mapping of str to ndarray
        Column name (TTYPE; the EXTNAME itself for images) to values, little-endian, in the dtype
        of the file. Pixel axes have 1855 entries in pixel-id order, NaN where a pixel is absent.
    unavailable : str or None
        Why there are no values, in words for the user; then ``columns`` is empty.
    summary : mapping of str to ndarray
        What plots need without opening ``columns``; keys by kind, see ``docs/schema.md``.
    """

    name: str
    kind: Kind
    columns: Mapping[str, NDArray] = field(default_factory=dict)
    unavailable: str | None = None
    summary: Mapping[str, NDArray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EventCounts:
    """Events of the run, from TRIGGER-STATISTICS; ``None`` where the file does not say.

    ``total`` excludes the first event of the run and those not later than it, as the file does.
    """

    total: int | None = None
    physical: int | None = None
    pedestal: int | None = None
    other: int | None = None
    wrong_time: int | None = None

    def of_class(self, event_class: str) -> int | None:
        """Events that entered the quantities of *event_class* (``"PHY"`` or ``"PED"``).

        PHY quantities sum over everything that is not a sky pedestal, flat-field included. The
        first event of the run and those with wrong times entered the sums too, although
        TRIGGER-STATISTICS leaves them out of its counts. Their class is not written: they count as
        PHY, unless all other events are pedestals.
        """
        if self.total is None or self.pedestal is None:
            known = {"PED": self.pedestal, "PHY": self.total}
            return known.get(event_class)
        uncounted = (self.wrong_time or 0) + 1 if self.total else 0
        all_pedestals = self.pedestal == self.total
        if event_class == "PED":
            return self.pedestal + (uncounted if all_pedestals else 0)
        if event_class == "PHY":
            return 0 if all_pedestals else self.total - self.pedestal + uncounted
        return None


@dataclass(frozen=True, slots=True)
class RunTimes:
    """Unix seconds in UTC (not TAI), float64; ``None`` where the file does not say.

    ``first_event`` and ``last_event`` are converted from unix_tai; ``run_start`` is NTP time.
    ``tai_minus_utc`` (s) turns the run's other unix_tai columns into UTC: ``utc = tai - it``.
    """

    run_start: float | None = None
    first_event: float | None = None
    last_event: float | None = None
    tai_minus_utc: float | None = None

    @property
    def start(self) -> float | None:
        """Best estimate of the start of the run."""
        return self.run_start if self.run_start is not None else self.first_event


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a run comes from.

    Attributes
    ----------
    source : str
        Path or URL given to ``dqm ingest``.
    source_size, source_adler32 : int
        Of the source file as fetched (the tarball, when there is one).
    results_name : str
        File name (or archive member) of the results file.
    results_size : int
        Bytes of the results file.
    results_sha256 : str
        Hex digest of the results file: what makes a run the same or a different one.
    ingested_at : float
        Unix seconds, UTC.
    parser_version : int
        ``ingest.PARSER_VERSION`` that read it.
    source_modified : float or None
        When the source says the file was last changed, unix seconds, UTC.
    attempts : int
        How often the file was tried until it was stored.
    """

    source: str
    source_size: int
    source_adler32: int
    results_name: str
    results_size: int
    results_sha256: str
    ingested_at: float
    parser_version: int
    source_modified: float | None = None
    attempts: int = 1

    @property
    def has_original(self) -> bool:
        """Whether the run was read from a file, and not from a database that keeps none."""
        return self.results_name != ""


@dataclass(frozen=True, slots=True)
class RunHeader:
    """Everything about a run but its arrays: what a page header and a table row show.

    Attributes
    ----------
    absent_pixels : ndarray of uint16
        Ids of the pixels that were not read out, sorted.
    bad_pixels : int or None
        Pixels flagged as failing in more than half of the events of either gain and class;
        absent pixels not counted; ``None`` without bad-pixel data.
    notes : tuple of str
        What ingestion wants the user to know, e.g. that a quantity could not be placed.
    """

    camera: str
    run: int
    times: RunTimes
    events: EventCounts
    absent_pixels: NDArray[np.uint16]
    bad_pixels: int | None
    provenance: Provenance
    notes: tuple[str, ...] = ()

    @property
    def absent_modules(self) -> NDArray[np.uint16]:
        """Ids of the modules of which all pixels are absent, sorted."""
        modules, counts = np.unique(self.absent_pixels // PIXELS_PER_MODULE, return_counts=True)
        return modules[counts == PIXELS_PER_MODULE].astype(np.uint16)


Statistics = Mapping[str, Mapping[str, float]]
"""Quantity name -> statistic name -> value; the rows that trends are made of."""


@dataclass(frozen=True, slots=True)
class RunContent:
    """One run, parsed: what `ingest` hands to `dqm_db.writer`."""

    header: RunHeader
    quantities: tuple[Quantity, ...]
    statistics: Statistics


@dataclass(frozen=True, slots=True)
class Original:
    """The file a run was read from.

    Attributes
    ----------
    media : str
        How ``data`` holds the results file: ``"tar"`` (a tar archive, compressed or not, byte for
        byte as fetched; the member is ``Provenance.results_name``) or ``"fits+zstd"`` (a bare
        FITS file, compressed for storage).
    data : bytes
    """

    media: str
    data: bytes
