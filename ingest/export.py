"""Quantities as tables to take away: CSV or FITS, with units and where they come from."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from dqm_db.content import N_PIXELS, PIXELS_PER_MODULE, Kind, RunHeader
from dqm_db.quantities import TimeScale, describe
from ingest.errors import printable

TAI, UTC_SECONDS = "s (TAI)", "s (UTC)"
_SECONDS: Mapping[TimeScale | None, str] = {TimeScale.TAI: TAI, TimeScale.UTC: UTC_SECONDS}

FITS_UNITS: Mapping[str, str] = {
    "ADC counts": "adu",
    "°C": "Celsius",
    TAI: "s",
    UTC_SECONDS: "s",
    "s": "s",
}
"""Units that FITS readers know; others, and whether times are UTC, are stated in comments."""


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column: its values have one row each; further axes are kept in FITS, spread in CSV."""

    name: str
    values: NDArray
    unit: str = ""


@dataclass(frozen=True, slots=True)
class QuantityTable:
    """A quantity of a run as a table.

    Attributes
    ----------
    quantity : str
    facts : mapping of str to str
        Provenance, in the order in which it is written.
    columns : tuple of TableColumn
        All with the same number of rows.
    """

    quantity: str
    facts: Mapping[str, str]
    columns: tuple[TableColumn, ...]

    def to_csv(self) -> str:
        """Comment lines starting with ``#``, a line of names, then the rows; exact numbers."""
        text = io.StringIO()
        for key, value in self.facts.items():
            text.write(f"# {key}: {printable(value)}\n")
        units = ", ".join(f"{c.name} [{c.unit}]" for c in self.columns if c.unit)
        if units:
            text.write(f"# units: {units}\n")
        names, spread = _spread(self.columns)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(zip(*(values.tolist() for values in spread), strict=True))
        return text.getvalue()

    def to_fits(self) -> bytes:
        """A binary table; provenance in the header."""
        # loaded only here: a table as CSV, or an original, does not need astropy
        from astropy.io import fits
        from astropy.table import Table

        values = [column.values for column in self.columns]
        names = [column.name for column in self.columns]
        table = fits.BinTableHDU(Table(values, names=names), name=self.quantity)
        for column in self.columns:
            if column.unit in FITS_UNITS:
                table.columns[column.name].unit = FITS_UNITS[column.unit]
        for key, value in self.facts.items():
            table.header.add_comment(
                f"{key}: {printable(value)}".encode("ascii", "replace").decode()
            )
        for column in self.columns:
            if column.unit in (TAI, UTC_SECONDS) or (column.unit and column.unit not in FITS_UNITS):
                table.header.add_comment(f"unit of {column.name}: {column.unit}")
        table.header["CAMERA"] = self.facts["camera"]
        table.header["RUN"] = int(self.facts["run"])
        stream = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU(), table]).writeto(stream, checksum=True)
        return stream.getvalue()


def quantity_table(
    header: RunHeader, quantity: str, kind: Kind, columns: Mapping[str, NDArray]
) -> QuantityTable:
    """Lay out a quantity as a table with ids and UTC times beside its values.

    Parameters
    ----------
    header : RunHeader
        Of the run.
    quantity : str
        Its name.
    kind : Kind
        As stored.
    columns : mapping of str to ndarray
        As stored, not empty.
    """
    return QuantityTable(
        quantity, _facts(header, quantity), tuple(_layout(header, quantity, kind, columns))
    )


def _layout(
    header: RunHeader, quantity: str, kind: Kind, columns: Mapping[str, NDArray]
) -> list[TableColumn]:
    unit = describe(quantity).unit
    named = [TableColumn(name, values, unit) for name, values in columns.items()]
    offset = header.times.tai_minus_utc
    if kind in (Kind.PIXEL_MAP, Kind.PIXEL_WAVEFORMS):
        pixels = np.arange(N_PIXELS)
        return [
            TableColumn("pixel_id", pixels),
            TableColumn("module", pixels // PIXELS_PER_MODULE),
            *named,
        ]
    if kind is Kind.MEAN_WAVEFORM:
        return [TableColumn("sample", np.arange(len(named[0].values))), *named]
    if kind is Kind.DRAWER_TREND:
        return [TableColumn("module", np.arange(len(named[0].values))), *named]
    if kind is Kind.EVENT_TIMELINE:
        values, of_class = columns.values()
        return [
            TableColumn("event", np.arange(len(values))),
            named[0],
            TableColumn(named[1].name, of_class),
        ]
    if kind in (Kind.TRIGGER_EVENTS, Kind.EVENT_TIMES):
        times = [c for c in named if c.name != "IDs"]
        others = [TableColumn(c.name, c.values) for c in named if c.name == "IDs"]
        utc = [_in_utc("time_utc", c.values, offset) for c in times if offset is not None]
        return [*others, *times, *utc]
    if quantity == "START-TIMES":
        named = _start_times(columns, unit, offset)
    return _padded(named)


def _start_times(
    columns: Mapping[str, NDArray], unit: str, offset: float | None
) -> list[TableColumn]:
    """Each column with its own time scale, those in TAI once more in UTC."""
    info = describe("START-TIMES")
    named = [
        TableColumn(name, values, _SECONDS.get(info.column(name).time_scale, unit))
        for name, values in columns.items()
    ]
    utc = [
        _in_utc(f"{column.name} UTC", column.values, offset)
        for column in named
        if column.unit == TAI and offset is not None and column.values.dtype.kind in "iuf"
    ]
    return [*named, *utc]


def _in_utc(name: str, tai: NDArray, offset: float) -> TableColumn:
    return TableColumn(name, tai - offset, UTC_SECONDS)


def _padded(columns: list[TableColumn]) -> list[TableColumn]:
    """Columns of one length: shorter ones, as counters may have, end in NaN or empty text."""
    arrays = [np.atleast_1d(column.values) for column in columns]
    rows = {len(array) for array in arrays}
    if len(rows) <= 1:
        return [
            TableColumn(column.name, array, column.unit)
            for column, array in zip(columns, arrays, strict=True)
        ]
    longest = max(rows)
    padded = []
    for column, array in zip(columns, arrays, strict=True):
        if array.dtype.kind in "iub":
            array = array.astype(np.float64) if len(array) < longest else array
        fill: object = "" if array.dtype.kind in "SU" else np.nan
        tail = np.full((longest - len(array), *array.shape[1:]), fill, array.dtype)
        padded.append(TableColumn(column.name, np.concatenate([array, tail]), column.unit))
    return padded


def _facts(header: RunHeader, quantity: str) -> dict[str, str]:
    info = describe(quantity)
    source = header.provenance
    return {
        "camera": header.camera,
        "run": str(header.run),
        "quantity": quantity,
        "title": info.title,
        "unit": info.unit or "none",
        "description": info.description,
        "run start (UTC)": iso_utc(header.times.start),
        "absent pixels": str(len(header.absent_pixels)),
        "source": source.source,
        "results file": source.results_name,
        "results sha256": source.results_sha256,
        "ingested (UTC)": iso_utc(source.ingested_at),
        "parser version": str(source.parser_version),
    }


def iso_utc(seconds: float | None) -> str:
    """Unix seconds as ISO 8601 in UTC; ``unknown`` for None, NaN and times beyond calendars."""
    if seconds is None or not np.isfinite(seconds):
        return "unknown"
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return "unknown"
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _spread(columns: tuple[TableColumn, ...]) -> tuple[list[str], list[NDArray]]:
    names: list[str] = []
    arrays: list[NDArray] = []
    for column in columns:
        values = column.values
        if values.dtype.kind == "S":
            values = np.char.decode(values, "ascii", "replace")
        if values.ndim == 1:
            names.append(column.name)
            arrays.append(values)
            continue
        flat = values.reshape(len(values), -1)
        names += [f"{column.name}[{index}]" for index in range(flat.shape[1])]
        arrays += list(flat.T)
    return names, arrays
